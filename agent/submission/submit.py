"""Submit: one claimed file → checked → intent durable → sent → answer durable → filed away.

The one rule of this module: before the first byte leaves, the ledger knows that it will; after the answer, the ledger
knows the task before anything moves. Whatever interrupts it in between leaves a row that says what to do next.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import (
    FileBusy,
    FileIncomplete,
    FileRefused,
    FileTrouble,
    LaneTrouble,
    LedgerUnavailable,
    NotRegular,
    OutcomeUnknown,
    StaleRecord,
)
from agent.folders.reading import open_source
from agent.model import Event, FileState, TaskState, Upload
from agent.rules.naming import base_name, fill_placeholders, for_display, relative_parent
from agent.rules.settling import Observation, Verdict
from agent.rules.tags import further_tags
from agent.submission.checking import check
from agent.submission.connections import Connections
from agent.submission.outcomes import accepted, cancel, superseded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from agent.folders.reading import OpenedSource
    from agent.model import FileRecord, Task, TaskRecord, WatchFolder
    from agent.ports import Clock, Ledger, Service
    from agent.submission.checking import Checked
    from agent.submission.inbox import Inbox

logger = logging.getLogger(__name__)

BLOCK = 256 * 1024
UNACCEPTED = frozenset({TaskState.FAILED, TaskState.SUPERSEDED, TaskState.ENDED_UNKNOWN})
KEPT_BACK = 6 * 3600.0
"""Seconds a file that was refused like all others waits at most while others are tried."""
LEDGER_RETRY = 2.0
"""Seconds between attempts to record an answer while the ledger cannot be written."""


class HashingReader:
    """Hands an open file to the service in blocks and hashes what it hands out, so no byte is read twice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._hashed_to = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next block."""
        position = self._file.tell()
        block = self._file.read(size)
        known = self._hashed_to - position  # a replay after a renewed token reads again what is hashed already
        if 0 <= known < len(block):
            self._hash.update(memoryview(block)[known:])
            self._hashed_to += len(block) - known
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the offset."""
        return self._file.tell()

    @property
    def sha256(self) -> str:
        """The digest of everything handed out."""
        return self._hash.hexdigest()


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
        self._comparing = threading.Lock()
        """Held from looking for the same content until the ledger has it: two twins never pass at once."""

    def work(self, inbox: Inbox, record: FileRecord, *, stays: Callable[[], bool]) -> FileRecord:
        """Take one claimed record as far as it goes now and return it as the ledger has it.

        `stays` is asked once the service refused the file: whether it refuses everything, so that the file stays
        (design.md §3, the table).
        Raises LaneTrouble and LedgerUnavailable with the record put back where that could be done, FileRefused
        (after the record was put back) where it stays.
        """
        try:
            with open_source(inbox.root, record.relative_path) as opened:
                if opened.sighting.signature != record.signature:
                    return self._look_again(record, "it changed since it was looked at")
                return self._check_and_send(inbox, record, opened, stays=stays)
        except NotRegular as irregular:
            return self._record(record.change(state=FileState.IGNORED, look_at=None), "ignored", irregular.message)
        except FileBusy as busy:
            if busy.gone:
                return self._look_again(record, "it is not there any more")
            return self._not_yet(inbox, record, busy.message, held=True)
        except LaneTrouble as trouble:
            self.put_back(record, trouble.message)
            raise

    def _check_and_send(
        self, inbox: Inbox, record: FileRecord, opened: OpenedSource, *, stays: Callable[[], bool]
    ) -> FileRecord:
        folder = inbox.folder
        try:
            checked = check(
                inbox,
                opened.file,
                size=record.signature.size,
                relative_path=record.relative_path,
                unchanged_for=self._age(record),
            )
        except FileIncomplete as incomplete:
            return self._not_yet(inbox, record, incomplete.message, held=False)
        except FileRefused as refused:
            return self._reject(record, refused)
        if folder.on_duplicate == "skip":
            digest = _digest(opened.file)
            with self._comparing:
                duplicate = self._duplicate_of(folder, record, digest)
                if duplicate is not None:
                    return duplicate
                record = record.change(sha256=digest)
                self._ledger.commit(record)
        try:
            with self.connections.hold(folder.name):
                if self._stop.is_set():
                    # It waited for a place until now: a stopping agent lets uploads end and begins none.
                    return self.put_back(record, "")
                return self._send(inbox, record, opened, checked)
        except FileRefused as refused:
            if stays():
                self._keep_back(record, refused.message)
                raise
            record = self._ledger.file(record.key) or record
            return self._reject(record, refused)

    # --- before the first byte ------------------------------------------------------------------------------------

    def _age(self, record: FileRecord) -> float:
        since = record.unchanged_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def _look_again(self, record: FileRecord, detail: str) -> FileRecord:
        """Give the file back to settling: it is observed anew at once."""
        changed = record.change(
            state=FileState.WAITING, claimed_by="", ready=False, look_at=self._clock.monotonic(), detail=detail
        )
        self._ledger.commit(changed)
        return changed

    def _not_yet(self, inbox: Inbox, record: FileRecord, detail: str, *, held: bool) -> FileRecord:
        """Let a file that is not whole, locked or unreadable stay; after `stalled_after` it shows as stalled."""
        seen = Observation.of(record) or Observation(record.signature, self._clock.monotonic(), 0.0, 1)
        # GIVEN_UP was for the check to decide: what comes back here without a refusal goes on waiting.
        seen, verdict = inbox.tracker.judge(
            seen, self._clock.monotonic(), held=detail if held else None, whole=None if held else False
        )
        is_stalled = verdict is not Verdict.WAITING
        now = self._clock.now()
        changed = record.change(
            state=FileState.STALLED if is_stalled else FileState.WAITING,
            claimed_by="",
            state_at=now - max(0.0, self._age(record) - inbox.folder.stalled_after) if is_stalled else now,
            ready=False,
            look_at=seen.look_at,
            detail=detail,
        )
        if is_stalled and record.detail != detail:
            self._ledger.commit(changed, Event(now, record.watch_folder, "stalled", detail, record.key))
            logger.warning("%s: %s: stalled: %s", record.watch_folder, for_display(record.relative_path), detail)
        else:
            self._ledger.commit(changed)
        return changed

    def _reject(self, record: FileRecord, refused: FileRefused) -> FileRecord:
        logger.warning(
            "%s: %s: %s: %s",
            record.watch_folder,
            for_display(record.relative_path),
            refused.reason.value,
            refused.message,
        )
        changed = record.change(
            state=FileState.REJECTED,
            ready=False,
            reason=refused.reason,
            filing="error",
            destination=record.relative_path,
        )
        return self._record(changed, "rejected", refused.message)

    def _duplicate_of(self, folder: WatchFolder, record: FileRecord, digest: str) -> FileRecord | None:
        """Return the record as duplicate (or waiting for its twin) where the same content was accepted before."""
        for other in self._ledger.find_files(watch_folder=folder.name, sha256=digest):
            if other.key == record.key:
                continue
            if other.task_id and not self._has_failed(other.task_id):
                changed = record.change(
                    state=FileState.DUPLICATE,
                    ready=False,
                    sha256=digest,
                    filing="archive",
                    destination=record.relative_path,
                )
                detail = f"the same content was accepted before as task {other.task_id}"
                return self._record(changed, "duplicate", detail)
            if other.state in {FileState.SENDING, FileState.UNKNOWN}:
                changed = record.change(
                    state=FileState.WAITING,
                    claimed_by="",
                    ready=False,
                    look_at=self._clock.monotonic() + 1.0,
                    detail="its twin is sent",
                )
                self._ledger.commit(changed)
                return changed
        return None

    def _has_failed(self, task_id: str) -> bool:
        """Return whether a task ended such that its content, dropped again, is a retry and no duplicate."""
        task = self._ledger.task(task_id)
        return task is not None and task.state in UNACCEPTED

    def put_back(self, record: FileRecord, detail: str) -> FileRecord:
        """Make the record ready again: nothing of it was accepted."""
        current = self._ledger.file(record.key) or record
        changed = current.change(
            state=FileState.WAITING,
            claimed_by="",
            state_at=self._clock.now(),
            ready=True,
            intent_at=None,
            detail=detail,
        )
        self._ledger.commit(changed)
        return changed

    def _keep_back(self, record: FileRecord, detail: str) -> None:
        """Keep a refused file waiting until it is let go: always the same one tried would close the lane for good."""
        current = self._ledger.file(record.key) or record
        changed = current.change(
            state=FileState.WAITING,
            claimed_by="",
            state_at=self._clock.now(),
            ready=False,
            look_at=self._clock.monotonic() + KEPT_BACK,
            intent_at=None,
            detail=detail,
        )
        self._ledger.commit(changed)

    def let_go(self, keys: Sequence[str]) -> None:
        """Make files that were kept back due for a look, after which they are ready."""
        now = self._clock.monotonic()
        for key in keys:
            record = self._ledger.file(key)
            if record is not None and record.state is FileState.WAITING and not record.ready:
                self._ledger.commit(record.change(look_at=now))

    # --- the bytes leave --------------------------------------------------------------------------------------------

    def _upload(self, inbox: Inbox, record: FileRecord, opened: OpenedSource, checked: Checked) -> Upload:
        folder, sighting = inbox.folder, opened.sighting
        created_at = sighting.born_at if sighting.born_at is not None else sighting.signature.modified_ns / 1e9
        file_path = None
        if folder.send_path:
            source_folder = relative_parent(record.relative_path)
            file_path = str(inbox.root.joinpath(*source_folder.split("/")) if source_folder else inbox.root)
        custom = {
            name: fill_placeholders(value, record.relative_path, folder.name) for name, value in folder.tags.items()
        }
        return Upload(
            key=record.key,
            project_id=record.project_id,
            file_name=base_name(record.relative_path),
            content_type=checked.content_type,
            size=record.signature.size,
            task_name=record.task_name,
            tags=further_tags(file_path=file_path, created_at=created_at, custom=custom, key=record.key),
        )

    def _send(self, inbox: Inbox, record: FileRecord, opened: OpenedSource, checked: Checked) -> FileRecord:
        upload = self._upload(inbox, record, opened, checked)
        now = self._clock.now()
        record = record.change(intent_at=now, attempts=record.attempts + 1, document_type=checked.kind.value, detail="")
        self._ledger.commit(record, Event(now, record.watch_folder, "sending", upload.task_name, record.key))
        body = HashingReader(opened.file)
        try:
            task = self._service.submit(upload, body)  # type: ignore[arg-type]  # reads, seeks and tells: all it needs
        except OutcomeUnknown as unknown:
            return self._unknown(record, unknown.message)
        except FileBusy as busy:
            return self._not_sent(inbox, record, busy)
        return self._accepted(record, task, body.sha256, is_unchanged=_is_unchanged(opened, record))

    def _not_sent(self, inbox: Inbox, record: FileRecord, busy: FileBusy) -> FileRecord:
        record = record.change(intent_at=None)
        self._ledger.commit(record)
        return self._not_yet(inbox, record, busy.message, held=True)

    # --- the answer ---------------------------------------------------------------------------------------------------

    def _unknown(self, record: FileRecord, detail: str) -> FileRecord:
        logger.warning("%s: %s: outcome unknown: %s", record.watch_folder, for_display(record.relative_path), detail)
        now = self._clock.now()
        event = Event(now, record.watch_folder, "unknown", detail, record.key)

        def rows(record: FileRecord) -> tuple[FileRecord, Event]:
            return record.change(state=FileState.UNKNOWN, state_at=now, answered_at=now, detail=detail), event

        return self._record_surely(record, rows)

    def _accepted(self, record: FileRecord, task: Task, digest: str, *, is_unchanged: bool) -> FileRecord:
        now = self._clock.now()
        if is_unchanged:
            logger.info("%s: %s submitted as task %s", record.watch_folder, for_display(record.relative_path), task.id)
            return self._record_surely(record, lambda row: accepted(row, task, now=now, sha256=digest))
        is_canceled = cancel(self._service, record, task)
        return self._record_surely(
            record, lambda row: superseded(row, task, now=now, sha256=digest, is_canceled=is_canceled)
        )

    def _record_surely(
        self, record: FileRecord, rows_of: Callable[[FileRecord], tuple[FileRecord, *tuple[TaskRecord | Event, ...]]]
    ) -> FileRecord:
        """Commit what cannot be undone; while the ledger is full, wait: after a stop, recovery looks the task up.

        A scan that saw the file under a new name meanwhile has changed the row: the answer is said of what it is now.
        """
        while True:
            rows = rows_of(record)
            try:
                self._ledger.commit(*rows)
            except StaleRecord:
                current = self._ledger.file(record.key)
                if current is None or current.state is not FileState.SENDING:
                    raise
                record = current
            except LedgerUnavailable as error:
                logger.error("an answer of the service cannot be recorded: %s", error.message)  # noqa: TRY400 -- no trace
                if self._clock.wait(self._stop, LEDGER_RETRY):
                    raise
            else:
                return rows[0]

    def _record(self, record: FileRecord, name: str, detail: str) -> FileRecord:
        now = self._clock.now()
        changed = replace(record, state_at=now, detail=detail)
        self._ledger.commit(changed, Event(now, record.watch_folder, name, detail, record.key))
        return changed


def _is_unchanged(opened: OpenedSource, record: FileRecord) -> bool:
    """Return whether the bytes that were sent are still those that were looked at.

    A file that cannot be looked at any more counts as unchanged: its task exists, and filing looks once more.
    """
    try:
        return opened.sight_again().signature == record.signature
    except (FileTrouble, LaneTrouble) as error:
        logger.info("%s: %s", for_display(record.relative_path), error.message)
        return True


def _digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a whole file and go back to its start."""
    reader = HashingReader(file)
    while reader.read(BLOCK):
        pass
    file.seek(0)
    return reader.sha256
