"""Absence: what lies at a path of an inbox now, and which files complete scans no longer find.

Absence in one look means nothing, and none is believed of a root that does not carry our marker. Moves nothing: what is
gone is gone, and nothing else follows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.errors import FileBusy, LocalTrouble
from agent.folders import filing, system
from agent.folders.roots import require_ours
from agent.model import Event, FileState, RootKind
from agent.rules.naming import for_display
from agent.submission.file_away import is_anothers

if TYPE_CHECKING:
    from agent.model import FileRecord, Sighting
    from agent.ports import Clock, Ledger
    from agent.submission.inbox import Inbox

logger = logging.getLogger(__name__)

UNSENT = frozenset({FileState.WAITING, FileState.STALLED, FileState.IGNORED})
MAY_GO_MISSING = UNSENT | {FileState.SUBMITTED}
"""States in which a file somebody takes away is simply gone; one that is sent, unknown or held is still decided."""
SETTLING = frozenset({FileState.WAITING, FileState.STALLED})


def sight(inbox: Inbox, relative_path: str, *, ledger_id: str) -> Sighting | None:
    """Return what lies at a path; None where it is gone, or a folder.

    Raises FileBusy where that path alone cannot be looked at: one folder that may not be entered keeps no other file
    from being seen. Raises LocalTrouble where the root itself is away.
    """
    try:
        return system.sight(inbox.root, relative_path)
    except LocalTrouble as trouble:
        require_ours(inbox.root, kind=RootKind.INBOX, ledger_id=ledger_id)
        raise FileBusy(trouble.message, hint=trouble.hint) from trouble


def gone(record: FileRecord, detail: str, *, now: float) -> tuple[FileRecord, Event]:
    """Return the rows of a file that is not there any more, or not what this row is about."""
    changed = record.change(
        state=FileState.GONE,
        state_at=now,
        in_inbox=False,
        ready=False,
        look_at=None,
        filing="",
        destination="",
        detail=detail,
    )
    return changed, Event(now, record.watch_folder, "gone", detail, record.key, record.task_id)


def back(record: FileRecord, sighting: Sighting, *, now: float) -> tuple[FileRecord, Event]:
    """Return the rows of a file that was sent, taken away, and lies in the inbox again: to be filed, never sent."""
    detail = "it is back: it was sent before it was taken away, and is only filed now"
    changed = record.change(
        relative_path=sighting.relative_path,
        state=FileState.SUBMITTED,
        state_at=now,
        in_inbox=True,
        filing="archive",
        destination=sighting.relative_path,
        detail=detail,
    )
    return changed, Event(now, record.watch_folder, "back", detail, record.key, record.task_id)


class Missing:
    """What the scans of one inbox did not find; owned by one thread. Keeps nothing but the keys missing once."""

    def __init__(self, inbox: Inbox, *, ledger: Ledger, clock: Clock) -> None:
        self._inbox = inbox
        self._ledger = ledger
        self._clock = clock
        self._missing_once: set[str] = set()

    def look(self) -> None:
        """Record as gone what two complete scans in a row did not find. Raises LocalTrouble: the root went away."""
        missing = set()
        for relative_path, key, state in self._ledger.inbox_paths(self._inbox.folder.name):
            if state in MAY_GO_MISSING and self._is_missing(relative_path, key, state):
                missing.add(key)
        if missing:
            require_ours(self._inbox.root, kind=RootKind.INBOX, ledger_id=self._ledger.ledger_id)
        for key in missing & self._missing_once:
            self._record_gone(key)
        self._missing_once = missing

    def _is_missing(self, relative_path: str, key: str, state: FileState) -> bool:
        if state in SETTLING and self._is_left_out(relative_path):
            return True
        try:
            sighting = sight(self._inbox, relative_path, ledger_id=self._ledger.ledger_id)
        except FileBusy:
            return False  # whether it is there cannot be seen
        return sighting is None or (state not in UNSENT and self._was_replaced(key, sighting))

    def _is_left_out(self, relative_path: str) -> bool:
        """Return whether the configuration, by now, does not look at that name any more: it would wait for ever."""
        return not self._inbox.wants(relative_path) or (not self._inbox.folder.recursive and "/" in relative_path)

    def _was_replaced(self, key: str, sighting: Sighting) -> bool:
        """Return whether the name of a file that was sent stands for other bytes now."""
        record = self._ledger.file(key)
        return record is not None and record.signature != sighting.signature

    def _was_filed(self, record: FileRecord) -> bool:
        """Return whether a file that was sent lies in archive/ already: a crash kept the ledger from knowing."""
        archive = self._inbox.folder.archive
        if not record.destination or archive is None:
            return False
        try:
            filed = filing.find_filed(archive, record.destination, record.signature, record.sha256)
        except (FileBusy, LocalTrouble) as error:
            logger.debug("%s: %s: %s", record.watch_folder, for_display(record.relative_path), error.message)
            return True
        return bool(filed) and (filed == record.signature.identity or not is_anothers(self._ledger, record))

    def _record_gone(self, key: str) -> None:
        record = self._ledger.file(key)
        if record is None or record.state not in MAY_GO_MISSING or self._was_filed(record):
            return
        if record.state in SETTLING and self._is_left_out(record.relative_path):
            detail = "the configuration does not look at this name any more: the file stays where it lies"
        else:
            when = "before it could be filed" if record.state is FileState.SUBMITTED else "before it was sent"
            detail = f"it was moved, deleted or replaced by somebody else {when}"
        self._ledger.commit(*gone(record, detail, now=self._clock.now()))
        logger.info("%s: %s: gone: %s", record.watch_folder, for_display(record.relative_path), detail)
