"""`fsagent status`: what an administrator sees, and what monitoring gets."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from fakes.known_agent import NOW, KnownAgent, command, document, file, lane

from agent.cli.rendering import ASCII_MARKS, Marks, marks_for, moment, size, span, table
from agent.cli.status import status_lines
from agent.model import FileState
from agent.runtime.clock import SystemClock
from agent.runtime.lock import StateLock
from agent.runtime.operations import PAUSES_NOTE
from agent.runtime.status import compose_status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def known(tmp_path: Path) -> Iterator[KnownAgent]:
    known = KnownAgent(tmp_path)
    yield known
    known.close()


@pytest.fixture
def running(known: KnownAgent) -> Iterator[KnownAgent]:
    now = SystemClock().now()
    known.note(at=now, pid=os.getpid())
    lock = StateLock(known.settings.state_dir)
    lock.acquire(now=now)
    yield known
    lock.release()


def lines_of(known: KnownAgent) -> str:
    status = compose_status(known.settings, known.ledger, is_running=True, now=NOW)
    return "\n".join(status_lines(status, Marks()))


def test_before_the_first_run_it_says_so_and_ends_well(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(known, "status") == 0
    assert "no agent has run yet: there is no state_dir" in capsys.readouterr().out


def test_looking_makes_no_file(known: KnownAgent) -> None:
    known.settings.state_dir.mkdir()
    command(known, "status")
    assert list(known.settings.state_dir.iterdir()) == []


def test_check_of_a_running_agent_without_trouble_is_0(running: KnownAgent) -> None:
    assert command(running, "status", "--check") == 0


def test_check_of_a_degraded_agent_is_1(running: KnownAgent) -> None:
    running.ledger.commit(file("a", state=FileState.STALLED))
    assert command(running, "status", "--check") == 1


def test_check_of_a_stopped_agent_is_2(known: KnownAgent) -> None:
    assert command(known, "status", "--check") == 2


def test_json_is_the_composed_document(running: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    running.ledger.commit(file("a"))
    assert command(running, "status", "--json") == 0
    shown = document(capsys)
    composed = compose_status(running.settings, running.ledger, is_running=True, now=shown["at"])
    assert set(shown) == set(composed)
    assert (shown["health"], shown["totals"]) == ("ok", composed["totals"])


def test_json_keeps_names_that_are_no_unicode_readable(running: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    running.ledger.commit(file("a", relative_path="\udcffä.pdf"))
    command(running, "status", "--json")
    assert document(capsys)["oldest_waiting"]["path"] == "\\xffä.pdf"


def test_json_and_watch_exclude_each_other(known: KnownAgent) -> None:
    assert command(known, "status", "--json", "--watch") == 2


def test_text_has_the_same_numbers(running: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    running.ledger.commit(file("a"), file("b"), file("c", watch_folder="letters"))
    command(running, "status")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["invoices", "ok", "2", "0", "0", "0", "0", "0", "0"] in rows
    assert ["total", "3", "0", "0", "0", "0", "0", "0"] in rows


def test_trouble_says_what_since_when_and_what_to_do(known: KnownAgent) -> None:
    waits = lane("service", "credentials_refused", detail="401", hint="look at client_secret", retry_at=NOW + 20)
    known.note(lanes=[waits])
    text = lines_of(known)
    assert "credentials_refused" in text
    assert f"since {moment(NOW - 30)} (30s): 401; tried again in 20s ({moment(NOW + 20)})" in text
    assert "what to do: look at client_secret" in text


def test_a_paused_folder_is_shown_as_paused(known: KnownAgent) -> None:
    known.note()
    known.ledger.put_note(PAUSES_NOTE, {"all": False, "folders": ["letters"]})
    assert ["letters", "paused"] in [line.split()[:2] for line in lines_of(known).splitlines()]


def test_hostile_names_move_no_cursor(known: KnownAgent) -> None:
    known.note()
    known.ledger.commit(file("a", relative_path="\x1b[2J\u202e.pdf"))
    assert "\\x1b[2J\\u202e.pdf" in lines_of(known)


def test_a_folder_this_account_may_not_look_into_is_no_first_run(
    known: KnownAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    known.settings.state_dir.mkdir(mode=0o000)
    try:
        if os.access(known.settings.state_dir, os.R_OK):
            pytest.skip("this account may look into every folder")
        assert command(known, "status") == 1
        assert "cannot be looked into" in capsys.readouterr().err
    finally:
        known.settings.state_dir.chmod(0o700)


def test_a_console_without_the_signs_gets_ascii() -> None:
    assert marks_for(io.TextIOWrapper(io.BytesIO(), encoding="cp437")) == ASCII_MARKS


def test_a_console_that_has_the_signs_gets_them() -> None:
    assert marks_for(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) == Marks()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-3, "0s"), (59.4, "59s"), (60, "1m"), (7500, "2h 5m"), (7200, "2h"), (86400 * 3 + 3600 * 4, "3d 4h")],
)
def test_a_span_has_at_most_two_units(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (2700, "2.7 kB")])
def test_a_size_has_a_unit_people_read(count: int, shown: str) -> None:
    assert size(count) == shown


def test_a_table_keeps_its_columns_under_wide_characters() -> None:
    assert table(("a", "n"), [("文", "1"), ("abcd", "10")], right=[1]) == ["a      n", "文     1", "abcd  10"]


def test_a_time_beyond_every_calendar_is_shown_all_the_same() -> None:
    assert moment(1e15) == "@1000000000000000"
