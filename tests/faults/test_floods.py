"""Rows 19 and 29 of faults.md: thousands of files at once, junk without end, folders too deep; all once, all fair.

| fault | test |
|---|---|
| many files at once, memory bounded | `test_thousands_of_files_at_once_…` |
| 20,000 tiny files of junk | `test_a_flood_in_one_folder_…` |
| a flood of files to be refused | `test_a_flood_of_refusals_…` |
| deep folders, paths of any length | `test_folders_without_end_…` |
| event queue overflow, inotify limits, EMFILE | test_limits.py |
| 2 MiB headers and names from the service | test_hostile_exports.py |

The 100,000 files of the catalogue are a matter of a benchmark; that memory does not grow with them is shown here.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

import pytest
from system.sites import Site, pdf, sha256, tree, wait_until

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.server import SandboxServer
from faults.watched_process import peak_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(400)

MANY = 5_000
JUNK = 20_000
SOON = 30.0
"""Seconds within which a single file is served beside a flood: a fraction of one where nothing hinders, a busy machine
considered; what waits behind the whole flood takes minutes."""
MIB = 2**20
BOUND = 64 * MIB
"""Bytes by which thousands of files more may have made a process grow."""


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A service that looks at the first bytes only and is done at once: the agent is what is looked at."""
    settings = AlumaSettings(queue_delay=0, processing_delay=0, finish_delay=0, read_documents=False)
    with SandboxServer(settings) as server:
        yield server


def second_folder(site: Site, name: str) -> Path:
    """Add a watch folder to a configuration and return its inbox."""
    folder = site.root / name
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    site.settings["watch_folders"].append(Site.watch_folder(name, inbox=f"{name}/in", output=f"{name}/out"))
    site.configure()
    return folder / "in"


def test_thousands_of_files_at_once_are_each_sent_once_in_bounded_memory(site: Site) -> None:
    site.configure(output=None)  # the way in: exports are as many as tasks are open at the service
    first = site.drop("first.pdf")
    with site.run() as running:
        wait_until(lambda: not site.inbox_files(), seconds=60)
        memory = peak_memory(running.pid)
        contents = {f"folder {number % 50}/{number}.pdf": pdf(str(number)) for number in range(MANY)}
        for name, content in contents.items():
            site.drop(name, content)
        wait_until(lambda: len(site.describe()) > MANY and not site.inbox_files(), seconds=300, what="still sending")
        grown = peak_memory(running.pid) - memory
        running.stop()

    sent = Counter(task["sha256"] for task in site.describe())
    assert sent == Counter(map(sha256, [first, *contents.values()]))
    archived = {name: sha256(path.read_bytes()) for name, path in tree(site.archive).items()}
    assert archived == {name: sha256(content) for name, content in contents.items()} | {"first.pdf": sha256(first)}
    assert tree(site.error) == {}
    assert site.complaints() == []
    assert grown < BOUND, grown


def test_a_flood_in_one_folder_does_not_keep_another_waiting(site: Site) -> None:
    quiet = second_folder(site, "quiet")
    for number in range(JUNK // 200):
        folder = site.inbox / f"junk {number}"
        folder.mkdir()
        for name in range(200):
            # All kinds: what no include matches, what is hidden, what is refused on sight, what seems to settle.
            (folder / f"{name}{('.txt', '.tmp', '.doc', '')[name % 4]}").touch()
    with site.run() as running:
        site.wait_scanned()
        began = time.monotonic()
        for number in range(3):
            (quiet / f"{number}.pdf").write_bytes(pdf(f"single {number}"))
            wait_until((quiet.parent / "out" / f"{number}.csv").exists, seconds=3 * SOON, what=site.records)
        took = time.monotonic() - began
        memory = peak_memory(running.pid)
        running.stop()

    assert took < SOON, took
    assert [task["tags"]["file_name"] for task in site.describe()] == ["0.pdf", "1.pdf", "2.pdf"]
    assert len(tree(site.inbox)) == JUNK
    assert len(site.records()) == 3, "junk has rows in the ledger"
    assert memory < 160 * MIB, memory


def test_a_flood_of_refusals_does_not_keep_another_waiting_and_leaves_a_note_each(site: Site) -> None:
    quiet = second_folder(site, "quiet")
    flood = 600
    for number in range(flood):
        site.drop(f"{number}.pdf", b"no PDF " + str(number).encode())
    with site.run() as running:
        wait_until(site.files, seconds=60)
        began = time.monotonic()
        (quiet / "single.pdf").write_bytes(pdf("single"))
        wait_until((quiet.parent / "out" / "single.csv").exists, seconds=3 * SOON, what=site.describe)
        took = time.monotonic() - began
        wait_until(lambda: not site.inbox_files(), seconds=120, what=lambda: len(site.inbox_files()))
        running.stop()

    assert took < SOON, took
    assert len(tree(site.error)) == 2 * flood
    assert len(site.describe()) == 1
    assert site.complaints() == []


def dig(folder: Path, name: str, *, levels: int, bottom: bytes) -> None:
    """Make folders in folders by handles, deeper than any path can name, and lay a document at the bottom."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(levels):
            os.mkdir(name, dir_fd=handle)
            deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
            os.close(handle)
            handle = deeper
        file = os.open("bottom.pdf", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=handle)
        os.write(file, bottom)
        os.close(file)
    finally:
        os.close(handle)


def fill_in(root: Path) -> None:
    """Remove everything below a folder, each level hung up at the top first: no one else could name the lower ones."""
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    numbers = count()
    try:
        while names := os.listdir(top):  # noqa: PTH208 -- by handle
            for name in names:
                try:
                    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
                except NotADirectoryError:
                    os.unlink(name, dir_fd=top)
                    continue
                for inner in os.listdir(handle):  # noqa: PTH208 -- by handle
                    os.rename(inner, f"hung up {next(numbers)}", src_dir_fd=handle, dst_dir_fd=top)
                os.close(handle)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


@pytest.fixture
def pit(site: Site) -> Iterator[Path]:
    """The inbox, emptied afterwards: whoever cleans up after the tests cannot."""
    yield site.inbox
    fill_in(site.inbox)


def test_folders_without_end_and_paths_of_any_length_stop_nobody(site: Site, pit: Path) -> None:
    site.configure(output=None)
    deep = [pdf(f"bottom {number}") for number in range(4)]
    dig(pit, "a", levels=1000, bottom=deep[0])
    dig(pit, "b" * 255, levels=12, bottom=deep[1])  # near PATH_MAX: its archive's path is beyond
    dig(pit, "c" * 255, levels=60, bottom=deep[2])  # far beyond PATH_MAX
    dig(pit, "d" * 100, levels=9, bottom=deep[3])
    good = site.drop("good.pdf")
    with site.run() as running:
        wait_until((site.archive / "good.pdf").exists, seconds=60, what=lambda: running.log)
        late = site.drop("late.pdf")
        wait_until((site.archive / "late.pdf").exists, seconds=60, what=lambda: running.log)
        sent = {sha256(deep[0]), sha256(deep[1]), sha256(deep[3])}
        wait_until(lambda: sent <= {task["sha256"] for task in site.describe()}, seconds=60, what=site.records)
        wait_until(lambda: all(record.filed_at or not record.task_id for record in site.records()), seconds=60)
        said = site.command("status")
        running.stop()

    assert said.returncode == 0
    assert "Traceback" not in running.log
    assert Counter(task["sha256"] for task in site.describe()) == Counter(map(sha256, [good, late, *deep[:2], deep[3]]))
    assert site.complaints() == []
