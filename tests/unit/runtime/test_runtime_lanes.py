"""Lanes: who may work, how long the others wait, and what opens a lane again."""

from __future__ import annotations

import logging

import pytest
from fakes.driven_clock import DrivenClock

from agent.errors import LaneTrouble, ServiceUnavailable
from agent.model import LaneReason, RetrySettings
from agent.runtime.lanes import EXPORTS, OWED_FOR, PROBE_PATIENCE, SUBMISSIONS, Lane, Lanes

FIRST, LONGEST = 2.0, 16.0


@pytest.fixture
def clock() -> DrivenClock:
    return DrivenClock()


@pytest.fixture
def lane(clock: DrivenClock) -> Lane:
    """A lane whose waits are the longest the backoff allows: 2, 4, 8, 16 s."""
    return Lane("invoices/export", retry=RetrySettings(first=FIRST, max=LONGEST), clock=clock, random=lambda: 1.0)


def trouble(
    reason: LaneReason = LaneReason.SERVICE_UNREACHABLE, *, retry_after: float | None = None
) -> ServiceUnavailable:
    return ServiceUnavailable("no connection", reason=reason, hint="look at the network", retry_after=retry_after)


def fail(lane: Lane, **values: float) -> None:
    """Let whoever is allowed to try fail."""
    assert lane.enter()
    lane.failed(trouble(**values))  # type: ignore[arg-type]  # only retry_after is given


def waits(lane: Lane) -> float:
    return lane.wait_seconds()


def test_a_new_lane_lets_everybody_work(lane: Lane) -> None:
    assert lane.enter()
    assert lane.enter()
    assert (lane.state.reason, waits(lane)) == (None, 0.0)


def test_trouble_keeps_everybody_waiting_and_says_why_since_when_and_until_when(lane: Lane, clock: DrivenClock) -> None:
    fail(lane)
    state = lane.state
    assert not lane.enter()
    assert (state.reason, state.detail, state.hint) == (
        LaneReason.SERVICE_UNREACHABLE,
        "no connection",
        "look at the network",
    )
    assert (state.since, state.retry_at) == (clock.now(), clock.now() + FIRST)


def test_after_the_wait_one_may_try_and_the_others_keep_waiting(lane: Lane, clock: DrivenClock) -> None:
    fail(lane)
    clock.advance(FIRST)
    assert [lane.enter() for _ in range(4)] == [True, False, False, False]


def test_what_the_probe_finds_opens_the_lane_for_all(lane: Lane, clock: DrivenClock) -> None:
    fail(lane)
    clock.advance(FIRST)
    assert lane.enter()
    lane.succeeded()
    assert lane.enter()
    assert lane.enter()
    assert lane.state.reason is None


def test_each_failure_doubles_the_wait_up_to_the_longest(lane: Lane, clock: DrivenClock) -> None:
    found = []
    for _ in range(6):
        fail(lane)
        found.append(waits(lane))
        clock.advance(waits(lane))
    assert found == [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]


def test_success_begins_the_backoff_anew(lane: Lane, clock: DrivenClock) -> None:
    fail(lane)
    clock.advance(FIRST)
    fail(lane)
    lane.succeeded()
    fail(lane)
    assert waits(lane) == FIRST


def test_agents_that_failed_together_come_back_apart(clock: DrivenClock) -> None:
    lanes = [
        Lane("x", retry=RetrySettings(first=10.0, max=60.0), clock=clock, random=lambda value=value: value)  # type: ignore[misc]  # bound now
        for value in (0.0, 0.5, 0.99)
    ]
    for lane in lanes:
        fail(lane)
    found = [waits(lane) for lane in lanes]
    assert len(set(found)) == 3
    assert all(5.0 <= wait <= 10.0 for wait in found)


def test_since_is_when_the_trouble_began_and_not_the_last_try(lane: Lane, clock: DrivenClock) -> None:
    fail(lane)
    began = clock.now()
    clock.advance(FIRST)
    fail(lane)
    assert lane.state.since == began


def test_workers_that_were_under_way_report_one_failure_and_not_four(lane: Lane) -> None:
    assert all(lane.enter() for _ in range(4))
    for _ in range(4):
        lane.failed(trouble())
    assert waits(lane) == FIRST


def test_retry_after_is_waited_for_even_beyond_the_longest_wait(lane: Lane, clock: DrivenClock) -> None:
    fail(lane, retry_after=3600.0)
    clock.advance(3599)
    assert not lane.enter()
    clock.advance(1)
    assert lane.enter()


def test_retry_after_that_is_shorter_than_the_backoff_makes_no_busy_loop(lane: Lane, clock: DrivenClock) -> None:
    for _ in range(3):
        clock.advance(waits(lane))
        fail(lane, retry_after=0.001)
    assert waits(lane) == 8.0


def test_a_late_retry_after_of_a_worker_under_way_is_heeded(lane: Lane) -> None:
    assert lane.enter()
    fail(lane)
    lane.failed(trouble(retry_after=100.0))
    assert waits(lane) == 100.0


def test_even_a_backoff_of_nothing_waits_a_little(clock: DrivenClock) -> None:
    lane = Lane("x", retry=RetrySettings(first=0.0, max=0.0), clock=clock, random=lambda: 0.0)
    fail(lane)
    assert waits(lane) >= 0.1


