"""Signals: the first asks for an orderly stop, the second ends the process at once."""

from __future__ import annotations

import _thread
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from types import FrameType

HARD_EXIT = 130
"""Exit status of a process that was told twice to stop."""

# SIGBREAK is what a console of Windows sends on Ctrl+Break and when it closes; SIGTERM exists there only in name.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))


def stop_on_signals(stop: threading.Event) -> None:
    """Set `stop` on the first signal; on the second, leave everything to recovery. Main thread only."""
    is_told = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_told
        if is_told:
            os._exit(HARD_EXIT)
        is_told = True
        # Not here: the main thread may be interrupted while it holds the lock of `stop`, or of `threading` itself, and
        # would wait for itself.
        try:
            _thread.start_new_thread(stop.set, ())
        except RuntimeError:  # no more threads: then here all the same, it goes well nearly always
            stop.set()

    for number in STOP_SIGNALS:
        signal.signal(number, handle)
