"""A `ports.Clock` that moves only when a test, or a wait, moves it."""

from __future__ import annotations

import threading


class DrivenClock:
    """Two times a test drives. Waiting takes no real time: it moves the clock by the seconds waited for."""

    def __init__(self, now: float = 1_711_958_908.0) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._monotonic = 1_000.0
        self.waits: list[float] = []

    def now(self) -> float:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        if event.is_set():
            return True
        if seconds is None:
            return event.wait()
        self.waits.append(seconds)
        self.advance(seconds)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now += seconds
            self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock another way; the monotonic one does not notice."""
        with self._lock:
            self._now += seconds
