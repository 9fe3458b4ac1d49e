"""Signals: the first asks for an orderly stop, a later one ends the process at once."""

from __future__ import annotations

import _thread
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from types import FrameType

HARD_EXIT = 130
"""Exit status of a process that was told twice to stop."""

ONE_WISH = 0.5
"""Seconds within which two signals are one wish: `timeout`, or a shell around the agent and the terminal, tell the
process and its group."""

# SIGBREAK is what a console of Windows sends on Ctrl+Break and when it closes; SIGTERM exists there only in name.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))


def stop_on_signals(stop: threading.Event, *, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Set `stop` on the first signal; on a second wish, leave everything to recovery. Main thread only."""
    told_at: float | None = None

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal told_at
        now = monotonic()
        if told_at is not None:
            if now - told_at >= ONE_WISH:
                os._exit(HARD_EXIT)
            return
        told_at = now
        # Not here: the main thread may be interrupted while it holds the lock of `stop`, or of `threading` itself, and
        # would wait for itself.
        try:
            _thread.start_new_thread(stop.set, ())
        except RuntimeError:  # no more threads: then here all the same, it goes well nearly always
            stop.set()

    for number in STOP_SIGNALS:
        signal.signal(number, handle)
