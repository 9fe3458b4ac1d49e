"""Connections that break, crawl or fall silent in an upload (row 8): a total deadline, recovery without anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from system.sites import REPOSITORY, tiff, wait_until

from agent.sandbox.faults import Spoiled
from faults import hurried_agent, means
from faults.checker import judge
from faults.proxies import Part, Proxy, Reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from system.sites import Site

    from agent.sandbox.server import SandboxServer
    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)

RESETS: Final = (
    *(Reset(Part.HEAD, offset) for offset in (1, 20, 200)),
    *(Reset(Part.BODY, offset) for offset in (0, 1, 1000, 65_536, 262_144, 262_145, 1_000_000)),
    *(Reset(Part.END, offset) for offset in (-65_536, -1, 0)),
    *(Reset(Part.ANSWER, offset) for offset in (1, 12, 100, 300)),
)
LENGTH: Final = 1_500_000


def test_an_upload_reset_at_any_byte_becomes_one_task(
    site: Site, sandbox: SandboxServer, sweep: Callable[[str], Sweep]
) -> None:
    sent = [site.drop(f"{number:02}.tif", tiff(str(number), size=LENGTH)) for number in range(len(RESETS))]
    with Proxy(sandbox.port, resets=RESETS) as proxy:
        site.configure(service={"url": proxy.url})
        with site.run() as running:
            site.wait_done(tasks=len(RESETS), seconds=120)
            assert running.stop() == 0

    complaints = judge(site, sent=sent)
    points = sweep("uploads reset at a byte")
    for number, reset in enumerate(RESETS):
        points.point(str(reset), reached=reset in proxy.done, complaints=complaints if number == 0 else ())
    points.conclude(at_least=len(RESETS))


@contextmanager
def dropping(port: int) -> Iterator[None]:
    """Let every packet to and from a port of loopback vanish, as behind a firewall that says nothing."""
    means.root()
    nft = means.program("nft")
    table = f"fsagent_test_{port}"
    rules = f"type filter hook output priority 0; tcp dport {port} drop; tcp sport {port} drop;"
    means.run(nft, f"table inet {table} {{ chain vanish {{ {rules} }}; }}")
    try:
        yield
    finally:
        subprocess.run([nft, "delete", "table", "inet", table], check=True)


def test_in_a_black_hole_files_wait_and_go_by_themselves_afterwards(site: Site, sandbox: SandboxServer) -> None:
    site.configure(service={"timeout": "1s"})
    sent = [site.drop("before.pdf")]
    with site.run() as running:
        site.wait_done(tasks=1)
        with dropping(sandbox.port):
            sent += [site.drop(name) for name in ("during.pdf", "too.tif")]
            lane = site.waits_for("service", "service_unreachable")
            assert "in time" in lane["detail"]
            assert site.inbox_files() == {"during.pdf", "too.tif"}
            seen = len(sandbox.sandbox.requests.recent())
        site.wait_done(tasks=3, seconds=60)
        assert len(sandbox.sandbox.requests.recent()) > seen
        assert running.stop() == 0

    assert judge(site, sent=sent) == []


def test_a_black_hole_in_the_middle_of_uploads_costs_neither_a_file_nor_a_second_task(
    site: Site, sandbox: SandboxServer
) -> None:
    site.configure(service={"timeout": "1s"})
    sent = [site.drop(f"{number}.tif", tiff(str(number), size=LENGTH)) for number in range(6)]
    with Proxy(sandbox.port) as proxy:
        proxy.trickle = LENGTH // 2
        site.configure(service={"url": proxy.url})
        with site.run() as running:
            wait_until(proxy.crawls.is_set)
            with dropping(sandbox.port), dropping(proxy.port):
                site.waits_for("service", "service_unreachable")
                proxy.trickle = None
            site.wait_done(tasks=len(sent), seconds=90)
            assert running.stop() == 0

    assert judge(site, sent=sent) == []


def test_one_byte_a_second_ends_with_the_time_a_whole_request_may_take(site: Site, sandbox: SandboxServer) -> None:
    sent = [site.drop("one.pdf"), site.drop("two.tif")]
    log = site.root / "hurried.log"
    with Proxy(sandbox.port) as proxy, log.open("wb") as errors:
        proxy.trickle = 1200
        slow = Spoiled(path="/tasks", pace=1)
        sandbox.sandbox.faults.add(replace(slow, method="POST"))
        sandbox.sandbox.faults.add(replace(slow, method="GET"))
        site.configure(service={"url": proxy.url, "min_speed": "1MiB"})
        command = [sys.executable, str(Path(hurried_agent.__file__)), "-c", str(site.config), "run"]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        with subprocess.Popen(command, env=environment, stderr=errors, stdout=errors) as agent:
            try:
                wait_until(proxy.crawls.is_set)
                wait_until(lambda: "slower than allowed" in log.read_text(), what=log.read_text)
                assert site.inbox_files() == {"one.pdf", "two.tif"}
                proxy.trickle = None
                site.wait_done(tasks=2)
                agent.terminate()
                assert agent.wait(25) == 0
            finally:
                agent.kill()

    assert judge(site, sent=sent) == []
    assert sandbox.sandbox.faults.waiting() == ()
