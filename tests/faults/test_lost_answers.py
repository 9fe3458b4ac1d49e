"""Answers to submissions lost, late or senseless (rows 3 and 4): one file, one task, whatever was said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from system.sites import Process, wait_until

from agent.sandbox.faults import Dropped, Ending, Fault, Spoiled
from faults import means
from faults.checker import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from system.sites import Site

    from agent.sandbox.faults import AnyFault
    from agent.sandbox.server import SandboxServer
    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)

HTML = "<html><title>Gateway</title>We are sorry.</html>"
DAY: Final = 86_400.0
FOUR_DAYS_ON: Final = {
    "LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1",
    "FAKETIME": "+4d",
    # Only the time of day: waits on the monotonic clock would never end.
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "NO_FAKE_STAT": "1",
}

SENSELESS: Final[dict[str, AnyFault]] = {
    "500": Fault(500),
    "502 with HTML": Fault(502, body=HTML),
    "504 without a body": Fault(504, body=""),
    "202 with HTML": Fault(202, body=HTML),
    "202 without a body": Fault(202, body=""),
    "202 with another document": Fault(202, body={"tasks": []}),
    "202 with an id that is none": Fault(202, body={"id": ["a"], "name": "x"}),
    "204": Fault(204),
    "closed": Dropped(),
    "reset": Dropped(ends=Ending.RESET),
    "silence": Dropped(ends=Ending.SILENCE),
}
"""What may come in place of an answer, whether the file had arrived or not."""
CUT: Final[dict[str, AnyFault]] = {
    "JSON cut by its length": Spoiled(sends=30, declares=30),
    "JSON cut by the connection": Spoiled(sends=30),
    "reset in the headers": Spoiled(sends=0, declares=0, ends=Ending.RESET),
    "reset in the JSON": Spoiled(sends=30, ends=Ending.RESET),
    "silence in the JSON": Spoiled(sends=30, ends=Ending.SILENCE),
    "chunks without an end": Spoiled(sends=30, chunked=True),
}
"""What only comes of a request that was carried out."""


def on_upload(fault: AnyFault, *, applied: bool) -> AnyFault:
    """Return a fault for the next upload."""
    if isinstance(fault, Spoiled):
        return replace(fault, method="POST", path="/tasks")
    return replace(fault, method="POST", path="/tasks", applied=applied)


def uploads(sandbox: SandboxServer) -> int:
    """Return how often an upload was tried."""
    return sum(count for kind, count in sandbox.sandbox.requests.counts().items() if kind.startswith("POST /tasks "))


@pytest.mark.parametrize("applied", [True, False], ids=["arrived", "not arrived"])
def test_each_answer_that_says_nothing_leaves_one_task(
    site: Site, sandbox: SandboxServer, sweep: Callable[[str], Sweep], *, applied: bool
) -> None:
    kinds = SENSELESS | CUT if applied else SENSELESS
    site.configure(service={"timeout": "1s"}, retry={"unknown_wait": "2s"})
    for fault in kinds.values():
        sandbox.sandbox.faults.add(on_upload(fault, applied=applied))
    sent = [site.drop(f"{number:02}.pdf") for number in range(len(kinds))]
    with site.run() as running:
        site.wait_done(tasks=len(kinds), seconds=90)
        assert running.stop() == 0

    assert sandbox.sandbox.faults.waiting() == ()
    complaints = judge(site, sent=sent)
    wanted = len(kinds) if applied else 2 * len(kinds)
    if uploads(sandbox) != wanted:
        complaints.append(f"{uploads(sandbox)} uploads, not {wanted}")
    points = sweep("answers that say nothing")
    for number, kind in enumerate(kinds):
        points.point(kind, reached=True, complaints=complaints if number == 0 else ())
    points.conclude(at_least=len(kinds))


def test_a_task_accepted_late_and_listed_later_still_is_found_within_the_quiet_time(
    site: Site, sandbox: SandboxServer
) -> None:
    site.configure(retry={"unknown_wait": "6s"})
    sandbox.sandbox.faults.lag_listing(1.5)
    late = Dropped(method="POST", path="/tasks", applied=True, late=1.5)
    for fault in (late, replace(late, late=0.5), replace(late, late=0.0), Fault(500, method="POST", path="/tasks")):
        sandbox.sandbox.faults.add(fault)
    sent = [site.drop(name) for name in ("one.pdf", "two.pdf", "three.tif", "four.pdf")]
    with site.run() as running:
        site.wait_done(tasks=4, seconds=90)
        assert running.stop() == 0

    assert judge(site, sent=sent) == []
    assert uploads(sandbox) == len(sent) + 1


def test_while_the_service_is_away_the_quiet_time_does_not_pass(site: Site, sandbox: SandboxServer) -> None:
    faults = sandbox.sandbox.faults
    faults.add(Dropped(method="POST", path="/tasks", applied=True, late=3.0))
    faults.add(Fault(503, method="GET", path="/tasks", times=None))
    sent = [site.drop("one.pdf")]
    with site.run() as running:
        # Longer than `unknown_wait`: had it passed while nobody could look, the file would be sent again at once.
        wait_until(sandbox.sandbox.describe, what="the late task")
        faults.clear()
        site.wait_done(tasks=1)
        assert running.stop() == 0

    assert judge(site, sent=sent) == []
    assert uploads(sandbox) == 1


def test_after_four_days_off_a_file_is_held_and_not_sent_again(site: Site, sandbox: SandboxServer) -> None:
    means.program("faketime")
    sandbox.sandbox.faults.add(Dropped(method="POST", path="/tasks", applied=True))
    sandbox.sandbox.faults.add(Fault(503, method="GET", path="/tasks", times=None))
    content = site.drop("one.pdf")
    with site.run() as running:
        wait_until(lambda: [record.state.value for record in site.records()] == ["unknown"])
        running.kill()
    # The task ends meanwhile, and three days later the service has forgotten it: the list no longer tells.
    (task,) = sandbox.sandbox.describe()
    sandbox.sandbox.cancel_task(task["id"])
    sandbox.sandbox.faults.clear()
    sandbox.sandbox.advance_clock(4 * DAY)
    assert sandbox.sandbox.describe() == []

    log = site.root / "after.log"
    with Process("-c", str(site.config), "run", log=log, environment=FOUR_DAYS_ON) as running:
        wait_until(lambda: [record.state.value for record in site.records()] == ["held"])
        assert running.stop() == 0

    (held,) = site.records()
    assert "60 hours" in held.detail
    assert uploads(sandbox) == 1
    assert (site.inbox / "one.pdf").read_bytes() == content
    assert [reason["reason"] for reason in site.status()["reasons"] if reason["where"] == "scans"] == ["held"]

    resolved = site.command("resolve", held.key, "--resubmit")
    assert resolved.returncode == 0, resolved.stderr
    site.run_once()
    assert judge(site, sent=[content]) == []
