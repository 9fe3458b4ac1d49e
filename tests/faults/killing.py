"""Killing an agent again and again while it works: names of the files, and one life that ends at any moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from system.sites import wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from system.sites import Site

PAUSE = (0.3, 1.5)
"""Seconds an agent runs until it is killed, from where it says that it runs."""


def soak_name(number: int) -> str:
    """Return a path in one of nine folders; no two numbers share a base name."""
    return f"folder {number % 9}/{number}.{'pdf' if number % 2 else 'tif'}"


def killed_after_a_while(
    site: Site, chance: random.Random, *, moment: Callable[[], bool] | None = None, slowness: float = 1.0
) -> bool:
    """Let an agent work and kill it, at any moment or at one; return whether it was killed while it ran.

    `slowness`: how many times the pause it lives, for a machine too busy to get anything done in it.
    """
    with site.run() as running:
        wait_until(lambda: "fsagent runs" in running.log, what=lambda: running.log)
        if moment is None:
            threading.Event().wait(slowness * chance.uniform(*PAUSE))
        else:
            wait_until(moment, what=lambda: running.log)
        ended_by_itself = running.process.poll() is not None
        running.kill()
    assert "Traceback" not in running.log, running.log
    return not ended_by_itself
