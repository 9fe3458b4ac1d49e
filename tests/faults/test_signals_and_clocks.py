"""Rows 27 and 28 of faults.md: signals in the middle of an upload; clocks that jump, a machine that sleeps.

| fault | test |
|---|---|
| SIGTERM mid-upload: the upload may end, then out, exit 0 | `test_told_to_stop_mid_upload_…` |
| the upload does not end: out in time all the same | `test_an_upload_that_does_not_end_…` |
| told twice: out at once, recovery does the rest | `test_told_twice_…` |
| told while exports are under way | `test_told_to_stop_while_exporting_…` |
| clock jumps a day (DST is a jump of an hour) | `test_a_clock_that_jumps_…` |
| suspend | `test_an_agent_that_slept_…` |

Waits of every lane under a clock that jumps are unit tests with a driven clock (`test_a_wall_clock_that_jumps_…`).
Service stop of Windows and systemd comes down to these signals.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from system.sites import PATIENCE, STOP_PATIENCE, Process, Site, tiff, wait_until

from agent.runtime.signals import HARD_EXIT
from agent.sandbox.faults import Spoiled
from faults import means
from faults.checker import judge
from faults.held_line import ENOUGH, HeldLine
from faults.watched_process import threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.sandbox.server import SandboxServer

pytestmark = pytest.mark.timeout(300)

DAY = 86_400
SLEEP = 3.0
"""Seconds an agent is stopped for: longer than every wait of the configuration these tests use."""


@pytest.fixture
def line(sandbox: SandboxServer) -> Iterator[HeldLine]:
    with HeldLine(sandbox.port) as line:
        yield line


@pytest.fixture
def held(tmp_path: Path, sandbox: SandboxServer, line: HeldLine) -> Site:
    """A site whose uploads a test can hold."""
    return Site(tmp_path / "held", url=line.url, describe=lambda: list(sandbox.sandbox.describe()))


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_told_to_stop_mid_upload_the_upload_ends_nothing_new_begins_and_the_rest_comes_later(
    held: Site, line: HeldLine, number: signal.Signals
) -> None:
    held.configure(service={"connections": 1})
    dropped = [held.drop("first.tif", tiff("first", size=ENOUGH))]
    line.hold()
    with held.run() as running:
        line.wait_held()
        dropped += [held.drop(f"{number}.pdf") for number in range(5)]
        wait_until(lambda: sum(row.ready or row.state.value == "sending" for row in held.records()) == len(dropped))
        busy = threads(running.pid)
        os.kill(running.pid, number)
        wait_until(lambda: threads(running.pid) < busy - 2)  # whoever has no request under way ends
        line.release()
        assert running.wait(STOP_PATIENCE) == 0
    assert [task["tags"]["file_name"] for task in held.describe()] == ["first.tif"]

    assert held.run_once().returncode == 0
    assert judge(held, sent=dropped) == []


def test_an_upload_that_does_not_end_keeps_nobody_from_stopping(held: Site, line: HeldLine) -> None:
    dropped = [held.drop("one.tif", tiff("one", size=ENOUGH))]
    line.hold()
    with held.run() as running:
        line.wait_held()
        began = time.monotonic()
        running.process.terminate()
        status = running.wait(STOP_PATIENCE + 10)
        took = time.monotonic() - began
    assert (status, took < STOP_PATIENCE) == (0, True), took
    line.release()

    assert held.run_once().returncode == 0
    assert judge(held, sent=dropped) == []


def test_told_twice_it_is_out_at_once_and_recovery_sends_no_second_task(held: Site, line: HeldLine) -> None:
    dropped = [held.drop("one.tif", tiff("one", size=ENOUGH)), *(held.drop(f"{n}.pdf") for n in range(5))]
    line.hold()
    with held.run() as running:
        line.wait_held()
        running.process.terminate()
        began = time.monotonic()

        def told_again() -> bool:
            # Two signals in the same instant are one to the kernel: it is told until it heard the second.
            running.process.terminate()
            return running.process.poll() is not None

        wait_until(told_again, seconds=STOP_PATIENCE)
        took = time.monotonic() - began
    assert (running.process.returncode, took < STOP_PATIENCE / 2) == (HARD_EXIT, True), took
    line.release()

    assert held.run_once().returncode == 0
    assert judge(held, sent=dropped) == []


def test_told_to_stop_while_exporting_nothing_half_is_visible_and_the_rest_comes_later(
    site: Site, sandbox: SandboxServer
) -> None:
    dropped = [site.drop(f"{number}.tif", tiff(str(number), size=200_000)) for number in range(6)]
    sandbox.sandbox.faults.add(Spoiled(method="GET", path="/file_collections/*", pace=60_000.0, times=None))
    with site.run() as running:
        wait_until(lambda: [task for task in site.describe() if task["calls"].get("start")], seconds=60)
        running.process.terminate()
        status = running.wait(STOP_PATIENCE + 10)
    visible = [path.stat().st_size for name, path in site_exports(site).items() if name.endswith(".tif")]
    assert status == 0
    assert all(size >= 200_000 for size in visible), visible

    sandbox.sandbox.faults.clear()
    assert site.run_once().returncode == 0
    assert judge(site, sent=dropped) == []


def site_exports(site: Site) -> dict[str, Path]:
    """Return what a reader of the output sees."""
    return {path.name: path for path in site.output.rglob("*") if path.is_file() and not path.name.startswith(".")}


# --- clocks ----------------------------------------------------------------------------------------------------------


class FakedClock:
    """The wall clock of one process, moved by a file that libfaketime looks into with every call; monotonic is real."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        # The wrapper knows where its library lies.
        self._library = means.run(means.program("faketime"), "-f", "+0", "printenv", "LD_PRELOAD").stdout.strip()
        self.move(0)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def move(self, seconds: int) -> None:
        """Let it be so much later than it is."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}")
        beside.replace(self._file)


@pytest.mark.parametrize("jump", [DAY, -DAY, 3600, -3600])
def test_a_clock_that_jumps_while_it_runs_loses_repeats_and_delays_nothing(
    site: Site, tmp_path: Path, jump: int
) -> None:
    site.configure(settle="300ms", export={"retry_delay": "1s"})
    clock = FakedClock(tmp_path)
    log = site.root / "jumping.log"
    dropped = [site.drop(f"before {number}.pdf") for number in range(3)]
    with Process("-c", str(site.config), "run", log=log, environment=clock.environment) as running:
        wait_until(lambda: len(site.describe()) == len(dropped), seconds=60, what=lambda: running.log)
        clock.move(jump)
        dropped += [site.drop(f"after {number}.tif") for number in range(3)]
        wait_until(lambda: len(site.describe()) == len(dropped) and site.is_done(), seconds=60, what=site.records)
        clock.move(0)
        dropped += [site.drop(f"back {number}.pdf") for number in range(3)]
        wait_until(lambda: len(site.describe()) == len(dropped) and site.is_done(), seconds=60, what=site.records)
        running.stop()

    assert judge(site, sent=dropped) == []
    days = {int(record.first_seen_at - time.time()) // 3600 for record in site.records()}
    assert len(days) > 1, "the clock did not jump"


def test_an_agent_that_slept_goes_on_and_sends_nothing_again(held: Site, line: HeldLine) -> None:
    dropped = [held.drop("one.tif", tiff("one", size=ENOUGH)), *(held.drop(f"{n}.pdf") for n in range(3))]
    line.hold()
    with held.run() as running:
        line.wait_held()
        os.kill(running.pid, signal.SIGSTOP)
        woken = time.monotonic() + SLEEP
        dropped += [held.drop(f"meanwhile {number}.pdf") for number in range(3)]
        line.release()
        wait_until(lambda: time.monotonic() > woken, seconds=PATIENCE)
        os.kill(running.pid, signal.SIGCONT)
        held.wait_done(tasks=len(dropped), seconds=60)
        running.stop()

    assert judge(held, sent=dropped) == []
