"""The service is down, overloaded or refuses: nothing moves, status says since when and why, all is sent once after."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.faults import Fault
from agent.sandbox.server import SandboxServer
from system.sites import QUICK_SANDBOX, Site, document_for, unused_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

NAMES = ("one.pdf", "sub/two.tif", "three.pdf")


def drop_three(site: Site) -> dict[str, bytes]:
    return {name: site.drop(name) for name in NAMES}


def assert_waiting(site: Site, lane: dict[str, Any], *, began: float) -> None:
    """Assert that everything still lies where it was dropped, and that the lane says since when it waits."""
    assert site.inbox_files() == set(NAMES)
    assert site.describe() == []
    assert began - 1 <= lane["since"] <= time.time()
    assert lane["detail"]


def assert_status_says(site: Site, reason: str, *, began: float) -> None:
    """Assert that `fsagent status --json` says why nothing is sent and since when."""
    status = site.status()
    assert status["health"] == "degraded"
    said = [entry for entry in status["reasons"] if entry["reason"] == reason]
    assert said, status["reasons"]
    assert began - 1 <= said[0]["since"] <= time.time()
    # One of them may just be tried again.
    assert status["totals"]["waiting"] + status["totals"]["sending"] == len(NAMES)


def test_a_service_that_is_down_at_start_gets_everything_once_it_is_there(tmp_path: Path) -> None:
    port = unused_port()
    sandboxes: list[SandboxServer] = []
    site = Site(
        tmp_path / "site",
        url=f"http://127.0.0.1:{port}",
        describe=lambda: list(sandboxes[0].sandbox.describe()) if sandboxes else [],
    )
    began = time.time()
    dropped = drop_three(site)
    with site.run() as running:
        lane = site.waits_for("service", "service_unreachable")
        assert_waiting(site, lane, began=began)
        assert_status_says(site, lane["reason"], began=began)
        with SandboxServer(AlumaSettings(**QUICK_SANDBOX), port=port) as server:  # type: ignore[arg-type]
            sandboxes.append(server)
            site.wait_done(tasks=3)
            wait_until(lambda: site.lanes() == {})
            running.stop()
            site.assert_each_once(dropped)


@pytest.mark.parametrize("applied", [False, True], ids=["not accepted", "accepted"])
def test_after_500_each_file_is_one_task_whether_it_had_arrived_or_not(
    site: Site, sandbox: SandboxServer, *, applied: bool
) -> None:
    sandbox.sandbox.faults.add(Fault(500, method="POST", path="/tasks", times=3, applied=applied))
    dropped = drop_three(site)
    with site.run() as running:
        site.wait_done(tasks=3)
        running.stop()

    assert running.log.count("outcome unknown") == 3
    assert running.log.count("had arrived as task") == (3 if applied else 0)
    site.assert_each_once(dropped)


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (429, {"Retry-After": "1"}, "rate_limited"),
        (503, {}, "service_unavailable"),
        (403, {}, "setup_refused"),
        (307, {"Location": "http://127.0.0.1:9/"}, "service_unavailable"),
    ],
)
def test_while_uploads_are_refused_nothing_moves_and_all_is_sent_once_afterwards(
    site: Site, sandbox: SandboxServer, *, status: int, headers: dict[str, str], reason: str
) -> None:
    sandbox.sandbox.faults.add(Fault(status, method="POST", path="/tasks", headers=headers, times=None))
    began = time.time()
    dropped = drop_three(site)
    with site.run() as running:
        lane = site.waits_for("scans/submission", reason)
        assert_waiting(site, lane, began=began)
        assert_status_says(site, lane["reason"], began=began)
        sandbox.sandbox.faults.clear()
        site.wait_done(tasks=3)
        wait_until(lambda: site.lanes() == {})
        running.stop()

    site.assert_each_once(dropped)


def test_retry_after_binds_every_request_to_the_service(site: Site, sandbox: SandboxServer) -> None:
    sandbox.sandbox.faults.add(Fault(429, method="POST", path="/tasks", headers={"Retry-After": "3"}, times=1))
    dropped = drop_three(site)
    with site.run() as running:
        site.wait_done(tasks=3)
        running.stop()

    site.assert_each_once(dropped)
    requests = list(sandbox.sandbox.requests.recent())
    refused = next(position for position, request in enumerate(requests) if request.status == 429)
    quiet_until = requests[refused].at + 3
    # What was on its way at that moment arrives; whoever does not keep quiet asks several times a second.
    broken = [request for request in requests if requests[refused].at + 1 < request.at < quiet_until - 0.1]
    assert broken == []


def test_a_revoked_token_is_renewed_without_anybody_noticing(site: Site, sandbox: SandboxServer) -> None:
    dropped = {"first.pdf": site.drop("first.pdf")}
    with site.run() as running:
        site.wait_done(tasks=1)
        sandbox.sandbox.revoke_tokens()
        dropped |= drop_three(site)
        site.wait_done(tasks=4)
        running.stop()

    site.assert_each_once(dropped)
    assert "credentials" not in running.log
    assert sum(count for kind, count in sandbox.sandbox.requests.counts().items() if "/oauth/token" in kind) <= 3


def test_a_wrong_secret_holds_everything_without_a_storm_and_is_not_shown(site: Site, sandbox: SandboxServer) -> None:
    site.configure(service={"client_secret": "wrong-hush-hush"})
    began = time.time()
    dropped = drop_three(site)
    with site.run() as running:
        lane = site.waits_for("service", "credentials_refused")
        assert_waiting(site, lane, began=began)
        assert_status_says(site, lane["reason"], began=began)
        running.stop()
        took = time.time() - began
    assert "hush" not in running.log + running.output + str(lane)
    refused = sum(count for kind, count in sandbox.sandbox.requests.counts().items() if kind.endswith(" 401"))
    assert refused < 20 + 10 * took

    site.configure(service={"client_secret": AlumaSettings().client_secret})
    with site.run() as running:
        site.wait_done(tasks=3)
        running.stop()
    site.assert_each_once(dropped)


def test_lists_that_fail_hold_the_exports_and_lose_none(site: Site, sandbox: SandboxServer) -> None:
    sandbox.sandbox.faults.add(Fault(502, method="GET", path="/tasks", times=None))
    site.drop("one.pdf")
    with site.run() as running:
        site.waits_for("service", "service_unavailable")
        sandbox.sandbox.faults.clear()
        site.wait_done(tasks=1)
        running.stop()

    site.assert_each_once({"one.pdf": document_for("one.pdf")})


def test_a_refused_file_goes_to_error_with_what_the_service_said_and_the_others_are_sent(
    site: Site, sandbox: SandboxServer
) -> None:
    body = {"type": "about:blank", "title": "Bad", "status": 422, "detail": "Page three upsets me."}
    sandbox.sandbox.faults.add(Fault(422, method="POST", path="/tasks", body=body, times=1))
    drop_three(site)
    with site.run() as running:
        site.wait_done(tasks=2)
        running.stop()

    refused = [record for record in site.records() if record.state.value == "rejected"]
    assert len(refused) == 1
    note = site.note(refused[0].relative_path)
    assert note["reason"].startswith("refused_by_service: ")
    assert "Page three upsets me." in note["reason"]
    assert note["attempts"] == "1"


def test_after_ten_refusals_in_a_row_the_rest_stays_until_one_is_accepted(site: Site, sandbox: SandboxServer) -> None:
    site.configure(retry={"max": "300ms"})
    sandbox.sandbox.faults.add(Fault(400, method="POST", path="/tasks", times=None))
    names = [f"{number:02}.pdf" for number in range(16)]
    for name in names:
        site.drop(name)
    with site.run() as running:
        site.waits_for("scans/submission", "service_refuses_all")
        rejected = {record.relative_path for record in site.records() if record.state.value == "rejected"}
        assert len(rejected) == 10
        sandbox.sandbox.faults.clear()
        site.wait_done(tasks=len(names) - len(rejected))
        running.stop()

    assert site.tasks().keys() == set(names) - rejected
    assert site.inbox_files() == set()
