"""When a task is asked for by its id, where the service has no list of what is ready (design.md §4, apis.md 3.2).

Only times; who asks and what the answers mean is the stage's business. Seconds throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

_MOST_DOUBLINGS = 30
JITTER = 0.2
"""The share by which a wait may be shorter than planned, so that tasks sent together are not asked for together."""


@dataclass(frozen=True, slots=True)
class PollTimes:
    """`first`: from the submission, where the service needs a while; then doubling from `shortest` to `longest`."""

    first: float
    shortest: float
    longest: float


def first_look(times: PollTimes, *, submitted_for: float, is_told: bool) -> float:
    """Return the seconds until a task is asked for the first time.

    `submitted_for`: how long ago it was submitted; `is_told`: the service says by itself when a task has ended, and
    asking is only for what it forgets to say.
    """
    wait = times.longest if is_told else min(times.first, times.longest)
    return max(0.0, wait - max(0.0, submitted_for))


def next_look(times: PollTimes, *, looks: int, is_told: bool, random: float) -> float:
    """Return the seconds until it is asked for again after so many looks; `random` is in [0, 1)."""
    if is_told:
        return times.longest
    wait = min(times.longest, times.shortest * 2.0 ** min(looks, _MOST_DOUBLINGS))
    return wait * (1.0 - JITTER * random)
