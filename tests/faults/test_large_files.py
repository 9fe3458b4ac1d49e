"""The largest file each service takes goes out in blocks: the agent's memory does not grow with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from system.sites import Site, sha256, tiff, wait_until

from agent.sandbox.sendai.settings import SendaiSettings
from agent.sandbox.server import SandboxServer
from agent.sandbox.typless.settings import TyplessSettings

if TYPE_CHECKING:
    from system.sites import Process

    from agent.sandbox.kinds import AnySettings

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from /proc"),
]

GROWTH = 20_000_000
"""Bytes the agent's memory may grow by at most while a file is sent."""
WARM = 100_000


def peak_memory(running: Process) -> int:
    """Return the most memory the agent ever had at once, in bytes."""
    lines = Path(f"/proc/{running.pid}/status").read_text(encoding="ascii").splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024


@pytest.mark.parametrize(
    ("settings", "size"),
    [(SendaiSettings(processing_delay=0.1), 40_000_000), (TyplessSettings(extraction_delay=0.1), 30_000_000)],
    ids=["sendai", "typless"],
)
def test_sending_the_largest_file_grows_the_memory_by_less_than_20_mb(
    tmp_path: Path, settings: AnySettings, size: int
) -> None:
    with SandboxServer(settings) as server:
        site = Site.of_kind(tmp_path / "site", server)
        with site.run() as running:
            # What is loaded and kept for any file is there before.
            site.drop("first.tif", tiff("first", size=WARM))
            site.wait_done(tasks=1)
            before = peak_memory(running)
            large = site.drop("large.tif", tiff("large", size=size))
            assert len(large) == size
            wait_until(lambda: len(site.describe()) == 2, seconds=120)
            site.wait_done(tasks=2, seconds=120)
            growth = peak_memory(running) - before
            running.stop()

        assert {task["sha256"] for task in site.describe()} >= {sha256(large)}
        assert site.exported("large.json", "large.csv")
    print(f"{site.settings['service']['type']}: {size} bytes sent, the peak grew by {growth / 1e6:.1f} MB")  # noqa: T201 -- the number is what it is for
    assert growth < GROWTH


@pytest.mark.parametrize(
    ("settings", "limit"),
    [(SendaiSettings(), 40_000_000), (TyplessSettings(), 30_000_000)],
    ids=["sendai", "typless"],
)
def test_a_larger_file_than_the_service_takes_goes_to_error_unsent(
    tmp_path: Path, settings: AnySettings, limit: int
) -> None:
    with SandboxServer(settings) as server:
        site = Site.of_kind(tmp_path / "site", server)
        large = site.drop("large.tif", tiff("large", size=limit + 1))
        assert site.run_once().returncode == 1
        assert site.note("large.tif")["reason"].startswith("too_large: ")
        assert sha256((site.error / "large.tif").read_bytes()) == sha256(large)
        assert server.sandbox.describe() == []
        assert not [kind for kind in server.sandbox.requests.counts() if kind.startswith("POST")]
