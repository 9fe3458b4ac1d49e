"""Killed over and over with a service that cannot be asked what arrived: a person decides about the few in doubt.

Nothing is lost, nothing is sent twice, and no kill puts more files in doubt than uploads were under way. By hand as
`test_soak`: SOAK_OTHER_FILES (200), SOAK_OTHER_KILLS (12), SOAK_SEED.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest
from system.sites import Site, sha256, wait_until

from agent.model import FileState
from agent.sandbox.sendai.settings import SendaiSettings
from agent.sandbox.server import SandboxServer
from agent.sandbox.typless.settings import TyplessSettings
from faults.checker import judge
from faults.killing import PAUSE, killed_after_a_while, soak_name
from faults.slow_uploads import SlowUploads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.sandbox.kinds import AnySandbox, AnySettings
    from faults.points import Sweep

pytestmark = pytest.mark.timeout(400)

FILES = int(os.environ.get("SOAK_OTHER_FILES", "200"))
KILLS = int(os.environ.get("SOAK_OTHER_KILLS", "12"))
SEED = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(1_000_000))))
SLICE = -(-FILES // KILLS)
REQUESTS_OF_A_FILE = 4
RATE = REQUESTS_OF_A_FILE * SLICE / (sum(PAUSE) / 2)
CONNECTIONS = 4
SLOWNESS = 0.15
"""Seconds an upload takes at least, so that most kills find some under way."""
LONGEST = 300.0 * max(1.0, FILES / 200, KILLS / 12)
"""Seconds after which the agent counts as unable to get done."""


@pytest.fixture(
    params=[SendaiSettings(processing_delay=0.2), TyplessSettings(extraction_delay=0.2)], ids=["sendai", "typless"]
)
def server(request: pytest.FixtureRequest) -> Iterator[SandboxServer[AnySandbox]]:
    settings: AnySettings = request.param
    with SandboxServer(settings) as server:
        yield server


@pytest.fixture
def slow(server: SandboxServer[AnySandbox]) -> Iterator[SlowUploads]:
    with SlowUploads(server.port, seconds=SLOWNESS) as slow:
        yield slow


def test_killed_until_all_is_done_only_what_was_being_sent_is_in_doubt(
    tmp_path: Path, server: SandboxServer[AnySandbox], slow: SlowUploads, sweep: Callable[[str], Sweep]
) -> None:
    site = Site.of_kind(tmp_path / "site", server)
    url = site.settings["service"]["url"].replace(server.url, slow.url)
    site.configure(
        settle="10ms",
        rescan="500ms",
        service={"url": url, "max_requests_per_second": round(RATE, 1), "connections": CONNECTIONS},
    )
    chance = random.Random(SEED)
    began = time.monotonic()
    kind = site.settings["service"]["type"]
    soak = sweep(f"kill -9 while files go to {kind} and results come back")
    sent: list[bytes] = []
    while len(sent) < FILES or not (site.is_done() and len(site.records()) == FILES):
        sent += [site.drop(soak_name(number)) for number in range(len(sent), min(FILES, len(sent) + SLICE))]
        # The first at a moment that surely leaves a doubt.
        moment = None if soak.tried else slow.under_way.is_set
        reached = killed_after_a_while(site, chance, moment=moment)
        doubt = in_doubt(site)
        soak.point("killed", reached=reached, complaints=[f"in doubt: {doubt}"] if len(doubt) > CONNECTIONS else [])
        assert time.monotonic() - began < LONGEST, f"not done after {soak.reached} kills"
    held = [record for record in site.records() if record.state is FileState.HELD]
    assert all((site.inbox / record.relative_path).exists() for record in held)
    assert held
    for record in held:
        decide(site, record.key, sha256((site.inbox / record.relative_path).read_bytes()))
    assert site.run_once().returncode == 0
    wait_until(lambda: all(task["result"] for task in site.describe()))

    complaints = judge(site, sent=sent)
    print(  # noqa: T201 -- the numbers are what a soak is for
        f"soak of {kind}: seed {SEED}, {FILES} files, {soak.reached} kills in {time.monotonic() - began:.0f} s:"
        f" {len(site.describe())} tasks, {len(held)} held, {len(complaints)} complaints"
    )
    soak.bad += complaints
    soak.conclude(at_least=KILLS)


def in_doubt(site: Site) -> list[str]:
    """Return what a killed agent was sending: their intent is in the ledger, and no answer."""
    return [
        record.relative_path
        for record in site.records()
        if record.state is FileState.SENDING and record.intent_at is not None
    ]


def decide(site: Site, key: str, digest: str) -> None:
    """Do as a person who looks for a document at the service: it is there under this id, or it is sent again."""
    arrived = [task.get("upload_id", task["id"]) for task in site.describe() if task["sha256"] == digest]
    decision = ["--submitted", arrived[0]] if arrived else ["--resubmit"]
    done = site.command("resolve", key, *decision)
    assert done.returncode == 0, done.stderr
