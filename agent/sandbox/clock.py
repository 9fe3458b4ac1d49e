"""The time of a sandbox: where it comes from, and how services write it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class WallClock(Protocol):
    """Where a sandbox gets the time from; `ports.Clock` fits."""

    def now(self) -> float:
        """Return UTC unix seconds."""


class RealTime:
    """The time of this machine."""

    def now(self) -> float:
        """Return UTC unix seconds."""
        return time.time()


def wire_time(seconds: float) -> str:
    """Return unix seconds as services write them, in whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
