"""The agent's own part: it starts its threads and brings all of them to an end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from fakes.memory_ledger import MemoryLedger
from fakes.workbench import Workbench

from agent.app import build_parts
from agent.model import RootKind, RootRecord
from agent.runtime.agent import Agent
from agent.runtime.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import Event, FileRecord, TaskRecord
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
