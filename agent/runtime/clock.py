"""The real clock; tests use a driven one with the same contract (`ports.Clock`)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        """Return UTC unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Wait until the event is set or the seconds are over; return whether it is set."""
        return event.wait(seconds)