def test_a_probe_that_learned_nothing_lets_the_next_one_try(lane: Lane, clock: DrivenClock) -> None:
    fail(lane)
    clock.advance(FIRST)
    assert lane.enter()
    lane.leave()
    assert lane.enter()
    assert lane.state.reason is LaneReason.SERVICE_UNREACHABLE


def test_a_probe_that_never_reports_back_is_given_up_in_the_end(lane: Lane, clock: DrivenClock) -> None:
    fail(lane)
    clock.advance(FIRST)
    assert lane.enter()
    clock.advance(PROBE_PATIENCE - 1)
    assert not lane.enter()
    clock.advance(1)
    assert lane.enter()


def test_while_a_probe_is_under_way_waiting_is_for_its_end(lane: Lane, clock: DrivenClock) -> None:
    fail(lane)
    clock.advance(FIRST)
    assert waits(lane) == 0.0
    assert lane.enter()
    assert waits(lane) == PROBE_PATIENCE


def test_a_wall_clock_that_jumps_changes_no_wait(lane: Lane, clock: DrivenClock) -> None:
    fail(lane)
    clock.jump(86400)
    assert not lane.enter()
    clock.jump(-2 * 86400)
    clock.advance(FIRST)
    assert lane.enter()


def test_a_paused_lane_lets_nobody_work_and_says_that_it_is_paused(lane: Lane) -> None:
    lane.pause()
    assert not lane.enter()
    assert (lane.state.reason, waits(lane)) == (LaneReason.PAUSED, float("inf"))


def test_a_resumed_lane_works_at_once_whatever_it_waited_for_before(lane: Lane) -> None:
    fail(lane)
    lane.pause()
    lane.resume()
    assert lane.enter()


def test_a_pause_outlives_what_workers_under_way_report(lane: Lane) -> None:
    assert lane.enter()
    lane.pause()
    lane.succeeded()
    assert lane.state.reason is LaneReason.PAUSED


def test_lanes_are_made_when_asked_for_and_are_the_same_from_then_on(clock: DrivenClock) -> None:
    lanes = Lanes(retry=RetrySettings(), clock=clock, random=lambda: 0.0)
    assert lanes.submission("invoices") is lanes.submission("invoices")
    assert lanes.submission("invoices") is not lanes.export("invoices")
    lanes.service.failed(LaneTrouble("down", reason=LaneReason.SERVICE_UNAVAILABLE))
    assert [(state.lane, state.reason) for state in lanes.states()] == [
        ("invoices/export", None),
        ("invoices/submission", None),
        ("service", LaneReason.SERVICE_UNAVAILABLE),
    ]


# --- what the log says of several kinds of work -----------------------------------------------------------------------


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what an operator reads: which of waits and works, in order."""
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    return ["waits" if ": waits " in line else "works" for line in lines]


@pytest.fixture
def service(clock: DrivenClock, caplog: pytest.LogCaptureFixture) -> Lane:
    caplog.set_level(logging.DEBUG)
    return Lane("service", retry=RetrySettings(first=FIRST, max=LONGEST), clock=clock, random=lambda: 1.0)


def refuse_submissions(lane: Lane, clock: DrivenClock, *, times: int) -> None:
    """Let every submission fail and every list in between be answered."""
    for _ in range(times):
        clock.advance(lane.wait_seconds())
        assert lane.enter()
        lane.failed(trouble(LaneReason.SERVICE_UNAVAILABLE), of=SUBMISSIONS)
        clock.advance(lane.wait_seconds())
        assert lane.enter()
        lane.succeeded()
        assert lane.enter()


def test_a_service_that_takes_no_documents_but_lists_tasks_is_told_once_and_works_again_once(
    service: Lane, clock: DrivenClock, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_submissions(service, clock, times=5)
    assert said(caplog) == ["waits"]
    service.succeeded(of=SUBMISSIONS)
    service.succeeded()
    assert said(caplog) == ["waits", "works"]


def test_an_outage_of_everything_while_submissions_fail_is_told_too(
    service: Lane, clock: DrivenClock, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_submissions(service, clock, times=2)
    service.failed(trouble(LaneReason.SERVICE_UNAVAILABLE))
    assert said(caplog) == ["waits", "waits"]


def test_whatever_reaches_a_service_that_was_unreachable_says_that_it_works_again(
    service: Lane, clock: DrivenClock, caplog: pytest.LogCaptureFixture
) -> None:
    service.failed(trouble(LaneReason.SERVICE_UNREACHABLE), of=SUBMISSIONS)
    clock.advance(service.wait_seconds())
    service.succeeded()
    assert said(caplog) == ["waits", "works"]


def test_work_of_another_kind_that_was_under_way_says_nothing_while_the_lane_waits(
    service: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    service.failed(trouble(LaneReason.SERVICE_UNAVAILABLE), of=SUBMISSIONS)
    service.works_for(EXPORTS)
    assert service.state.reason is LaneReason.SERVICE_UNAVAILABLE
    assert said(caplog) == ["waits"]


def test_submissions_that_nobody_tries_any_more_keep_no_trouble_of_long_ago_alive(
    service: Lane, clock: DrivenClock, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_submissions(service, clock, times=1)
    clock.advance(OWED_FOR * PROBE_PATIENCE)
    service.succeeded()
    assert said(caplog) == ["waits", "works"]
    service.failed(trouble(LaneReason.SERVICE_UNAVAILABLE), of=SUBMISSIONS)
    assert said(caplog) == ["waits", "works", "waits"]
