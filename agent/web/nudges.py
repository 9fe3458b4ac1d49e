"""Nudges: a service's word that a task has ended, on its way from a webhook to the agent.

Nothing is believed but that it is worth a look. What the agent does not know is tried a few times more, because a
webhook may overtake the answer to the submission it belongs to, and is then forgotten.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.ports import Clock

AGAIN_AFTER = (0.1, 0.4, 1.5, 4.0)
"""Seconds until an unknown id is tried again; an answer is in the ledger long before the last."""
MOST = 1_000
"""Ids kept at once: whoever sends more pushes the oldest out, and those tasks are polled for."""


@dataclass(slots=True)
class _Nudge:
    due: float
    tries: int = 0


class Nudges:
    """Ids that were told and not yet handed over; `take` is for any thread, `work` for one."""

    def __init__(self, tell: Callable[[str], bool], *, clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[str, _Nudge] = {}

    def take(self, task_id: str) -> None:
        """Take an id that may be one of ours."""
        with self._lock:
            self._waiting.setdefault(task_id, _Nudge(0.0)).due = self._clock.monotonic()
            if len(self._waiting) > MOST:
                del self._waiting[next(iter(self._waiting))]

    def work(self) -> float | None:
        """Hand over what is due; return the seconds until more is, None where nothing waits.

        Raises LedgerUnavailable; then what was not handed over waits on.
        """
        now = self._clock.monotonic()
        with self._lock:
            due = [task_id for task_id, nudge in self._waiting.items() if nudge.due <= now]
        for task_id in due:
            self._put_off_or_forget(task_id, is_ours=self._tell(task_id))
        with self._lock:
            next_due = min((nudge.due for nudge in self._waiting.values()), default=None)
        return None if next_due is None else max(0.0, next_due - self._clock.monotonic())

    def _put_off_or_forget(self, task_id: str, *, is_ours: bool) -> None:
        with self._lock:
            nudge = self._waiting.get(task_id)
            if nudge is None:  # pushed out meanwhile
                return
            if is_ours or nudge.tries >= len(AGAIN_AFTER):
                del self._waiting[task_id]
                return
            nudge.due = self._clock.monotonic() + AGAIN_AFTER[nudge.tries]
            nudge.tries += 1
