"""Killed anywhere, stopped anywhere: the next start goes on, everything is sent, filed and exported once."""

from __future__ import annotations

import random
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.faults import Fault
from agent.sandbox.server import SandboxServer
from system.sites import QUICK_SANDBOX, Site, pdf, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.system

FILES = 30
KILLS = 6


@pytest.fixture
def slower_sandbox() -> Iterator[SandboxServer]:
    settings = {**QUICK_SANDBOX, "processing_delay": 0.3}
    with SandboxServer(AlumaSettings(**settings)) as server:  # type: ignore[arg-type]  # all of them floats
        yield server


def test_killed_at_random_moments_everything_is_done_once(tmp_path: Path, slower_sandbox: SandboxServer) -> None:
    site = Site.of(tmp_path / "site", slower_sandbox)
    # Requests are spread out, so that kills find uploads, filings and exports on their way.
    site.configure(settle="10ms", retry={"unknown_wait": "500ms"}, service={"max_requests_per_second": 120})
    chance = random.Random()
    pause = threading.Event()
    dropped = {}
    for kill in range(KILLS):
        for number in range(FILES // KILLS):
            name = f"folder {kill}/{number}.{'pdf' if number % 2 else 'tif'}"
            dropped[name] = site.drop(name)
        with site.run() as running:
            wait_until(lambda: "fsagent runs" in running.log)
            pause.wait(chance.uniform(0.0, 0.5))
            running.kill()
    with site.run() as running:
        site.wait_done(tasks=FILES)
        running.stop()

    # Base names repeat in the folders, but no stem does within one.
    site.assert_each_once(dropped)


def test_killed_while_the_answer_to_an_upload_is_on_its_way_the_file_is_not_sent_again(
    site: Site, sandbox: SandboxServer
) -> None:
    content = site.drop("one.pdf")
    with site.run() as running:
        wait_until(sandbox.sandbox.describe, seconds=20)
        running.kill()
    with site.run() as running:
        site.wait_done(tasks=1)
        running.stop()

    site.assert_each_once({"one.pdf": content})


def test_killed_between_publishing_and_completing_the_same_files_are_completed(
    site: Site, sandbox: SandboxServer
) -> None:
    content = site.drop("one.pdf")
    sandbox.sandbox.faults.add(Fault(503, method="PUT", path="/tasks/*/complete*", times=None))
    with site.run() as running:
        wait_until(lambda: site.exported("one.pdf", "one.csv", "one.json"))
        running.kill()
    before = {name: (site.output / name).stat().st_ino for name in ("one.pdf", "one.csv", "one.json")}
    sandbox.sandbox.faults.clear()
    with site.run() as running:
        site.wait_done(tasks=1)
        running.stop()

    site.assert_each_once({"one.pdf": content})
    assert {name: (site.output / name).stat().st_ino for name in before} == before


@pytest.mark.skipif(sys.platform == "win32", reason="there a process is ended from outside only by force")
def test_sigterm_ends_the_agent_in_time_with_status_0_and_the_next_start_goes_on(
    site: Site, sandbox: SandboxServer
) -> None:
    sandbox.sandbox.faults.add(Fault(503, method="GET", path="/file_collections/*", times=None))
    dropped = {f"{number}.pdf": site.drop(f"{number}.pdf") for number in range(12)}
    with site.run() as running:
        wait_until(sandbox.sandbox.describe)
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    assert "Traceback" not in running.log
    sandbox.sandbox.faults.clear()
    with site.run() as running:
        site.wait_done(tasks=12)
        assert running.stop() == 0

    site.assert_each_once(dropped)


@pytest.mark.skipif(sys.platform == "win32", reason="there a process is ended from outside only by force")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_idle_agent_ends_soon_on_a_signal(site: Site, number: signal.Signals) -> None:
    with site.run() as running:
        wait_until(lambda: "fsagent runs" in running.log)
        running.process.send_signal(number)
        assert running.wait(15) == 0  # requests under way would have 20


def test_what_was_dropped_while_no_agent_ran_is_found_at_start(site: Site) -> None:
    first = site.drop("one.pdf")
    assert site.run_once().returncode == 0
    dropped = {"one.pdf": first, "later/two.pdf": site.drop("later/two.pdf"), "three.tif": site.drop("three.tif")}

    assert site.run_once().returncode == 0

    site.assert_each_once(dropped)


def test_the_same_name_dropped_again_after_a_restart_is_a_file_of_its_own(site: Site) -> None:
    site.drop("one.pdf", pdf("first"))
    assert site.run_once().returncode == 0
    site.drop("one.pdf", pdf("second"))
    assert site.run_once().returncode == 0

    assert len(site.describe()) == 2
    assert (site.archive / "one.pdf").read_bytes() == pdf("first")
