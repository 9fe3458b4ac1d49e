"""Follow: what becomes of our tasks at the service, and what that means for their sources in `archive/`.

Owns the ends of tasks that the export does not bring about itself: failed, timed out, canceled, completed by somebody
else, or never heard of again. It plans the filing of the source; `file_away` carries it out.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import TaskMoved
from agent.model import OPEN_TASK_STATES, Event, FileState, Reason, ServiceTaskState, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.model import FileRecord, Task, TaskRecord
    from agent.ports import Clock, Ledger, Service

logger = logging.getLogger(__name__)

ASK_AFTER = 24 * 3600.0
"""Seconds of silence after which one task is asked for by itself."""
ASK_SOONER_AFTER = 3600.0
"""The same for a task whose export somebody else had started: twice a usual lease later he is done with it."""
UNKNOWN_AFTER = 72 * 3600.0
"""Seconds the service keeps the record of an ended task (seed 000): a 404 before says nothing about its end."""

SILENCE_CHECK_EVERY = 3600.0
ASKED_AT_ONCE = 50
"""Tasks asked for in one look where somebody waits for the end of all."""
PAGE = 500
OPEN_TASKS = 100_000
"""Open tasks read at once where the service has to be asked for each."""

MAY_BE_ANOTHERS = frozenset({"", ServiceTaskState.PENDING_START.value, ServiceTaskState.PENDING_COMPLETE.value})
"""What is known of a task that was ready to be exported; "": its start was refused (apis.md 1.5: read it again)."""

ENDS: dict[ServiceTaskState, tuple[Reason, str]] = {
    ServiceTaskState.FAILED: (Reason.TASK_FAILED, "the service could not process the file"),
    ServiceTaskState.TIMED_OUT: (Reason.TASK_TIMED_OUT, "the task was not finished in the project's time"),
    ServiceTaskState.CANCELED: (Reason.TASK_CANCELED, "the task was canceled at the service"),
}


class Follow:
    """Looks for the ends of open tasks."""

    def __init__(self, *, ledger: Ledger, service: Service, clock: Clock) -> None:
        self._ledger = ledger
        self._service = service
        self._clock = clock
        self._next_silence_check = 0.0
        self.hurries = False
        """Whether somebody waits for the end of all tasks (`run --once`): what others have exported is known soon."""
        self._asked: dict[str, float] = {}
        """When a task was asked for last because of that; monotonic seconds."""

    def work(self, *, exports: Callable[[str], bool]) -> bool:
        """Look once for ended tasks; return whether there was anything to ask for.

        `exports` says whether a watch folder has an output.
        Raises ServiceTrouble and LedgerUnavailable.
        """
        if not self._service.abilities.lists_tasks:
            return False  # each task is asked for by itself (`asking`)
        some = self._ledger.find_tasks(is_open=True, limit=1)
        if not some:
            return False
        completed = any(not exports(name) for name in self._folders_with_open_tasks())
        ended = self._service.find_ended(completed=completed)
        for start in range(0, len(ended), PAGE):
            page = ended[start : start + PAGE]
            known = self._ledger.known_tasks([task.id for task in page])
            for task in page:
                record = known.get(task.id)
                if record is not None and record.ended_at is None:
                    self._ended(record, task, exports=exports)
        if self._clock.monotonic() >= self._next_silence_check:
            self._ask_for_silent_ones(exports=exports)
            self._next_silence_check = self._clock.monotonic() + SILENCE_CHECK_EVERY
        if self.hurries:
            self._ask_for_those_of_others(exports=exports)
        return True

    def _open_tasks(self) -> Sequence[TaskRecord]:
        return self._ledger.find_tasks(is_open=True, limit=OPEN_TASKS)

    def _folders_with_open_tasks(self) -> set[str]:
        counts = self._ledger.task_counts()
        return {count.watch_folder for count in counts if count.state in OPEN_TASK_STATES}

    def _ask_for_silent_ones(self, *, exports: Callable[[str], bool]) -> None:
        now = self._clock.now()
        for record in self._open_tasks():
            if record.state is TaskState.EXPORTING and exports(record.watch_folder):
                continue  # the export has it in hand and would lose its row; an interrupted one is its recovery's
            # Exporting leaves no state at the service where its start was refused (apis.md 1.5: read it again).
            patience = ASK_AFTER if record.service_state else ASK_SOONER_AFTER
            if now - max(record.seen_at, record.asked_at) < patience:
                continue
            self._ask(record, exports=exports)

    def _ask(self, record: TaskRecord, *, exports: Callable[[str], bool]) -> None:
        try:
            task = self._service.get_task(record.task_id, project_id=record.project_id)
        except TaskMoved:
            self._forgotten(record)
            return
        if not self._ended(record, task, exports=exports):
            now = self._clock.now()
            self._ledger.commit(record.change(seen_at=now, asked_at=now, service_state=task.state.value))

    def _ask_for_those_of_others(self, *, exports: Callable[[str], bool]) -> None:
        """Ask for tasks that may have been exported by a faster one: no list tells that they ended so.

        A long backlog is asked for bit by bit, those first that were ready to be exported, and asked longest ago.
        """
        waiting = [record for record in self._open_tasks() if record.state is TaskState.PROCESSING and not record.held]

        def turn(record: TaskRecord) -> tuple[bool, float]:
            return record.service_state not in MAY_BE_ANOTHERS, self._asked.get(record.task_id, 0.0)

        for record in sorted(waiting, key=turn)[:ASKED_AT_ONCE]:
            self._asked[record.task_id] = self._clock.monotonic()
            self._ask(record, exports=exports)

    def _ended(self, record: TaskRecord, task: Task, *, exports: Callable[[str], bool]) -> bool:
        """Record the end of one task; return whether it has ended."""
        if task.state in ENDS:
            reason, sentence = ENDS[task.state]
            end_failed(self._ledger, record, reason=reason, detail=task.message or sentence, now=self._clock.now())
            return True
        if task.state is ServiceTaskState.COMPLETED and not exports(record.watch_folder):
            self._finish(record, TaskState.EXPORTED, task.state.value, "completed at the service")
            return True
        if task.state is ServiceTaskState.COMPLETED and record.state is not TaskState.EXPORTING:
            # Published and nobody at it: the answer to our own completion got lost.
            detail = "" if record.published else "completed by another client of the service"
            self._finish(record, TaskState.EXPORTED, task.state.value, detail)
            return True
        return False

    def _forgotten(self, record: TaskRecord) -> None:
        now = self._clock.now()
        if now - record.opened_at < UNKNOWN_AFTER:
            self._ledger.commit(record.change(asked_at=now))
            return
        if record.published:
            self._finish(record, TaskState.EXPORTED, ServiceTaskState.COMPLETED.value, "")
            return
        detail = "the service no longer knows the task; how it ended is not known"
        self._finish(record, TaskState.ENDED_UNKNOWN, "", detail)

    def _finish(self, record: TaskRecord, state: TaskState, service_state: str, detail: str) -> None:
        now = self._clock.now()
        if record.state is TaskState.SUPERSEDED:
            state, detail = record.state, record.detail
        changed = record.change(
            state=state, state_at=now, ended_at=now, service_state=service_state, detail=detail, started_at=None
        )
        event = Event(now, record.watch_folder, state.value, detail, record.file_key, record.task_id)
        self._ledger.commit(changed, event)
        logger.info("%s: task %s: %s", record.watch_folder, record.task_id, detail)


def end_failed(ledger: Ledger, record: TaskRecord, *, reason: Reason, detail: str, now: float) -> None:
    """Record that a task failed, with the plan to bring its source from archive/ to error/, in one commit."""
    state = record.state if record.state is TaskState.SUPERSEDED else TaskState.FAILED
    changed = record.change(
        state=state,
        state_at=now,
        ended_at=now,
        service_state=reason.value.removeprefix("task_").replace("_", "-"),
        detail=record.detail if state is TaskState.SUPERSEDED else detail,
        started_at=None,
    )
    event = Event(now, record.watch_folder, state.value, detail, record.file_key, record.task_id)
    source = ledger.file(record.file_key) if record.file_key else None
    if source is None or state is TaskState.SUPERSEDED:
        ledger.commit(changed, event)
        return
    logger.warning("%s: task %s: %s: %s", record.watch_folder, record.task_id, reason.value, detail)
    rejected = rejected_source(source, reason=reason, detail=detail, now=now)
    if record.upload_id:  # the note names the task that failed, not the upload it is of
        rejected = replace(rejected, task_id=record.task_id)
    ledger.commit(changed, event, rejected)


def rejected_source(source: FileRecord, *, reason: Reason, detail: str, now: float) -> FileRecord:
    """Return the source's record on its way from archive/ to error/.

    One that is still to be filed only gets its reason: filing goes on from archive/ to error/ by itself, so that at
    no time two plans disagree about where the file lies.
    """
    if source.state is not FileState.ARCHIVED or source.filed_in != "archive":
        return source.change(reason=reason, detail=detail)
    return source.change(
        state=FileState.REJECTED,
        state_at=now,
        reason=reason,
        detail=detail,
        filing="error",
        destination=source.relative_path,
        filed_at=None,
    )
