"""Row 15 of faults.md: files that grow, pause, change and are replaced while the agent looks at them or sends them.

| fault | test |
|---|---|
| slow copy, pause longer than settle | `test_slow_writers_of_every_habit_…` |
| changed during upload | `test_written_over_while_it_is_sent_…`, `test_grown_or_cut_while_it_is_sent_…` |
| replaced after the check | `test_replaced_while_it_is_sent_…` |
| re-dropped with other bytes | `test_dropped_again_while_…`, tests/system `test_a_file_changed_after_it_was_sent_…` |
"""

from __future__ import annotations

import os
import struct
import threading
from typing import TYPE_CHECKING

import pytest
from system.sites import Site, sha256, tiff, tree, wait_until

from agent.sandbox.samples import DELIVERY_NOTE, LETTER, read_sample
from faults.checker import judge
from faults.held_line import ENOUGH, HeldLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.sandbox.server import SandboxServer

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def line(sandbox: SandboxServer) -> Iterator[HeldLine]:
    with HeldLine(sandbox.port) as line:
        yield line


@pytest.fixture
def site(tmp_path: Path, sandbox: SandboxServer, line: HeldLine) -> Site:
    return Site(tmp_path / "site", url=line.url, describe=lambda: list(sandbox.sandbox.describe()))


# --- slow writers ----------------------------------------------------------------------------------------------------


def long_pdf(mark: str) -> bytes:
    """Return a PDF of 20 kB that is whole with its last bytes only."""
    lead = read_sample(LETTER)
    tail = lead[lead.rindex(b"startxref") :]
    return lead + f"% {mark} ".encode() + b"." * 20_000 + b"\n" + tail


def long_tiff(mark: str) -> bytes:
    """Return a TIFF of 20 kB more whose first directory is its end."""
    lead = bytearray(read_sample(DELIVERY_NOTE))
    order = "<" if lead[:2] == b"II" else ">"
    (begin,) = struct.unpack_from(f"{order}I", lead, 4)
    (count,) = struct.unpack_from(f"{order}H", lead, begin)
    directory = bytes(lead[begin : begin + 2 + 12 * count + 4])
    middle = mark.encode().ljust(20_000, b".")
    struct.pack_into(f"{order}I", lead, 4, len(lead) + len(middle))
    return bytes(lead) + middle + directory


class Pieces:
    """Writes in pieces, with pauses of which some are longer than settle."""

    def __init__(self, pause: threading.Event) -> None:
        self._pause = pause

    def append(self, path: Path, content: bytes) -> None:
        step = len(content) // 5 + 1
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(content), step):
                file.write(content[start : start + step])
                self._pause.wait(0.7 if start else 0.1)

    def append_and_close_each_time(self, path: Path, content: bytes) -> None:
        step = len(content) // 4 + 1
        for start in range(0, len(content), step):
            with path.open("ab") as file:
                file.write(content[start : start + step])
            self._pause.wait(0.6)

    def allocate_then_fill(self, path: Path, content: bytes) -> None:
        half = len(content) // 2
        with path.open("wb", buffering=0) as file:
            file.truncate(len(content))
            self._pause.wait(0.6)
            file.write(content[:half])
            self._pause.wait(0.6)
            file.write(content[half:])

    def backwards(self, path: Path, content: bytes) -> None:
        half = len(content) // 2
        with path.open("wb", buffering=0) as file:
            os.pwrite(file.fileno(), content[half:], half)
            self._pause.wait(0.6)
            os.pwrite(file.fileno(), content[:half], 0)

    def beside_and_rename(self, path: Path, content: bytes) -> None:
        beside = path.with_name(path.name + ".part")
        self.append(beside, content)
        beside.rename(path)


def test_slow_writers_of_every_habit_have_their_files_sent_once_and_whole(site: Site) -> None:
    site.configure(settle="250ms", stalled_after="1s", give_up_after="60s")
    pieces = Pieces(threading.Event())
    habits: list[Callable[[Path, bytes], None]] = [
        pieces.append,
        pieces.append_and_close_each_time,
        pieces.allocate_then_fill,
        pieces.backwards,
        pieces.beside_and_rename,
    ]
    contents = {
        f"{habit.__name__} {kind}.{kind}": (habit, make(habit.__name__))
        for habit in habits
        for kind, make in (("pdf", long_pdf), ("tif", long_tiff))
    }
    writers = [
        threading.Thread(target=habit, args=(site.inbox / name, content)) for name, (habit, content) in contents.items()
    ]
    with site.run() as running:
        site.wait_scanned()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        site.wait_done(tasks=len(contents), seconds=120)
        running.stop()

    assert judge(site, sent=[content for _, content in contents.values()]) == []


