"""What an answer of the service means for file, lane and service, and how long to wait before the next attempt.

The one table of design.md §3. Reads no clock, draws no random number, sends nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus

LONGEST_RETRY_AFTER = 3600.0
"""Seconds a service may ask for; more is not obeyed."""
SHORTEST_DELAY = 0.1
"""Seconds between two attempts whatever is configured: nothing ever spins."""
REFUSALS_THAT_STOP = 10
"""Files refused in a row, none accepted between, after which the fault is not the files'."""

_DOUBLINGS = 60  # more than any `max` needs, few enough for a float
_SECONDS = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")
_LONGEST_DATE = 64

_SERVICE = frozenset({408, 425, 429, 503})
_SETUP = frozenset({403, 404, 405, 407})
_MOVED = frozenset({400, 404, 409, 410, 412, 422, 423})


class Outcome(StrEnum):
    """What became of a submission, or of a request for a token."""

    ACCEPTED = "accepted"
    SERVICE = "service"  # not accepted: the lane waits, then again
    TOKEN = "token"  # noqa: S105 -- no secret: not accepted, one new token, once
    SETUP = "setup"  # not accepted: project, address, proxy or rights; the lane waits
    FILE = "file"  # not accepted: this file is refused
    UNKNOWN = "unknown"  # a task may exist: it is looked for


class ControlOutcome(StrEnum):
    """What became of start, complete, cancel, fail, or of reading a task."""

    DONE = "done"
    MOVED = "moved"  # the task is elsewhere by now: read it again
    TOKEN = "token"  # noqa: S105 -- no secret
    SETUP = "setup"
    SERVICE = "service"


def classify_submission(status: int, *, has_task_id: bool) -> Outcome:
    """Return what an answer to a submission means; what the table does not name is unknown, never just sent again."""
    if status in _SERVICE or _is_redirect(status):
        return Outcome.SERVICE
    if _is_success(status):
        return Outcome.ACCEPTED if has_task_id else Outcome.UNKNOWN
    if status == HTTPStatus.UNAUTHORIZED:
        return Outcome.TOKEN
    if status in _SETUP:
        return Outcome.SETUP
    return Outcome.FILE if _is_refusal(status) else Outcome.UNKNOWN


def classify_interruption(*, sent: int, size: int, proxied: bool, connected: bool) -> Outcome:
    """Return what a submission without an answer means; `sent` of `size` bytes of the body had left.

    Through a proxy that may gather the body and finish the request by itself, a short count proves nothing
    (faults.md 6).
    """
    if not connected:
        return Outcome.SERVICE
    if proxied and sent > 0:
        return Outcome.UNKNOWN
    return Outcome.SERVICE if sent < size else Outcome.UNKNOWN


def classify_control(status: int) -> ControlOutcome:
    """Return what an answer to a call that may be repeated means (apis.md 1.5)."""
    if _is_success(status):
        return ControlOutcome.DONE
    if status in _SERVICE:
        return ControlOutcome.SERVICE
    if status == HTTPStatus.UNAUTHORIZED:
        return ControlOutcome.TOKEN
    if status in _MOVED:
        return ControlOutcome.MOVED
    return ControlOutcome.SETUP if _is_refusal(status) else ControlOutcome.SERVICE


def classify_token(status: int) -> Outcome:
    """Return what an answer of the token end point means: ACCEPTED, SERVICE, or TOKEN for refused credentials."""
    if _is_success(status):
        return Outcome.ACCEPTED
    return Outcome.TOKEN if _is_refusal(status) and status not in _SERVICE else Outcome.SERVICE


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _is_redirect(status: int) -> bool:
    return HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST


def _is_refusal(status: int) -> bool:
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waiting from `first` to `max` seconds."""

    first: float
    max: float

    def delay(self, attempt: int, random: float) -> float:
        """Return the seconds to wait after the `attempt`-th failure in a row (from 1); `random` in [0, 1).

        The whole range is half to all of min(max, first * 2^(attempt - 1)), so agents that failed together come
        back apart; never below 0.1 s, even where `first` or `max` is 0.
        """
        ceiling = min(self.max, self.first * 2.0 ** min(max(attempt - 1, 0), _DOUBLINGS))
        return max(ceiling * (0.5 + random / 2), SHORTEST_DELAY)


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Return the seconds a `Retry-After` asks for, above 0 and at most 1 h; None: our own backoff decides.

    `value` is a number of seconds or an HTTP date, `now` the unix time by the service's own clock (its `Date`).
    Nothing asked, 0, negative, past and unreadable are all None.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        moment = _unix_time(text)
        if moment is None:
            return None
        seconds = moment - now
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, LONGEST_RETRY_AFTER)


def _unix_time(text: str) -> float | None:
    """Return the unix seconds of an HTTP date; None where it is none."""
    if not text or len(text) > _LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser is not careful with what is no date
        return None


@dataclass(frozen=True, slots=True)
class RefusalStreak:
    """Files refused in a row in one lane; while it `stops`, one file is tried every `retry.max`, the rest stays."""

    refusals: int = 0

    def refused(self) -> RefusalStreak:
        """Return the streak after one more file was refused by the service."""
        return RefusalStreak(self.refusals + 1)

    @property
    def stops(self) -> bool:
        """Tell whether the lane waits with `service_refuses_all`."""
        return self.refusals >= REFUSALS_THAT_STOP
