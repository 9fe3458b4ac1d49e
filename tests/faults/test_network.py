"""The way to the service is wrong or somebody else stands at its end (row 7): files stay, the reason is said.

Certificates are verified whatever happens, and nothing that is ours is told to another origin.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from system.sites import unused_port, wait_until

from agent.sandbox.faults import Fault
from faults.certificates import Authority, outdated
from faults.checker import judge
from faults.proxies import Canary, TlsFront

if TYPE_CHECKING:
    from collections.abc import Iterator

    from system.sites import Site

    from agent.sandbox.server import SandboxServer

pytestmark = pytest.mark.timeout(300)

NAMES = ("one.pdf", "sub/two.tif", "three.pdf")


@pytest.fixture
def canary() -> Iterator[Canary]:
    with Canary() as listening:
        yield listening


def waits_saying(site: Site, words: str) -> dict[str, Any]:
    """Return the service's lane once it waits for a reason with these words."""

    def said() -> dict[str, Any] | None:
        lane = site.lanes().get("service")
        return lane if lane and words in lane["detail"] else None

    return wait_until(said, what=lambda: f"{words!r}, but {site.lanes()}")


def assert_nothing_moved(site: Site, words: str) -> None:
    """Assert that every file lies where it was dropped, and that status says why."""
    assert site.inbox_files() == set(NAMES)
    reasons = site.status()["reasons"]
    assert [reason["hint"] != "" for reason in reasons if words in reason["detail"]] != [], reasons


def test_behind_a_name_or_port_that_does_not_answer_files_wait_and_go_once_it_is_mended(
    site: Site, sandbox: SandboxServer
) -> None:
    wrong = {
        "the name cannot be resolved": "https://no-such-host.invalid",
        "connection refused": f"http://127.0.0.1:{unused_port()}",
    }
    sent = [site.drop(name) for name in NAMES]
    for words, url in wrong.items():
        site.configure(service={"url": url})
        with site.run() as running:
            lane = waits_saying(site, words)
            assert (lane["reason"], lane["hint"] != "") == ("service_unreachable", True)
            assert_nothing_moved(site, words)
            assert running.stop() == 0
    site.configure(service={"url": sandbox.url})
    with site.run() as running:
        site.wait_done(tasks=len(NAMES))
        assert running.stop() == 0

    assert judge(site, sent=sent) == []


def test_no_certificate_that_is_wrong_is_ever_trusted(site: Site, sandbox: SandboxServer, canary: Canary) -> None:
    authority = Authority(site.root / "certificates")
    right = authority.server("right")
    wrong = {
        "expired": authority.server("expired", days=-1),
        "not valid for": authority.server("elsewhere", subject="DNS:other.example"),
        "self-signed": authority.server("itself", own=False),
        "cannot talk TLS": outdated(authority.server("outdated")),
    }
    sent = [site.drop(name) for name in NAMES]
    with TlsFront(sandbox.port, wrong["expired"]) as front:
        site.configure(service={"url": f"https://127.0.0.1:{front.port}", "ca_file": str(authority.certificate)})
        with site.run() as running:
            for words, context in wrong.items():
                front.context = context
                lane = waits_saying(site, words)
                assert (lane["reason"], lane["hint"] != "") == ("service_unreachable", True)
            assert_nothing_moved(site, "cannot talk TLS")
            assert sandbox.sandbox.requests.counts() == {}, "something was said to a server nobody vouched for"

            downgrade = {"Location": f"http://127.0.0.1:{canary.port}/tasks"}
            sandbox.sandbox.faults.add(Fault(307, method="POST", path="/tasks", headers=downgrade))
            front.context = right
            site.wait_done(tasks=len(NAMES))
            assert running.stop() == 0

    assert judge(site, sent=sent) == []
    assert (canary.connections, sandbox.sandbox.faults.waiting()) == (0, ())


def test_redirects_to_another_origin_are_never_followed(site: Site, sandbox: SandboxServer, canary: Canary) -> None:
    calls = [
        ("POST", "/oauth/token"),
        ("POST", "/tasks"),
        ("GET", "/tasks"),
        ("PUT", "*/start_client_action"),
        ("PUT", "*/complete_client_action"),
    ]
    elsewhere = Fault(302, headers={"Location": f"http://localhost:{canary.port}/elsewhere"})
    for method, path in calls:
        for status in (302, 307, 308):
            sandbox.sandbox.faults.add(replace(elsewhere, status=status, method=method, path=path))
    sent = [site.drop(name) for name in NAMES]
    with site.run() as running:
        site.wait_done(tasks=len(NAMES), seconds=60)
        assert running.stop() == 0

    assert judge(site, sent=sent) == []
    assert sandbox.sandbox.faults.waiting() == ()
    assert (canary.connections, canary.heard) == (0, b"")
    assert "redirects are not followed" in running.log
