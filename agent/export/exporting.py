"""Export one task: start → plan → stage → publish → complete; what is told to the service is durable here before.

The service deletes its copy on `complete` and on `fail`; on `cancel`, or when the lease ends, it offers the task again.
So an export that is interrupted anywhere is simply done again: what was published stays as it is, what was staged is
rolled forward, and anything less starts over.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import (
    LaneTrouble,
    LedgerUnavailable,
    LocalTrouble,
    ServiceTrouble,
    Stopping,
    TaskFatal,
    TaskMoved,
    TaskTransient,
)
from agent.export.notes import write_failure_note
from agent.export.planning import make_archive, plan_export
from agent.export.writing import LEASE_SHARE
from agent.folders import system
from agent.model import Event, LaneReason, ServiceTaskState, TaskState
from agent.rules.naming import base_name, split_extension
from agent.rules.results import result_files
from agent.rules.sizes import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.export.writing import Writing
    from agent.model import (
        ExportFile,
        ExportSpecification,
        ServiceSettings,
        Task,
        TaskRecord,
        WatchFolder,
    )
    from agent.ports import Clock, Ledger, Service

logger = logging.getLogger(__name__)

LEASE_LOST = "the lease was lost; the files are in place"
COMPLETED_OR_ON_ITS_WAY = frozenset({ServiceTaskState.COMPLETED, ServiceTaskState.RUNNING})
"""States after a completion that was accepted (apis.md 1.3)."""
START_COMES_LATE = 2.0
"""Times `service.timeout` after its beginning in which a start whose answer was lost may still be carried out."""
MESSAGE_LIMIT = 500
"""Characters of a failure's message told to the service."""


