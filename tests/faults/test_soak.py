"""Killed over and over while hundreds of files go the whole way: every one is sent, filed and exported once.

By hand for as long as you like:

    SOAK_FILES=20000 SOAK_KILLS=1000 SOAK_SEED=7 pytest tests/faults/test_soak.py -n 0 --timeout 0 -s

SOAK_FILES (500): files dropped. SOAK_KILLS (30): kills there must be at least. SOAK_SEED: repeats the pauses of an
earlier run; the seed is printed. SOAK_RATE: the agent's requests per second; the default lets the files dropped before
a start last until it is killed.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from system.sites import QUICK_SANDBOX, Site, wait_until

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.server import SandboxServer
from faults.checker import judge
from faults.killing import PAUSE, killed_after_a_while, soak_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faults.points import Sweep

pytestmark = pytest.mark.timeout(400)

FILES = int(os.environ.get("SOAK_FILES", "500"))
KILLS = int(os.environ.get("SOAK_KILLS", "30"))
SEED = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(1_000_000))))
QUIET = "800ms"
"""A quiet time begins anew with each process: some of them must live longer, or no unknown outcome is ever decided."""
SLICE = -(-FILES // KILLS)
"""Files dropped before each start, so that there is work for every kill."""
REQUESTS_OF_A_FILE = 5
"""About: submit, start, download, complete, and its share of lists and look-ups."""
RATE = float(os.environ.get("SOAK_RATE", str(REQUESTS_OF_A_FILE * SLICE / (sum(PAUSE) / 2))))
LONGEST = 300.0 * max(1.0, FILES / 500, KILLS / 30)
"""Seconds after which the agent counts as unable to get done."""


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    settings = {**QUICK_SANDBOX, "processing_delay": 0.2}
    with SandboxServer(AlumaSettings(**settings)) as server:  # type: ignore[arg-type]  # all of them floats
        yield server


def test_killed_until_all_is_done_everything_is_done_once(
    tmp_path: Path, sandbox: SandboxServer, sweep: Callable[[str], Sweep]
) -> None:
    site = Site.of(tmp_path / "site", sandbox)
    site.configure(
        settle="10ms",
        rescan="500ms",
        retry={"unknown_wait": QUIET},
        service={"max_requests_per_second": round(RATE, 1)},
    )
    chance = random.Random(SEED)
    began = time.monotonic()
    soak = sweep("kill -9 while files are submitted and exported")
    sent: list[bytes] = []
    while len(sent) < FILES or not (site.is_done() and len(site.task_records()) == FILES):
        sent += [site.drop(soak_name(number)) for number in range(len(sent), min(FILES, len(sent) + SLICE))]
        slowness = max(1.0, soak.tried / KILLS - 1)  # twice as many kills as were asked for: the machine is busy
        soak.point("killed", reached=killed_after_a_while(site, chance, slowness=slowness), complaints=[])
        assert time.monotonic() - began < LONGEST, f"not done after {soak.reached} kills: {_left(site)}"
    assert site.run_once().returncode == 0
    wait_until(lambda: all(task["state"] == "completed" for task in site.describe()))

    complaints = judge(site, sent=sent)
    print(  # noqa: T201 -- the numbers are what a soak is for
        f"soak: seed {SEED}, {FILES} files, {soak.reached} kills in {time.monotonic() - began:.0f} s:"
        f" {len(site.describe())} tasks, {len(list(site.archive.rglob('*.*')))} archived, {len(complaints)} complaints"
    )
    soak.bad += complaints
    soak.conclude(at_least=KILLS)


def _left(site: Site) -> Counter[str]:
    return Counter(record.state.value for record in site.records())
