"""When a request may leave: the service's Retry-After and our own limit of requests per second.

One gate for each service; every request of every method passes it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from agent.errors import ServiceUnavailable
from agent.model import LaneReason

if TYPE_CHECKING:
    from agent.ports import Clock

LONGEST_WAIT = 60.0
"""Seconds a request may wait for its turn under `max_requests_per_second`; beyond, it fails as rate limited."""


class Gate:
    """Lets requests through one after another, or refuses them while the service asked for quiet."""

    def __init__(self, *, clock: Clock, max_requests_per_second: float) -> None:
        self._clock = clock
        self._interval = 1.0 / max_requests_per_second if max_requests_per_second > 0 else 0.0
        self._lock = threading.Lock()
        self._next_turn = clock.monotonic()
        self._quiet_until = self._next_turn
        self._quiet: tuple[str, LaneReason, str] = ("", LaneReason.SERVICE_UNAVAILABLE, "")
        self._closed = threading.Event()

    def enter(self) -> None:
        """Wait for this request's turn. Raises ServiceUnavailable while the service asked for quiet, or once closed."""
        self._refuse_if_quiet()
        wait = self._take_turn()
        if wait > 0:
            self._clock.wait(self._closed, wait)
            self._refuse_if_quiet()

    def _take_turn(self) -> float:
        if not self._interval:
            return 0.0
        with self._lock:
            now = self._clock.monotonic()
            turn = max(now, self._next_turn)
            wait = turn - now
            if wait <= LONGEST_WAIT:
                self._next_turn = turn + self._interval
                return wait
        raise ServiceUnavailable(
            "more requests wait than service.max_requests_per_second lets through",
            reason=LaneReason.RATE_LIMITED,
            hint="raise service.max_requests_per_second, or set it to 0 for no limit of our own",
            retry_after=wait,
            nothing_done=True,
        )

    def _refuse_if_quiet(self) -> None:
        if self._closed.is_set():
            raise ServiceUnavailable("the agent is stopping", reason=LaneReason.SERVICE_UNAVAILABLE, nothing_done=True)
        with self._lock:
            left = self._quiet_until - self._clock.monotonic()
            message, reason, hint = self._quiet
        if left > 0:
            raise ServiceUnavailable(message, reason=reason, hint=hint, retry_after=left, nothing_done=True)

    def keep_quiet(self, trouble: ServiceUnavailable) -> None:
        """Refuse every request with this trouble until its `retry_after` is over."""
        if not trouble.retry_after:
            return
        with self._lock:
            until = self._clock.monotonic() + trouble.retry_after
            if until > self._quiet_until:
                self._quiet_until = until
                self._quiet = (trouble.message, trouble.reason, trouble.hint)

    def close(self) -> None:
        """Refuse everything from now on and wake who waits."""
        self._closed.set()
