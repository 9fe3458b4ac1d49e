"""Nudges: what is handed to the agent, when it is tried again, and what is forgotten."""

from __future__ import annotations

import pytest
from fakes.driven_clock import DrivenClock

from agent.errors import LedgerUnavailable
from agent.web.nudges import AGAIN_AFTER, MOST, Nudges


class Listener:
    """An agent that knows some ids, and a ledger that may be away."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.told: list[str] = []
        self.is_away = False

    def tell(self, task_id: str) -> bool:
        if self.is_away:
            raise LedgerUnavailable("the disk is full")
        self.told.append(task_id)
        return task_id in self.known


@pytest.fixture
def clock() -> DrivenClock:
    return DrivenClock()


@pytest.fixture
def listener() -> Listener:
    return Listener("ours")


@pytest.fixture
def nudges(clock: DrivenClock, listener: Listener) -> Nudges:
    return Nudges(listener.tell, clock=clock)


def work_off(nudges: Nudges, clock: DrivenClock) -> None:
    while (pause := nudges.work()) is not None:
        clock.advance(pause)


def test_a_known_id_is_told_once(nudges: Nudges, listener: Listener, clock: DrivenClock) -> None:
    nudges.take("ours")
    work_off(nudges, clock)

    assert listener.told == ["ours"]


def test_an_id_that_came_twice_before_it_was_looked_at_is_told_once(nudges: Nudges, listener: Listener) -> None:
    nudges.take("ours")
    nudges.take("ours")

    assert nudges.work() is None
    assert listener.told == ["ours"]


def test_an_id_that_overtook_the_answer_to_its_submission_is_told_again(
    nudges: Nudges, listener: Listener, clock: DrivenClock
) -> None:
    nudges.take("early")
    clock.advance(nudges.work() or 0.0)
    listener.known.add("early")

    assert nudges.work() is None
    assert listener.told == ["early", "early"]


def test_an_unknown_id_is_forgotten_after_a_while(nudges: Nudges, listener: Listener, clock: DrivenClock) -> None:
    began = clock.monotonic()
    nudges.take("stranger")
    work_off(nudges, clock)

    assert listener.told == ["stranger"] * (1 + len(AGAIN_AFTER))
    assert clock.monotonic() - began == pytest.approx(sum(AGAIN_AFTER))


def test_unknown_ids_take_no_more_than_a_bounded_place(nudges: Nudges, listener: Listener) -> None:
    for number in range(3 * MOST):
        nudges.take(f"stranger {number}")
    nudges.take("ours")
    nudges.work()

    assert len(listener.told) == MOST
    assert listener.told[-1] == "ours"


def test_what_could_not_be_told_waits_for_the_ledger(nudges: Nudges, listener: Listener) -> None:
    nudges.take("ours")
    listener.is_away = True
    with pytest.raises(LedgerUnavailable):
        nudges.work()
    listener.is_away = False

    assert nudges.work() is None
    assert listener.told == ["ours"]
