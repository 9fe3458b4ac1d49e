"""Purge: removes sources the configuration no longer wants kept, by the ledger and only by it.

Never removes a file whose task is open, one the ledger does not know, or one that is not the very file it filed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.errors import FileBusy, LocalTrouble
from agent.folders import filing
from agent.model import Event, FileState, TaskState
from agent.rules.naming import for_display
from agent.submission import ready_files
from agent.submission.file_away import folder_of, identity_today

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.model import FileRecord, WatchFolder
    from agent.ports import Clock, Ledger

logger = logging.getLogger(__name__)

PAGE = 500
"""Rows read at once."""


class Purge:
    """Removes what has been kept long enough."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def work(self, folder: WatchFolder) -> int:
        """Purge archive/ and error/ of one watch folder and return how many files were removed."""
        removed = 0
        now = self._clock.now()
        if folder.inbox is None:
            return 0
        if folder.after_submit == "delete":
            removed += self._remove_due(folder, "archive", before=now, only_exported=True)
        if folder.archive_keep is not None:
            removed += self._remove_due(folder, "archive", before=now - folder.archive_keep, only_exported=False)
        if folder.error_keep is not None:
            removed += self._remove_due(folder, "error", before=now - folder.error_keep, only_exported=False)
        return removed

    def _remove_due(self, folder: WatchFolder, place: str, *, before: float, only_exported: bool) -> int:
        removed = 0
        for record in self._filed(folder, place, before=before):
            if record.filed_in == place and self._may_go(record, only_exported=only_exported):
                removed += self._remove(folder, record)
        return removed

    def _filed(self, folder: WatchFolder, place: str, *, before: float) -> Iterator[FileRecord]:
        """Yield what was filed there before a time, oldest first, in pages: memory does not grow."""
        filed_from: float | None = None
        seen: set[str] = set()
        while True:
            page = self._ledger.find_files(
                watch_folder=folder.name,
                filing=place,
                to_file=False,
                in_inbox=False,
                filed_from=filed_from,
                filed_before=before,
                limit=PAGE + len(seen),
            )
            new = [record for record in page if record.key not in seen]
            if not new:
                return
            yield from new
            last = page[-1].filed_at
            # Filed at the very same time: more of them than a page holds keep nothing from being looked at.
            seen = {record.key for record in page} | (seen if last == filed_from else set())
            filed_from = last

    def _may_go(self, record: FileRecord, *, only_exported: bool) -> bool:
        if not record.task_id:
            return not only_exported or record.state is FileState.DUPLICATE
        # Before an upload is split, its own row speaks for all its files.
        tasks = [*self._ledger.find_tasks(file_key=record.key), self._ledger.task(record.task_id)]
        known = [task for task in tasks if task is not None and task.state is not TaskState.SPLIT]
        if not known:
            return not only_exported
        if only_exported:
            return all(task.state is TaskState.EXPORTED for task in known)
        return all(task.ended_at is not None for task in known)

    def _remove(self, folder: WatchFolder, record: FileRecord) -> int:
        root = folder_of(folder, record.filed_in)
        try:
            gone = self._remove_file(root, record, record.filed_identity)
            if not gone and filing.find_filed(root, record.filed_as, record.lying_signature, ""):
                return 0  # it is ours, and somebody holds it open: another time
            if not gone and (by_now := identity_today(root, record)):
                gone = self._remove_file(root, record, by_now)
                if not gone:
                    return 0  # as above
            if gone and folder.ready_file is not None:
                ready_files.remove_with(folder.ready_file, root, record.filed_as)
            if gone and record.filed_in == "error":
                filing.remove_note(root, record.filed_as)
        except (FileBusy, LocalTrouble) as trouble:
            logger.warning("%s: %s is not removed: %s", folder.name, for_display(record.filed_as), trouble.message)
            return 0
        return self._record_removed(folder, record, gone=gone)

    @staticmethod
    def _remove_file(root: Path, record: FileRecord, identity: str) -> bool:
        return filing.remove_filed(root, record.filed_as, identity=identity, size=record.signature.size)

    def _record_removed(self, folder: WatchFolder, record: FileRecord, *, gone: bool) -> int:
        now = self._clock.now()
        detail = "" if gone else "another file lies there by now: it was left alone"
        place = record.filed_in
        changed = record.change(filed_in="deleted", filing="", detail=detail or record.detail)
        event = Event(now, record.watch_folder, f"removed from {place}", detail, record.key, record.task_id)
        self._ledger.commit(changed, event)
        logger.info("%s: %s removed from %s", folder.name, for_display(record.filed_as), place)
        return int(gone)
