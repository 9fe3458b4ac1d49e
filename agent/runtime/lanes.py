"""Lanes: whether the service, the way in or the way out of a watch folder works now, and when it is tried again.

A lane that meets trouble waits; when the wait is over one worker may try (the others keep waiting), and what comes of
that opens the lane or makes it wait longer. Lanes know no rule of their own: the backoff and the trouble are handed in.

A lane may serve several kinds of work. Any success opens it for all; what the log said of one kind's trouble stands
until that kind succeeds: a service that lists tasks and takes no documents is not told as well and ill in turns.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from agent.model import LaneReason, LaneState
from agent.rules.retrying import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.errors import LaneTrouble
    from agent.model import RetrySettings
    from agent.ports import Clock

logger = logging.getLogger(__name__)

SERVICE_LANE = "service"
WEB_LANE = "web"
SUBMISSIONS = "submissions"
"""The kind of work that hands documents to the service; without a kind it is asked, which says little about these."""
EXPORTS = "exports"
"""The kind that starts, completes and cancels exports."""
OWED_FOR = 3
"""Longest waits (of `retry.max` or a probe) after which a kind of work that was not tried again is believed over."""
PROBE_PATIENCE = 900.0
"""Seconds after which a probe that never reported back is given up: a 2 GB upload may take that long."""


def submission_lane(watch_folder: str) -> str:
    """Return the name of the lane in."""
    return f"{watch_folder}/submission"


def export_lane(watch_folder: str) -> str:
    """Return the name of the lane out."""
    return f"{watch_folder}/export"


class Lane:
    """One lane; every method may be called from any thread."""

    def __init__(self, name: str, *, retry: RetrySettings, clock: Clock, random: Callable[[], float]) -> None:
        self.name = name
        self._clock = clock
        self._random = random
        self._backoff = Backoff(first=retry.first, max=retry.max)
        self._owed_for = OWED_FOR * max(retry.max, PROBE_PATIENCE)
        self._lock = threading.Lock()
        self._state = LaneState(name)
        self._paused = False
        self._attempt = 0
        self._open_at = 0.0
        self._probe_until: float | None = None
        self._announced: LaneReason | None = None
        """What the log said last that the lane waits for; None once it said that it works."""
        self._owing: dict[str, float] = {}
        """When a kind of work failed last that has not succeeded since."""

    def enter(self) -> bool:
        """Return whether the caller may work now; while the lane recovers, only one caller may."""
        with self._lock:
            if self._paused:
                return False
            if self._state.reason is None:
                return True
            now = self._clock.monotonic()
            if now < self._open_at or (self._probe_until is not None and now < self._probe_until):
                return False
            self._probe_until = now + PROBE_PATIENCE
            return True

    def leave(self) -> None:
        """Say that the work allowed by `enter` told nothing about the lane: somebody else may try."""
        with self._lock:
            self._probe_until = None

    def succeeded(self, *, of: str = "") -> bool:
        """Say that the lane works, as work of that kind has shown; return whether it was waiting."""
        with self._lock:
            was, self._state = self._state, LaneState(self.name)
            self._attempt = 0
            self._open_at = 0.0
            self._probe_until = None
            if was.reason is LaneReason.SERVICE_UNREACHABLE:
                self._owing.clear()  # whatever reaches it has shown that all can
        self.works_for(of)
        return was.reason is not None

    def works_for(self, kind: str) -> None:
        """Say that work of one kind was done; opens nothing."""
        with self._lock:
            self._owing.pop(kind, None)
            if self._state.reason is not None or any(self._is_owing(other) for other in self._owing):
                return
            announced, self._announced = self._announced, None
        if announced is not None:
            logger.info("%s: works again after %s", self.name, announced.value)

    def _is_owing(self, kind: str) -> bool:
        return self._clock.monotonic() - self._owing.get(kind, float("-inf")) < self._owed_for

    def failed(self, trouble: LaneTrouble, *, of: str = "") -> None:
        """Make the lane wait: as long as the other side asked for, else by the backoff. `of`: the kind of work."""
        with self._lock:
            now = self._clock.monotonic()
            if self._state.reason is not None and now < self._open_at and self._probe_until is None:
                # Workers that were under way when the lane closed report the same trouble: one attempt, not four.
                first = False
                if trouble.retry_after is not None:
                    self._open_at = max(self._open_at, now + trouble.retry_after)
            else:
                is_known = self._announced is trouble.reason and self._is_owing(of)
                first = self._state.reason is not trouble.reason and not is_known
                self._attempt += 1
                own = self._backoff.delay(self._attempt, self._random())
                self._open_at = now + (own if trouble.retry_after is None else max(trouble.retry_after, own))
            self._owing[of] = now
            self._probe_until = None
            since = self._state.since if self._state.since is not None else self._clock.now()
            retry_at = self._clock.now() + self._open_at - now
            self._state = LaneState(self.name, trouble.reason, trouble.message, trouble.hint, since, retry_at)
            if first:
                self._announced = trouble.reason
        log = logger.warning if first else logger.debug
        log("%s: waits (%s): %s", self.name, trouble.reason.value, trouble.message)

    def pause(self) -> None:
        """Stop the lane until the operator resumes it."""
        with self._lock:
            self._paused = True

    def resume(self) -> None:
        """Let the lane work again, at once: the operator says that it can."""
        with self._lock:
            self._paused = False
            self._open_at = 0.0

    def wait_seconds(self) -> float:
        """Return how long nobody may work; 0 where somebody may."""
        with self._lock:
            if self._paused:
                return float("inf")
            now = self._clock.monotonic()
            if self._state.reason is None:
                return 0.0
            until = max(self._open_at, self._probe_until or 0.0)
            return max(0.0, until - now)

    @property
    def state(self) -> LaneState:
        """Return what status shows."""
        with self._lock:
            if self._paused:
                return LaneState(self.name, LaneReason.PAUSED, "paused by the operator", "type: fsagent resume")
            return self._state


class Lanes:
    """All lanes of an agent, made when first asked for."""

    def __init__(self, *, retry: RetrySettings, clock: Clock, random: Callable[[], float]) -> None:
        self._retry = retry
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._lanes: dict[str, Lane] = {}

    def __getitem__(self, name: str) -> Lane:
        """Return the lane of that name."""
        with self._lock:
            if name not in self._lanes:
                self._lanes[name] = Lane(name, retry=self._retry, clock=self._clock, random=self._random)
            return self._lanes[name]

    @property
    def service(self) -> Lane:
        """Return the lane of the service as a whole."""
        return self[SERVICE_LANE]

    def submission(self, watch_folder: str) -> Lane:
        """Return the lane in of a watch folder."""
        return self[submission_lane(watch_folder)]

    def export(self, watch_folder: str) -> Lane:
        """Return the lane out of a watch folder."""
        return self[export_lane(watch_folder)]

    def states(self) -> list[LaneState]:
        """Return the state of every lane, by name."""
        with self._lock:
            lanes = list(self._lanes.values())
        return sorted((lane.state for lane in lanes), key=lambda state: state.lane)
