from __future__ import annotations

import pytest
from fakes.driven_clock import DrivenClock

from agent.errors import ServiceUnavailable
from agent.model import LaneReason
from agent.services.limits import Gate


def quiet(seconds: float | None) -> ServiceUnavailable:
    return ServiceUnavailable("429", reason=LaneReason.RATE_LIMITED, retry_after=seconds)


def test_quiet_refuses_with_the_same_reason_and_the_seconds_left() -> None:
    clock = DrivenClock()
    gate = Gate(clock=clock, max_requests_per_second=0)
    gate.keep_quiet(quiet(30))
    clock.advance(10)
    with pytest.raises(ServiceUnavailable) as raised:
        gate.enter()
    assert raised.value.reason is LaneReason.RATE_LIMITED
    assert raised.value.retry_after == pytest.approx(20)


def test_quiet_ends_by_itself() -> None:
    clock = DrivenClock()
    gate = Gate(clock=clock, max_requests_per_second=0)
    gate.keep_quiet(quiet(30))
    clock.advance(30)
    gate.enter()


def test_quiet_is_not_moved_by_the_wall_clock() -> None:
    clock = DrivenClock()
    gate = Gate(clock=clock, max_requests_per_second=0)
    gate.keep_quiet(quiet(30))
    clock.jump(86400)
    with pytest.raises(ServiceUnavailable):
        gate.enter()


def test_a_shorter_quiet_does_not_end_a_longer_one() -> None:
    clock = DrivenClock()
    gate = Gate(clock=clock, max_requests_per_second=0)
    gate.keep_quiet(quiet(30))
    gate.keep_quiet(quiet(1))
    clock.advance(5)
    with pytest.raises(ServiceUnavailable):
        gate.enter()


def test_trouble_without_a_time_keeps_nobody_quiet() -> None:
    gate = Gate(clock=DrivenClock(), max_requests_per_second=0)
    gate.keep_quiet(quiet(None))
    gate.enter()


def test_requests_leave_no_faster_than_the_limit() -> None:
    clock = DrivenClock()
    gate = Gate(clock=clock, max_requests_per_second=4)
    start = clock.monotonic()
    for _ in range(9):
        gate.enter()
    assert clock.monotonic() - start == pytest.approx(2.0)


def test_a_turn_too_far_away_is_refused_as_rate_limited() -> None:
    gate = Gate(clock=DrivenClock(), max_requests_per_second=0.01)
    gate.enter()
    with pytest.raises(ServiceUnavailable) as raised:
        gate.enter()
    assert raised.value.reason is LaneReason.RATE_LIMITED


def test_no_limit_never_waits() -> None:
    clock = DrivenClock()
    gate = Gate(clock=clock, max_requests_per_second=0)
    for _ in range(100):
        gate.enter()
    assert clock.waits == []


def test_a_closed_gate_lets_nobody_through() -> None:
    gate = Gate(clock=DrivenClock(), max_requests_per_second=0)
    gate.close()
    with pytest.raises(ServiceUnavailable):
        gate.enter()
