"""Tasks that come round again at once: each waits a little longer every time, so that none is asked for without end.

A start that the service always refuses, an answer that is always 500, a list that lags behind: the service goes on
listing such a task, and without this every poll would begin it anew.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from agent.rules.retrying import Backoff

if TYPE_CHECKING:
    from agent.model import RetrySettings
    from agent.ports import Clock

_FORGET_EVERY = 60.0
_MIDDLE = 0.5  # no jitter: one agent's own tasks need not be kept apart


class _Turns(NamedTuple):
    number: int
    again_at: float


class Repeats:
    """Counts how often each task's turn ended lately; any thread may call. Times are monotonic seconds."""

    def __init__(self, retry: RetrySettings, clock: Clock) -> None:
        self._backoff = Backoff(first=retry.first, max=retry.max)
        self._remembered = 2 * retry.max
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: dict[str, _Turns] = {}
        self._forget_at = 0.0

    def may_begin(self, task_id: str) -> bool:
        """Return whether the task's wait, if it has one, is over."""
        with self._lock:
            turns = self._turns.get(task_id)
            return turns is None or self._clock.monotonic() >= turns.again_at

    def ended(self, task_id: str) -> None:
        """Take note of a turn that ended, well or not: should the task be listed again, it waits."""
        now = self._clock.monotonic()
        with self._lock:
            if now >= self._forget_at:
                self._turns = {key: each for key, each in self._turns.items() if not self._is_over(each, now)}
                self._forget_at = now + _FORGET_EVERY
            before = self._turns.get(task_id)
            count = 1 if before is None or self._is_over(before, now) else before.number + 1
            self._turns[task_id] = _Turns(count, now + self._backoff.delay(count, _MIDDLE))

    def _is_over(self, turns: _Turns, now: float) -> bool:
        return now > turns.again_at + self._remembered
