"""Preparing: opens and checks a claimed file, and says what becomes of one that is not sent.

What is checked here is what is sent: the same open file. Whatever is not sent is given back to settling, stays with its
reason, or goes to error/; the ledger knows which.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.errors import (
    FileBusy,
    FileIncomplete,
    FileRefused,
    FileTrouble,
    LaneTrouble,
    LocalTrouble,
    NotRegular,
    StaleRecord,
)
from agent.folders.reading import open_source
from agent.model import Event, FileState, LaneReason, Reason, TaskState
from agent.rules.naming import for_display
from agent.rules.settling import Observation, Verdict
from agent.submission.checking import check
from agent.submission.hashing import digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from typing import BinaryIO

    from agent.folders.reading import OpenedSource
    from agent.model import FileRecord, WatchFolder
    from agent.ports import Clock, Ledger
    from agent.submission.checking import Checked
    from agent.submission.inbox import Inbox

logger = logging.getLogger(__name__)

UNACCEPTED = frozenset({TaskState.FAILED, TaskState.SUPERSEDED, TaskState.ENDED_UNKNOWN})
KEPT_BACK = 6 * 3600.0
"""Seconds a file that was refused like all others, or cannot be read, waits at most while others are tried."""


def is_of_the_disk(trouble: LaneTrouble) -> bool:
    """Tell whether a disk did not do what it was asked for: perhaps at one file only."""
    return isinstance(trouble, LocalTrouble) and trouble.reason is LaneReason.IO_ERROR


@dataclass(frozen=True, slots=True)
class Prepared:
    """A claimed file that is open and may be sent."""

    record: FileRecord
    opened: OpenedSource
    checked: Checked


class Preparing:
    """Prepares claimed files; one instance serves every worker. `size_limit`: what the service takes, in bytes."""

    def __init__(self, *, ledger: Ledger, clock: Clock, size_limit: int | None = None) -> None:
        self._ledger = ledger
        self._clock = clock
        self._size_limit = size_limit
        self._comparing = threading.Lock()
        """Held from looking for the same content until the ledger has it: two twins never pass at once."""

    def prepare(self, inbox: Inbox, record: FileRecord, open_files: ExitStack) -> Prepared | FileRecord:
        """Return a claimed file ready to be sent, held open by `open_files`; or its record, where it is not sent now.

        Raises LaneTrouble and LedgerUnavailable with the record put back where that could be done.
        """
        try:
            opened = open_files.enter_context(open_source(inbox.root, record.relative_path))
            return self._checked(inbox, record, opened)
        except NotRegular as irregular:
            return self._record(record.change(state=FileState.IGNORED, look_at=None), "ignored", irregular.message)
        except FileBusy as busy:
            if busy.gone:
                return self.look_again(record, "it is not there any more")
            return self.not_yet(inbox, record, busy.message, held=True)
        except LaneTrouble as trouble:
            self.put_back_after(record, trouble)
            raise

    def _checked(self, inbox: Inbox, record: FileRecord, opened: OpenedSource) -> Prepared | FileRecord:
        if opened.sighting.signature != record.signature:
            return self.look_again(record, "it changed since it was looked at")
        try:
            self._require_size(inbox.folder, record)
            checked = check(
                inbox,
                opened.file,
                size=record.signature.size,
                relative_path=record.relative_path,
                unchanged_for=self._age(record),
            )
        except FileIncomplete as incomplete:
            return self.not_yet(inbox, record, incomplete.message, held=False)
        except FileRefused as refused:
            return self.reject(record, refused)
        if inbox.folder.on_duplicate == "skip":
            record = self._compared(inbox.folder, record, opened.file)
        return Prepared(record, opened, checked) if record.state is FileState.SENDING else record

    def _require_size(self, folder: WatchFolder, record: FileRecord) -> None:
        """Refuse what the service is assumed not to take; a `max_size` somebody wrote says that it takes more."""
        if self._size_limit is not None and not folder.max_size_is_set and record.signature.size > self._size_limit:
            raise FileRefused(
                f"the file has {record.signature.size} bytes, the service takes {self._size_limit}",
                reason=Reason.TOO_LARGE,
                hint="split the file, then drop its parts into the inbox; where the service takes more, set max_size",
            )

    # --- not sent -----------------------------------------------------------------------------------------------------

    def _age(self, record: FileRecord) -> float:
        since = record.unchanged_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def look_again(self, record: FileRecord, detail: str) -> FileRecord:
        """Give the file back to settling: it is observed anew at once."""
        changed = record.change(
            state=FileState.WAITING, claimed_by="", ready=False, look_at=self._clock.monotonic(), detail=detail
        )
        self._ledger.commit(changed)
        return changed

    def not_yet(self, inbox: Inbox, record: FileRecord, detail: str, *, held: bool) -> FileRecord:
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
            # By the file, not by this look: the claim for it has overwritten when the state began.
            state_at=now - max(0.0, self._age(record) - (inbox.folder.stalled_after if is_stalled else 0.0)),
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

    def reject(self, record: FileRecord, refused: FileRefused) -> FileRecord:
        """Plan the file's way to error/."""
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

    def put_back(self, record: FileRecord, detail: str) -> FileRecord:
        """Make the record ready again: nothing of it was accepted."""
        return self._given_back(record, ready=True, detail=detail)

    def put_back_after(self, record: FileRecord, trouble: LaneTrouble) -> None:
        """Make the record ready again; where the disk did not give its bytes, only once others were tried."""
        if is_of_the_disk(trouble):
            self.keep_back(record, trouble.message)
        else:
            self.put_back(record, trouble.message)

    def keep_back(self, record: FileRecord, detail: str) -> None:
        """Keep a file waiting until it is let go: always the same one tried would close the lane for good."""
        self._given_back(record, ready=False, look_at=self._clock.monotonic() + KEPT_BACK, detail=detail)

    def _given_back(self, record: FileRecord, **changes: Any) -> FileRecord:
        """Record that nothing is under way any more, also where a scan sees the file under a new name just now.

        Left as it is, the row would say that nobody knows whether the file arrived.
        """
        while True:
            current = self._ledger.file(record.key) or record
            changed = current.change(
                state=FileState.WAITING, claimed_by="", state_at=self._clock.now(), intent_at=None, **changes
            )
            try:
                self._ledger.commit(changed)
            except StaleRecord:
                if self._ledger.file(record.key) in {None, current}:
                    raise
            else:
                return changed

    def let_go(self, keys: Sequence[str]) -> None:
        """Make files that were kept back due for a look, after which they are ready."""
        now = self._clock.monotonic()
        for key in keys:
            record = self._ledger.file(key)
            if record is not None and record.state is FileState.WAITING and not record.ready:
                self._ledger.commit(record.change(look_at=now))

    # --- the same content ---------------------------------------------------------------------------------------------

    def _compared(self, folder: WatchFolder, record: FileRecord, file: BinaryIO) -> FileRecord:
        """Return the record with its digest; as duplicate, or waiting for its twin, where the content is known."""
        found = digest(file)
        with self._comparing:
            duplicate = self._duplicate_of(folder, record, found)
            if duplicate is not None:
                return duplicate
            record = record.change(sha256=found)
            self._ledger.commit(record)
            return record

    def _duplicate_of(self, folder: WatchFolder, record: FileRecord, found: str) -> FileRecord | None:
        """Return the record as duplicate (or waiting for its twin) where the same content was accepted before."""
        for other in self._ledger.find_files(watch_folder=folder.name, sha256=found):
            if other.key == record.key:
                continue
            if other.task_id and not self._has_failed(other.task_id):
                changed = record.change(
                    state=FileState.DUPLICATE,
                    ready=False,
                    sha256=found,
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

    def _record(self, record: FileRecord, name: str, detail: str) -> FileRecord:
        now = self._clock.now()
        changed = replace(record, state_at=now, detail=detail)
        self._ledger.commit(changed, Event(now, record.watch_folder, name, detail, record.key))
        return changed


def is_unchanged(opened: OpenedSource, record: FileRecord) -> bool:
    """Return whether the bytes that were sent are still those that were looked at.

    A file that cannot be looked at any more counts as unchanged: its task exists, and filing looks once more.
    """
    try:
        return opened.sight_again().signature == record.signature
    except (FileTrouble, LaneTrouble) as error:
        logger.info("%s: %s", for_display(record.relative_path), error.message)
        return True
