"""The status that stands on the terminal while `run` works."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import pytest
from fakes.driven_clock import DrivenClock
from fakes.known_agent import KnownAgent, file
from fakes.memory_service import MemoryService
from rich.console import Console

from agent.app import build_parts
from agent.cli.live import show_live
from agent.cli.screen import LiveStatus
from agent.runtime.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def known(tmp_path: Path) -> Iterator[KnownAgent]:
    known = KnownAgent(tmp_path)
    yield known
    known.close()


def show_once(known: KnownAgent, *, exports: bool = True) -> None:
    clock = DrivenClock()
    parts = build_parts(known.settings, ledger=known.ledger, service=MemoryService(clock), clock=clock)
    stop = threading.Event()
    stop.set()
    show_live(known.settings, parts, Agent(parts, exports=exports), stop)


def test_it_shows_what_status_shows(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    known.ledger.commit(file("a"), file("b"))
    show_once(known)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["invoices", "ok", "2", "0", "0", "0", "0", "0", "0"] in rows


def test_it_says_how_to_stop_and_what_is_left_out(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    show_once(known, exports=False)
    assert "To stop it: Ctrl-C; submits only" in capsys.readouterr().out


def test_a_ledger_that_cannot_be_read_is_a_line_and_no_end(
    known: KnownAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    known.ledger.close()
    show_once(known)
    assert "what to do:" in capsys.readouterr().out


def test_lines_are_replaced_in_their_place() -> None:
    written = io.StringIO()
    with LiveStatus(Console(file=written, force_terminal=True, width=80)) as shown:
        shown.show(["first"])
        shown.show(["second"])
    assert written.getvalue().index("first") < written.getvalue().index("\x1b[2K") < written.getvalue().index("second")
