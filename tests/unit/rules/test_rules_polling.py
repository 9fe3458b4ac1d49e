"""When a task is asked for by its id: not before its time, less and less often, and hardly where the service tells."""

from __future__ import annotations

import pytest

from agent.rules.polling import JITTER, PollTimes, first_look, next_look

TIMES = PollTimes(first=2.0, shortest=1.0, longest=30.0)


def test_the_first_look_comes_no_sooner_than_the_service_needs() -> None:
    assert first_look(TIMES, submitted_for=0.0, is_told=False) == 2.0


def test_unless_the_longest_pause_is_shorter() -> None:
    assert first_look(PollTimes(first=2.0, shortest=0.1, longest=0.5), submitted_for=0.0, is_told=False) == 0.5


def test_what_was_submitted_long_ago_is_asked_for_at_once() -> None:
    assert first_look(TIMES, submitted_for=86_400.0, is_told=True) == 0.0


def test_a_clock_set_back_since_does_not_put_off_the_first_look() -> None:
    assert first_look(TIMES, submitted_for=-86_400.0, is_told=False) == 2.0


@pytest.mark.parametrize(("looks", "wait"), [(0, 1.0), (1, 2.0), (4, 16.0), (5, 30.0), (100_000, 30.0)])
def test_waits_double_up_to_the_longest(looks: int, wait: float) -> None:
    assert next_look(TIMES, looks=looks, is_told=False, random=0.0) == wait


def test_tasks_sent_together_are_not_asked_for_together() -> None:
    assert next_look(TIMES, looks=3, is_told=False, random=0.5) == pytest.approx(8.0 * (1 - JITTER / 2))


def test_where_the_service_tells_asking_is_for_what_it_forgot() -> None:
    assert first_look(TIMES, submitted_for=0.0, is_told=True) == 30.0
    assert next_look(TIMES, looks=0, is_told=True, random=0.5) == 30.0
