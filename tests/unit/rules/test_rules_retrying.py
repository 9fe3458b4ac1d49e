from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.rules.retrying import (
    REFUSALS_THAT_STOP,
    Backoff,
    ControlOutcome,
    Outcome,
    RefusalStreak,
    classify_control,
    classify_interruption,
    classify_submission,
    classify_token,
    parse_retry_after,
)

quick = settings(max_examples=200, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.ACCEPTED, [200, 201, 202]),
        (Outcome.SERVICE, [301, 302, 307, 308, 408, 425, 429, 503]),
        (Outcome.TOKEN, [401]),
        (Outcome.SETUP, [403, 404, 405, 407]),
        (Outcome.FILE, [400, 402, 409, 410, 413, 414, 415, 418, 422, 431, 451]),
        (Outcome.UNKNOWN, [500, 502, 504, 501, 505, 507, 599, 100, 0, 600]),
    ],
)
def test_an_answer_to_a_submission_means_what_the_table_says(outcome: Outcome, statuses: list[int]) -> None:
    assert {classify_submission(status, has_task_id=True) for status in statuses} == {outcome}


def test_success_without_a_task_id_is_unknown() -> None:
    assert classify_submission(202, has_task_id=False) is Outcome.UNKNOWN


@given(st.integers(-1, 1000))
@quick
def test_only_success_with_an_id_is_accepted(status: int) -> None:
    assert (classify_submission(status, has_task_id=True) is Outcome.ACCEPTED) is (200 <= status < 300)
    assert classify_submission(status, has_task_id=False) is not Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("sent", "size", "proxied", "connected", "outcome"),
    [
        (0, 10, False, False, Outcome.SERVICE),
        (0, 10, True, False, Outcome.SERVICE),
        (0, 10, False, True, Outcome.SERVICE),
        (9, 10, False, True, Outcome.SERVICE),
        (10, 10, False, True, Outcome.UNKNOWN),
        (0, 10, True, True, Outcome.SERVICE),
        (1, 10, True, True, Outcome.UNKNOWN),
        (10, 10, True, True, Outcome.UNKNOWN),
        (0, 0, False, True, Outcome.UNKNOWN),
    ],
)
def test_an_interrupted_submission_means_what_its_bytes_prove(
    *, sent: int, size: int, proxied: bool, connected: bool, outcome: Outcome
) -> None:
    assert classify_interruption(sent=sent, size=size, proxied=proxied, connected=connected) is outcome


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (ControlOutcome.DONE, [200, 202, 204]),
        (ControlOutcome.MOVED, [400, 404, 409, 422, 410]),
        (ControlOutcome.TOKEN, [401]),
        (ControlOutcome.SETUP, [402, 403, 405, 407]),
        (ControlOutcome.SERVICE, [302, 408, 425, 429, 500, 502, 503, 504]),
    ],
)
def test_an_answer_to_a_control_call_means_what_may_be_done_next(outcome: ControlOutcome, statuses: list[int]) -> None:
    assert {classify_control(status) for status in statuses} == {outcome}


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.ACCEPTED, [200]),
        (Outcome.SERVICE, [302, 408, 425, 429, 500, 502, 503, 504]),
        (Outcome.TOKEN, [400, 401, 403, 404, 422]),
    ],
)
def test_the_token_end_point_is_in_trouble_or_refuses(outcome: Outcome, statuses: list[int]) -> None:
    assert {classify_token(status) for status in statuses} == {outcome}


def test_waiting_doubles_up_to_its_maximum() -> None:
    backoff = Backoff(first=1.0, max=300.0)
    assert [backoff.delay(attempt, 1.0) for attempt in (1, 2, 3, 9, 10, 10**9)] == [1, 2, 4, 256, 300, 300]


def test_jitter_takes_away_at_most_half() -> None:
    assert Backoff(first=8.0, max=300.0).delay(1, 0.0) == 4.0


@given(
    first=st.floats(0, 1e6),
    maximum=st.floats(0, 1e6),
    attempt=st.integers(-3, 10**6),
    random=st.floats(0, 1, exclude_max=True),
)
@quick
def test_a_wait_is_never_nothing_and_never_beyond_the_maximum(
    first: float, maximum: float, attempt: int, random: float
) -> None:
    assert 0.1 <= Backoff(first, maximum).delay(attempt, random) <= max(maximum, 0.1)


NOW = datetime(2024, 4, 1, 8, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("Mon, 01 Apr 2024 08:00:30 GMT", 30.0),
        ("Mon, 01 Apr 2024 08:00:30 -0000", 30.0),
        ("Mon, 01 Apr 2024 10:00:30 +0200", 30.0),
        ("3601", 3600.0),
        ("999999999999999999", 3600.0),
        ("Fri, 01 Apr 2044 08:00:00 GMT", 3600.0),
    ],
)
def test_retry_after_is_read_and_bounded(value: str, seconds: float) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        None, "", "0", "-5", "soon", "nan", "inf", "1e3", "٣", "9" * 400, "Mon, 01 Apr 2024 07:59:59 GMT",
        "Mon, 99 Apr 2024 08:00:30 GMT", "Mon, 01 Apr 99999 08:00:30 GMT", "x" * 100_000,
    ],
)  # fmt: skip
def test_a_retry_after_that_asks_for_nothing_leaves_it_to_us(value: str | None) -> None:
    assert parse_retry_after(value, now=NOW) is None


@given(st.text(max_size=40) | st.datetimes(timezones=st.just(UTC)).map(format_datetime))
@quick
def test_no_retry_after_raises_or_leaves_its_bounds(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or 0 < seconds <= 3600


def refused(times: int) -> RefusalStreak:
    streak = RefusalStreak()
    for _ in range(times):
        streak = streak.refused()
    return streak


def test_ten_refusals_in_a_row_stop_the_lane() -> None:
    assert [refused(times).stops for times in (0, 9, 10, 11)] == [False, False, True, True]
    assert REFUSALS_THAT_STOP == 10
