"""Every history of submission: nothing is sent twice and nothing is lost while the quiet time outlasts what may come
late; the same histories dealt with in any quicker way show duplicates.

Of the ways that are wrong, `reached` counts the histories that showed it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from faults.histories import (
    LOOK_THEN_RETRY,
    RETRY_AT_ONCE,
    SOUND,
    TOO_SHORT,
    live,
    of_one_file,
    of_two_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from faults.histories import History, Policy
    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)

ONE_FILE = tuple(of_one_file())
TWO_FILES = tuple(of_two_files())


@dataclass
class Numbers:
    """What a policy made of histories."""

    policy: Policy
    histories: int = 0
    duplicates: int = 0
    lost: int = 0
    held: int = 0
    bad: list[tuple[History, str]] = field(default_factory=list)

    def add(self, base: Path, histories: Iterable[History]) -> Numbers:
        """Live them all."""
        for number, history in enumerate(histories):
            outcome = live(base / f"{self.histories}-{number}", history, self.policy)
            self.duplicates += outcome.duplicates
            self.lost += outcome.lost
            self.held += outcome.held
            if outcome.duplicates or outcome.lost or outcome.held:
                self.bad.append((history, str(outcome)))
        self.histories += number + 1
        return self

    def __str__(self) -> str:
        first = "".join(f"\n  {history}: {what}" for history, what in self.bad[:10])
        return (
            f"{self.policy.name}: {self.histories} histories, duplicates {self.duplicates}, lost {self.lost},"
            f" held {self.held}{first}"
        )


@pytest.mark.parametrize(
    "histories", [pytest.param(ONE_FILE, id="one file"), pytest.param(TWO_FILES, id="two files of one name")]
)
def test_no_history_sends_twice_or_loses_a_file(
    tmp_path: Path, sweep: Callable[[str], Sweep], histories: tuple[History, ...]
) -> None:
    numbers = Numbers(SOUND).add(tmp_path, histories)
    points = sweep(f"histories of submission, {SOUND.name}")
    points.tried = points.reached = numbers.histories
    points.bad = [f"{history}: {what}" for history, what in numbers.bad]
    points.conclude(at_least=200)
    assert (numbers.duplicates, numbers.lost, numbers.held) == (0, 0, 0), numbers


def test_there_are_more_histories_than_anybody_would_write_down() -> None:
    assert len(set(ONE_FILE)) + len(set(TWO_FILES)) >= 400


@pytest.mark.parametrize("policy", [RETRY_AT_ONCE, LOOK_THEN_RETRY, TOO_SHORT], ids=lambda policy: policy.name)
def test_the_same_histories_without_the_quiet_time_show_duplicates(
    tmp_path: Path, sweep: Callable[[str], Sweep], policy: Policy
) -> None:
    numbers = Numbers(policy).add(tmp_path, ONE_FILE)
    points = sweep(f"histories of submission that show duplicates: {policy.name}")
    points.tried = numbers.histories
    points.reached = sum("duplicates=0" not in what for _, what in numbers.bad)
    points.conclude(at_least=10)
    assert numbers.duplicates > 0, numbers
    assert numbers.lost == 0, numbers
