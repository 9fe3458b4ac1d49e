"""The tests of the crash sweep: an agent whose order is broken in one place goes bad in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faults import broken_agents
from faults.points import Sweep
from faults.stories import STORIES, chosen, swept
from faults.tracing import Agents

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.timeout(300)

NEAR = {
    "ledger after rename": ("file away", ["fsync", "pwrite64"]),
    "complete before publishing": ("export", ["renameat2", "fsync"]),
    "retry at once": ("submit", ["recvfrom"]),
}
"""The story in which the order matters, and the calls around the place: a whole sweep would only take longer."""


@pytest.mark.parametrize("which", broken_agents.BROKEN)
def test_a_broken_order_goes_bad_in_the_sweep(which: str, tmp_path: Path) -> None:
    name, calls = NEAR[which]
    sweep = Sweep(f"{name}, {which}")
    with Agents(tmp_path, script=Path(broken_agents.__file__), first=[which]) as agents:
        _sweep_until_bad(sweep, name, calls, tmp_path, agents)

    with pytest.raises(AssertionError, match="bad = 1"):
        sweep.conclude(at_least=1)


def _sweep_until_bad(sweep: Sweep, name: str, calls: Sequence[str], folder: Path, agents: Agents) -> None:
    story = STORIES[name]
    with story.told(folder, agents) as scene:
        counts = story.calls(scene)
    points = chosen({call: counts[call] for call in calls}, share=24)
    for point, ended, complaints in swept(story, folder, agents, points, wait="3s"):
        sweep.point(str(point), reached=ended.was_killed, complaints=complaints)
        if complaints:
            break
