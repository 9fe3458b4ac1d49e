"""Downloads and completions that go wrong (rows 20, 21, 24): nothing half is visible, done once, in time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from system.sites import QUICK_SANDBOX, Site, tree, wait_until

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.faults import Dropped, Ending, Fault, Spoiled
from agent.sandbox.server import SandboxServer
from faults.checker import judge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.sandbox.faults import AnyFault
    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)

WRONG: Final[dict[str, AnyFault]] = {
    "404": Fault(404),
    "410": Fault(410),
    "206": Fault(206, body="a part"),
    "short": Spoiled(sends=100),
    "short and reset": Spoiled(sends=100, ends=Ending.RESET),
    "chunks without an end": Spoiled(sends=100, chunked=True),
    "too long": Spoiled(declares=100),
    "endless": Spoiled(endless=True, chunked=True, pace=1_000_000),
    "five bytes a second": Spoiled(pace=5),
    "silent": Spoiled(sends=100, ends=Ending.SILENCE, times=2),
    "closed": Dropped(times=2),
    "503": Fault(503, times=2),
}
"""What the third of five files may be; as often as it is asked for, unless the whole service waits for it."""
EFFECT: Final[dict[str, AnyFault]] = {
    "lost": Dropped(applied=True),
    "lost by a reset": Dropped(applied=True, ends=Ending.RESET),
    "lost in silence": Dropped(applied=True, ends=Ending.SILENCE),
    "500 though done": Fault(500, applied=True),
    "503 though done": Fault(503, applied=True),
    "not arrived": Dropped(),
    "silence, not done": Dropped(ends=Ending.SILENCE),
    "500, not done": Fault(500),
    "done late": Dropped(applied=True, late=0.7),
    "500 and done late": Fault(500, applied=True, late=0.3),
}
"""What may come in place of the answer to start, complete or cancel; each call meets the next of them.

