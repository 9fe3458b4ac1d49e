"""Power lost between any two steps (row 2): nothing lost, nothing sent twice, nothing told that is not on the disk.

The ledger's own syncs write the journal of its file system, and with it everything else that happened there. So the
folders lie on a disk of their own too, where only their own syncs keep them.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from system.sites import QUICK_SANDBOX, Site, sha256, tree

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.server import SandboxServer
from faults.checker import judge, lying
from faults.loop_mounts import KINDS, Disk, lose_power, mounted
from faults.stopping import Stopping, library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)

NAMES = ("one.pdf", "sub/two.pdf", "sub/three.tif", "four.tif")
EMPTY = "empty.pdf"
"""One that is refused, for the way to error/ and its note."""
LAYOUTS = ("one disk", "ledger apart", "archive apart")
STEPS = 135
"""Steps an agent has for these files; where it has fewer this time, the last points are not reached."""
RECOVERY_STEPS = 40
STRIDE = 14
FIRST_OF_WORK = 33
"""The step at which the ledger and the markers are made; what comes before is swept, but more thinly."""
CARELESS = {
    "folders": (103, 61, 105, 99, 63, 101, 59, 97, 107),
    "files": (103, 91, 97, 100, 94, 106),
    "commits": (61, 73, 49, 67, 55),
}
"""What an agent leaves out, and the steps at which that shows, most surely first: it has fewer of them."""
LOST = re.compile("lost|sent too often|export|too many places|is pending")
ONCE = ("run", "--once", "--wait", "20s")


@dataclass(frozen=True, slots=True)
class Place:
    """A site whose folders lie on disks that can lose their power; the sandbox and the configuration do not."""

    site: Site
    disks: list[Disk]
    scratch: Path
    sent: list[bytes]
    kept: list[bytes]

    def lose_power_at(self, step: int, *, careless: str = "", renumber: bool = False) -> str:
        """Run the agent until that step, cut the power, mount again; return the step's name, "" if it was done before.

        Nothing of the agent runs while the power goes: neither a sync nor a word to the service comes later.
        """
        agent = Stopping(
            self.site.config,
            *ONCE,
            library=library(self.scratch),
            folder=self.scratch,
            step=step,
            careless=careless,
        )
        with agent:
            if not agent.reaches():
                return ""
            lose_power(self.disks)
        for disk in self.disks:
            disk.unmount()
            if renumber:
                disk.renumber()
            disk.mount()
        return agent.steps[step - 1]

    def end(self) -> list[str]:
        """Let an ordinary agent work to the end and return what the checker says."""
        ended = self.site.run_once()
        if ended.returncode not in (0, 1) or "Traceback" in ended.stderr:
            return [f"the agent ended with {ended.returncode}: {ended.stderr}"]
        return judge(self.site, sent=self.sent, kept=self.kept)


@contextmanager
def place(folder: Path, kind: str, layout: str) -> Iterator[Place]:
    """Give a place with documents that were dropped, durably, before any agent ran."""
    folder.mkdir()
    names = ["disk"] if layout == "one disk" else ["disk", "other"]
    with (
        SandboxServer(AlumaSettings(**QUICK_SANDBOX)) as server,  # type: ignore[arg-type]  # all of them floats
        mounted(folder, kind, names) as disks,
    ):
        site = Site.of(folder / "site", server)
        site.inbox, site.output = disks[0].at / "inbox", disks[0].at / "output"
        site.state_dir = disks[-1].at / "state"
        site.archive = (disks[-1].at if layout == "archive apart" else site.inbox) / "archive"
        site.error = site.inbox / "error"
        for made in (site.inbox, site.output):
            made.mkdir()
        site.settings["state_dir"] = str(site.state_dir)
        site.configure(inbox=str(site.inbox), output=str(site.output), archive=str(site.archive))
        sent = [site.drop(name) for name in NAMES]
        kept = [site.drop(EMPTY, b"")]
        for disk in disks:
            disk.sync()
        yield Place(site, disks, folder, sent, kept)


def taken_back(site: Site, dropped: list[bytes]) -> list[str]:
    """Return what a power loss undid although it must not, before any agent has looked at it."""
    complaints = []
    tasks = site.describe()
    visible = {
        sha256(path.read_bytes()): name for name, path in tree(site.output).items() if not path.name.startswith(".")
    }
    for task in tasks:
        if task["calls"].get("complete"):
            lost = [file["filename"] for file in task["exports"] if file["sha256"] not in visible]
            complaints += [f"the service was told that {name!r} is kept, and it is lost" for name in lost]
    whole = {file["sha256"] for task in tasks for file in task["exports"]}
    complaints += [f"half a file is visible: {name}" for digest, name in visible.items() if digest not in whole]
    found = set(lying(site).values())
    complaints += ["a source is lost" for content in dropped if sha256(content) not in found]
    return complaints


def points_of(kind: str, layout: str) -> range:
    """Return the steps of one test: those of all of them together lie two or three apart."""
    number = KINDS.index(kind) * len(LAYOUTS) + LAYOUTS.index(layout)
    return range(1 + number * STRIDE // (len(KINDS) * len(LAYOUTS)), STEPS, STRIDE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whatever_step_the_power_is_lost_at_the_promise_is_kept(
    kind: str, layout: str, tmp_path: Path, sweep: Callable[[str], Sweep]
) -> None:
    points = sweep(f"power loss on {kind}")
    for step in points_of(kind, layout):
        with place(tmp_path / str(step), kind, layout) as here:
            name = here.lose_power_at(step)
            complaints = taken_back(here.site, here.sent + here.kept) + here.end()
            points.point(f"{layout}, before step {step}, {name}", reached=bool(name), complaints=complaints)

    points.conclude(at_least=7)


@pytest.mark.parametrize("kind", KINDS)
def test_power_lost_again_during_the_recovery_changes_nothing(
    kind: str, tmp_path: Path, sweep: Callable[[str], Sweep]
) -> None:
    points = sweep(f"power loss on {kind}, and again during the recovery")
    for number, step in enumerate(range(FIRST_OF_WORK, STEPS - 10, 18)):
        with place(tmp_path / str(step), kind, "ledger apart") as here:
            again = 1 + number * 5 % RECOVERY_STEPS
            names = here.lose_power_at(step), here.lose_power_at(again)
            complaints = taken_back(here.site, here.sent + here.kept) + here.end()
            where = f"before step {step}, {names[0]}, and step {again}, {names[1]}"
            points.point(where, reached=all(names), complaints=complaints)

    points.conclude(at_least=4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_comes_back_under_another_number_changes_nothing(
    kind: str, tmp_path: Path, sweep: Callable[[str], Sweep]
) -> None:
    points = sweep(f"power loss on {kind}, and another device number")
    for step in range(FIRST_OF_WORK + 3, STEPS, STRIDE + 4):
        with place(tmp_path / str(step), kind, "one disk") as here:
            name = here.lose_power_at(step, renumber=True)
            complaints = taken_back(here.site, here.sent + here.kept) + here.end()
            points.point(f"before step {step}, {name}", reached=bool(name), complaints=complaints)

    points.conclude(at_least=4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("without", "steps"), CARELESS.items(), ids=list(CARELESS))
def test_an_agent_that_leaves_a_sync_out_is_found(
    kind: str, without: str, steps: Sequence[int], tmp_path: Path
) -> None:
    complaints: list[str] = []
    for step in steps:
        with place(tmp_path / str(step), kind, "ledger apart") as here:
            here.lose_power_at(step, careless=without)
            complaints = taken_back(here.site, here.sent + here.kept) + here.end()
        if complaints:
            break

    assert LOST.search("; ".join(complaints)), f"an agent that syncs no {without} passes the sweep on {kind}"
