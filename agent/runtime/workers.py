"""Threads with an owner: each runs one step again and again, is woken or waits in between, and is joined at the end.

A step that fails unexpectedly is logged with its trace, shown by status and run again: one bad file or folder never
takes a thread away from the others.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from agent.errors import AgentError, LedgerUnavailable, StaleRecord, Stopping

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.ports import Clock

logger = logging.getLogger(__name__)

AFTER_FAILURE = 5.0
"""Seconds before a step that failed unexpectedly runs again."""
AFTER_LEDGER_TROUBLE = 1.0


class Worker:
    """One thread that runs `step` until told to stop; the step returns the seconds to wait before the next."""

    def __init__(self, name: str, step: Callable[[], float | None], *, clock: Clock, stop: threading.Event) -> None:
        self.name = name
        self._step = step
        self._clock = clock
        self._stop = stop
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failure = ""
        """What the last step failed with; empty while all is well."""

    def start(self) -> None:
        """Start the thread. Raises AgentError where the system gives none."""
        try:
            self._thread.start()
        except RuntimeError as error:
            raise AgentError(
                f"the agent's threads cannot all be begun: {error}",
                hint="raise the limit of threads of this account or service (TasksMax= of its unit, ulimit -u)",
            ) from error

    def wake(self) -> None:
        """End the present wait: there may be work."""
        self._wake.set()

    def join(self, seconds: float) -> bool:
        """Wait for the thread's end, `stop` being set; return whether it ended, as one that never began has."""
        if self._thread.ident is None:
            return True
        self._wake.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            # In this order: whoever sets `stop` wakes afterwards, so that no wake of his is cleared unseen.
            self._wake.clear()
            if self._stop.is_set():
                return
            pause = self._run_step()
            if pause is None or pause > 0:
                self._clock.wait(self._wake, pause)

    def _run_step(self) -> float | None:
        try:
            pause = self._step()
        except Stopping:
            return None
        except StaleRecord as stale:
            logger.debug("%s: %s", self.name, stale.message)
            return 0.0
        except LedgerUnavailable as trouble:
            self._note(trouble.message)
            return AFTER_LEDGER_TROUBLE
        except Exception as error:
            # The thread's last line of defence: the cause is logged whole, nothing was recorded, the step runs again.
            if not self.failure:
                logger.exception("%s: unexpected error", self.name)
            self.failure = f"{type(error).__name__}: {error}"
            return AFTER_FAILURE
        self.failure = ""
        return pause

    def _note(self, message: str) -> None:
        if self.failure != message:
            logger.error("%s: %s", self.name, message)
        self.failure = message
