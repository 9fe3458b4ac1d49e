"""Submit: one claimed file → checked → intent durable → sent → answer durable → filed away.

The one rule of this module: before the first byte leaves, the ledger knows that it will; after the answer, the ledger
knows the task before anything moves. Whatever interrupts it in between leaves a row that says what to do next.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

from agent.errors import (
    FileBusy,
    FileRefused,
    LaneTrouble,
    LedgerUnavailable,
    OutcomeUnknown,
    StaleRecord,
)
from agent.model import Event, FileState
from agent.rules.naming import for_display
from agent.submission.connections import Connections
from agent.submission.hashing import HashingReader
from agent.submission.outcomes import accepted, cancel, superseded
from agent.submission.preparing import Prepared, Preparing, is_unchanged
from agent.submission.uploading import upload_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from agent.model import FileRecord, Task, TaskRecord
    from agent.ports import Clock, Ledger, Service
    from agent.submission.inbox import Inbox

    RowsOf: TypeAlias = Callable[[FileRecord], tuple[FileRecord, *tuple[TaskRecord | Event, ...]]]

logger = logging.getLogger(__name__)

LEDGER_RETRY = 2.0
"""Seconds between attempts to record an answer while the ledger cannot be written."""


class Submit:
    """Sends claimed files; one instance serves every worker."""

    def __init__(
        self, *, ledger: Ledger, service: Service, clock: Clock, stop: threading.Event, connections: int = 1
    ) -> None:
        self._ledger = ledger
        self._service = service
        self._clock = clock
        self._stop = stop
        self.connections = Connections(connections)
        self.preparing = Preparing(ledger=ledger, clock=clock, size_limit=service.abilities.size_limit)

    def work(self, inbox: Inbox, record: FileRecord, *, stays: Callable[[], bool]) -> FileRecord:
        """Take one claimed record as far as it goes now and return it as the ledger has it.

        `stays` is asked once the service refused the file: whether it refuses everything, so that the file stays
        (design.md §3, the table).
        Raises LaneTrouble and LedgerUnavailable with the record put back where that could be done, FileRefused
        (after the record was put back) where it stays.
        """
        with ExitStack() as open_files:
            prepared = self.preparing.prepare(inbox, record, open_files)
            if not isinstance(prepared, Prepared):
                return prepared
            try:
                with self.connections.hold(inbox.folder.name):
                    if self._stop.is_set():
                        # It waited for a place until now: a stopping agent lets uploads end and begins none.
                        return self.preparing.put_back(prepared.record, "")
                    return self._send(inbox, prepared)
            except LaneTrouble as trouble:
                self.preparing.put_back_after(record, trouble)
                raise
            except FileRefused as refused:
                if stays():
                    self.preparing.keep_back(record, refused.message)
                    raise
                return self.preparing.reject(self._ledger.file(record.key) or record, refused)

    # --- the bytes leave --------------------------------------------------------------------------------------------

    def _send(self, inbox: Inbox, prepared: Prepared) -> FileRecord:
        record, opened = prepared.record, prepared.opened
        upload = upload_of(inbox, prepared)
        now = self._clock.now()
        record = record.change(
            intent_at=now, attempts=record.attempts + 1, document_type=prepared.checked.kind.value, detail=""
        )
        self._ledger.commit(record, Event(now, record.watch_folder, "sending", upload.task_name, record.key))
        body = HashingReader(opened.file)
        try:
            task = self._service.submit(upload, body)  # type: ignore[arg-type]  # reads, seeks and tells: all it needs
        except OutcomeUnknown as unknown:
            return self.record_unknown(record, unknown.message)
        except FileBusy as busy:
            return self._not_sent(inbox, record, busy)
        return self._accepted(record, task, body.sha256, unchanged=is_unchanged(opened, record))

    def _not_sent(self, inbox: Inbox, record: FileRecord, busy: FileBusy) -> FileRecord:
        record = (self._ledger.file(record.key) or record).change(intent_at=None)
        self._ledger.commit(record)
        return self.preparing.not_yet(inbox, record, busy.message, held=True)

    # --- the answer ---------------------------------------------------------------------------------------------------

    def record_unknown(self, record: FileRecord, detail: str) -> FileRecord:
        """Record that nobody knows whether a file arrived."""
        logger.warning("%s: %s: outcome unknown: %s", record.watch_folder, for_display(record.relative_path), detail)
        now = self._clock.now()
        event = Event(now, record.watch_folder, "unknown", detail, record.key)

        def rows(record: FileRecord) -> tuple[FileRecord, Event]:
            return record.change(state=FileState.UNKNOWN, state_at=now, answered_at=now, detail=detail), event

        return self.record_surely(record, rows)

    def _accepted(self, record: FileRecord, task: Task, digest: str, *, unchanged: bool) -> FileRecord:
        now = self._clock.now()
        if unchanged:
            logger.info("%s: %s submitted as task %s", record.watch_folder, for_display(record.relative_path), task.id)
            return self.record_surely(record, lambda row: accepted(row, task, now=now, sha256=digest))
        is_canceled = cancel(self._service, record, task)
        return self.record_surely(
            record, lambda row: superseded(row, task, now=now, sha256=digest, is_canceled=is_canceled)
        )

    def record_surely(self, record: FileRecord, rows_of: RowsOf) -> FileRecord:
        """Commit what cannot be undone; while the ledger is full, wait: after a stop, recovery looks the task up."""
        return self.record_all_surely([(record, rows_of)])[0]

    def record_all_surely(self, answers: Sequence[tuple[FileRecord, RowsOf]]) -> list[FileRecord]:
        """Commit what cannot be undone of several files as one, or a crash would leave some of them in doubt.

        A scan that saw a file under a new name meanwhile has changed its row: the answer is said of what it is now.
        """
        records = [record for record, _ in answers]
        while True:
            rows = [rows_of(record) for record, (_, rows_of) in zip(records, answers, strict=True)]
            try:
                self._ledger.commit(*chain.from_iterable(rows))
            except StaleRecord:
                records = self._as_they_are_now(records)
            except LedgerUnavailable as error:
                logger.error("an answer of the service cannot be recorded: %s", error.message)  # noqa: TRY400 -- no trace
                if self._clock.wait(self._stop, LEDGER_RETRY):
                    raise
            else:
                return [row[0] for row in rows]

    def _as_they_are_now(self, records: Sequence[FileRecord]) -> list[FileRecord]:
        """Return the rows of files that are being sent. Raises StaleRecord where one is not, or none has changed."""
        found = [self._ledger.file(record.key) for record in records]
        current = [record for record in found if record is not None and record.state is FileState.SENDING]
        if len(current) < len(records) or current == records:
            raise StaleRecord("what was sent is not under way any more, or the service named a task it named before")
        return current
