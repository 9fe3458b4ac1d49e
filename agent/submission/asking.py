"""Asking: what became of each open task, where the service has no list to look at.

Each task is asked for by its id, in its time and the oldest first; what is learned is written into the ledger, where
the export finds what is ready. Uploads that become several tasks are `uploads`' business.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import TaskMoved
from agent.model import Event, Reason, ServiceTaskState, TaskState
from agent.rules.polling import PollTimes, first_look, next_look
from agent.submission.follow import ENDS, UNKNOWN_AFTER, end_failed
from agent.submission.uploads import Uploads, is_upload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.model import Settings, Task, TaskRecord
    from agent.ports import Clock, Ledger, Service

logger = logging.getLogger(__name__)

OPEN_TASKS = 100_000
"""Open tasks read at once."""
ASKED_AT_ONCE = 50
"""Tasks asked for in one turn, so that a stop is noticed and what is ready does not wait for the rest."""
NEVER = 3600.0
"""Seconds until the next turn where nothing is open: somebody wakes us."""
TOLD_WITHIN = 3.0
"""Seconds a message that a task has ended may take longer than our own look."""
EXPIRED = "the service has deleted the result, because it was not fetched in time"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did: how many tasks it asked for, how many results became ready, seconds until the next."""

    asked: int
    ready: int
    seconds: float


@dataclass(slots=True)
class _Plan:
    """When a task is asked for next, on this process's monotonic clock."""

    due: float
    looks: int = 0
    failures: int = 0
    is_told: bool = False
    """The service said that it has ended."""
    is_not_known: bool = False
    """The service said that it does not know it; told once."""


