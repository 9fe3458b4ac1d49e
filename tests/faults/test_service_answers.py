"""A service that asks for quiet (row 5) and one that does not know us (row 6): bounded waits, no storm, files stay."""

from __future__ import annotations

import time
from email.utils import formatdate
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from system.sites import QUICK_SANDBOX, Site, wait_until

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.faults import Dropped, Fault
from agent.sandbox.server import SandboxServer
from faults.checker import judge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)

DAY = 86_400.0
UNTRUE = ("-5", "0", "soon", "", "1e400", formatdate(0, usegmt=True), "Tue, 99 Nov 2026 99:99:99 GMT", "9" * 400)
"""Values of Retry-After that ask for nothing: our own backoff counts."""
SHORTEST = 0.09
"""Seconds between two attempts at least: 0.1 is the least the backoff gives, less what the clocks may differ."""


class ClockOf:
    """The clock of a service that is off by some seconds."""

    def __init__(self, offset: float) -> None:
        self._offset = offset

    def now(self) -> float:
        """Return its time."""
        return time.time() + self._offset


def upload_times(sandbox: SandboxServer) -> list[float]:
    """Return when an upload was answered, by the sandbox's clock."""
    return [seen.at for seen in sandbox.sandbox.requests.recent() if seen.target.startswith("/tasks?project_id=")]


def token_requests(sandbox: SandboxServer) -> int:
    """Return how often a token was asked for."""
    return sum(count for kind, count in sandbox.sandbox.requests.counts().items() if "/oauth/token" in kind)


# --- row 5 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_that_asks_for_nothing_makes_no_busy_loop(
    site: Site, sandbox: SandboxServer, sweep: Callable[[str], Sweep], status: int
) -> None:
    for value in UNTRUE:
        sandbox.sandbox.faults.add(Fault(status, method="POST", path="/tasks", headers={"Retry-After": value}))
    site.configure(retry={"first": "0s", "max": "0s"})
    sent = [site.drop("one.pdf")]
    with site.run() as running:
        site.wait_done(tasks=1)
        assert running.stop() == 0

    complaints = judge(site, sent=sent)
    times = upload_times(sandbox)
    points = sweep("Retry-After that asks for nothing")
    for value, (refused_at, next_at) in zip(UNTRUE, pairwise(times), strict=True):
        hurried = [] if next_at - refused_at >= SHORTEST else [f"tried again after {next_at - refused_at:.3f} s"]
        points.point(repr(value[:40]), reached=True, complaints=hurried + complaints)
    points.conclude(at_least=len(UNTRUE))


@pytest.mark.parametrize(("status", "kind"), [(429, "seconds"), (503, "date")])
def test_a_retry_after_is_obeyed(site: Site, sandbox: SandboxServer, status: int, kind: str) -> None:
    with site.run() as running:
        site.wait_scanned()
        until = int(sandbox.sandbox.now()) + 4
        value = "3" if kind == "seconds" else formatdate(until, usegmt=True)
        sandbox.sandbox.faults.add(Fault(status, method="POST", path="/tasks", headers={"Retry-After": value}))
        sent = [site.drop("one.pdf")]
        lane = site.waits_for("scans/submission", "rate_limited" if status == 429 else "service_unavailable")
        site.wait_done(tasks=1)
        assert running.stop() == 0

    assert judge(site, sent=sent) == []
    refused_at, accepted_at = upload_times(sandbox)
    asked_for = refused_at + 3 if kind == "seconds" else until
    assert accepted_at >= asked_for - 0.1
    assert lane["retry_at"] >= asked_for - 0.1


@pytest.mark.parametrize("value", ["99999999999", formatdate(4_000_000_000, usegmt=True)], ids=["seconds", "date"])
def test_an_absurd_retry_after_is_obeyed_for_an_hour_at_most_and_quietly(
    site: Site, sandbox: SandboxServer, value: str
) -> None:
    sandbox.sandbox.faults.add(Fault(503, method="POST", path="/tasks", headers={"Retry-After": value}))
    sent = [site.drop("one.pdf")]
    with site.run() as running:
        lane = site.waits_for("scans/submission", "service_unavailable")
        assert 3500 < lane["retry_at"] - time.time() <= 3600
        site.waits_for("service", "service_unavailable")
        quiet_since = sandbox.sandbox.now()
        site.drop("two.pdf")  # seen and counted, but not sent
        scans = site._status()["inboxes"]["scans"]["scans"]
        wait_until(lambda: "two.pdf" in site.files())
        wait_until(lambda: site._status()["inboxes"]["scans"]["scans"] >= scans + 2, what=site._status)
        # What was on its way as the hour began may still have been answered.
        assert [seen for seen in sandbox.sandbox.requests.recent() if seen.at > quiet_since + 1] == []
        assert running.stop() == 0

    assert site.inbox_files() == {"one.pdf", "two.pdf"}
    sent.append((site.inbox / "two.pdf").read_bytes())
    site.run_once()  # a new process does not know of the hour
    assert judge(site, sent=sent) == []


