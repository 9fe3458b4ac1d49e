"""File away: moves a source to the place the ledger has planned for it, and says there that it did.

The destination is durable in the ledger before anything moves, so that doing it again after a crash finds the file
either here or there. Nothing is moved but the very bytes that were sent or judged.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import FileBusy, LocalTrouble, NotRegular, StaleRecord
from agent.folders import filing, system
from agent.folders.roots import require_ours
from agent.model import Event, FileState, RootKind
from agent.rules.naming import clash_name, for_display
from agent.submission import ready_files
from agent.submission.notes import error_note

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.model import FileRecord, WatchFolder
    from agent.ports import Clock, Ledger

logger = logging.getLogger(__name__)

CLASHES_TRIED = 20
"""A clash name carries 16 random bits and the second: twenty taken ones in a row mean that something else is wrong."""

STATE_ONCE_FILED = {
    (FileState.SUBMITTED, "archive"): FileState.ARCHIVED,
    (FileState.REJECTED, "inbox"): FileState.GONE,
}
"""A retry ends the record: what lies in the inbox again is a file of its own."""


def folder_of(folder: WatchFolder, place: str) -> Path:
    """Return the root of a place a file lies in or goes to: inbox (also ""), archive or error."""
    root = {"": folder.inbox, "inbox": folder.inbox, "archive": folder.archive, "error": folder.error}[place]
    assert root is not None, f"{folder.name} has no {place or 'inbox'}"
    return root


def identity_today(root: Path, record: FileRecord) -> str:
    """Return the identity of a filed file where only its device has another number by now; "" where it is not it.

    Shares get a new one with every mount. The same file id and size say little then, the same bytes beside them enough.
    """
    found = filing.find_filed(root, record.filed_as, record.lying_signature, record.sha256) or ""
    same_file = found.partition(":")[2] == record.filed_identity.partition(":")[2]
    return found if same_file else ""


def _shows_since(filed: FileRecord, row: FileRecord) -> bool:
    """Return whether a row is of the file that was brought back to the inbox, as it was seen there afterwards."""
    return filed.filed_at is not None and row.relative_path == filed.filed_as and row.first_seen_at >= filed.filed_at


def is_anothers(ledger: Ledger, record: FileRecord) -> bool:
    """Tell whether what has a record's bytes at its destination is another drop's, lying there under that name."""
    same = ledger.find_files(watch_folder=record.watch_folder, sha256=record.sha256)
    others = [each for each in same if each.key != record.key and each.filed_in == record.filing]
    if record.filing == "inbox":
        # What came back there is a row of its own once it was seen, and has perhaps left again.
        others = [each for each in others if not any(_shows_since(each, row) for row in same)]
        others += ledger.find_files(watch_folder=record.watch_folder, relative_path=record.destination, in_inbox=True)
    return any(each.lies_at == record.destination for each in others)


class FileAway:
    """Carries out planned filings."""

    def __init__(self, *, ledger: Ledger, clock: Clock, entropy: Callable[[], int], min_free: int = 0) -> None:
        self._ledger = ledger
        self._clock = clock
        self._entropy = entropy
        self._min_free = min_free

    def carry_out(self, folder: WatchFolder, record: FileRecord) -> FileRecord:
        """Move the file of a record whose filing is planned and return the record as it stands then.

        Raises FileBusy where the source is locked (it stays planned), LocalTrouble and LedgerUnavailable.
        """
        for _ in range(CLASHES_TRIED):
            try:
                identity = self._move(folder, record)
            except FileExistsError:
                record = self._plan_anew(record)
                continue
            if identity is None:
                return self._not_there(folder, record)
            if not identity:
                record = self._with_digest(folder, record)
                continue
            # Before the ledger says that it is done: after a crash all of it is looked at again.
            self._take_ready_file_along(folder, record)
            self._mind_the_note(folder, record)
            record = self._done(record, identity)
            if record.filed_at is not None:
                return record
        raise FileBusy(
            f"no free name for {for_display(record.relative_path)} in {folder_of(folder, record.filing)}",
            hint="look what creates files in that folder",
        )

    def _move(self, folder: WatchFolder, record: FileRecord) -> str | None:
        """Return the identity of the file at its destination; None where it is neither here nor there.

        "" where it has to be copied and the ledger does not know its digest yet: after a crash nothing else tells our
        copy from a stranger's file. Raises FileExistsError where somebody else's file has that name.
        """
        source_root = folder_of(folder, record.filed_in)
        destination_root = folder_of(folder, record.filing)
        try:
            return filing.file_away(
                source_root=source_root,
                relative_path=record.lies_at,
                signature=record.lying_signature,
                destination_root=destination_root,
                destination=record.destination,
                sha256=record.sha256,
                min_free=self._min_free,
                copy=bool(record.sha256),
            )
        except FileExistsError:
            filed = self._already_filed(destination_root, record)
            if filed is None:
                raise
            # A crash cut a copy to another device off after it was published: only the source is left to remove.
            filing.remove_filed(
                source_root, record.lies_at, identity=record.lying_signature.identity, size=record.signature.size
            )
            return filed
        except FileBusy as busy:
            if not busy.gone:
                raise
            # The inbox's device is known by its number of today; archive/ and error/ may have one of their own.
            today = identity_today(source_root, record) if record.filed_identity else ""
            if today not in {"", record.filed_identity}:
                return self._move(folder, replace(record, filed_identity=today))
            filed = self._already_filed(destination_root, record)
            if filed is not None:
                filing.make_durable(source_root, record.lies_at)
            return filed
        except NotRegular:
            return None

    def _already_filed(self, destination_root: Path, record: FileRecord) -> str | None:
        """Return the identity of the file at the destination where it is this record's, moved before a crash.

        Durable on return: a crash, or an error of the sync itself, may have come between the move and its sync.
        """
        filed = filing.find_filed(destination_root, record.destination, record.lying_signature, record.sha256)
        if filed is None or (filed != record.lying_signature.identity and is_anothers(self._ledger, record)):
            return None
        filing.make_durable(destination_root, record.destination)
        return filed

    def _with_digest(self, folder: WatchFolder, record: FileRecord) -> FileRecord:
        try:
            digest = filing.digest_of(folder_of(folder, record.filed_in), record.lies_at)
        except NotRegular:
            return record  # by now; the next move says so too
        changed = record.change(sha256=digest)
        self._ledger.commit(changed)
        return changed

    def _plan_anew(self, record: FileRecord) -> FileRecord:
        destination = clash_name(record.relative_path, now=self._clock.now(), entropy=self._entropy())
        changed = record.change(destination=destination)
        self._ledger.commit(changed)
        return changed

    def _take_ready_file_along(self, folder: WatchFolder, record: FileRecord) -> None:
        if folder.ready_file is None:
            return
        ready_files.take_along(
            folder.ready_file,
            source_root=folder_of(folder, record.filed_in),
            lay_at=record.lies_at,
            destination_root=folder_of(folder, record.filing),
            lies_at=record.destination,
            clash=lambda path: clash_name(path, now=self._clock.now(), entropy=self._entropy()),
        )

    def _mind_the_note(self, folder: WatchFolder, record: FileRecord) -> None:
        """Write the note beside a file that came to error/, remove that of one that left it."""
        if record.filing == "error":
            text = error_note(record, at=self._clock.now())
            filing.write_note(folder_of(folder, "error"), record.destination, text, own=f"id: {record.key}")
        elif record.filed_in == "error":
            self._remove_note(folder, record, record.lies_at)

    def _remove_note_left_alone(self, folder: WatchFolder, record: FileRecord) -> None:
        """Remove the note of a file that is nowhere, perhaps written or left by a kill beside a move to or from error/.

        One beside which something lies is somebody's to read.
        """
        places = {(record.filed_in, record.lies_at), (record.filing, record.destination)}
        for path in [path for place, path in places if place == "error"]:
            if system.sight(folder_of(folder, "error"), path) is None:
                self._remove_note(folder, record, path)

    @staticmethod
    def _remove_note(folder: WatchFolder, record: FileRecord, relative_path: str) -> None:
        try:
            filing.remove_note(folder_of(folder, "error"), relative_path)
        except LocalTrouble as trouble:
            # What was asked for is done all the same: the note is only left over.
            logger.warning("%s: a note is left over: %s", record.watch_folder, trouble.message)

    def _done(self, record: FileRecord, identity: str) -> FileRecord:
        try:
            return self._commit_done(record, record, identity)
        except StaleRecord:
            # The task ended while its source moved: what the row says by now stays, but where the file lies is ours.
            current = self._ledger.file(record.key)
            assert current is not None, "rows of unfinished files are never purged"
            return self._commit_done(record, current, identity)

    def _commit_done(self, record: FileRecord, current: FileRecord, identity: str) -> FileRecord:
        now = self._clock.now()
        changed = current.change(
            state=STATE_ONCE_FILED.get((record.state, record.filing), current.state),
            state_at=now,
            in_inbox=False,
            filed_at=now,
            filed_in=record.filing,
            filed_as=record.destination,
            filed_identity=identity,
        )
        if changed.state is FileState.ARCHIVED and changed.reason is not None:
            # Its task ended badly before it was filed: from here it goes on to error/.
            changed = replace(
                changed, state=FileState.REJECTED, filing="error", destination=record.relative_path, filed_at=None
            )
        event = Event(now, record.watch_folder, f"filed in {record.filing}", record.destination, record.key)
        self._ledger.commit(changed, event)
        logger.info(
            "%s: %s filed in %s/%s",
            record.watch_folder,
            for_display(record.relative_path),
            record.filing,
            for_display(record.destination),
        )
        return changed

    def _not_there(self, folder: WatchFolder, record: FileRecord) -> FileRecord:
        """Decide about a file that somebody took away or replaced: nothing is moved, its task goes on.

        Raises FileBusy for one that was sent: perhaps it was renamed, which the scan will see, or its share is away
        for a moment; only what two scans do not find is gone.
        """
        if folder.inbox is not None:
            require_ours(folder.inbox, kind=RootKind.INBOX, ledger_id=self._ledger.ledger_id)
        if record.state is FileState.SUBMITTED:
            raise FileBusy("it was moved, deleted or replaced by somebody else before it could be filed")
        self._remove_note_left_alone(folder, record)
        filing.remove_cut_off_copy(folder_of(folder, record.filing), record.destination, record.lying_signature)
        now = self._clock.now()
        detail = "it was moved, deleted or replaced by somebody else before it could be filed"
        changed = record.change(state=FileState.GONE, state_at=now, in_inbox=False, filed_at=now, detail=detail)
        self._ledger.commit(changed, Event(now, record.watch_folder, "gone", detail, record.key, record.task_id))
        logger.warning("%s: %s: %s", record.watch_folder, for_display(record.relative_path), detail)
        return changed
