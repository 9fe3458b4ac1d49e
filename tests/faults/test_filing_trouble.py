"""Filing that cannot be done at once: destinations that are gone, names that are taken or too long for a suffix."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from system.sites import pdf, sha256, tree, wait_until

from faults.checker import judge
from faults.errno_injection import Injection

if TYPE_CHECKING:
    from pathlib import Path

    from system.sites import Site

pytestmark = pytest.mark.timeout(300)

LONGEST = 255
"""Bytes of a name."""


@pytest.mark.parametrize("place", ["archive", "error"])
def test_while_its_destination_is_gone_a_file_stays_planned_and_is_not_sent_again(
    site: Site, tmp_path: Path, place: str
) -> None:
    folder, away = tmp_path / "share" / place, tmp_path / "away"
    folder.parent.mkdir()
    setattr(site, place, folder)
    site.settings["watch_folders"][0][place] = str(folder)
    site.configure(observer="polling")
    with site.run() as running:
        site.wait_scanned()
        folder.parent.rename(away)
        good, bad = site.drop("one.pdf"), b"no document"
        wait_until(lambda: len(site.describe()) == 1)
        site.drop("two.pdf", bad)
        lane = site.waits_for("scans/submission", "not_writable")
        before = site._status()["inboxes"]["scans"]["scans"]
        site._wait(lambda: site._status()["inboxes"]["scans"]["scans"] >= before + 3, what=site._status)
        assert len(site.describe()) == 1
        assert not folder.parent.exists()
        away.rename(folder.parent)
        site._wait(lambda: len(site.records()) == 2 and site.is_done(), what=site.records)
        assert running.stop() == 0

    assert str(folder.parent) in lane["detail"]
    assert judge(site, sent=[good], kept=[bad]) == []


def test_a_name_as_long_as_names_may_be_is_shortened_where_it_needs_a_suffix(site: Site) -> None:
    name = "n" * (LONGEST - 8) + ".pdf"
    contents = [site.drop(name, pdf("first"))]
    assert site.run_once().returncode == 0
    contents += [site.drop(name, pdf("second"))]
    assert site.run_once().returncode == 0

    archived = tree(site.archive)
    assert len(name) == 251
    assert name in archived
    assert max(len(path.encode()) for path in archived) <= LONGEST
    assert all(path.endswith(".pdf") for path in archived)
    digests = sorted(sha256(content) for content in contents)
    assert sorted(sha256(path.read_bytes()) for path in archived.values()) == digests
    assert sorted(task["sha256"] for task in site.describe()) == digests


def test_a_thousand_taken_names_cost_no_search(site: Site, tmp_path: Path) -> None:
    site.archive.mkdir()
    now = time.time()
    stamps = [time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now + second)) for second in range(50)]
    taken = ["one.pdf", *(f"one-{stamp}-{number:04x}.pdf" for stamp in stamps for number in range(20))]
    for name in taken:
        (site.archive / name).write_bytes(name.encode())
    content = site.drop("one.pdf")
    with Injection(tmp_path) as injection:
        renames = injection.arm("rename", "*/inbox/one.pdf")
        looks = injection.arm("stat", "*/archive/one*")
        with injection.run(site) as running:
            site.wait_done(tasks=1)
            assert running.stop() == 0

    assert renames.seen <= 3
    assert looks.seen <= 10
    for name in taken:  # looked at, and out of the checker's way: they are nobody's who sent a file
        assert (site.archive / name).read_bytes() == name.encode()
        (site.archive / name).unlink()
    assert judge(site, sent=[content]) == []
