"""Root guards: whether an inbox or output root is there and ours, kept in the lane that needs it.

Root watches ask in threads of their own: a dead share may answer nothing at all, neither yes nor no.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from agent.errors import LaneTrouble
from agent.folders.roots import answers, look_at_root
from agent.model import LaneReason, RootKind
from agent.runtime.renumbering import renumber

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.model import RootRecord, WatchFolder
    from agent.ports import Clock, Ledger
    from agent.runtime.lanes import Lane

OPEN_TASKS = 1_000_000
LOOK_AGAIN = 3.0
"""Seconds a lane with a root in trouble waits; the guard is asked more often than that."""
LOOK_EVERY = 1.0
"""Seconds between two looks of a watch."""
ANSWER_PATIENCE = 10.0
"""Seconds without an answer after which a folder counts as hanging; a share that fails over takes a few."""


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
            elif known is not None and self._kind is RootKind.INBOX:
                renumber(self._ledger, known, look.record)
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

    def is_healthy(self) -> bool:
        """Look, as `check` does: for whoever may wait for the answer."""
        return self.check()


def recognise_inbox(folder: WatchFolder, ledger: Ledger) -> None:
    """Know the files of an inbox by the number its device has today, before any of them is filed or removed.

    The guard does so with its own look, perhaps later: by then a file known by the number of yesterday would count as
    replaced by another. Says nothing about a root in trouble; the guard does. Raises LedgerUnavailable.
    """
    known = ledger.root(folder.name, RootKind.INBOX)
    if folder.inbox is None or known is None or known.path != str(folder.inbox):
        return
    look = look_at_root(
        folder.inbox, kind=RootKind.INBOX, watch_folder=folder.name, ledger_id=ledger.ledger_id, known=known
    )
    if look.record is not None and look.record != known:
        renumber(ledger, known, look.record)
        ledger.commit(look.record)


class RootWatch:
    """Asks the folders of one lane again and again; `step` runs in a thread of its own, and hangs with them.

    `look` tells whether the lane may touch them; it keeps the lane's troubles itself, all but the silence. `changed` is
    called where its answer is another one, `answers_again` after a silence that was told.
    """

    def __init__(
        self,
        look: Callable[[], bool],
        *,
        lane: Lane,
        reason: LaneReason,
        what: str,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
        answers_again: Callable[[], None] = lambda: None,
    ) -> None:
        self._look = look
        self._lane = lane
        self._reason = reason
        self._what = what
        self._clock = clock
        self._changed = changed
        self._answers_again = answers_again
        self._asked_at: float | None = None
        self._told = False
        self._is_healthy = False

    def step(self) -> float:
        """Look once and return the seconds until the next look."""
        self._asked_at = self._clock.monotonic()
        try:
            healthy = self._look()
        finally:
            self._asked_at = None
        if self._told:
            self._told = False
            if healthy:
                self._lane.succeeded()
            self._answers_again()
        if healthy != self._is_healthy:
            self._is_healthy = healthy
            self._changed()
        return LOOK_EVERY

    def is_healthy(self) -> bool:
        """Return what the last look said; False while the present one has no answer for too long."""
        return self._is_healthy and not self.is_silent()

    def is_silent(self) -> bool:
        """Return whether the folders have not answered for longer than any that work."""
        asked_at = self._asked_at
        return asked_at is not None and self._clock.monotonic() - asked_at > ANSWER_PATIENCE

    @property
    def silence(self) -> str:
        """A sentence about folders that do not answer; empty while they do."""
        return f"{self._what} has not answered for more than {ANSWER_PATIENCE:g} s" if self.is_silent() else ""

    def supervise(self) -> bool:
        """Make the lane wait while its folders are silent; return whether they are. For one thread that never hangs."""
        if not (silence := self.silence):
            return False
        self._lane.failed(
            LaneTrouble(
                silence,
                reason=self._reason,
                hint="look whether its share or disk is connected and sound; it goes on by itself",
                retry_after=LOOK_AGAIN,
            )
        )
        # Only now: should an answer have come meanwhile, the next look takes back what was said too late.
        self._told = True
        return True


class FirstLook:
    """Asks each folder once and takes a silent one for dead: for a command without an agent that watches them."""

    def __init__(self, *, patience: float = ANSWER_PATIENCE) -> None:
        self._patience = patience
        self._said: dict[Path, str] = {}

    def silence(self, path: Path) -> str:
        """Return a sentence about a folder that does not answer; "" where it does, whatever it says."""
        if path not in self._said:
            self._said[path] = next(
                (said for root, said in self._said.items() if said and path.is_relative_to(root)), ""
            )
            if not self._said[path] and not self._answers(path):
                self._said[path] = f"{path} has not answered for more than {self._patience:g} s"
        return self._said[path]

    def _answers(self, path: Path) -> bool:
        asking = threading.Thread(target=answers, args=(path,), name="first look", daemon=True)
        asking.start()
        asking.join(self._patience)
        return not asking.is_alive()


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
