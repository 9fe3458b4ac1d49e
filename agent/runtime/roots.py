"""Root guards: whether an inbox or output root is there and ours, kept in the lane that needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import LaneTrouble
from agent.folders.roots import look_at_root
from agent.model import LaneReason, RootKind

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import RootRecord, WatchFolder
    from agent.ports import Ledger
    from agent.runtime.lanes import Lane

OPEN_TASKS = 1_000_000
LOOK_AGAIN = 3.0
"""Seconds a lane with a root in trouble waits; the guard is asked more often than that."""


class RootGuard:
    """Watches over one root; owned by one thread."""

    def __init__(self, folder: WatchFolder, kind: RootKind, *, ledger: Ledger, lane: Lane) -> None:
        path = folder.inbox if kind is RootKind.INBOX else folder.output
        assert path is not None, f"{folder.name} has no {kind.value}"
        self._path: Path = path
        self._folder = folder
        self._kind = kind
        self._ledger = ledger
        self._lane = lane
        self._known = ledger.root(folder.name, kind)
        self.trouble: LaneReason | None = None

    def check(self) -> bool:
        """Look at the root and return whether the lane may touch it. Raises LedgerUnavailable."""
        look = look_at_root(
            self._path,
            kind=self._kind,
            watch_folder=self._folder.name,
            ledger_id=self._ledger.ledger_id,
            known=self._known,
        )
        if look.reason is not None:
            self._known = self._ledger.root(self._folder.name, self._kind)  # `adopt` may have changed it
            self.report(LaneTrouble(look.detail, reason=look.reason, hint=look.hint))
            return False
        if look.record is not None and look.record != self._known:
            known = self._known or self._ledger.root(self._folder.name, self._kind)
            if known is not None and known.path != look.record.path:
                forget_staged(self._ledger, look.record)
            self._ledger.commit(look.record)
            self._known = look.record
        if self.trouble is not None:
            self.trouble = None
            self._lane.succeeded()
        return True

    def report(self, trouble: LaneTrouble) -> None:
        """Make the lane wait for this root; the next healthy look opens it again."""
        trouble.retry_after = LOOK_AGAIN
        self.trouble = trouble.reason
        self._lane.failed(trouble)


def forget_staged(ledger: Ledger, root: RootRecord) -> None:
    """Let exports that wait staged for another output be written anew: in this one nothing of them ever lay.

    Without it their files, missing here, would count as published and taken by a reader, and the service would be told
    to delete its copy.
    """
    if root.kind is not RootKind.OUTPUT:
        return
    for task in ledger.find_tasks(watch_folder=root.watch_folder, is_open=True, limit=OPEN_TASKS):
        if task.staged and not task.published:
            ledger.commit(task.change(plan=(), staged=False))
