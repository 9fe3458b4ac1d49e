"""Stories: what an agent is in the middle of when it is killed, told again from the start for every point of a sweep.

A story's beginning runs undisturbed; then comes the run that is killed, then runs to the end and the checker.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from system.sites import QUICK_SANDBOX, Site, pdf, wait_until

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.server import SandboxServer
from faults.checker import judge
from faults.tracing import Agents, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from faults.tracing import Ended

RUNS_TO_THE_END: Final = 2
"""Runs after a kill: what one leaves open because the machine was slow, the next one ends."""
TELLINGS: Final = 3
"""Of one point at most."""
SHORTLY: Final = 3.0
"""Seconds the service has for the end of a task that was completed a moment ago."""
_READY: Final = "pending:start_client_action"


@dataclass
class Scene:
    """One telling: the site, its agents, and what was dropped."""

    site: Site
    agents: Agents
    wait: str = "20s"
    """How long a run waits for what does not come."""
    sent: list[bytes] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)

    def send(self, relative_path: str, content: bytes | None = None) -> None:
        """Drop a document that is to be sent."""
        self.sent.append(self.site.drop(relative_path, content))

    def keep(self, relative_path: str, content: bytes) -> None:
        """Drop a file that is to be refused."""
        self.kept.append(self.site.drop(relative_path, content))

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the arguments of a run that ends by itself."""
        return ("-c", str(self.site.config), "run", "--once", "--wait", self.wait, *arguments)

    def run(self, *arguments: str) -> Ended:
        """Run an agent to its end, undisturbed."""
        return self.agents.run(*self.command(*arguments))

    def complaints(self) -> list[str]:
        """Bring the site to rest and return what is wrong with it."""
        said = []
        for _ in range(RUNS_TO_THE_END):
            ended = self.run()
            if ended.status not in {0, 1} or "Traceback" in ended.log:
                said.append(f"the agent ended with {ended.status}: {ended.log}")
            if self.site.is_done():
                break
        with suppress(AssertionError):  # what does not come to its end is for the checker to name
            wait_until(lambda: all(task["state"] == "completed" for task in self.site.describe()), seconds=SHORTLY)
        return said + judge(self.site, sent=self.sent, kept=self.kept)


@dataclass(frozen=True)
class Story:
    """What happens before the run that is killed, and that run's arguments."""

    name: str
    begin: Callable[[Scene], None]
    arguments: tuple[str, ...] = ()
    sandbox: Mapping[str, Any] = field(default_factory=dict)
    archive_elsewhere: bool = False

    @contextmanager
    def told(self, folder: Path, agents: Agents, *, wait: str = "20s") -> Iterator[Scene]:
        """Give a scene in a new folder at the moment the run to be killed starts."""
        with (
            SandboxServer(AlumaSettings(**{**QUICK_SANDBOX, **self.sandbox})) as server,
            self._archive(folder) as archive,
        ):
            site = Site.of(Path(tempfile.mkdtemp(dir=folder)), server)
            site.configure(
                settle="10ms",
                stalled_after="30ms",
                give_up_after="60ms",
                rescan="300ms",
                service={"connections": 1},
                export={"poll_min": "30ms", "poll_max": "100ms", "workers": 1},
            )
            if archive is not None:
                site.configure(archive=str(archive))
                site.archive = archive
            scene = Scene(site, agents, wait)
            self.begin(scene)
            yield scene

    @contextmanager
    def _archive(self, folder: Path) -> Iterator[Path | None]:
        if not self.archive_elsewhere:
            yield None
            return
        memory = Path("/dev/shm")
        if not memory.is_dir() or memory.stat().st_dev == folder.stat().st_dev:
            pytest.skip("/dev/shm is no other device than the temporary folder")
        with tempfile.TemporaryDirectory(dir=memory, prefix="fsagent-") as elsewhere:
            yield Path(elsewhere, "archive")

    def calls(self, scene: Scene) -> dict[str, int]:
        """Return how often the busiest thread of the run that would be killed makes each call."""
        return scene.agents.calls_of(*scene.command(*self.arguments))[1]

    def kill(self, scene: Scene, point: Point) -> Ended:
        """Run the agent that is killed at a point."""
        return scene.agents.killed_at(point, *scene.command(*self.arguments))


def chosen(calls: Mapping[str, int], *, share: int, most: int = 8, turn: int = 0) -> list[Point]:
    """Return points all over a run: up to `most` of each call, evenly apart, and of all of those at most `share`.

    Another `turn` begins elsewhere among them.
    """
    candidates = [
        Point(call, number) for call, times in calls.items() for number in _evenly(range(1, times + 1), most, turn)
    ]
    return _evenly(candidates, share, turn)


def _evenly(these: Sequence[Any], share: int, turn: int) -> list[Any]:
    if len(these) <= share:
        return list(these)
    stride = len(these) / share
    return [these[int((number + turn % 7 / 7) * stride)] for number in range(share)]


# --- the stories -----------------------------------------------------------------------------------------------------


def _first_start(scene: Scene) -> None:
    scene.send("one.pdf")
    scene.send("deep/two.tif")


def _submit(scene: Scene) -> None:
    scene.run()
    scene.send("one.pdf")
    scene.send("deep/er/two.tif")


def _file_away(scene: Scene) -> None:
    """Names are taken in archive/ and error/ both, the latter by the very same bytes."""
    scene.send("one.pdf", pdf("an earlier one"))
    scene.keep("empty.pdf", b"")
    scene.run()
    scene.send("one.pdf", pdf("a later one"))
    scene.keep("empty.pdf", b"")
    scene.keep("deep/wrong.pdf", b"this is no document\n" * 400)


def _export(scene: Scene) -> None:
    """Two tasks want the same names in the output."""
    scene.send("deep/one.pdf")
    scene.send("deep/one.tif")
    scene.run("--submit-only")
    wait_until(lambda: all(task["state"] == _READY for task in scene.site.describe()))


STORIES: Final = {
    story.name: story
    for story in (
        Story("first start", _first_start, ("--submit-only",)),
        Story("submit", _submit, ("--submit-only",)),
        Story("file away", _file_away, ("--submit-only",)),
        Story("file away to another device", _submit, ("--submit-only",), archive_elsewhere=True),
        Story("export", _export, ("--export-only",), sandbox={"export_folder": "{stem}/data"}),
        Story("all the way", _submit, sandbox={"export_folder": "data"}),
    )
}


def swept(
    story: Story, folder: Path, agents: Agents, points: Sequence[Point], *, wait: str = "20s"
) -> Iterator[tuple[Point, Ended, list[str]]]:
    """Tell a story for each point: kill there, start again to the end, and ask the checker.

    One that is not reached is told again: the threads share the work out differently each time.
    """
    for point in points:
        for _ in range(TELLINGS):
            with story.told(folder, agents, wait=wait) as scene:
                ended = story.kill(scene, point)
                yield point, ended, scene.complaints()
            if ended.was_killed:
                break
