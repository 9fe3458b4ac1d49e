"""The log: one line for each record, whatever stands in it, and never a secret, in messages and traces alike."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from typing import TYPE_CHECKING

import pytest
from fakes.office import same_logging

from agent.cli.logs import set_up_logging
from agent.model import LoggingSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "kept-to-ourselves-4711"
HOSTILE = "a\x1b[31m\r\nforged line\x9b2J\u202egpj.pdf\udcff"


def fail() -> None:
    raise OSError(2, f"for {SECRET}", f"{HOSTILE}{SECRET}") from ValueError(f"{HOSTILE} {SECRET}")


def say_message() -> None:
    logging.getLogger("agent").warning("found %s, told %s", HOSTILE, SECRET)


def say_trace() -> None:
    try:
        fail()
    except OSError:
        logging.getLogger("urllib3").exception("broke down")


def logged(say: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *, form: str) -> str:
    """Return what one call leaves on standard error."""
    errors = io.StringIO()
    with same_logging(), monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", errors)
        # What pytest captures of the log travels between processes, and a lone surrogate cannot.
        patch.setattr(logging.getLogger(), "handlers", [])
        set_up_logging(LoggingSettings(format=form), secrets=[SECRET, ""])
        say()
    return errors.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("say", [say_message, say_trace])
def test_no_secret_stands_in_a_line_or_a_trace(
    say: Callable[[], None], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SECRET not in logged(say, monkeypatch, form=form)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("say", [say_message, say_trace])
def test_nothing_in_a_line_or_a_trace_moves_a_cursor_or_begins_a_record(
    say: Callable[[], None], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = logged(say, monkeypatch, form=form)
    assert not set(text) & set("\x1b\r\x9b\u202e\udcff")
    first, *further = text.splitlines()
    assert all(line.startswith("    ") for line in further)
    assert "forged line" in (json.loads(first).get("trace", "") if form == "json" else "") + text


def test_a_trace_is_whole_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    text = logged(say_trace, monkeypatch, form="text")
    document = json.loads(logged(say_trace, monkeypatch, form="json"))
    for line in ("Traceback (most recent call last):", "in fail", "FileNotFoundError: "):
        assert line in text
        assert line in document["trace"]


@pytest.mark.skipif(os.name != "posix", reason="modes of files belong to POSIX")
def test_a_log_file_is_not_for_others_to_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with same_logging():
            set_up_logging(LoggingSettings(file=tmp_path / "logs" / "fsagent.log"), secrets=[])
    finally:
        os.umask(before)
    assert (tmp_path / "logs" / "fsagent.log").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700
