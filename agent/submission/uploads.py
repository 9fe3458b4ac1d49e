"""Uploads: one submission that the service makes several tasks of (apis.md 2.2), each with a row of its own.

The upload's own row is open until all its tasks are known. Tasks are matched to the files sent by name; one file may
give several (a mail and its attachments), which are numbered in the order of their ids.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from agent.model import (
    DocumentType,
    Event,
    FileState,
    Reason,
    ServiceTaskState,
    TaskRecord,
    TaskReference,
    TaskState,
)
from agent.rules.form_names import file_name_in_form
from agent.rules.naming import base_name, for_display, relative_parent
from agent.submission.follow import rejected_source
from agent.submission.outcomes import CHANGED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import FileRecord, Task, UploadProgress
    from agent.ports import Clock, Ledger, Service, UploadService

logger = logging.getLogger(__name__)

ROWS = 100_000
"""Files, or tasks, of one upload read at once: a mail among a hundred files may bring many tasks."""
FAILED = "the service could not process the upload"
UNTOLD = "the upload is finished, and the service does not tell which tasks it became: no result can be fetched"
NO_TASK = "the service made no task of it"


def is_upload(record: TaskRecord, service: Service) -> bool:
    """Return whether a row stands for an upload whose tasks are looked for."""
    return service.abilities.splits_submissions and not record.upload_id


class Uploads:
    """Splits uploads into their tasks; owned by one thread."""

    def __init__(self, *, ledger: Ledger, service: Service, clock: Clock) -> None:
        self._ledger = ledger
        self._service = service
        self._clock = clock

    def split(self, record: TaskRecord) -> bool:
        """Record the tasks an upload became since the last look; return whether all are known now.

        Raises ServiceTrouble, TaskMoved and LedgerUnavailable.
        """
        service = cast("UploadService", self._service)
        progress = service.find_tasks_of(TaskReference(record.task_id, record.project_id, record.opened_at))
        known = self._ledger.find_tasks(upload_id=record.task_id, limit=ROWS)
        files = self._files_of(record, known)
        rows = self._new_rows(record, progress, files, known)
        if progress.may_grow:
            self._commit(record, rows)
            return False
        self._commit(record, rows, *self._end(record, progress, files, [*known, *rows]))
        return True

    def _files_of(self, upload: TaskRecord, known: Sequence[TaskRecord]) -> list[FileRecord]:
        """Return the files of an upload: those that know no task of it yet, and those that were given theirs."""
        files = {file.key: file for file in self._ledger.find_files(task_id=upload.task_id, limit=ROWS)}
        for key in {task.file_key for task in known} - files.keys() - {""}:
            file = self._ledger.file(key)
            if file is not None:
                files[key] = file
        return list(files.values())

    def _new_rows(
        self, record: TaskRecord, progress: UploadProgress, files: Sequence[FileRecord], known: Sequence[TaskRecord]
    ) -> list[TaskRecord]:
        # Asked of the whole ledger: a row may be another's, such as of a task that an operator named.
        recorded = self._ledger.known_tasks([task.id for task in progress.tasks])
        # Of one file, or where nobody knows of which, of one name.
        numbers: dict[tuple[str, str], int] = {}
        for row in known:
            stem = (row.file_key, "" if row.file_key else row.name)
            numbers[stem] = max(numbers.get(stem, 0), row.number)
        rows = []
        for task in sorted(progress.tasks, key=lambda task: task.id):
            if task.id in recorded:
                continue
            source = _source_of(task, files)
            stem = (source.key, "") if source is not None else ("", task.name or record.name)
            numbers[stem] = numbers.get(stem, 0) + 1
            rows.append(self._row(record, task, source, numbers[stem]))
        return rows

    def _row(self, upload: TaskRecord, task: Task, source: FileRecord | None, number: int) -> TaskRecord:
        now = self._clock.now()
        if source is None:
            logger.warning("%s: task %s is of no file of upload %s", upload.watch_folder, task.id, upload.task_id)
        has_changed = source is not None and source.state is FileState.GONE and source.detail == CHANGED
        is_superseded = upload.state is TaskState.SUPERSEDED or has_changed
        return TaskRecord(
            task_id=task.id,
            watch_folder=upload.watch_folder,
            project_id=upload.project_id,
            name=task.name or (source.task_name if source is not None else upload.name),
            state=TaskState.SUPERSEDED if is_superseded else TaskState.PROCESSING,
            state_at=now,
            opened_at=upload.opened_at,
            file_key=source.key if source is not None else "",
            source_folder=relative_parent(source.relative_path) if source is not None else upload.source_folder,
            service_state=ServiceTaskState.QUEUED.value,
            detail=CHANGED if is_superseded else "",
            seen_at=now,
            asked_at=now,
            upload_id=upload.task_id,
            number=number,
        )

    def _commit(self, upload: TaskRecord, rows: Sequence[TaskRecord], *others: FileRecord | TaskRecord | Event) -> None:
        events = [
            Event(row.state_at, row.watch_folder, "task", f"of upload {upload.task_id}", row.file_key, row.task_id)
            for row in rows
        ]
        if rows or others:
            self._ledger.commit(*rows, *others, *events)

    def _end(
        self,
        upload: TaskRecord,
        progress: UploadProgress,
        files: Sequence[FileRecord],
        tasks: Sequence[TaskRecord],
    ) -> list[FileRecord | TaskRecord | Event]:
        """Return the rows of an upload that is split: each file knows its first task, one without goes to error/."""
        now = self._clock.now()
        first = {task.file_key: task.task_id for task in sorted(tasks, key=lambda task: -task.number)}
        rows: list[FileRecord | TaskRecord | Event] = []
        for file in files:
            if file.key in first:
                if file.task_id == upload.task_id:
                    rows.append(file.change(task_id=first[file.key]))
            elif progress.state is ServiceTaskState.FAILED:
                rows.append(rejected_source(file, reason=Reason.TASK_FAILED, detail=FAILED, now=now))
                rows.append(Event(now, file.watch_folder, "failed", FAILED, file.key, upload.task_id))
            elif tasks or progress.tasks:
                shown = for_display(file.relative_path)
                logger.warning("%s: %s: %s", file.watch_folder, shown, NO_TASK)
                rows.append(file.change(detail=NO_TASK))
                rows.append(Event(now, file.watch_folder, "no task", NO_TASK, file.key))
            else:
                rows.append(Event(now, file.watch_folder, TaskState.ENDED_UNKNOWN.value, UNTOLD, file.key))
        state, detail = _end_of(upload, progress, tasks)
        rows.append(
            upload.change(state=state, state_at=now, ended_at=now, service_state=progress.state.value, detail=detail)
        )
        return rows


def _end_of(upload: TaskRecord, progress: UploadProgress, tasks: Sequence[TaskRecord]) -> tuple[TaskState, str]:
    """Return how an upload ended, and what is to be said of it. Without tasks its own row is all its files have."""
    if upload.state is TaskState.SUPERSEDED:
        return upload.state, upload.detail
    if tasks or progress.tasks:  # they may have rows of another's
        return TaskState.SPLIT, f"{len(tasks)} tasks"
    if progress.state is ServiceTaskState.FAILED:
        return TaskState.FAILED, FAILED
    logger.warning("%s: upload %s: %s", upload.watch_folder, upload.task_id, UNTOLD)
    return TaskState.ENDED_UNKNOWN, UNTOLD


def _source_of(task: Task, files: Sequence[FileRecord]) -> FileRecord | None:
    """Return the file a task is of: by its name, else the only one it can be."""
    # A name travels in a form, and a service may show it as it travelled.
    named = [file for file in files if base_name(file.relative_path) == task.name]
    named += [file for file in files if file_name_in_form(file.relative_path) == task.name]
    if named:
        return named[0]
    if len(files) == 1:
        return files[0]
    mails = [file for file in files if file.document_type == DocumentType.EMAIL.value]
    return mails[0] if len(mails) == 1 else None
