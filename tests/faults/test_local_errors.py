"""Calls on inbox, archive, error, output and ledger that fail once, or for as long as a fault lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from system.sites import tree, wait_until

from faults.checker import NOTE, judge
from faults.errno_injection import Injection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from system.sites import Site

    from faults.errno_injection import Rule
    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)

WHY = {
    "ENOSPC": "disk_full",
    "EDQUOT": "disk_full",
    "EIO": "io_error",
    "EACCES": "not_writable",
    "EROFS": "read_only",
    "EMFILE": "too_many_open_files",
}


class Call(NamedTuple):
    """A call at which faults are tried, and the errnos it may answer with; `{}` is the folder of the point."""

    name: str
    path: str
    errnos: str


SOURCE_CALLS = (
    Call("stat", "*/inbox/{}/one.*", "EIO EACCES ESTALE"),
    Call("open", "*/inbox/{}/one.*", "EIO EACCES EMFILE"),
    Call("read", "*/inbox/{}/one.*", "EIO ESTALE"),
    Call("list", "*/inbox/{}", "EIO EACCES EMFILE"),
)
ARCHIVE_CALLS = (
    Call("mkdir", "*/archive/{}", "EDQUOT EROFS"),
    Call("rename", "*/inbox/{}/one.*", "ENOSPC EIO EINTR"),
    Call("fsync", "*/archive/{}", "EIO ENOSPC"),
    Call("fsync", "*/inbox/{}", "EIO"),
    Call("open", "*/archive/{}", "EMFILE EACCES"),
)
COPY_CALLS = (
    Call("open", "*/archive/{}/.fsagent-*.part", "EDQUOT EMFILE"),
    Call("write", "*/archive/{}/.fsagent-*.part", "ENOSPC"),
    Call("fsync", "*/archive/{}/.fsagent-*.part", "EIO"),
    Call("close", "*/archive/{}/.fsagent-*.part", "EIO EDQUOT EINTR"),
    Call("read", "*/archive/{}/.fsagent-*.part", "EIO"),
    Call("rename", "*/archive/{}/.fsagent-*.part", "EACCES EIO"),
    Call("unlink", "*/inbox/{}/one.*", "EACCES EIO"),
)
ERROR_CALLS = (
    Call("rename", "*/inbox/{}/one.*", "EIO"),
    Call("mkdir", "*/error/{}", "EDQUOT EROFS"),
    Call("open", "*/error/{}/.fsagent-*.part", "EMFILE"),
    Call("write", "*/error/{}/.fsagent-*.part", "ENOSPC"),
    Call("fsync", "*/error/{}/.fsagent-*.part", "EIO"),
    Call("close", "*/error/{}/.fsagent-*.part", "EDQUOT"),
    Call("rename", "*/error/{}/.fsagent-*.part", "EIO"),
)
OUTPUT_CALLS = (
    Call("mkdir", "*/output/{}", "ENOSPC EDQUOT EROFS EACCES"),
    Call("open", "*/output/{}/.fsagent-*.part", "ENOSPC EDQUOT EACCES EROFS EMFILE"),
    Call("write", "*/output/{}/.fsagent-*.part", "ENOSPC EDQUOT EIO"),
    Call("fsync", "*/output/{}/.fsagent-*.part", "EIO ENOSPC EDQUOT"),
    Call("close", "*/output/{}/.fsagent-*.part", "EIO EDQUOT EINTR"),
    Call("rename", "*/output/{}/.fsagent-*.part", "EIO EACCES EROFS ENOSPC EINTR"),
    Call("fsync", "*/output/{}", "EIO ENOSPC"),
    Call("open", "*/output/{}", "EIO EMFILE ESTALE"),
)
LEDGER = "*/state/ledger.sqlite3*"
LEDGER_FAULTS = (
    *(("write", "EIO", occurrence) for occurrence in (1, 2, 5)),
    *(("fsync", "EIO", occurrence) for occurrence in (1, 3)),
    ("write", "ENOSPC", 4),
    ("fsync", "ENOSPC", 2),
    ("write", "EDQUOT", 3),
)

PLACES = {
    "inbox": SOURCE_CALLS,
    "archive": ARCHIVE_CALLS,
    "archive on another device": COPY_CALLS,
    "output": OUTPUT_CALLS,
}


@pytest.fixture
def injection(tmp_path: Path) -> Iterator[Injection]:
    with Injection(tmp_path) as injection:
        yield injection


class Point(NamedTuple):
    """One fault at one call, and the folder whose file meets it."""

    folder: str
    where: str
    rule: Rule


def _arm_once(injection: Injection, calls: tuple[Call, ...], *, occurrence: int) -> list[Point]:
    """Arm a rule for each call and errno, each for a folder of its own, so that all can be tried at a time."""
    points: list[Point] = []
    for call in calls:
        for error in call.errnos.split():
            folder = f"{len(points):02d}-{call.name}-{error}"
            path = call.path.format(folder)
            rule = injection.arm(call.name, path, error=error, first=occurrence, times=1)
            points.append(Point(folder, f"{error} of {call.name} {path}, match {occurrence}", rule))
    return points


def _count(sweep: Sweep, points: list[Point], complaints: list[str]) -> None:
    """Count the points and give each complaint to the one whose folder it names."""
    for point in points:
        own = [complaint for complaint in complaints if point.folder in complaint]
        sweep.point(point.where, reached=bool(point.rule.failed), complaints=own)
    sweep.bad += [text for text in complaints if not any(point.folder in text for point in points)]


@pytest.mark.parametrize("occurrence", [1, 2])
@pytest.mark.parametrize("place", PLACES)
def test_a_call_that_fails_once_keeps_no_file_from_being_sent_filed_and_exported_once(
    site: Site, injection: Injection, sweep: Callable[[str], Sweep], place: str, occurrence: int
) -> None:
    points = _arm_once(injection, PLACES[place], occurrence=occurrence)
    if place == "archive on another device":
        injection.arm("rename", "*/inbox/*/one.pdf", target="*/archive/*", error="EXDEV")
    with injection.run(site) as running:
        dropped = [site.drop(f"{point.folder}/one.pdf") for point in points]
        site.wait_done(tasks=len(points), seconds=120)
        assert running.stop() == 0

    found = sweep("errno, once")
    _count(found, points, judge(site, sent=dropped))
    found.conclude(at_least=len(points) * 3 // 4 if occurrence == 1 else 1)


def test_a_call_that_fails_once_keeps_no_refused_file_from_error_and_its_note(
    site: Site, injection: Injection, sweep: Callable[[str], Sweep]
) -> None:
    points = _arm_once(injection, ERROR_CALLS, occurrence=1)
    with injection.run(site) as running:
        dropped = [site.drop(f"{point.folder}/one.pdf", point.folder.encode()) for point in points]
        site._wait(lambda: len(site.records()) == len(points) and site.is_done(), what=site.records)
        assert running.stop() == 0

    noted = {path.removesuffix(NOTE) for path in tree(site.error) if path.endswith(NOTE)}
    assert noted == {f"{point.folder}/one.pdf" for point in points}
    found = sweep("errno, once")
    _count(found, points, judge(site, sent=(), kept=dropped))
    found.conclude(at_least=len(points) * 3 // 4)


@pytest.mark.parametrize("reopening", ["works", "fails too"])
def test_a_call_on_the_ledger_that_fails_once_loses_nothing_that_was_acknowledged(
    site: Site, injection: Injection, sweep: Callable[[str], Sweep], reopening: str
) -> None:
    found = sweep("errno, once")
    dropped: list[bytes] = []
    with injection.run(site) as running:
        site.wait_scanned()
        for call, error, occurrence in LEDGER_FAULTS[:: 1 if reopening == "works" else 3]:
            rules = [injection.arm(call, LEDGER, error=error, first=occurrence, times=1)]
            if reopening == "fails too":
                # A connection that failed is dropped: now the ledger cannot be opened either.
                rules.append(injection.arm("open", LEDGER, error="EMFILE", times=2))
            dropped.append(site.drop(f"{len(dropped)}/one.pdf"))
            site.wait_done(tasks=len(dropped))
            for rule in rules:
                rule.disarm()
            where = f"{error} of {call} {LEDGER}, match {occurrence}, and reopening {reopening}"
            found.point(where, reached=all(rule.failed for rule in rules), complaints=[])
        assert running.stop() == 0

    found.bad += judge(site, sent=dropped)
    found.conclude(at_least=found.tried - 1)


class Standing(NamedTuple):
    """Calls that fail until somebody mends their cause, and the lane that has to say so."""

    lane: str
    calls: tuple[tuple[str, str], ...]
    errnos: str


STANDING = {
    "archive": Standing("scans/submission", (("mkdir", "*/archive/{}"),), "EDQUOT EACCES EROFS EMFILE"),
    "archive by copy": Standing("scans/submission", (("open", "*/archive/{}/.fsagent-*.part"),), "ENOSPC EIO"),
    "archive made durable": Standing("scans/submission", (("fsync", "*/archive/{}"),), "EIO"),
    "move": Standing(
        "scans/submission", (("rename", "*/inbox/{}/one.pdf"), ("access", "*/archive/{}")), "EACCES EROFS"
    ),
    "output": Standing(
        "scans/export", (("open", "*/output/{}/.fsagent-*.part"),), "ENOSPC EDQUOT EIO EACCES EROFS EMFILE"
    ),
    "output written": Standing("scans/export", (("write", "*/output/{}/.fsagent-*.part"),), "ENOSPC EDQUOT EIO"),
    "output closed": Standing("scans/export", (("close", "*/output/{}/.fsagent-*.part"),), "EDQUOT EIO"),
    "output published": Standing("scans/export", (("rename", "*/output/{}/.fsagent-*.part"),), "EACCES EIO"),
}


@pytest.mark.parametrize("place", STANDING)
def test_while_a_call_keeps_failing_its_lane_says_why_and_goes_on_by_itself_afterwards(
    site: Site, injection: Injection, sweep: Callable[[str], Sweep], place: str
) -> None:
    lane, calls, errnos = STANDING[place]
    if place == "archive by copy":
        injection.arm("rename", "*/inbox/*/one.pdf", target="*/archive/*", error="EXDEV")
    found = sweep("errno, standing")
    dropped: list[bytes] = []
    with injection.run(site) as running:
        site.wait_scanned()
        for error in errnos.split():
            folder = f"{place} {error}"
            with injection.armed(*((call, path.format(folder), error) for call, path in calls)) as rules:
                dropped.append(site.drop(f"{folder}/one.pdf"))
                rules[0].wait_reached()
                site.waits_for(lane, WHY[error])
                if lane == "scans/export":
                    assert not [name for name in tree(site.output) if name.startswith(f"{folder}/one")]
            site.wait_done(tasks=len(dropped))
            found.point(f"{error} of {calls[0]}", reached=bool(rules[0].failed), complaints=[])
        wait_until(lambda: site.lanes() == {}, what=site.lanes)
        assert running.stop() == 0

    found.bad += judge(site, sent=dropped)
    found.conclude(at_least=len(errnos.split()))


@pytest.mark.parametrize("error", ["EIO", "EACCES", "ESTALE"])
def test_an_inbox_that_cannot_be_listed_pauses_its_lane_and_loses_nothing(
    site: Site, injection: Injection, sweep: Callable[[str], Sweep], error: str
) -> None:
    dropped = [site.drop("before.pdf")]
    with injection.run(site) as running:
        site.wait_done(tasks=1)
        with injection.armed(("list", str(site.inbox), error)) as [rule]:
            dropped.append(site.drop("meanwhile.pdf"))
            wait_until(lambda: site.lanes().get("scans/submission"), what=lambda: running.log)
            reason = site.lanes()["scans/submission"]["reason"]
        site.wait_done(tasks=2)
        wait_until(lambda: site.lanes() == {}, what=site.lanes)
        assert running.stop() == 0

    assert reason == {"EACCES": "not_readable", "ESTALE": "inbox_missing", "EIO": "io_error"}[error]
    assert "gone" not in {record.state.value for record in site.records()}
    found = sweep("errno, standing")
    found.point(f"{error} of the inbox", reached=bool(rule.failed), complaints=judge(site, sent=dropped))
    found.conclude(at_least=1)


@pytest.mark.parametrize(("call", "error"), [("write", "ENOSPC"), ("fsync", "EIO")], ids=["full", "not durable"])
def test_nothing_is_sent_that_the_ledger_cannot_keep(
    site: Site, injection: Injection, *, sweep: Callable[[str], Sweep], call: str, error: str
) -> None:
    with injection.run(site) as running:
        site.wait_scanned()
        with injection.armed((call, LEDGER, error)) as [rule]:
            dropped = [site.drop(f"{number}.pdf") for number in range(4)]
            rule.wait_reached(times=3)
            wait_until(lambda: "the ledger" in running.log)
            sent_meanwhile = len(site.describe())
        site.wait_done(tasks=4)
        assert running.stop() == 0

    assert sent_meanwhile == 0
    found = sweep("errno, standing")
    found.point(f"{error} of the ledger", reached=bool(rule.failed), complaints=judge(site, sent=dropped))
    found.conclude(at_least=1)


def test_after_an_fsync_that_failed_once_the_bytes_are_written_again_from_the_source(
    site: Site, injection: Injection
) -> None:
    failing = injection.arm("fsync", "*/output/sub/.fsagent-*.part", error="EIO", times=1)
    synced = injection.arm("fsync", "*/output/sub/.fsagent-*.part")
    created = injection.arm("open", "*/output/sub/.fsagent-*.part")
    content = site.drop("sub/one.pdf")
    with injection.run(site) as running:
        site.wait_done(tasks=1)
        assert running.stop() == 0

    assert failing.failed == 1
    # The first file failed and was thrown away; then all three were created and synced, each once.
    assert (created.seen, synced.seen) == (4, 3)
    assert judge(site, sent=[content]) == []
