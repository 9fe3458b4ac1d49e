"""When a file has come to rest: unchanged for `settle`, whole, held by nobody; and when to look at it again.

Works from what the ledger stores of the last look (`unchanged_since`, `look_at`, `looks`, the signature), never from
memory. Times are seconds of this process's monotonic clock, passed in as `now`. Opens and reads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.model import FileRecord, Sighting, Signature

SHORTEST_PAUSE = 0.25
"""Seconds until a file that cannot be taken yet is looked at again, at first."""
LONGEST_PAUSE = 30.0
"""Seconds until a stalled file is looked at again, at most."""
_PAUSE_SHARE = 0.25  # of the time it has lain unchanged: what waited long may wait a little longer


class Verdict(StrEnum):
    """What is to be done with a file that was looked at."""

    WAITING = "waiting"
    READY = "ready"
    STALLED = "stalled"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Observation:
    """What is kept between two looks: unchanged `since`, next due at `look_at`, `looks` so far at these very bytes."""

    signature: Signature
    since: float
    look_at: float
    looks: int

    @classmethod
    def of(cls, record: FileRecord) -> Observation | None:
        """Return what a row of the ledger remembers; None where no look of this process is in it."""
        if record.unchanged_since is None:
            return None
        look_at = record.unchanged_since if record.look_at is None else record.look_at
        return cls(record.signature, record.unchanged_since, look_at, record.looks)


@dataclass(frozen=True, slots=True)
class SettleTracker:
    """The patience of one watch folder: `settle`, `stalled_after`, `give_up_after` in seconds, None: never."""

    settle: float
    stalled_after: float
    give_up_after: float | None = None

    def observe(
        self,
        sighting: Sighting,
        now: float,
        *,
        before: Observation | None,
        held: str | None = None,
        whole: bool | None = None,
    ) -> tuple[Observation, Verdict]:
        """Take in one look at a file and return what to keep of it and what follows.

        `before` is what the last look kept. `held` says who or what keeps the file from being read (a writer, a
        lock, rights, a second link); `whole` is what the content check said, None: not asked. A file is READY when
        size, time and identity were the same for `settle` seconds over at least two looks; with `settle` 0 the first
        look is enough, so only a known writer (`held`) and the content check still guard against a half file.
        """
        if before is None or before.signature != sighting.signature or before.since > now:
            # A time of the future is another process's clock: nothing is known then.
            seen = Observation(sighting.signature, since=now, look_at=now, looks=1)
        else:
            seen = replace(before, looks=before.looks + 1)
        return self.judge(seen, now, held=held, whole=whole)

    def judge(
        self, seen: Observation, now: float, *, held: str | None = None, whole: bool | None = None
    ) -> tuple[Observation, Verdict]:
        """Return the verdict on what was seen already: for a check that follows the look and counts as none itself."""
        if now < seen.since + self.settle or (self.settle > 0 and seen.looks < 2):  # noqa: PLR2004 -- design.md §3.2
            return replace(seen, look_at=max(seen.since + self.settle, now)), Verdict.WAITING
        if held is None and whole is not False:
            return replace(seen, look_at=now), Verdict.READY
        if held is None and self.is_given_up(seen, now):
            return replace(seen, look_at=now), Verdict.GIVEN_UP
        verdict = Verdict.STALLED if self.is_stalled(seen, now) else Verdict.WAITING
        return replace(seen, look_at=self._next_look(seen, now)), verdict

    def is_stalled(self, seen: Observation, now: float) -> bool:
        """Tell whether the last change is `stalled_after` ago: `wrong_type` and `empty` are decided no sooner."""
        return now >= seen.since + self.stalled_after

    def is_given_up(self, seen: Observation, now: float) -> bool:
        """Tell whether a file that is not whole has had its time; one that is held or unreadable never has."""
        return self.give_up_after is not None and now >= seen.since + self.give_up_after

    def _next_look(self, seen: Observation, now: float) -> float:
        """Return when to look again: after a quarter of the time it lay unchanged, but on time for the next verdict."""
        pause = min(max((now - seen.since) * _PAUSE_SHARE, SHORTEST_PAUSE), LONGEST_PAUSE)
        turns = [seen.since + self.stalled_after]
        if self.give_up_after is not None:
            turns.append(seen.since + self.give_up_after)
        return min([now + pause, *(turn for turn in turns if turn > now)])
