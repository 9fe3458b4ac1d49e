"""The agent's own part: it starts its threads and brings all of them to an end."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from fakes.memory_ledger import MemoryLedger
from fakes.workbench import PROJECT, Workbench

from agent.app import build_parts
from agent.errors import LedgerUnavailable
from agent.model import RootKind, RootRecord, TaskRecord, TaskState
from agent.runtime.agent import Agent
from agent.runtime.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import Event, FileRecord
    from agent.ports import Service

PATIENCE = 20.0


class SlowInbox(MemoryLedger):
    """Keeps whoever has looked at an inbox for the first time until `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.is_looked_at = threading.Event()
        self.go_on = threading.Event()

    def commit(self, *changes: FileRecord | TaskRecord | RootRecord | Event) -> None:
        super().commit(*changes)
        if any(isinstance(change, RootRecord) and change.kind is RootKind.INBOX for change in changes):
            self.is_looked_at.set()
            assert self.go_on.wait(PATIENCE)


def test_a_watch_set_up_while_the_agent_stops_is_stopped_too(tmp_path: Path) -> None:
    bench, ledger, threads = Workbench(tmp_path), SlowInbox(), set(threading.enumerate())
    parts = build_parts(bench.settings, ledger=ledger, service=cast("Service", bench.service), clock=SystemClock())
    agent = Agent(parts)
    agent.start()
    assert ledger.is_looked_at.wait(PATIENCE)
    (detecting,) = (worker for worker in agent._workers if worker.name.startswith("detecting"))

    stopping = threading.Thread(target=agent.stop)
    stopping.start()
    assert parts.stop.wait(PATIENCE)
    assert detecting._wake.wait(PATIENCE)  # its end is waited for by now
    ledger.go_on.set()
    stopping.join(PATIENCE)

    left = [thread for thread in threading.enumerate() if thread not in threads]
    agent._detecting[0].close()
    assert left == []


def test_an_agent_whose_ledger_is_full_stops_in_order_and_says_what_was_not_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench, ledger = Workbench(tmp_path), MemoryLedger()
    parts = build_parts(bench.settings, ledger=ledger, service=cast("Service", bench.service), clock=SystemClock())
    agent = Agent(parts)
    agent.start()
    ledger.trouble = LedgerUnavailable("the disk is full")
    agent.stop()
    assert "its end could not be noted" in caplog.text
    with pytest.raises(LedgerUnavailable):
        ledger.open_requests()  # closed all the same


@pytest.mark.parametrize(
    ("state", "file_key", "is_told"),
    [
        (TaskState.ENDED_UNKNOWN, "a file", True),
        (TaskState.FAILED, "", True),
        (TaskState.FAILED, "a file", False),  # its source lies in error/, and is told of there
        (TaskState.EXPORTED, "", False),
    ],
)
def test_a_task_that_did_not_end_as_it_should_is_told_where_no_file_in_error_speaks_of_it(
    tmp_path: Path, state: TaskState, file_key: str, *, is_told: bool
) -> None:
    bench = Workbench(tmp_path)
    now = bench.clock.now()
    row = TaskRecord("T", "invoices", PROJECT, "a.pdf", state, now, now, file_key=file_key, detail="why", ended_at=now)
    bench.ledger.commit(row, replace(row, task_id="before", ended_at=now - 1))
    told = Agent(bench.parts).unfinished(since=now)
    assert told == ([f"{state.value:<9} invoices: task T (a.pdf): why"] if is_told else [])