Those done late come last: a further answer lost after them would hide that lease until it ends.
"""


def five_files(stem: str) -> dict[str, Any]:
    """Return a specification of five downloads; a fault tells them apart by their query."""
    files = [
        {"folder": stem, "filename": f"{number}.pdf", "source": "url", "url": f"{{document}}?file={stem}-{number}"}
        for number in range(1, 6)
    ]
    return {"documents": [{"files": files}]}


def on(fault: AnyFault, **asked: Any) -> AnyFault:
    """Return a fault for certain requests."""
    return replace(fault, **asked)


def visible(site: Site) -> set[str]:
    """Return the folders below the output in which somebody could see a file."""
    return {name.partition("/")[0] for name, path in tree(site.output).items() if not path.name.startswith(".")}


def calls(sandbox: SandboxServer) -> dict[str, dict[str, int]]:
    """Return how often start, complete and cancel succeeded, by file name."""
    return {task["tags"]["file_name"]: task["calls"] for task in sandbox.sandbox.describe()}


def test_nothing_of_an_export_is_visible_while_its_third_of_five_files_is_wrong(
    tmp_path: Path, sweep: Callable[[str], Sweep]
) -> None:
    # Both sides know the same lease: one that was not given back in time comes to its end.
    with SandboxServer(AlumaSettings(**QUICK_SANDBOX, lease=3.0)) as sandbox:  # type: ignore[arg-type]  # floats
        site = Site.of(tmp_path / "site", sandbox)
        _third_of_five_files(site, sandbox, sweep)


def _third_of_five_files(site: Site, sandbox: SandboxServer, sweep: Callable[[str], Sweep]) -> None:
    site.configure(
        service={"timeout": "1s", "lease": "3s"}, export={"workers": 12, "max_attempts": 10_000, "retry_delay": "2s"}
    )
    stems = {f"wrong{number:02}": kind for number, kind in enumerate(WRONG)}
    for stem, kind in stems.items():
        fault = WRONG[kind]
        times = None if fault.times == 1 else fault.times
        sandbox.sandbox.faults.add(on(fault, path="/file_collections/*", query=f"file={stem}-3", times=times))
        sandbox.sandbox.faults.specify(f"{stem}.pdf", five_files(stem))
    sandbox.sandbox.faults.specify("right.pdf", five_files("right"))
    sent = [site.drop(f"{stem}.pdf") for stem in (*stems, "right")]
    seen: set[str] = set()

    def each_was_given_back() -> bool:
        nonlocal seen
        seen |= visible(site)
        counts = calls(sandbox)
        given_back = [counts.get(f"{stem}.pdf", {}).get("cancel", 0) for stem in stems]
        return all(given_back) and counts["right.pdf"].get("complete") == 1

    with site.run() as running:
        wait_until(each_was_given_back, seconds=90, what=lambda: calls(sandbox))
        may_be_seen = {stem for stem, kind in stems.items() if WRONG[kind].times != 1} | {"right"}
        assert seen <= may_be_seen
        sandbox.sandbox.faults.clear()
        site.wait_done(tasks=len(sent), seconds=90)
        assert running.stop() == 0

    complaints = judge(site, sent=sent)
    points = sweep("the third of five files")
    for number, kind in enumerate(stems.values()):
        points.point(kind, reached=True, complaints=complaints if number == 0 else ())
    points.conclude(at_least=len(WRONG))


@pytest.mark.parametrize("call", ["start", "complete", "cancel"])
def test_a_call_whose_answer_is_lost_or_late_is_carried_out_once(
    site: Site, sandbox: SandboxServer, sweep: Callable[[str], Sweep], call: str
) -> None:
    site.configure(service={"timeout": "1s"}, export={"workers": len(EFFECT)})
    for fault in EFFECT.values():
        sandbox.sandbox.faults.add(on(fault, method="PUT", path=f"*/{call}_client_action"))
    if call == "cancel":
        sandbox.sandbox.faults.add(Fault(404, path="/file_collections/*", times=len(EFFECT)))
    sent = [site.drop(f"{number:02}.pdf") for number in range(len(EFFECT))]
    with site.run() as running:
        site.wait_done(tasks=len(sent), seconds=120)
        assert running.stop() == 0

    complaints = judge(site, sent=sent)
    complaints += [f"never met: {fault}" for fault, _ in sandbox.sandbox.faults.waiting()]
    points = sweep(f"answers to {call} that are lost")
    for number, kind in enumerate(EFFECT):
        points.point(kind, reached=True, complaints=complaints if number == 0 else ())
    points.conclude(at_least=len(EFFECT))


def test_a_lease_that_is_lost_in_a_slow_download_is_never_completed(site: Site, sandbox: SandboxServer) -> None:
    sandbox.sandbox.faults.add(Spoiled(path="/file_collections/*", pace=400))
    sent = [site.drop("one.pdf")]
    with site.run() as running:
        # A staged file of the export: the output's marker, staged too at first, was there before the start.
        wait_until(lambda: calls(sandbox).get("one.pdf") == {"start": 1}, what=lambda: calls(sandbox))
        wait_until(lambda: [path for path in site.output.iterdir() if path.name.endswith(".part")])
        sandbox.sandbox.end_leases()
        site.wait_done(tasks=1)
        assert running.stop() == 0

    assert judge(site, sent=sent) == []
    assert calls(sandbox)["one.pdf"] == {"start": 2, "complete": 1}
    answered = [seen.status for seen in sandbox.sandbox.requests.recent() if "complete_client_action" in seen.target]
    assert answered in ([409, 202], [202])


@pytest.mark.parametrize("wrong", [Spoiled(pace=1), WRONG["endless"]], ids=["one byte a second", "endless"])
def test_what_would_outlast_its_lease_is_given_back_before_its_end(tmp_path: Path, wrong: AnyFault) -> None:
    lease = 8.0
    with SandboxServer(AlumaSettings(**QUICK_SANDBOX, lease=lease)) as sandbox:  # type: ignore[arg-type]  # floats
        site = Site.of(tmp_path / "site", sandbox)
        site.configure(service={"lease": f"{lease:.0f}s"}, export={"retry_delay": "1h"})
        sandbox.sandbox.faults.add(on(wrong, path="/file_collections/*", times=None))
        sent = [site.drop("one.pdf")]
        with site.run() as running:
            wait_until(lambda: calls(sandbox).get("one.pdf") == {"start": 1, "cancel": 1}, what=lambda: calls(sandbox))
            assert visible(site) == set()
            assert running.stop() == 0
        actions = [seen for seen in sandbox.sandbox.requests.recent() if seen.method == "PUT"]
        (started,) = [seen for seen in actions if "/start_" in seen.target]
        (cancel,) = [seen for seen in actions if "/cancel_" in seen.target]
        assert lease / 2 < cancel.at - started.at < lease
        assert cancel.status == 202

        sandbox.sandbox.faults.clear()
        site.configure(export={"retry_delay": "0s"})
        assert site.command("retry", "--all").returncode == 0
        with site.run() as running:
            site.wait_done(tasks=1)
            assert running.stop() == 0
        assert judge(site, sent=sent) == []
