"""Killed at every kind of call, at once and again while it recovers: one task, one archived file, the same exports.

Every point is a whole story: an agent is killed by strace just before one call that touches inbox, archive, error,
output, ledger or the service's socket, is started again, and the checker judges what came to rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.stories import STORIES, TELLINGS, Story, chosen, swept
from faults.tracing import Agents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faults.points import Sweep
    from faults.tracing import Point

pytestmark = pytest.mark.timeout(300)

SHARE = 44
"""Points of a story."""
PARTS = 2
"""Tests a story is split into, so that they run side by side."""
REACHED = 0.8
"""Of the points chosen, how many have to be reached; the rest may be calls that another telling does not make."""
NAMES = list(STORIES)
FIRST_KILLS = 2
"""Points of a story after which recovery itself is killed; each story has others."""
SECOND_KILLS = 5


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    with Agents(tmp_path) as running:
        yield running


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", NAMES)
def test_killed_before_any_call_everything_is_done_once(
    name: str, part: int, tmp_path: Path, agents: Agents, sweep: Callable[[str], Sweep]
) -> None:
    story = STORIES[name]
    with story.told(tmp_path, agents) as scene:
        points = chosen(story.calls(scene), share=SHARE)[part::PARTS]
    killed = sweep(f"killed in the story {name!r}")

    for point, ended, complaints in swept(story, tmp_path, agents, points):
        killed.point(f"{point} in {ended.last_call}", reached=ended.was_killed, complaints=complaints)

    killed.conclude(at_least=int(REACHED * SHARE / PARTS))


@pytest.mark.parametrize("turn", range(FIRST_KILLS))
@pytest.mark.parametrize("name", NAMES)
def test_killed_again_in_the_recovery_everything_is_done_once(
    name: str, turn: int, tmp_path: Path, agents: Agents, sweep: Callable[[str], Sweep]
) -> None:
    story = STORIES[name]
    with story.told(tmp_path, agents) as scene:
        # Two of each call at most: none so late that another telling may not get there.
        firsts = chosen(story.calls(scene), share=FIRST_KILLS * len(STORIES), most=2)
    first = firsts[turn::FIRST_KILLS][NAMES.index(name)]
    killed = sweep("killed again in the recovery")
    with story.told(tmp_path, agents) as scene:
        story.kill(scene, first)
        _, calls = agents.calls_of(*scene.command())

    for second in chosen(calls, share=SECOND_KILLS, turn=turn):
        for _ in range(TELLINGS):
            if _killed_twice(story, tmp_path, agents, (first, second), killed):
                break

    killed.conclude(at_least=SECOND_KILLS - 1)


def _killed_twice(story: Story, folder: Path, agents: Agents, points: tuple[Point, Point], killed: Sweep) -> bool:
    """Tell a story once with both kills; return whether both happened."""
    first, second = points
    with story.told(folder, agents) as scene:
        ended = story.kill(scene, first)
        ended_again = agents.killed_at(second, *scene.command())
        complaints = scene.complaints()
    reached = ended.was_killed and ended_again.was_killed
    where = f"{first} in {ended.last_call}, then {second} in {ended_again.last_call}"
    killed.point(where, reached=reached, complaints=complaints)
    return reached