class Asking:
    """Asks for open tasks; `work` belongs to one thread, `tell` may be called by any."""

    def __init__(
        self,
        settings: Settings,
        *,
        ledger: Ledger,
        service: Service,
        clock: Clock,
        random: Callable[[], float],
        is_told: bool = False,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._service = service
        self._clock = clock
        self._random = random
        self._uploads = Uploads(ledger=ledger, service=service, clock=clock)
        self._plans: dict[str, _Plan] = {}
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._ready = 0
        self._is_told = is_told
        """Whether the service tells by itself; doubted once a task was found ended of which it had said nothing."""

    def tell(self, task_id: str) -> bool:
        """Take the service's word that a task has ended; return whether the task is known and open."""
        record = self._ledger.task(task_id)
        if record is None or record.ended_at is not None:
            return False
        with self._lock:
            self._told.add(task_id)
        return True

    def work(self, *, exports: Callable[[str], bool]) -> Turn:
        """Ask for what is due, the oldest first, but first for what the service told about.

        `exports` says whether a watch folder's results are written. Raises ServiceTrouble and LedgerUnavailable; then
        what was not asked for is due at once, and what could not be asked for has others before it.
        """
        with self._lock:  # before the rows are read: what is told of a row written meanwhile is for the next turn
            told = set(self._told)
        is_open = self._ledger.find_tasks(is_open=True, limit=OPEN_TASKS)
        with self._lock:
            self._told -= told
        records = [record for record in is_open if _is_asked_for(record)]
        self._plan(records, told)
        now = self._clock.monotonic()
        due = sorted(
            (record for record in records if self._plans[record.task_id].due <= now),
            key=lambda record: (not self._plans[record.task_id].is_told, record.opened_at),
        )
        asked = due[:ASKED_AT_ONCE]
        self._ready = 0
        for record in asked:
            self._ask(record, exports=exports)
        next_due = min((plan.due for plan in self._plans.values()), default=now + NEVER)
        return Turn(len(asked), self._ready, max(0.0, next_due - self._clock.monotonic()))

    # --- when -------------------------------------------------------------------------------------------------------

    def _plan(self, records: Sequence[TaskRecord], told: set[str]) -> None:
        """Keep a plan for each open task and for no other; what the service told about is due now."""
        now = self._clock.monotonic()
        plans = {}
        for record in records:
            plan = self._plans.get(record.task_id)
            if plan is None:
                submitted_for = self._clock.now() - record.opened_at
                wait = first_look(self._times(record), submitted_for=submitted_for, is_told=self._is_told)
                plan = _Plan(now + wait)
            if record.task_id in told:
                plan.due, plan.is_told = now, True
                self._is_told = True
            plans[record.task_id] = plan
        self._plans = plans

    def _times(self, record: TaskRecord) -> PollTimes:
        folder = self._settings.watch_folder(record.watch_folder)
        export = (folder or self._settings.watch_folders[0]).export
        return PollTimes(self._service.abilities.first_poll, export.poll_min, export.poll_max)

    def _put_off(self, record: TaskRecord) -> None:
        plan = self._plans[record.task_id]
        plan.is_told, plan.failures = False, 0
        is_told = self._is_told or record.state is TaskState.REVIEWING
        wait = next_look(self._times(record), looks=plan.looks, is_told=is_told, random=self._random())
        plan.looks += 1
        plan.due = self._clock.monotonic() + wait

    def _let_others_go_first(self, record: TaskRecord) -> None:
        """Put off a task that cannot be asked for: perhaps it alone is the trouble, and the oldest goes first."""
        plan = self._plans[record.task_id]
        wait = next_look(self._times(record), looks=plan.failures, is_told=False, random=self._random())
        plan.failures += 1
        plan.due = self._clock.monotonic() + wait

    # --- what -------------------------------------------------------------------------------------------------------

    def _ask(self, record: TaskRecord, *, exports: Callable[[str], bool]) -> None:
        try:
            self._look_at(record, exports=exports)
        except Exception:
            self._let_others_go_first(record)
            raise

    def _look_at(self, record: TaskRecord, *, exports: Callable[[str], bool]) -> None:
        try:
            if is_upload(record, self._service):
                if self._uploads.split(record):
                    self._plans.pop(record.task_id)
                    return
            else:
                task = self._service.get_task(record.task_id, project_id=record.project_id)
                if self._learned(record, task, exports=exports):
                    self._doubt_silence(record)
                    self._plans.pop(record.task_id)
                    return
        except TaskMoved as moved:
            if self._forgotten(record, moved):
                self._plans.pop(record.task_id)
                return
        self._put_off(record)

    def _doubt_silence(self, record: TaskRecord) -> None:
        """Ask in shorter times again where a task had ended and the service said nothing about it."""
        plan = self._plans[record.task_id]
        if self._is_told and not plan.is_told and self._clock.now() - record.opened_at > TOLD_WITHIN:
            logger.info("%s: task %s ended, and the service did not say so", record.watch_folder, record.task_id)
            self._is_told = False

    def _learned(self, record: TaskRecord, task: Task, *, exports: Callable[[str], bool]) -> bool:
        """Record what the service shows of a task; return whether it has no more to be asked for."""
        state = task.state
        if record.state is TaskState.SUPERSEDED:
            if state in {ServiceTaskState.RUNNING, ServiceTaskState.QUEUED, ServiceTaskState.REVIEWING}:
                return False
            self._finish(record, TaskState.SUPERSEDED, state, record.detail)
        elif state in ENDS or state is ServiceTaskState.EXPIRED:
            reason, sentence = ENDS.get(state, (Reason.RESULT_EXPIRED, EXPIRED))
            end_failed(self._ledger, record, reason=reason, detail=task.message or sentence, now=self._clock.now())
        elif state is ServiceTaskState.DISCARDED:
            self._finish(record, TaskState.DISCARDED, state, task.message or "it was put aside at the service")
        elif state is ServiceTaskState.PENDING_START:
            self._is_ready(record, exports=exports)
        else:
            self._goes_on(record, state)
            return False
        return True

    def _is_ready(self, record: TaskRecord, *, exports: Callable[[str], bool]) -> None:
        # Of a watch folder taken out of the configuration it waits: nobody said that its result is not wanted.
        is_configured = self._settings.watch_folder(record.watch_folder) is not None
        if is_configured and not exports(record.watch_folder):
            self._finish(record, TaskState.EXPORTED, ServiceTaskState.COMPLETED, "completed at the service")
            return
        now = self._clock.now()
        changed = record.change(
            state=TaskState.PROCESSING,
            state_at=now,
            service_state=ServiceTaskState.PENDING_START.value,
            seen_at=now,
            detail="",
        )
        self._ledger.commit(changed, Event(now, record.watch_folder, "ready", "", record.file_key, record.task_id))
        self._ready += 1

    def _goes_on(self, record: TaskRecord, state: ServiceTaskState) -> None:
        """Record that people look at it, or no longer; looks that show nothing new cost the ledger nothing."""
        if record.service_state == state.value:
            return
        now = self._clock.now()
        is_reviewed = state is ServiceTaskState.REVIEWING
        changed = record.change(
            state=TaskState.REVIEWING if is_reviewed else TaskState.PROCESSING,
            state_at=now,
            service_state=state.value,
            seen_at=now,
        )
        if changed.state is record.state:
            self._ledger.commit(changed)
            return
        event = Event(now, record.watch_folder, changed.state.value, "", record.file_key, record.task_id)
        self._ledger.commit(changed, event)

    def _forgotten(self, record: TaskRecord, moved: TaskMoved) -> bool:
        """Return whether a task the service does not know is given up; it may only not know it yet."""
        now = self._clock.now()
        if not moved.gone:
            return False
        if now - record.opened_at < UNKNOWN_AFTER:
            self._tell_not_known(record, moved)
            return False
        detail = "the service no longer knows the task; how it ended is not known"
        self._finish(record, TaskState.ENDED_UNKNOWN, ServiceTaskState.UNRECOGNISED, detail)
        return True

    def _tell_not_known(self, record: TaskRecord, moved: TaskMoved) -> None:
        """Say once that there is no such task: it may come to be known yet, or an operator named the wrong one."""
        plan = self._plans[record.task_id]
        if plan.is_not_known:
            return
        plan.is_not_known = True
        logger.warning("%s: task %s is not known: %s", record.watch_folder, record.task_id, moved.message)
        now = self._clock.now()
        event = Event(now, record.watch_folder, "not known", moved.message, record.file_key, record.task_id)
        self._ledger.commit(event)

    def _finish(self, record: TaskRecord, state: TaskState, service_state: ServiceTaskState, detail: str) -> None:
        now = self._clock.now()
        changed = record.change(
            state=state, state_at=now, ended_at=now, service_state=service_state.value, detail=detail, started_at=None
        )
        event = Event(now, record.watch_folder, state.value, detail, record.file_key, record.task_id)
        self._ledger.commit(changed, event)
        logger.info("%s: task %s: %s", record.watch_folder, record.task_id, detail)


def _is_asked_for(record: TaskRecord) -> bool:
    """Return whether the service's next word about a task is waited for: not while its result is written."""
    if record.state is TaskState.EXPORTING:
        return False
    return record.service_state != ServiceTaskState.PENDING_START.value or record.state is TaskState.SUPERSEDED