# --- row 6 ------------------------------------------------------------------------------------------------------------


def test_tokens_that_are_revoked_while_files_are_sent_cost_one_refresh_each_time(
    site: Site, sandbox: SandboxServer
) -> None:
    sent = []
    with site.run() as running:
        for turn in range(3):
            sandbox.sandbox.revoke_tokens()
            asked = token_requests(sandbox)
            sent += [site.drop(f"{turn}-{number}.pdf") for number in range(6)]
            site.wait_done(tasks=len(sent))
            assert token_requests(sandbox) - asked <= 1
        assert running.stop() == 0

    assert judge(site, sent=sent) == []
    assert "credentials" not in running.log


def test_tokens_that_expire_in_seconds_are_renewed_before_their_end(tmp_path: Path) -> None:
    settings = AlumaSettings(**QUICK_SANDBOX, token_lifetime=4)  # type: ignore[arg-type]  # all of them floats
    with SandboxServer(settings) as sandbox:
        site = Site.of(tmp_path / "site", sandbox)
        sent = [site.drop("first.pdf")]
        with site.run() as running:
            wait_until(lambda: token_requests(sandbox) >= 3)
            sent.append(site.drop("second.pdf"))
            site.wait_done(tasks=2)
            assert running.stop() == 0

        assert judge(site, sent=sent) == []
        assert [kind for kind in sandbox.sandbox.requests.counts() if kind.endswith(" 401")] == []


@pytest.mark.parametrize("refusal", ["the token", "the secret"])
def test_refused_for_good_it_pauses_without_a_storm_and_files_stay(
    site: Site, sandbox: SandboxServer, refusal: str
) -> None:
    names = {f"{number}.pdf" for number in range(8)}
    path = "/oauth/token" if refusal == "the secret" else "/tasks*"
    sandbox.sandbox.faults.add(Fault(401, path=path, times=None))
    sent = [site.drop(name) for name in sorted(names)]
    with site.run() as running:
        site.waits_for("service", "credentials_refused")
        # Ten rounds of the backoff, however many workers there are: one asks, the others wait.
        began, asked = time.monotonic(), len(sandbox.sandbox.requests.recent())
        wait_until(lambda: token_requests(sandbox) >= 10)
        took = time.monotonic() - began
        assert len(sandbox.sandbox.requests.recent()) - asked <= 20 + 20 * took
        assert site.inbox_files() == names
        assert any(reason["reason"] == "credentials_refused" for reason in site.status()["reasons"])
        sandbox.sandbox.faults.clear()
        site.wait_done(tasks=len(names))
        assert running.stop() == 0

    assert judge(site, sent=sent) == []


@pytest.mark.parametrize("offset", [-DAY, DAY], ids=["a day behind", "a day ahead"])
def test_a_clock_that_is_a_day_off_loses_and_doubles_nothing(tmp_path: Path, offset: float) -> None:
    settings = AlumaSettings(**QUICK_SANDBOX)  # type: ignore[arg-type]  # all of them floats
    with SandboxServer(settings, clock=ClockOf(offset)) as sandbox:
        site = Site.of(tmp_path / "site", sandbox)
        faults = sandbox.sandbox.faults
        for applied in (True, False):
            faults.add(Dropped(method="POST", path="/tasks", applied=applied))
        faults.add(Fault(401, method="POST", path="/tasks"))
        faults.add(Fault(503, method="POST", path="/tasks", headers={"Retry-After": _soon(offset)}))
        sent = [site.drop(name) for name in ("one.pdf", "two.pdf", "three.tif", "four.pdf", "five.pdf")]
        with site.run() as running:
            site.wait_done(tasks=len(sent))
            assert running.stop() == 0

        assert judge(site, sent=sent) == []
        assert faults.waiting() == ()
        assert token_requests(sandbox) <= 2
        # The lost one that had arrived, the one that had not, and those refused: each was sent just as often as needed.
        assert len(upload_times(sandbox)) == len(sent) + 3


def _soon(offset: float) -> str:
    """Return a date two seconds ahead of the service's own clock."""
    return formatdate(time.time() + offset + 2, usegmt=True)
