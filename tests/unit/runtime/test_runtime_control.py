"""The control loop: what commands left in the ledger is carried out and answered, whatever it is."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fakes.workbench import InlineExecutor, Workbench, watch_folder
from system.sites import wait_until

from agent.errors import FileRefused, LedgerUnavailable
from agent.folders import filing
from agent.model import LaneReason, Reason
from agent.runtime.control import PAUSE, STATUS_EVERY, STATUS_NOTE, Control
from agent.runtime.operations import Operations
from agent.runtime.pools import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path

    from agent.model import Request

PATIENCE = 20.0


class Controlled:
    """A bench with its control loop."""

    def __init__(
        self, base: Path, *, make_pool: Callable[[int, str], Executor] = lambda _workers, _name: InlineExecutor()
    ) -> None:
        self.bench = Workbench(base, *(watch_folder(base, name) for name in ("one", "two")))
        self.rescanned: list[str] = []
        self.live: dict[str, Any] = {"lanes": []}
        self.woken = 0
        parts = self.bench.parts
        operations = Operations(
            parts.settings,
            ledger=parts.ledger,
            clock=parts.clock,
            file_away=parts.file_away,
            files_in_hand=parts.files_in_hand,
        )
        self.control = Control(
            parts,
            operations,
            rescan=self.rescanned.append,
            live=lambda: self.live,
            changed=self.wake,
            make_pool=make_pool,
        )

    def wake(self) -> None:
        self.woken += 1

    def ask(self, command: str, **arguments: Any) -> Request:
        """Leave a request, let the loop run once, and return the request as it is then."""
        ledger = self.bench.ledger
        number = ledger.ask(command, arguments, now=self.bench.clock.now())
        self.control.step()
        request = ledger.request(number)
        assert request is not None
        return request

    def reason(self, lane: str) -> LaneReason | None:
        return self.bench.parts.lanes[lane].state.reason


def refused(bench: Workbench, path: str) -> None:
    """Let a file come to error/."""
    bench.drop(path)
    bench.service.script("submit", FileRefused("no", reason=Reason.REFUSED_BY_SERVICE))
    bench.submit()


@pytest.fixture
def controlled(tmp_path: Path) -> Controlled:
    return Controlled(tmp_path)


def test_a_wish_is_carried_out_within_a_second(controlled: Controlled) -> None:
    assert controlled.control.step() == PAUSE <= 0.5


def test_a_request_is_answered_once_and_everybody_woken(controlled: Controlled) -> None:
    request = controlled.ask("pause", folder="one")
    assert (request.ok, request.done_at) == (True, controlled.bench.clock.now())
    assert "one is paused" in request.answer["message"]
    assert controlled.woken > 0
    assert controlled.bench.ledger.open_requests() == []


def test_a_pause_stops_both_lanes_of_its_folder_and_no_others(controlled: Controlled) -> None:
    controlled.ask("pause", folder="one")
    assert [controlled.reason(f"{name}/{way}") for name in ("one", "two") for way in ("submission", "export")] == [
        LaneReason.PAUSED,
        LaneReason.PAUSED,
        None,
        None,
    ]


def test_everything_paused_and_resumed(controlled: Controlled) -> None:
    controlled.ask("pause")
    assert controlled.reason("two/export") is LaneReason.PAUSED
    controlled.ask("resume")
    assert controlled.reason("two/export") is None


def test_a_pause_from_before_the_start_is_heeded(controlled: Controlled) -> None:
    controlled.ask("pause", folder="two")
    controlled.bench.start()
    again = Control(
        controlled.bench.parts,
        controlled.control._operations,
        rescan=lambda _folder: None,
        live=dict,
        changed=lambda: None,
    )
    again.apply_pauses()
    assert controlled.bench.parts.lanes.submission("two").state.reason is LaneReason.PAUSED


def test_a_rescan_is_for_the_detection_of_that_folder_or_of_all(controlled: Controlled) -> None:
    assert controlled.ask("rescan", folder="one").ok
    assert controlled.ask("rescan").ok
    assert controlled.rescanned == ["one", ""]


def test_a_retry_is_carried_out_by_the_agent(controlled: Controlled) -> None:
    bench = controlled.bench
    refused(bench, "a.pdf")
    assert controlled.ask("retry", targets=["a.pdf"]).ok
    assert bench.names("inbox") == ["a.pdf"]


def test_a_command_that_hangs_in_a_folder_keeps_no_other_command_and_no_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controlled = Controlled(tmp_path, make_pool=DaemonThreads)
    bench, moved, asked, answered = controlled.bench, filing.file_away, threading.Event(), threading.Event()
    refused(bench, "a.pdf")

    def hanging(**arguments: Any) -> str:
        asked.set()
        assert answered.wait(PATIENCE)
        return moved(**arguments)

    monkeypatch.setattr(filing, "file_away", hanging)
    retry = bench.ledger.ask("retry", {"targets": ["a.pdf"]}, now=0.0)
    try:
        controlled.control.step()
        assert asked.wait(PATIENCE)
        assert controlled.ask("pause").ok
        assert bench.ledger.note(STATUS_NOTE) is not None
        assert [request.id for request in bench.ledger.open_requests()] == [retry]
    finally:
        answered.set()
    wait_until(lambda: not controlled.control.is_busy())
    controlled.control.close()
    answer = bench.ledger.request(retry)
    assert answer is not None
    assert answer.ok
    assert bench.names("inbox") == ["a.pdf"]


def test_a_command_whose_thread_could_not_answer_is_carried_out_again(tmp_path: Path) -> None:
    controlled = Controlled(tmp_path, make_pool=DaemonThreads)
    ledger = controlled.bench.ledger
    number = ledger.ask("adopt", {"folder": "one"}, now=0.0)
    ledger_answers = ledger.answer

    def unavailable(*_arguments: Any, **_more: Any) -> None:
        raise LedgerUnavailable("disk full")

    ledger.answer = unavailable  # type: ignore[method-assign]  # its disk is full
    controlled.control.step()
    wait_until(lambda: not controlled.control.is_busy())
    ledger.answer = ledger_answers  # type: ignore[method-assign]  # as it was
    with pytest.raises(LedgerUnavailable):
        controlled.control.step()
    controlled.control.step()
    wait_until(lambda: not controlled.control.is_busy())
    controlled.control.close()
    request = ledger.request(number)
    assert request is not None
    assert request.ok


def test_an_answer_of_several_sentences_is_one_line_of_the_log(
    controlled: Controlled, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert controlled.ask("adopt", folder="one").ok
    (line,) = [message for message in caplog.messages if message.startswith("adopt: ")]
    assert line.count("belongs to this agent now") == 2
    assert "\n" not in line


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("pause", {"folder": "three"}),
        ("resolve", {"id": "123456", "reject": True}),
        ("resolve", {}),
        ("retry", {"nonsense": 1}),
        ("from a newer version", {}),
    ],
)
def test_what_cannot_be_done_is_answered_with_the_reason_and_stops_nothing(
    controlled: Controlled, command: str, arguments: dict[str, Any]
) -> None:
    request = controlled.ask(command, **arguments)
    assert (request.ok, request.done_at is None) == (False, False)
    assert request.answer["message"]
    assert controlled.ask("pause").ok


def test_an_answer_the_ledger_cannot_take_is_given_later(controlled: Controlled) -> None:
    ledger = controlled.bench.ledger
    number = ledger.ask("pause", {"folder": "one"}, now=0.0)
    ledger.trouble = LedgerUnavailable("disk full")
    with pytest.raises(LedgerUnavailable):
        controlled.control.step()
    ledger.trouble = None
    controlled.control.step()
    request = ledger.request(number)
    assert request is not None
    assert request.ok


def test_status_is_noted_at_once_when_it_changes_and_else_every_few_seconds(controlled: Controlled) -> None:
    bench, noted = controlled.bench, []
    put_note = bench.ledger.put_note

    def put(name: str, value: Any) -> None:
        noted.append((name, value["lanes"]))
        put_note(name, value)

    bench.ledger.put_note = put  # type: ignore[method-assign]  # counts
    for _ in range(int(3 * STATUS_EVERY / PAUSE)):
        controlled.control.step()
        bench.clock.advance(PAUSE)
    assert noted == [(STATUS_NOTE, [])] * 3
    controlled.live = {"lanes": ["trouble"]}
    controlled.control.step()
    assert noted[-1] == (STATUS_NOTE, ["trouble"])


def test_the_note_says_when_and_who(controlled: Controlled) -> None:
    controlled.control.step()
    note = controlled.bench.ledger.note(STATUS_NOTE)
    assert note is not None
    assert (note["at"], note["lanes"]) == (controlled.bench.clock.now(), [])
    assert note["pid"] > 0
