"""Workers: one step after the other, and no error of one ends the thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from fakes.driven_clock import DrivenClock

from agent.errors import AgentError, LedgerUnavailable, StaleRecord, Stopping
from agent.runtime.clock import SystemClock
from agent.runtime.workers import AFTER_FAILURE, AFTER_LEDGER_TROUBLE, Worker

if TYPE_CHECKING:
    from collections.abc import Callable


class Steps:
    """A step that does one thing after the other and sets `stop` with the last."""

    def __init__(self, *outcomes: float | Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.stop = threading.Event()
        self.taken = 0
        self.clock = DrivenClock()

    def __call__(self) -> float | None:
        outcome = self.outcomes[self.taken]
        self.taken += 1
        if self.taken == len(self.outcomes):
            self.stop.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def run(*outcomes: float | Exception | None) -> tuple[Steps, Worker]:
    """Run a worker through these outcomes, in this thread."""
    steps = Steps(*outcomes)
    worker = Worker("a worker", steps, clock=steps.clock, stop=steps.stop)
    worker._run()
    return steps, worker


def test_it_waits_what_the_step_says_and_not_at_all_for_nothing() -> None:
    steps, _ = run(5.0, 0.0, 0.5, 0.0)
    assert steps.clock.waits == [5.0, 0.5]


def test_a_step_that_fails_unexpectedly_is_logged_once_shown_and_run_again(caplog: pytest.LogCaptureFixture) -> None:
    steps, worker = run(RuntimeError("odd"), RuntimeError("odd"), RuntimeError("odd"))
    assert steps.taken == 3
    assert worker.failure == "RuntimeError: odd"
    assert steps.clock.waits == [AFTER_FAILURE] * 3
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_step_that_works_again_takes_the_failure_back() -> None:
    _, worker = run(RuntimeError("odd"), 0.0)
    assert worker.failure == ""


def test_a_ledger_that_cannot_be_written_is_said_once_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    steps, worker = run(*[LedgerUnavailable("the disk is full")] * 4)
    assert worker.failure == "the disk is full"
    assert steps.clock.waits == [AFTER_LEDGER_TROUBLE] * 4
    assert len(caplog.records) == 1


def test_a_row_somebody_else_changed_is_no_failure_and_decided_anew() -> None:
    steps, worker = run(StaleRecord("changed"), 0.0)
    assert (steps.taken, worker.failure) == (2, "")


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def started(step: Callable[[], float | None], stop: threading.Event) -> Worker:
    worker = Worker("a worker", step, clock=SystemClock(), stop=stop)
    worker.start()
    return worker


def test_waking_ends_the_wait(stop: threading.Event) -> None:
    stepped = threading.Semaphore(0)

    def step() -> float:
        stepped.release()
        return 3600.0

    worker = started(step, stop)
    assert stepped.acquire(timeout=10)
    worker.wake()
    assert stepped.acquire(timeout=10)
    stop.set()
    assert worker.join(10)


def test_a_wake_during_a_step_is_not_lost(stop: threading.Event) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def step() -> float:
        begun.release()
        go_on.wait(10)
        return 3600.0

    worker = started(step, stop)
    assert begun.acquire(timeout=10)
    worker.wake()
    go_on.set()
    assert begun.acquire(timeout=10)
    stop.set()
    assert worker.join(10)


def test_told_to_stop_it_ends_whatever_it_waits_for(stop: threading.Event) -> None:
    stepped = threading.Event()

    def step() -> float:
        stepped.set()
        raise Stopping("the agent stops")

    worker = started(step, stop)
    assert stepped.wait(10)
    stop.set()
    assert worker.join(10)


def test_one_that_does_not_end_in_time_is_left_to_recovery(stop: threading.Event) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def step() -> float:
        begun.set()
        go_on.wait(30)
        return 0.0

    worker = started(step, stop)
    assert begun.wait(10)
    stop.set()
    assert not worker.join(0.01)
    go_on.set()
    assert worker.join(10)


class StopsOnceAsked(threading.Event):
    """Is set, and its worker woken, right after the worker has found that it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.worker: Worker | None = None

    def is_set(self) -> bool:
        before = super().is_set()
        if self.worker is not None and not before:
            self.set()
            self.worker.wake()
        return before


def test_told_to_stop_between_a_look_and_a_step_it_does_not_wait() -> None:
    stop = StopsOnceAsked()
    worker = Worker("a worker", lambda: 3600.0, clock=SystemClock(), stop=stop)
    stop.worker = worker
    worker.start()
    worker._thread.join(10)
    ended = not worker._thread.is_alive()
    worker.wake()
    assert ended


def test_where_the_system_gives_no_thread_that_is_said_with_what_to_do(
    stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_threads(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    with pytest.raises(AgentError, match="can't start new thread") as refused:
        Worker("a worker", lambda: 0.0, clock=SystemClock(), stop=stop).start()
    assert "limit" in refused.value.hint


def test_one_that_never_began_has_ended(stop: threading.Event) -> None:
    assert Worker("a worker", lambda: 0.0, clock=SystemClock(), stop=stop).join(10)