class Exporting:
    """Exports tasks; one instance serves every worker."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        service: Service,
        clock: Clock,
        writing: Writing,
        settings: ServiceSettings,
        entropy: Callable[[], int],
        task_failed: Callable[[TaskRecord, str], None],
    ) -> None:
        self._ledger = ledger
        self._service = service
        self._clock = clock
        self._writing = writing
        self._settings = settings
        self._entropy = entropy
        self._task_failed = task_failed
        """Records that we failed a task, with what follows for its source."""

    def work(self, folder: WatchFolder, record: TaskRecord, task: Task) -> None:
        """Export one task that waits for export.

        Raises LaneTrouble and LedgerUnavailable (the lease was given back where that could be done) and Stopping.
        """
        if record.state is TaskState.SUPERSEDED or record.state is TaskState.FAILED:
            # A kill may have come between the end of the row and that.
            self._refuse(self._discarded(folder, record), task)
            return
        self._check_space(folder)
        started = self._clock.monotonic()
        begun = self._begin(folder, record, task)
        try:
            specification = self._service.start_export(task)
        except TaskMoved as moved:
            logger.debug("%s: task %s: it is not ready any more: %s", folder.name, task.id, moved.message)
            self._not_begun(record, replace(begun, service_state=""))
        except ServiceTrouble as trouble:
            # Else perhaps we hold the lease: `recover` looks. What surely took none must never cancel another agent's.
            if trouble.nothing_done:
                self._not_begun(record, begun)
            raise
        except TaskFatal as fatal:
            if begun.staged:  # what an earlier start asked for is whole here; nothing more is needed of this one
                self._carry_out(folder, begun, (), started=started)
            else:
                self._fail(folder, begun, fatal)
        except TaskTransient as transient:
            self._try_later(folder, begun, transient)
        else:
            self._carry_out(folder, begun, self._files_of(folder, begun, specification), started=started)

    def _not_begun(self, record: TaskRecord, begun: TaskRecord) -> None:
        """Let a task be as it was before a start that took no lease."""
        if record.state is TaskState.EXPORTED:
            # Listed before its completion was: nothing has changed.
            self._ledger.commit(replace(record, version=begun.version + 1))
        else:
            # Perhaps an earlier start of ours whose answer was lost took it: that lease is looked for.
            self._back(begun, "", started_at=record.started_at)

    def _files_of(
        self, folder: WatchFolder, record: TaskRecord, specification: ExportSpecification
    ) -> tuple[ExportFile, ...]:
        """Return the files an export asks for; where it names none, those made of its result, after the source."""
        if specification.result is None:
            return specification.files
        source = self._ledger.file(record.file_key) if record.file_key else None
        stem, _ = split_extension(base_name(source.relative_path if source is not None else record.name))
        if record.number > 1:
            stem = f"{stem}-{record.number}"
        return result_files(stem, specification.result, folder.export.formats)

    def _begin(self, folder: WatchFolder, record: TaskRecord, task: Task) -> TaskRecord:
        """Record that the lease is taken, before it is: after a crash perhaps we hold it."""
        now = self._clock.now()
        # Copies are no longer wanted where their folder was taken out of the configuration.
        plan = tuple(each for each in record.plan if each.root == "output" or folder.export.archive is not None)
        begun = record.change(
            plan=plan,
            state=TaskState.EXPORTING,
            state_at=now,
            started_at=now,
            ended_at=None,
            service_state=task.state.value,
            seen_at=now,
        )
        self._ledger.commit(begun, Event(now, folder.name, "exporting", "", record.file_key, record.task_id))
        return begun

    def _carry_out(
        self, folder: WatchFolder, record: TaskRecord, files: tuple[ExportFile, ...], *, started: float
    ) -> None:
        """Write and complete what was started, or give it back."""
        try:
            if not record.published:
                record = self._write(folder, record, files, started=started)
            if self._leases and self._clock.monotonic() - started >= self._settings.lease:
                # Somebody else may hold it by now, and his lease is not ours to complete.
                self._back(record, LEASE_LOST)
                return
            self._complete(folder, record)
        except TaskFatal as fatal:
            self._fail(folder, self._current(record), fatal)
        except TaskTransient as transient:
            self._try_later(folder, self._current(record), transient)
        except (LocalTrouble, ServiceTrouble, LedgerUnavailable, Stopping) as trouble:
            current = self._current(record)
            if not current.published:
                self._give_back(current, trouble.message)
            # Else nobody knows whether it was completed: recovery reads the task.
            raise

    def _write(
        self, folder: WatchFolder, record: TaskRecord, files: tuple[ExportFile, ...], *, started: float
    ) -> TaskRecord:
        if not record.staged:
            make_archive(folder)
            plan = plan_export(folder, record, files, now=self._clock.now(), entropy=self._entropy)
            record = record.change(plan=plan)
            self._ledger.commit(record)
            give_up_at = started + LEASE_SHARE * self._settings.lease if self._leases else math.inf
            record = self._writing.stage(folder, record, files, give_up_at=give_up_at)
        return self._writing.publish(folder, record)

    @property
    def _leases(self) -> bool:
        """Whether what we started is ours for a while only; else nobody can take it from us."""
        return self._service.abilities.server_side_lease

    def _check_space(self, folder: WatchFolder) -> None:
        for place, needed in self._writing.space_needed(folder).items():
            if system.free_space(place) < needed:
                raise LocalTrouble(
                    f"less than {readable(needed)} are free where {place} lies",
                    reason=LaneReason.DISK_FULL,
                    hint="make room; the export goes on by itself",
                )

    # --- the end of an export ------------------------------------------------------------------------------------

    def _complete(self, folder: WatchFolder, record: TaskRecord) -> None:
        try:
            self._service.complete_export(record.task_id)
        except TaskMoved as moved:
            if not moved.gone and not self._is_complete(record):
                # The lease was lost: the files stay, the next round takes a new lease only to complete it.
                self._back(record, LEASE_LOST)
                return
        now = self._clock.now()
        changed = record.change(
            state=TaskState.EXPORTED, state_at=now, ended_at=now, started_at=None, retry_at=None, detail=""
        )
        detail = f"{sum(planned.root == 'output' for planned in record.plan)} files"
        self._ledger.commit(changed, Event(now, folder.name, "exported", detail, record.file_key, record.task_id))
        logger.info("%s: task %s exported: %s", folder.name, record.task_id, detail)

    def _is_complete(self, record: TaskRecord) -> bool:
        try:
            task = self._service.get_task(record.task_id, project_id=record.project_id)
        except TaskMoved as moved:
            return moved.gone
        return task.state in COMPLETED_OR_ON_ITS_WAY

    def _fail(self, folder: WatchFolder, record: TaskRecord, fatal: TaskFatal) -> None:
        """Fail a task for good: the note first, since afterwards the service forgets why."""
        logger.error("%s: task %s cannot be exported: %s", folder.name, record.task_id, fatal.message)
        write_failure_note(folder, record, fatal, now=self._clock.now())
        self._task_failed(record, fatal.message)
        self._discarded(folder, self._current(record))
        try:
            self._service.fail_export(record.task_id, fatal.message[:MESSAGE_LIMIT])
        except TaskMoved as moved:
            logger.info("%s: task %s was not failed: %s", folder.name, record.task_id, moved.message)

    def _discarded(self, folder: WatchFolder, record: TaskRecord) -> TaskRecord:
        """Remove what a task has written, once: a file that comes to lie there later may get the id of one of these."""
        if not record.plan:
            return record
        self._writing.discard(folder, record)
        changed = record.change(plan=(), staged=False)
        self._ledger.commit(changed)
        return changed

    def _refuse(self, record: TaskRecord, task: Task) -> None:
        """Fail at the service what has ended for us: its source changed while it was sent, or we failed it before."""
        try:
            # Started it is with a specification that makes no sense too.
            with suppress(TaskFatal):
                self._service.start_export(task)
            self._service.fail_export(record.task_id, record.detail[:MESSAGE_LIMIT])
        except TaskMoved as error:
            logger.info("%s: task %s was not failed: %s", record.watch_folder, record.task_id, error.message)
            return
        now = self._clock.now()
        changed = record.change(ended_at=now)
        event = Event(now, record.watch_folder, "failed at the service", "", record.file_key, record.task_id)
        self._ledger.commit(changed, event)

    def _try_later(self, folder: WatchFolder, record: TaskRecord, transient: TaskTransient) -> None:
        attempts = record.attempts + 1
        settings = folder.export
        exhausted = attempts >= settings.max_attempts
        if exhausted and settings.on_exhausted == "fail":
            self._fail(folder, replace(record, attempts=attempts), TaskFatal(transient.message))
            return
        logger.warning("%s: task %s: attempt %d: %s", folder.name, record.task_id, attempts, transient.message)
        trouble = self._cancel_if_possible(record)
        now = self._clock.now()
        changed = record.change(
            # While we may hold the lease it says so: recovery gives it back once the service can be reached.
            state=TaskState.PROCESSING if trouble is None else TaskState.EXPORTING,
            state_at=now,
            started_at=None if trouble is None else record.started_at,
            attempts=attempts,
            held=exhausted,
            retry_at=now + settings.retry_delay,
            detail=transient.message,
        )
        name = "held" if exhausted else "export put off"
        event = Event(now, folder.name, name, transient.message, record.file_key, record.task_id)
        self._ledger.commit(changed, event)
        if trouble is not None:
            raise trouble

    def _cancel_if_possible(self, record: TaskRecord) -> ServiceTrouble | None:
        """Cancel the lease; return why that cannot be now: the attempt counts all the same."""
        try:
            self._cancel(record)
        except ServiceTrouble as trouble:
            return trouble
        return None

    def _give_back(self, record: TaskRecord, detail: str) -> None:
        """Cancel the lease where the service can be reached; else it ends by itself or recovery cancels it."""
        try:
            self._cancel(record)
            self._back(record, detail)
        except (LaneTrouble, LedgerUnavailable) as error:
            logger.debug("task %s is not given back yet: %s", record.task_id, error.message)

    def _lease_age(self, record: TaskRecord) -> float:
        """Return how old our lease is in seconds; without end where there is none, or the clock was set back since."""
        age = float("inf") if record.started_at is None else self._clock.now() - record.started_at
        return age if age >= 0 else float("inf")

    def _cancel(self, record: TaskRecord) -> None:
        if self._lease_age(record) >= self._settings.lease:
            return  # over by itself; perhaps somebody else has one by now, which is not ours to cancel
        try:
            self._service.cancel_export(record.task_id)
        except TaskMoved as moved:
            logger.debug("task %s: nothing to cancel: %s", record.task_id, moved.message)

    def _back(self, record: TaskRecord, detail: str, *, started_at: float | None = None) -> None:
        """Let a task wait for its turn again; `started_at`: since when we may hold a lease all the same."""
        now = self._clock.now()
        self._ledger.commit(
            record.change(state=TaskState.PROCESSING, state_at=now, started_at=started_at, detail=detail)
        )

    def _current(self, record: TaskRecord) -> TaskRecord:
        """Return the row as the ledger has it: stages commit on the way, and the last commit may have failed."""
        return self._ledger.task(record.task_id) or record

    # --- after an interruption -------------------------------------------------------------------------------------

    def interrupted(self, folder: WatchFolder) -> Sequence[TaskRecord]:
        """Return the rows to recover, unless somebody works on them just now.

        They say `exporting`; or a start of theirs had no answer and was not carried out when it was looked for, and
        the time in which it may have been since is over.
        """
        find = self._ledger.find_tasks
        started = find(watch_folder=folder.name, states=[TaskState.PROCESSING], is_started=True)
        late = START_COMES_LATE * self._settings.timeout
        return (
            *find(watch_folder=folder.name, states=[TaskState.EXPORTING]),
            *(record for record in started if self._lease_age(record) >= late),
        )

    def recover(self, folder: WatchFolder, record: TaskRecord) -> None:
        """Take back one row of `interrupted` while nobody works on it (a crash, a lost answer).

        Perhaps we hold the lease: then it is cancelled, and the task comes again with the next poll; what is durable
        already is not written again. Raises ServiceTrouble and LedgerUnavailable.
        """
        if not self._leases:
            if record.published:
                self._complete(folder, record)
            else:
                self._back(record, "")
            return
        try:
            task = self._service.get_task(record.task_id, project_id=record.project_id)
        except TaskMoved as moved:
            if moved.gone and record.published:
                self._complete(folder, record)
                return
            self._back(record, moved.message)
            return
        age = self._lease_age(record)
        if task.state in COMPLETED_OR_ON_ITS_WAY and record.published:
            self._complete(folder, record)
        elif task.state is ServiceTaskState.PENDING_START and record.state is TaskState.EXPORTING:
            self._back(record, "", started_at=record.started_at if age <= self._settings.lease else None)
        elif task.state is not ServiceTaskState.PENDING_COMPLETE or age > self._settings.lease:
            self._back(record, "")
        elif age < LEASE_SHARE * self._settings.lease:
            # Within our own lease nobody else can hold it.
            if record.published:
                self._complete(folder, record)
                return
            self._cancel(record)
            self._back(record, record.detail or "an interrupted export was given back")
