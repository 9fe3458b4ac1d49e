"""Supervision: folders that do not answer make their lane wait, and keep nothing of the other watch folders.

The supervisor itself touches no folder, so that it never hangs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.folders.roots import answers
from agent.model import LaneReason, RootKind
from agent.runtime.roots import RootGuard, RootWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.model import WatchFolder
    from agent.runtime.parts import Parts
    from agent.runtime.workers import Worker
    from agent.submission.inbox import Inbox

EVERY = 1.0
"""Seconds between two looks at the watches."""


class Supervisor:
    """Owns the watches of all roots; `add` begins a thread for a step, `hanging` is told whose inboxes are silent."""

    def __init__(
        self,
        parts: Parts,
        *,
        add: Callable[[str, Callable[[], float | None]], Worker],
        hanging: Callable[[frozenset[str]], None],
    ) -> None:
        self._parts = parts
        self._add = add
        self._hanging = hanging
        self._inboxes: list[tuple[str, RootWatch]] = []
        self._outputs: list[RootWatch] = []
        self._watches: list[tuple[Path, RootWatch]] = []
        """All of them, with the folder each asks."""

    def watch_inbox(self, inbox: Inbox, *, answers_again: Callable[[], None]) -> None:
        """Notice where an inbox, or an archive/ or error/ elsewhere, does not answer."""
        what = f"The inbox {inbox.root}"
        self._watch_source(inbox, inbox.root, LaneReason.INBOX_MISSING, what, answers_again=answers_again)
        for path in inbox.excluded:
            if not path.is_relative_to(inbox.root):
                self._watch_source(inbox, path, LaneReason.IO_ERROR, f"The folder {path}")

    def _watch_source(
        self,
        inbox: Inbox,
        path: Path,
        reason: LaneReason,
        what: str,
        *,
        answers_again: Callable[[], None] = lambda: None,
    ) -> None:
        name = inbox.folder.name
        watch = RootWatch(
            lambda: answers(path),
            lane=self._parts.lanes.submission(name),
            reason=reason,
            what=what,
            clock=self._parts.clock,
            answers_again=answers_again,
        )
        self._inboxes.append((name, watch))
        self._watches.append((path, watch))
        self._add(f"watch of {path.name} of {name}", watch.step)

    def watch_output(
        self, folder: WatchFolder, *, is_prepared: Callable[[], bool], changed: Callable[[], None]
    ) -> RootWatch:
        """Return the watch of an output, which keeps its marker; nobody works there before it is prepared."""
        lane = self._parts.lanes.export(folder.name)
        guard = RootGuard(folder, RootKind.OUTPUT, ledger=self._parts.ledger, lane=lane)
        watch = RootWatch(
            lambda: is_prepared() and guard.check(),
            lane=lane,
            reason=LaneReason.OUTPUT_MISSING,
            what=f"The output {folder.output}",
            clock=self._parts.clock,
            changed=changed,
        )
        self._outputs.append(watch)
        assert folder.output is not None, f"{folder.name} has no output"
        self._watches.append((folder.output, watch))
        self._add(f"watch of the output of {folder.name}", watch.step)
        return watch

    def silence(self, path: Path) -> str:
        """Return a sentence about what does not answer at a path, or above it; "" where nothing is known of that."""
        return next((watch.silence for root, watch in self._watches if path.is_relative_to(root) and watch.silence), "")

    def step(self) -> float:
        """Let the lanes of silent folders wait; their files keep no worker and no connection from the others."""
        for watch in self._outputs:
            watch.supervise()
        silent = frozenset([name for name, watch in self._inboxes if watch.supervise()])
        self._parts.submit.connections.disregard(silent)
        if silent:
            self._hanging(silent)
        return EVERY
