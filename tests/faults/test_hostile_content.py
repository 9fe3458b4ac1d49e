"""Row 16 of faults.md: content made to deceive or to exhaust; refused with its reason, memory flat, good ones sent.

| fault | test |
|---|---|
| zero bytes, header only, wrong magic | `test_broken_and_mislabelled_…`, tests/system `test_what_cannot_be_sent_…` |
| 2 GB, sparse 1 TB; size checked before reading | `test_files_too_large_are_refused_unread…` |
| sparse 1 TB that no limit refuses | `test_a_sparse_file_no_limit_refuses_…` |
| memory flat | these, and `test_a_large_document_is_sent_…` |
| TIFF made to keep a reader busy | `test_structures_that_never_end_…` |
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from system.sites import PATIENCE, Site, pdf, sha256, tiff, tree, wait_until

from agent.sandbox.samples import LETTER, read_sample
from faults.checker import judge
from faults.watched_process import bytes_read, peak_memory

if TYPE_CHECKING:
    from pathlib import Path

    from system.sites import Process

pytestmark = pytest.mark.timeout(300)

GIB = 2**30
MIB = 2**20
FLAT = 48 * MIB
"""Bytes by which a process may have grown: nothing beside files of many times that size."""
LITTLE = 24 * MIB
"""Bytes that looking at a few files and living on for seconds may read, of a tebibyte that lies there."""
END = b"\n%%EOF\n"


def warm(site: Site, running: Process) -> tuple[bytes, int, int]:
    """Send one document; return it, and the memory and the reading of a process that has done everything once."""
    content = site.drop("warm.pdf")
    site.wait_done(tasks=1, seconds=60)
    return content, peak_memory(running.pid), bytes_read(running.pid)


def reasons(site: Site, *names: str) -> dict[str, str]:
    return {name: site.note(name)["reason"].partition(":")[0] for name in names}


def have_notes(site: Site, *names: str) -> bool:
    return all((site.error / f"{name}.error.txt").exists() for name in names)


def sparse(path: Path, size: int, *, head: bytes = b"", end: bytes = b"") -> None:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
        file.seek(size - len(end))
        file.write(end)


def test_broken_and_mislabelled_content_is_refused_with_its_reason_and_good_ones_are_sent(site: Site) -> None:
    lead = read_sample(LETTER)
    bad = {
        "nothing.pdf": (b"", "empty"),
        "nothing.tif": (b"", "empty"),
        "header only.pdf": (b"%PDF-1.7\n", "truncated"),
        "header only.tif": (b"II*\0", "truncated"),
        "header and end far apart.pdf": (b"%PDF-1.7\n%%EOF\n" + b"x" * 3000, "truncated"),
        "end before more.pdf": (lead + b"\0" * (MIB + 4096) + b"x", "truncated"),
        "page.pdf": (b"<html><body>Log in to continue %PDF is a format</body></html>", "wrong_type"),
        "program.pdf": (b"MZ\x90\0" + bytes(range(256)) * 20, "wrong_type"),
        "archive.tif": (b"PK\x03\x04" + bytes(range(1, 200)), "wrong_type"),
        "late header.pdf": (b" " * 1100 + lead, "wrong_type"),
    }
    for name, (content, _) in bad.items():
        site.drop(name, content)
    good = [
        site.drop("good.pdf"),
        site.drop("zeros behind.pdf", lead + bytes(MIB - 4096)),
        site.drop("junk before.pdf", b"\r\n" * 100 + lead),
        site.drop("pdf.tif", tiff("right content, wrong name")),
    ]
    with site.run() as running:
        site.wait_done(tasks=len(good), seconds=60)
        wait_until(lambda: have_notes(site, *bad), seconds=60, what=lambda: tree(site.error))
        running.stop()

    assert reasons(site, *bad) == {name: reason for name, (_, reason) in bad.items()}
    assert judge(site, sent=good, kept=[content for content, _ in bad.values()]) == []


def test_files_too_large_are_refused_unread_and_cost_no_memory(site: Site) -> None:
    site.configure(max_size=None)  # the default: 2 GiB
    sizes = {"two gigabytes.pdf": 2 * GIB + 1, "a terabyte.pdf": 2**40, "a terabyte.tif": 2**40}
    with site.run() as running:
        content, memory, read = warm(site, running)
        for name, size in sizes.items():
            # Whole by their structure: only the size is against them.
            sparse(site.inbox / name, size, head=read_sample(LETTER), end=END)
        wait_until(lambda: have_notes(site, *sizes), seconds=60, what=lambda: tree(site.error))
        grown, more = peak_memory(running.pid) - memory, bytes_read(running.pid) - read
        running.stop()

    assert reasons(site, *sizes) == dict.fromkeys(sizes, "too_large")
    assert {name: (site.error / name).stat().st_size for name in sizes} == sizes
    assert [task["sha256"] for task in site.describe()] == [sha256(content)]
    assert (grown < FLAT, more < LITTLE) == (True, True), (grown, more)


def test_a_sparse_file_no_limit_refuses_is_looked_at_in_a_few_reads(site: Site) -> None:
    site.configure(max_size="8TiB")
    sizes = {"only a head.pdf": 2**40, "two gigabytes.pdf": 2 * GIB, "zeros.pdf": 2**40}
    with site.run() as running:
        content, memory, read = warm(site, running)
        for name, size in sizes.items():
            sparse(site.inbox / name, size, head=b"" if name == "zeros.pdf" else read_sample(LETTER))
        neighbour = site.drop("neighbour.tif")
        site.wait_done(tasks=2, seconds=60)
        wait_until(lambda: have_notes(site, *sizes), seconds=60, what=lambda: tree(site.error))
        grown, more = peak_memory(running.pid) - memory, bytes_read(running.pid) - read
        running.stop()

    assert reasons(site, *sizes) == dict.fromkeys(sizes, "truncated")
    assert {task["sha256"] for task in site.describe()} == {sha256(content), sha256(neighbour)}
    assert (grown < FLAT, more < LITTLE) == (True, True), (grown, more)


def test_a_large_document_is_sent_and_exported_in_little_memory(site: Site) -> None:
    size = 160 * MIB
    with site.run() as running:
        content, memory, _ = warm(site, running)
        sparse(site.inbox / "large.tif", size, head=tiff("large"))
        site.wait_done(tasks=2, seconds=4 * PATIENCE)
        grown = peak_memory(running.pid) - memory
        running.stop()

    large = (site.archive / "large.tif").read_bytes()
    assert len(large) == size
    assert judge(site, sent=[content, large]) == []
    assert grown < FLAT, grown


def directory(*, count: int, next_at: int = 0, entries: bytes = b"") -> bytes:
    return struct.pack("<H", count) + entries + struct.pack("<I", next_at)


def test_structures_that_never_end_keep_nobody_from_being_served(site: Site) -> None:
    header = b"II*\0" + struct.pack("<I", 8)
    strips = struct.pack("<HHII", 273, 4, 2**31, 26) + struct.pack("<HHII", 279, 4, 2**31, 26)
    big_header = b"II+\0" + struct.pack("<HHQ", 8, 0, 16)
    ring = b"".join(directory(count=0, next_at=8 + 6 * ((number + 1) % 100_000)) for number in range(100_000))
    hostile = {
        "points at itself.tif": header + directory(count=0, next_at=8) + b"x" * 4096,
        "a ring of directories.tif": header + ring,
        "most entries.tif": header + directory(count=0xFFFF) + b"\xff" * 0xFFFF * 12,
        "most strips.tif": header + directory(count=2, entries=strips) + b"\xff" * 4096,
        "big and endless.tif": big_header + struct.pack("<Q", 2**63) + b"\xff" * 4096,
        "beyond the end.tif": b"II*\0" + b"\xff\xff\xff\xff" + b"x" * 4096,
        "half ends.pdf": b"%PDF-1.7\n" + b"%%EO" * 500_000,
        "white space.pdf": b"%PDF-1.7\n" + b" \0\r\n" * 500_000,
    }
    with site.run() as running:
        content, memory, _ = warm(site, running)
        for name, bytes_ in hostile.items():
            site.drop(name, bytes_)
        neighbours = [site.drop(f"neighbour {number}.pdf", pdf(str(number))) for number in range(3)]
        sent = {sha256(each) for each in neighbours}
        wait_until(lambda: sent <= {task["sha256"] for task in site.describe()}, seconds=60)
        wait_until(lambda: not site.inbox_files(), seconds=60, what=site.inbox_files)
        wait_until(site.is_done, seconds=60)
        grown = peak_memory(running.pid) - memory
        running.stop()

    # Each is in error/ or was sent (what cannot be decided counts as whole); nothing is lost, nobody waited.
    lying = [path.read_bytes() for path in tree(site.inbox).values() if not path.name.endswith(".error.txt")]
    assert sorted(map(sha256, lying)) == sorted(map(sha256, [content, *neighbours, *hostile.values()]))
    assert len({task["sha256"] for task in site.describe()}) == len(site.describe())
    assert grown < FLAT, grown
