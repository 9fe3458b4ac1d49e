"""A disk or share that came back under another device number: the ledger's files on it keep being who they are.

Linux numbers devices as they appear: after a restart a disk may have another one's number, and every mount of a network
share gets a new one. Files known by the old number would count as replaced by others, and be sent again. Decides
nothing and touches no folder.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.errors import StaleRecord
from agent.model import FileState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import FileRecord, RootRecord
    from agent.ports import Ledger

logger = logging.getLogger(__name__)

_MAY_HAVE_BEEN_SENT = (FileState.SENDING, FileState.UNKNOWN, FileState.HELD, FileState.SUBMITTED)
_MANY = 1_000_000


def renumber(ledger: Ledger, before: RootRecord, now: RootRecord) -> None:
    """Give files of a root, our marker in it, the device it has now; nothing where it is not the same folder.

    Those that something is still done with: sent or perhaps sent, planned to be filed, refused, of an open task. What
    waits unsent is looked at anew anyhow. May be repeated. Raises LedgerUnavailable.
    """
    change = _Renumbering.between(before, now)
    if change is None:
        return
    renumbered = sum(change.carry_out(ledger, record) for record in _concerned(ledger, now.watch_folder))
    logger.info("%s: %s has another device number; %d files are known by it", now.watch_folder, now.path, renumbered)


def _concerned(ledger: Ledger, name: str) -> Iterator[FileRecord]:
    yield from ledger.find_files(watch_folder=name, in_inbox=True, states=_MAY_HAVE_BEEN_SENT, limit=_MANY)
    yield from ledger.find_files(watch_folder=name, to_file=True, limit=_MANY)
    yield from ledger.find_files(watch_folder=name, states=[FileState.REJECTED], limit=_MANY)
    for task in ledger.find_tasks(watch_folder=name, is_open=True, limit=_MANY):
        source = ledger.file(task.file_key) if task.file_key else None
        if source is not None:
            yield source


@dataclass(frozen=True, slots=True)
class _Renumbering:
    """One device number for another, both with the colon that ends them in an identity."""

    old: str
    new: str

    @classmethod
    def between(cls, before: RootRecord, now: RootRecord) -> _Renumbering | None:
        (old, colon, was), (new, _, by_now) = before.identity.partition(":"), now.identity.partition(":")
        if before.path != now.path or was != by_now or old == new:
            return None
        return cls(old + colon, new + colon)

    def carry_out(self, ledger: Ledger, record: FileRecord) -> bool:
        """Commit the record with its new identities; return whether there was anything to change."""
        current: FileRecord | None = record
        while current is not None:
            changed = self._changed(current)
            if changed is None:
                return False
            try:
                ledger.commit(changed)
            except StaleRecord:  # a worker was faster: what it wrote stays, with the number of today
                current = ledger.file(record.key)
            else:
                return True
        return False

    def _changed(self, record: FileRecord) -> FileRecord | None:
        identity, filed_identity = self._today(record.signature.identity), self._today(record.filed_identity)
        if (identity, filed_identity) == (record.signature.identity, record.filed_identity):
            return None
        return record.change(signature=replace(record.signature, identity=identity), filed_identity=filed_identity)

    def _today(self, identity: str) -> str:
        return self.new + identity.removeprefix(self.old) if identity.startswith(self.old) else identity
