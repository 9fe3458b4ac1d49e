"""The detection loop of one inbox: root, watcher, hints, looks that are due and scans, in one thread."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from agent.errors import LaneTrouble
from agent.folders.watching import Watcher
from agent.submission.detect import Detect

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.runtime.parts import Parts
    from agent.runtime.roots import RootGuard
    from agent.submission.inbox import Inbox

logger = logging.getLogger(__name__)

ROOT_CHECK = 2.0
"""Seconds between two looks at the root and the watcher."""
SCAN_SHARE = 10.0
"""The next scan comes no sooner than this many times the last one's duration (design.md §3.1)."""
AFTER_FAILED_SCAN = 2.0
"""Seconds from a scan that broke off to the next one."""
SCAN_SOON = 0.2
"""Seconds from an event that asks for a scan to that scan: one for a whole flood of events."""
HINT_LIMIT = 5000
"""Hints kept between two steps; beyond, one scan looks at everything."""
SHORTEST_WAIT = 0.002


class Detecting:
    """One inbox's detection; `step` runs in the thread that owns it, `hint` is called by the watcher's."""

    def __init__(
        self,
        parts: Parts,
        inbox: Inbox,
        guard: RootGuard,
        *,
        found: Callable[[], None],
        is_prepared: Callable[[], bool] = lambda: True,
    ) -> None:
        self._parts = parts
        self._inbox = inbox
        self._guard = guard
        self._found = found
        self._is_prepared = is_prepared
        self._clock = parts.clock
        self._detect = Detect(inbox, ledger=parts.ledger, clock=parts.clock, new_key=parts.new_key)
        self._lock = threading.Lock()
        self._hints: dict[str, None] = {}
        self._next_scan = 0.0
        self._earliest_scan = 0.0
        self._was_silent = False
        """Whether the inbox did not answer during the present scan, or the last one."""
        self._next_check = 0.0
        self._watcher: Watcher | None = None
        self.wake: Callable[[], None] = lambda: None
        self.scans = 0
        """Scans so far that came to their end; `run --once` waits for the first."""
        self.unreadable_count = 0
        """Folders and entries the last scan could not read."""
        self.unreadable = ""
        """A sentence about the first of them."""
        self.observer = "starting"
        self.observer_detail = ""

    @property
    def name(self) -> str:
        """The watch folder's name."""
        return self._inbox.folder.name

    @property
    def unmatched(self) -> int:
        """Files of the last scan that no include matches."""
        return self._detect.unmatched

    def hint(self, relative_path: str | None) -> None:
        """Take a hint from an event: a path that changed, or None for "look at everything"."""
        with self._lock:
            if relative_path is None or len(self._hints) >= HINT_LIMIT:
                soon = max(self._clock.monotonic() + SCAN_SOON, self._earliest_scan)
                self._next_scan = min(self._next_scan, soon)
            else:
                self._hints[relative_path] = None
        self.wake()

    def rescan(self) -> None:
        """Scan at once."""
        with self._lock:
            self._next_scan = 0.0
        self.wake()

    def answers_again(self) -> None:
        """Scan at once after a time without an answer: a scan that hung took long, but cost its share nothing."""
        with self._lock:
            self._was_silent = True
        self.rescan()

    def step(self) -> float:
        """Do what is due and return the seconds until something is."""
        if not self._is_prepared():
            return SCAN_SOON
        now = self._clock.monotonic()
        # A scan takes in all it finds: only of a root that is ours at that moment.
        if now >= min(self._next_check, self._next_scan):
            self._next_check = now + ROOT_CHECK
            if not self._check():
                return ROOT_CHECK
        if self._guard.trouble:
            return max(SHORTEST_WAIT, self._next_check - now)
        try:
            found = self._detect.look_at(self._take_hints())
            found = self._detect.look_at_due() or found
        except LaneTrouble as trouble:  # the root went away since it was looked at; once it is back, a scan sees all
            self._guard.report(trouble)
            return ROOT_CHECK
        if self._clock.monotonic() >= self._next_scan:
            found = self._scan() or found
        if found:
            self._found()
        return self._seconds_until_due()

    def close(self) -> None:
        """Stop the watcher."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def _check(self) -> bool:
        """Look at the root and the watcher; return whether the inbox can be worked on."""
        was_healthy = not self._guard.trouble
        if not self._guard.check():
            self.observer, self.observer_detail = "waiting", "the inbox is not there"
            return False
        if not was_healthy:
            self.rescan()
        if self._watcher is None:
            folder = self._inbox.folder
            self._watcher = Watcher(
                self._inbox.root,
                mode=folder.observer,
                recursive=folder.recursive,
                wants=self._is_of_interest,
                excluded=self._inbox.excluded,
                on_hint=self.hint,
                clock=self._clock,
                skips_folder=self._inbox.name_filter.skips_folder,
            )
            self._watcher.start()
        health = self._watcher.check()
        if (health.kind, health.detail) != (self.observer, self.observer_detail):
            why = f" ({health.detail})" if health.detail else ""
            logger.info("%s: observer %s%s", self.name, health.kind, why)
        self.observer, self.observer_detail = health.kind, health.detail
        return True

    def _is_of_interest(self, relative_path: str) -> bool:
        return self._inbox.wants(relative_path) or self._inbox.name_filter.is_ready_file(relative_path)

    def _take_hints(self) -> list[str]:
        with self._lock:
            hints, self._hints = self._hints, {}
        return list(hints)

    def _scan(self) -> bool:
        """Scan once; return whether the root could be read."""
        started = self._clock.monotonic()
        with self._lock:
            self._next_scan = float("inf")  # a hint from here on asks for another one
            self._was_silent = False
        pause = AFTER_FAILED_SCAN
        try:
            outcome = self._detect.scan()
            pause = self._inbox.folder.rescan if self.observer == "native" else self._inbox.folder.poll_interval
        except LaneTrouble as trouble:
            self._guard.report(trouble)
            return False
        finally:  # whatever ended it, a ledger that is full too: there is a next one
            ended = self._clock.monotonic()
            with self._lock:
                self._earliest_scan = ended + (0.0 if self._was_silent else SCAN_SHARE * (ended - started))
                self._next_scan = max(min(self._next_scan, ended + max(SCAN_SOON, pause)), self._earliest_scan)
        self.scans += 1
        self.unreadable_count = outcome.unreadable_count
        self.unreadable = outcome.unreadable[0].sentence if outcome.unreadable else ""
        return True

    def _seconds_until_due(self) -> float:
        next_look = self._detect.next_look()
        with self._lock:
            if self._hints:
                return 0.0
            due = min(self._next_scan, self._next_check)
        if next_look is not None:
            due = min(due, next_look)
        return max(SHORTEST_WAIT, due - self._clock.monotonic())
