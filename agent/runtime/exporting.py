"""The export loop: polls the service for what is ready and hands it to as many workers as the watch folder has.

Touches no folder itself: outputs are looked at by root watches, written by each watch folder's own workers.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

from agent.errors import LaneTrouble, LedgerUnavailable, LocalTrouble, ServiceTrouble, StaleRecord, Stopping
from agent.model import LaneReason
from agent.runtime.lanes import EXPORTS
from agent.runtime.pools import DaemonThreads
from agent.runtime.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor, Future

    from agent.model import Task, TaskRecord, WatchFolder
    from agent.runtime.lanes import Lane
    from agent.runtime.parts import Parts

logger = logging.getLogger(__name__)

QUEUED_PER_WORKER = 2
"""Exports handed to a watch folder's workers at once, for each of them; the rest waits at the service."""
IDLE_WITHOUT_OUTPUT = 60.0
SHORTEST_POLL = 0.05
"""Seconds between two polls at least, whatever is configured: no busy loop."""


class Root(Protocol):
    """An output root as the loop needs it."""

    def is_healthy(self) -> bool:
        """Return whether it is there and ours."""


class ExportLoop:
    """Polls and dispatches; `step` runs in the thread that owns it."""

    def __init__(
        self,
        parts: Parts,
        *,
        roots: Mapping[str, Root],
        wake: Callable[[], None],
        make_pool: Callable[[int, str], Executor] = DaemonThreads,
    ) -> None:
        self._parts = parts
        self._wake = wake
        self._folders = [folder for folder in parts.settings.watch_folders if folder.output is not None]
        self._roots = roots
        self._pools = {
            folder.name: make_pool(max(1, folder.export.workers), f"export {folder.name}") for folder in self._folders
        }
        self._repeats = Repeats(parts.settings.retry, parts.clock)
        self._lock = threading.Lock()
        self._queued = {folder.name: 0 for folder in self._folders}
        self._pause = self._shortest
        self._is_closed = False
        self.polls = 0
        """Lists read so far."""

    @property
    def _shortest(self) -> float:
        shortest = min((folder.export.poll_min for folder in self._folders), default=IDLE_WITHOUT_OUTPUT)
        return max(SHORTEST_POLL, shortest)

    @property
    def _longest(self) -> float:
        longest = min((folder.export.poll_max for folder in self._folders), default=IDLE_WITHOUT_OUTPUT)
        return max(SHORTEST_POLL, longest)

    def step(self) -> float:
        """Poll once, dispatch what is ready and return the seconds until the next poll."""
        if not self._folders:
            return IDLE_WITHOUT_OUTPUT
        healthy = [folder for folder in self._folders if self._roots[folder.name].is_healthy()]
        service = self._parts.lanes.service
        if not healthy:
            return self._shortest
        if not service.enter():
            return min(self._longest, max(0.05, service.wait_seconds()))
        try:
            found = self._parts.polling.work(healthy)
        except ServiceTrouble as trouble:
            service.failed(trouble)
            return 0.05
        except BaseException:
            service.leave()
            raise
        if self._parts.service.abilities.lists_tasks:
            service.succeeded()
        else:
            service.leave()  # only the ledger was asked: that opens no lane
        self.polls += 1
        dispatched = sum(self._dispatch(folder, record, task) for folder, record, task in found)
        if dispatched:
            self._pause = self._shortest
            return self._shortest if len(self._parts.tasks_in_hand) else 0.0
        pause, self._pause = self._pause, min(self._longest, self._pause * 2)
        return pause

    def close(self) -> None:
        """Let the workers end: those under way give their lease back, the rest is not begun."""
        self._is_closed = True
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _dispatch(self, folder: WatchFolder, record: TaskRecord, task: Task) -> int:
        """Hand one export to its workers; return 1 where it was taken."""
        lane = self._parts.lanes.export(folder.name)
        if not self._repeats.may_begin(task.id) or not self._take(folder, task.id):
            return 0
        if not lane.enter():
            self._release(folder, task.id)
            return 0
        try:
            future = self._pools[folder.name].submit(self._work, folder, record, task)
        except RuntimeError:
            self._never_begun(folder, task.id, lane)
            if self._is_closed:  # since the step began: the agent stops
                return 0
            raise  # the system gives no thread: status says so

        def ended(future: Future[None]) -> None:
            if future.cancelled():
                self._never_begun(folder, task.id, lane)

        future.add_done_callback(ended)
        return 1

    def _take(self, folder: WatchFolder, task_id: str) -> bool:
        """Take a task in hand unless it is, or its folder's workers have enough: one slow output keeps no other."""
        with self._lock:
            if self._queued[folder.name] >= QUEUED_PER_WORKER * max(1, folder.export.workers):
                return False
            if not self._parts.tasks_in_hand.take(task_id):
                return False
            self._queued[folder.name] += 1
            return True

    def _release(self, folder: WatchFolder, task_id: str) -> None:
        with self._lock:
            self._queued[folder.name] -= 1
        self._parts.tasks_in_hand.release(task_id)

    def _never_begun(self, folder: WatchFolder, task_id: str, lane: Lane) -> None:
        lane.leave()
        self._release(folder, task_id)

    def _work(self, folder: WatchFolder, record: TaskRecord, task: Task) -> None:
        lane = self._parts.lanes.export(folder.name)
        try:
            if self._parts.stop.is_set():
                lane.leave()
                return
            current = self._parts.ledger.task(record.task_id)
            self._parts.exporting.work(folder, current or record, task)
            self._end_turn(task.id)
        except LocalTrouble as trouble:
            lane.failed(trouble)
        except ServiceTrouble as trouble:
            lane.leave()
            self._parts.lanes.service.failed(trouble, of=EXPORTS)
            self._repeats.ended(task.id)
        except (StaleRecord, Stopping) as error:
            lane.leave()
            logger.debug("%s: task %s: %s", folder.name, task.id, error.message)
        except LedgerUnavailable as trouble:
            hint = "make room for the ledger, or mend its disk; it goes on by itself"
            lane.failed(LaneTrouble(trouble.message, reason=LaneReason.LEDGER_UNAVAILABLE, hint=hint))
        except Exception:
            # A pool's thread has nobody above it: without this line the error would vanish in an unread future.
            lane.leave()
            self._repeats.ended(task.id)
            logger.exception("%s: task %s: unexpected error", folder.name, task.id)
        else:
            lane.succeeded()
            self._parts.lanes.service.works_for(EXPORTS)
        finally:
            self._release(folder, task.id)
            if not len(self._parts.tasks_in_hand):
                self._wake()

    def _end_turn(self, task_id: str) -> None:
        """Let a task that is listed again wait, unless it has a time of its own to wait for."""
        row = self._parts.ledger.task(task_id)
        if row is None or row.retry_at is None:
            self._repeats.ended(task_id)
