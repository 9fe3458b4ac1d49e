"""Disks that are full at every page of an archive, an export and the ledger; inodes and quota that are used up.

Real file systems in memory of a chosen size, and a share that refuses data at write, fsync and close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from system.sites import tiff, tree, wait_until

from faults.checker import judge
from faults.fuse_folders import FuseFolder, available
from faults.mounts import fill, tmpfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from system.sites import Site

    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)

SIZE = 5 * 4096
"""Bytes of a document: a handful of pages, so that a disk can be full in each of them."""
FREE_PAGES = (0, 1, 4)


@pytest.fixture
def site(site: Site) -> Site:
    site.settings["min_free"] = "0"
    site.configure()
    return site


def _hidden(folder: Path) -> set[str]:
    return {name for name in tree(folder) if "/." in f"/{name}" and not name.endswith(".filler")}


def _tried_for(site: Site, lane: str, reason: str, folder: Path) -> None:
    """Wait until a lane waits, tries once more, waits again and has left nothing half written in the folder."""
    before = site.waits_for(lane, reason)["retry_at"]
    site._wait(lambda: (now := site.lanes().get(lane)) and now["retry_at"] > before, what=site.lanes)
    site.waits_for(lane, reason)
    wait_until(lambda: not _hidden(folder), what=lambda: _hidden(folder))


def test_an_archive_that_is_full_at_any_page_takes_nothing_by_halves_and_goes_on_once_there_is_room(
    site: Site, sweep: Callable[[str], Sweep], tmp_path: Path
) -> None:
    found = sweep("disk full")
    dropped: list[bytes] = []
    with tmpfs(tmp_path / "small", "size=256k") as disk:
        site.archive = disk / "archive"
        site.archive.mkdir()
        site.configure(archive=str(site.archive))
        with site.run() as running:
            site.wait_scanned()
            for pages in FREE_PAGES:
                filler = fill(disk, but_pages=pages)
                dropped.append(site.drop(f"{pages}.tif", tiff(f"{pages} pages", size=SIZE)))
                _tried_for(site, "scans/submission", "disk_full", disk)
                is_in_place = (site.archive / f"{pages}.tif").exists() or not (site.inbox / f"{pages}.tif").exists()
                filler.unlink()
                site.wait_done(tasks=len(dropped))
                complaints = ["it was moved to a full disk"] if is_in_place else []
                found.point(f"archive, {pages} pages free", reached=True, complaints=complaints)
            assert running.stop() == 0

        found.bad += judge(site, sent=dropped)
    found.conclude(at_least=len(FREE_PAGES))


def test_an_output_that_is_full_at_any_page_shows_nothing_and_goes_on_once_there_is_room(
    site: Site, sweep: Callable[[str], Sweep]
) -> None:
    found = sweep("disk full")
    dropped: list[bytes] = []
    with tmpfs(site.output, "size=256k") as disk:
        with site.run() as running:
            site.wait_scanned()
            for pages in (*FREE_PAGES, 5):  # the document fits, what is extracted from it does not
                filler = fill(disk, but_pages=pages)
                dropped.append(site.drop(f"{pages}.tif", tiff(f"{pages} pages", size=SIZE)))
                _tried_for(site, "scans/export", "disk_full", disk)
                shown = [name for name in tree(disk) if name.startswith(f"{pages}.")]
                filler.unlink()
                site.wait_done(tasks=len(dropped))
                found.point(f"output, {pages} pages free", reached=True, complaints=shown)
            assert running.stop() == 0

        found.bad += judge(site, sent=dropped)
    found.conclude(at_least=len(FREE_PAGES) + 1)


def test_while_the_disk_of_the_ledger_is_full_nothing_is_sent_that_it_cannot_keep(
    site: Site, sweep: Callable[[str], Sweep]
) -> None:
    found = sweep("disk full")
    dropped: list[bytes] = []
    with tmpfs(site.state_dir, "size=2m") as disk:
        with site.run() as running:
            site.wait_scanned()
            for pages in (0, 2, 6):
                filler = fill(disk, but_pages=pages)
                said = running.log.count("the disk is full")
                dropped.append(site.drop(f"{pages}.tif", tiff(f"{pages} pages", size=SIZE)))
                wait_until(lambda said=said: running.log.count("the disk is full") > said)  # type: ignore[misc]
                complaints = [] if pages or len(site.describe()) < len(dropped) else ["sent without a ledger"]
                filler.unlink()
                site.wait_done(tasks=len(dropped))
                found.point(f"ledger, {pages} pages free", reached=True, complaints=complaints)
            assert running.stop() == 0

        found.bad += judge(site, sent=dropped)
    found.conclude(at_least=3)


@pytest.mark.parametrize(("place", "lane"), [("archive", "scans/submission"), ("output", "scans/export")])
def test_a_disk_without_inodes_pauses_its_lane_and_heals(
    site: Site, sweep: Callable[[str], Sweep], tmp_path: Path, *, place: str, lane: str
) -> None:
    disk = site.output if place == "output" else tmp_path / "small"
    with tmpfs(disk, "nr_inodes=24"):
        if place == "archive":
            site.archive = disk / "archive"
            site.archive.mkdir()
            site.configure(archive=str(site.archive))
        with site.run() as running:
            site.wait_scanned()
            fillers = list(_use_inodes_up(disk))
            content = site.drop("sub/one.pdf")
            _tried_for(site, lane, "disk_full", disk)
            for filler in fillers:
                filler.unlink()
            site.wait_done(tasks=1)
            assert running.stop() == 0

        found = sweep("disk full")
        found.point(f"{place}, no inodes", reached=bool(fillers), complaints=judge(site, sent=[content]))
    found.conclude(at_least=1)


def _use_inodes_up(disk: Path) -> Iterator[Path]:
    number = 0
    while True:
        filler = disk / f"{number}.filler"
        try:
            filler.touch()
        except OSError:
            return
        yield filler
        number += 1


SHARE_FAULTS = (
    ("write", "ENOSPC", "disk_full"),
    ("fsync", "EIO", "io_error"),
    ("flush", "EDQUOT", "disk_full"),
    ("create", "EDQUOT", "disk_full"),
)


@pytest.mark.parametrize(("place", "lane"), [("archive", "scans/submission"), ("output", "scans/export")])
def test_a_share_that_refuses_data_late_leaves_nothing_half_written_and_gets_it_again(
    site: Site, sweep: Callable[[str], Sweep], tmp_path: Path, *, place: str, lane: str
) -> None:
    available()
    found = sweep("disk full")
    dropped: list[bytes] = []
    with FuseFolder(site.output if place == "output" else tmp_path / "share", tmp_path) as share:
        if place == "archive":
            site.archive = share.mount_point
            site.configure(archive=str(site.archive))
        with site.run() as running:
            site.wait_scanned()
            for call, error, reason in SHARE_FAULTS:
                name = f"{call} {error}"
                share.fault(call, error, "*.part")
                dropped.append(site.drop(f"{name}.pdf"))
                _tried_for(site, lane, reason, share.behind)
                met = share.met()
                shown = [path for path in tree(share.behind) if path.startswith(name)]
                share.clear()
                site.wait_done(tasks=len(dropped))
                found.point(f"{place}, {error} of {call}", reached=met > 0, complaints=shown)
            assert running.stop() == 0

        found.bad += judge(site, sent=dropped)
    found.conclude(at_least=len(SHARE_FAULTS))