# --- while it is sent ------------------------------------------------------------------------------------------------


def write_over(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(len(content) - 4096)
        file.write(content[-4096:])


def test_written_over_while_it_is_sent_only_the_new_content_is_exported(site: Site, line: HeldLine) -> None:
    old = site.drop("one.tif", tiff("one", size=ENOUGH))
    new = old[:-4096] + b"changed " * 512
    line.hold()
    with site.run() as running:
        line.wait_held()
        write_over(site.inbox / "one.tif", new)
        line.release()
        wait_until(lambda: [task for task in site.describe() if task["state"] == "completed"], seconds=120)
        wait_until(site.is_done, seconds=60)
        running.stop()

    completed = [task for task in site.describe() if task["state"] == "completed"]
    mixed = [task for task in site.describe() if task["state"] != "completed"]
    assert [task["sha256"] for task in completed] == [sha256(new)]
    assert len(mixed) == 1
    assert mixed[0]["calls"].get("complete", 0) == 0
    assert {name: sha256(path.read_bytes()) for name, path in tree(site.inbox).items()} == {
        "archive/one.tif": sha256(new)
    }
    assert sha256((site.output / "one.tif").read_bytes()) == sha256(new)


@pytest.mark.parametrize("change", ["grown", "cut"])
def test_grown_or_cut_while_it_is_sent_the_old_is_no_task_and_the_new_is_sent_once(
    site: Site, line: HeldLine, change: str
) -> None:
    site.configure(truncated="submit", give_up_after="300ms")
    old = site.drop("one.tif", tiff("one", size=ENOUGH))
    new = old + b"and more" if change == "grown" else old[:-200_000]
    line.hold()
    with site.run() as running:
        line.wait_held()
        with (site.inbox / "one.tif").open("r+b") as file:
            file.truncate(min(len(old), len(new)))
            file.seek(0, os.SEEK_END)
            file.write(new[len(old) :])
        line.release()
        site.wait_done(tasks=1, seconds=120)
        running.stop()

    assert judge(site, sent=[new]) == []


def test_replaced_while_it_is_sent_both_contents_are_tasks_and_nothing_moves_the_new_one_unsent(
    site: Site, line: HeldLine
) -> None:
    old = site.drop("one.tif", tiff("old", size=ENOUGH))
    new = tiff("new", size=50_000)
    line.hold()
    with site.run() as running:
        line.wait_held()
        beside = site.root / "beside.tif"
        beside.write_bytes(new)
        beside.replace(site.inbox / "one.tif")
        line.release()
        site.wait_done(tasks=2, seconds=120)
        running.stop()

    tasks = {task["sha256"]: task["calls"] for task in site.describe()}
    assert tasks == {sha256(old): {"start": 1, "complete": 1}, sha256(new): {"start": 1, "complete": 1}}
    # The old bytes were overwritten by whoever replaced the file: only their task and its export can be there.
    assert {sha256(path.read_bytes()) for path in tree(site.inbox).values()} == {sha256(new)}
    assert not site.inbox_files()
    exported = {sha256(path.read_bytes()) for path in tree(site.output).values() if path.suffix == ".tif"}
    assert exported == {sha256(old), sha256(new)}


def test_dropped_again_while_its_namesake_is_sent_each_content_is_one_task(site: Site, line: HeldLine) -> None:
    contents = [site.drop("one.tif", tiff("first", size=ENOUGH))]
    line.hold()
    with site.run() as running:
        line.wait_held()
        # The first goes to a name of its own: then nobody overwrites anything and all bytes must be kept.
        (site.inbox / "one.tif").rename(site.inbox / "one (1).tif")
        contents.append(site.drop("one.tif", tiff("second")))
        line.release()
        site.wait_done(tasks=2, seconds=120)
        contents.append(site.drop("one.tif", tiff("third")))
        site.wait_done(tasks=3, seconds=60)
        running.stop()

    assert judge(site, sent=contents) == []
