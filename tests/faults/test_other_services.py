"""Send AI and Typless in trouble: nothing moves, status says why, no storm; what got lost is held for a person."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from system.sites import Site, sha256, tree, wait_until

from agent.model import FileState
from agent.sandbox.faults import Dropped, Fault
from agent.sandbox.sendai.settings import SendaiSettings
from agent.sandbox.server import SandboxServer
from agent.sandbox.typless.settings import TyplessSettings
from faults.checker import judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agent.sandbox.faults import AnyFault
    from agent.sandbox.kinds import AnySandbox, AnySettings

NAMES = ("one.pdf", "sub/two.tif", "three.pdf")
QUIET_LOOK = 1.0
"""Seconds, at least, in which requests are counted while the service refuses."""
MOST_REQUESTS = 12
"""A second: one at a time, 100 to 400 ms apart, for the way in and for the questions."""


@dataclass(frozen=True)
class Played:
    """A service, and where its calls are."""

    settings: AnySettings
    create: str
    polls: tuple[str, ...]


SERVICES = {
    "sendai": Played(SendaiSettings(processing_delay=0.05), "*/upload", ("*/upload/*", "*/task/*")),
    "typless": Played(TyplessSettings(extraction_delay=0.05), "*/extract-data-async", ("*/get-extraction-data",)),
}


@pytest.fixture(params=list(SERVICES.values()), ids=list(SERVICES))
def played(request: pytest.FixtureRequest) -> Played:
    found: Played = request.param
    return found


@pytest.fixture
def server(played: Played) -> Iterator[SandboxServer[AnySandbox]]:
    with SandboxServer(played.settings) as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, server: SandboxServer[AnySandbox]) -> Site:
    return Site.of_kind(tmp_path / "site", server)


def drop_all(site: Site) -> list[bytes]:
    return [site.drop(name) for name in NAMES]


def asked(server: SandboxServer[AnySandbox]) -> int:
    return sum(server.sandbox.requests.counts().values())


def assert_no_storm(server: SandboxServer[AnySandbox]) -> None:
    began, before = time.monotonic(), asked(server)
    threading.Event().wait(QUIET_LOOK)
    assert asked(server) - before <= MOST_REQUESTS * (time.monotonic() - began)


def reasons(site: Site) -> dict[str, dict[str, Any]]:
    return {reason["reason"]: reason for reason in site.status()["reasons"]}


def finish(site: Site, running: Any, sent: list[bytes]) -> None:
    """Wait until every file is one task that ended, stop the agent, and judge what became of everything."""
    site.wait_done(tasks=len(sent))
    running.stop()
    assert judge(site, sent=sent) == []


# --- refused ----------------------------------------------------------------------------------------------------------

REFUSALS = [
    pytest.param(401, {}, "credentials_refused", id="401"),
    pytest.param(403, {}, "setup_refused", id="403"),
    pytest.param(429, {"Retry-After": "1"}, "rate_limited", id="429"),
]


@pytest.mark.parametrize(("status", "headers", "reason"), REFUSALS)
def test_while_uploads_are_refused_nothing_moves_and_all_are_sent_once_afterwards(
    site: Site,
    played: Played,
    server: SandboxServer[AnySandbox],
    *,
    status: int,
    headers: Mapping[str, str],
    reason: str,
) -> None:
    server.sandbox.faults.add(Fault(status, method="POST", path=played.create, headers=headers, times=None))
    sent = drop_all(site)
    with site.run() as running:
        site.waits_for("scans/submission", reason)
        assert_no_storm(server)
        assert site.inbox_files() == set(NAMES)
        assert tree(site.error) == {}
        assert server.sandbox.describe() == []
        said = reasons(site)[reason]
        assert said["detail"]
        assert said["since"]
        assert site.status()["health"] == "degraded"
        server.sandbox.faults.clear()
        finish(site, running, sent)


@pytest.mark.parametrize(
    ("status", "headers", "reason"), [*REFUSALS, pytest.param(500, {}, "service_unavailable", id="500")]
)
def test_while_polls_are_refused_nothing_moves_and_all_are_exported_once_afterwards(
    site: Site,
    played: Played,
    server: SandboxServer[AnySandbox],
    *,
    status: int,
    headers: Mapping[str, str],
    reason: str,
) -> None:
    sent = drop_all(site)
    for poll in played.polls:
        server.sandbox.faults.add(Fault(status, method="GET", path=poll, headers=headers, times=None))
    with site.run() as running:
        site.waits_for("service", reason)
        assert_no_storm(server)
        assert tree(site.error) == {}
        assert tree(site.output) == {}
        assert reasons(site)[reason]["detail"]
        server.sandbox.faults.clear()
        finish(site, running, sent)


# --- lost -------------------------------------------------------------------------------------------------------------


def lost(played: Played, *, applied: bool, by: str) -> AnyFault:
    if by == "500":
        return Fault(500, method="POST", path=played.create, applied=applied)
    return Dropped(method="POST", path=played.create, applied=applied)


@pytest.mark.parametrize("by", ["500", "no answer"])
@pytest.mark.parametrize("applied", [True, False], ids=["arrived", "never arrived"])
def test_a_lost_answer_is_held_in_the_inbox_and_told_until_a_person_decides(
    site: Site, played: Played, server: SandboxServer[AnySandbox], *, applied: bool, by: str
) -> None:
    server.sandbox.faults.add(lost(played, applied=applied, by=by))
    content = site.drop("one.pdf")
    with site.run() as running:
        wait_until(lambda: [each for each in site.records() if each.state is FileState.HELD], what=lambda: running.log)
        (held,) = site.records()
        assert site.inbox_files() == {"one.pdf"}
        sentence = "this service cannot be asked whether the file arrived"
        assert sentence in reasons(site)["held"]["detail"]
        assert sentence in site.command("why", "one.pdf").stdout
        assert sentence in site.command("history", "--state", "held").stdout
        assert len(server.sandbox.describe()) == applied

        arrived = [task.get("upload_id", task["id"]) for task in server.sandbox.describe()]
        decision = ["--submitted", arrived[0]] if arrived else ["--resubmit"]
        assert site.command("resolve", held.key[:8], *decision).returncode == 0
        finish(site, running, [content])


def test_where_the_user_prefers_twice_a_lost_answer_is_sent_again_after_the_quiet_time(
    site: Site, played: Played, server: SandboxServer[AnySandbox]
) -> None:
    site.configure(service={"on_unknown": "resubmit"}, retry={"unknown_wait": "1s"})
    server.sandbox.faults.add(lost(played, applied=True, by="500"))
    content = site.drop("one.pdf")
    with site.run() as running:
        wait_until(lambda: site.exported("one.json", "one.csv") and site.is_done(), what=lambda: running.log)
        running.stop()

    assert [task["sha256"] for task in server.sandbox.describe()] == [sha256(content)] * 2
    (record,) = site.records()
    assert (record.state, record.attempts) == (FileState.ARCHIVED, 2)
    assert set(tree(site.output)) == {"one.json", "one.csv"}


def test_a_folder_whose_upload_got_lost_is_decided_as_one(tmp_path: Path) -> None:
    played = SERVICES["sendai"]
    with SandboxServer(played.settings) as server:
        site = Site.of_kind(tmp_path / "site", server)
        site.configure(batch="folder")
        server.sandbox.faults.add(lost(played, applied=True, by="500"))
        sent = [site.drop(f"case/{number}.pdf") for number in range(4)]
        with site.run() as running:
            wait_until(
                lambda: [each.state for each in site.records()] == [FileState.HELD] * 4, what=lambda: running.log
            )
            (upload,) = {task["upload_id"] for task in server.sandbox.describe()}
            assert site.command("resolve", "case/2.pdf", "--submitted", upload).returncode == 0
            finish(site, running, sent)
        assert set(tree(site.output)) == {f"case/{number}.{end}" for number in range(4) for end in ("csv", "json")}
