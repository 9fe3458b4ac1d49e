"""Row 18 of faults.md: folders named like documents, pipes, sockets, devices, links; also swapped in at a bad moment.

| fault | test |
|---|---|
| each stays, is ignored, explained by `why`, blocks nobody | `test_whatever_is_no_plain_file_…` |
| hard link to a file of root's, made by another user | `test_a_hard_link_to_a_file_of_roots_…` |
| a link swapped in between check and open | `test_a_link_swapped_in_…` |
| a folder swapped for a link while reading, filing, publishing | `test_a_folder_swapped_…`, `test_nothing_is_…` |
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from itertools import count
from stat import S_IFBLK, S_IFCHR
from typing import TYPE_CHECKING

import pytest
from system.sites import PATIENCE, Site, pdf, sha256, tree, wait_until

from agent.errors import AgentError
from agent.folders import filing, publishing
from agent.folders.reading import open_source
from agent.model import Signature
from faults import means

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

ROUNDS = 1000
"""Attempts, at least, against a thread that swaps without pause; and so many of them done, so many refused: `OFTEN`."""
OFTEN = 15
_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE
STRANGER = 12345


def explained(site: Site, name: str) -> dict[str, str]:
    done = site.command("why", "--json", str(site.inbox / name))
    assert done.returncode == 0, done.stderr
    document: dict[str, str] = json.loads(done.stdout)
    return document


def make_specials(site: Site, outside: Path) -> dict[str, str]:
    """Make one of each; return the word `why` must say about it."""
    (outside / "secret.pdf").write_bytes(pdf("secret"))
    (site.inbox / "link.pdf").symlink_to(outside / "secret.pdf")
    (site.inbox / "nowhere.pdf").symlink_to(outside / "is not there")
    (site.inbox / "around.pdf").symlink_to(site.inbox / "around.pdf")
    (site.inbox / "linked folder").symlink_to(outside, target_is_directory=True)
    os.mkfifo(site.inbox / "pipe.pdf")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.pdf")  # the path of a socket may have 107 bytes only
    os.mknod(site.inbox / "zero.pdf", S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(site.inbox / "disk.pdf", S_IFBLK | 0o666, os.makedev(7, 255))
    return {
        "link.pdf": "symlink",
        "nowhere.pdf": "symlink",
        "around.pdf": "symlink",
        "linked folder": "symlink",
        "pipe.pdf": "fifo",
        "socket.pdf": "socket",
        "zero.pdf": "device",
        "disk.pdf": "device",
    }


def test_whatever_is_no_plain_file_stays_is_explained_and_keeps_nobody_waiting(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    means.root()  # makes devices
    monkeypatch.chdir(site.inbox)
    outside = tmp_path / "outside"
    outside.mkdir()
    specials = make_specials(site, outside)
    (site.inbox / "empty.pdf").mkdir()
    before = {name: os.lstat(site.inbox / name) for name in specials}
    inside = site.drop("folder.pdf/inside.pdf")
    with site.run() as running:
        neighbour = site.drop("neighbour.pdf")
        site.wait_done(tasks=2, seconds=60)
        wait_until(lambda: specials.keys() <= site.files().keys(), what=lambda: site.files().keys())
        running.stop()

    assert {task["sha256"] for task in site.describe()} == {sha256(inside), sha256(neighbour)}
    told = {name: explained(site, name) for name in specials}
    assert {name: document["state"] for name, document in told.items()} == dict.fromkeys(specials, "ignored")
    assert all(word in told[name]["decides"].lower() for name, word in specials.items()), told
    after = {name: os.lstat(site.inbox / name) for name in specials}
    assert [(each.st_ino, each.st_mode) for each in after.values()] == [
        (each.st_ino, each.st_mode) for each in before.values()
    ]
    assert (site.inbox / "empty.pdf").is_dir()
    assert {path.read_bytes() for path in tree(outside).values()} == {pdf("secret")}


def test_a_hard_link_to_a_file_of_roots_made_by_somebody_else_is_ignored_and_explained(
    site: Site, tmp_path: Path
) -> None:
    means.root()  # gives files away
    secret = tmp_path / "secret.pdf"
    secret.write_bytes(pdf("secret"))
    # The agent runs as root here, so a stranger's file stands for root's: neither the agent's nor the folder owner's.
    os.chown(secret, STRANGER, STRANGER)
    secret.chmod(0o600)
    os.link(secret, site.inbox / "linked.pdf")
    with site.run() as running:
        good = site.drop("neighbour.pdf")
        site.wait_done(tasks=1, seconds=60)
        wait_until(lambda: (found := site.files().get("linked.pdf")) and found.state.value == "ignored")
        running.stop()

    assert [task["sha256"] for task in site.describe()] == [sha256(good)]
    assert "link" in explained(site, "linked.pdf")["decides"]
    status = (site.inbox / "linked.pdf").stat()
    assert (status.st_nlink, status.st_uid, status.st_mode & 0o777) == (2, STRANGER, 0o600)


# --- races -----------------------------------------------------------------------------------------------------------


@contextmanager
def swapping(*pairs: tuple[Path, Path], pause: float = 0) -> Iterator[None]:
    """Let a thread exchange two names each, again and again; in the end everything is where it was."""
    library = ctypes.CDLL(None, use_errno=True)
    ended = threading.Event()
    failed: list[int] = []

    def exchange() -> None:
        for one, other in pairs:
            if library.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
                failed.append(ctypes.get_errno())

    def swap() -> None:
        while not ended.is_set() and not failed:
            exchange()
            ended.wait(pause)
            exchange()
            ended.wait(pause)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert not failed, [os.strerror(number) for number in failed]


class Trap:
    """A root with a folder `sub`, and outside of it a secret behind a link that takes turns with it."""

    def __init__(self, base: Path) -> None:
        self.root = base / "root"
        self.archive = base / "archive"
        self.outside = base / "outside"
        for folder in (self.root / "sub", self.archive / "sub", self.outside):
            folder.mkdir(parents=True)
        (self.outside / "one.pdf").write_bytes(pdf("secret"))
        (self.root / "sub" / "one.pdf").write_bytes(pdf("mine"))

    def link(self, name: str, target: Path) -> Path:
        path = self.outside.parent / name
        path.symlink_to(target)
        return path


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path)


def outcomes(action: Callable[[], object]) -> None:
    """Do it until it was often done and often refused: how often in how many rounds is up to the machine."""
    done = refused = 0
    end = time.monotonic() + 2 * PATIENCE
    while done + refused < ROUNDS or min(done, refused) < OFTEN:
        assert time.monotonic() < end, f"done {done} times, refused {refused} times"
        try:
            action()
            done += 1
        except (AgentError, FileExistsError):
            refused += 1


@pytest.mark.parametrize("what", ["the file", "its folder"])
def test_a_link_swapped_in_between_look_and_open_is_never_read(trap: Trap, what: str) -> None:
    read: set[bytes] = set()

    def look() -> None:
        with open_source(trap.root, "sub/one.pdf") as source:
            read.add(source.file.read())

    pair = (
        (trap.root / "sub" / "one.pdf", trap.link("link", trap.outside / "one.pdf"))
        if what == "the file"
        else (trap.root / "sub", trap.link("link", trap.outside))
    )
    with swapping(pair):
        outcomes(look)

    assert read == {pdf("mine")}


def test_a_folder_swapped_for_a_link_while_filing_moves_nothing_in_or_out(trap: Trap) -> None:
    status = (trap.root / "sub" / "one.pdf").stat()
    signature = Signature(f"{status.st_dev:x}:{status.st_ino:x}", status.st_size, status.st_mtime_ns)
    places = [(trap.root, "sub/one.pdf"), (trap.archive, "sub/one.pdf")]
    empty = trap.outside / "empty"
    empty.mkdir()

    def there_and_back() -> None:
        (source, name), (destination, new_name) = places
        filing.file_away(
            source_root=source,
            relative_path=name,
            signature=signature,
            destination_root=destination,
            destination=new_name,
            patience=0,
        )
        assert not any(empty.iterdir()), "moved out"
        places.reverse()

    with swapping(
        (trap.root / "sub", trap.link("link", trap.outside)),
        (trap.archive / "sub", trap.link("another link", empty)),
    ):
        outcomes(there_and_back)

    assert {name: path.read_bytes() for name, path in tree(trap.outside).items()} == {"one.pdf": pdf("secret")}
    assert [path.read_bytes() for root in (trap.root, trap.archive) for path in tree(root).values()] == [pdf("mine")]


def test_a_folder_swapped_for_a_link_while_publishing_lets_nothing_out(trap: Trap) -> None:
    numbers = count()
    output = trap.archive

    def export() -> None:
        number = next(numbers)
        part, target = f"sub/.fsagent-{number:016x}.part", f"sub/{number}.csv"
        staged = publishing.stage(output, part, [b"a;b\n"], file_mode=None, folder_mode=None)
        publishing.publish(output, part, target, identity=staged.identity, patience=0)

    # With a pause: an export takes several walks and a flush of the disk, and some are to succeed.
    with swapping((output / "sub", trap.link("link", trap.outside)), pause=0.002):
        outcomes(export)

    assert {name: path.read_bytes() for name, path in tree(trap.outside).items()} == {"one.pdf": pdf("secret")}


def test_nothing_is_read_moved_or_written_outside_by_an_agent_whose_folders_are_swapped_under_it(
    site: Site, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    names = [f"{number}.pdf" for number in range(25)]
    for name in names:
        (outside / name).write_bytes(pdf(f"secret {name}"))
    dropped = [site.drop(f"sub/{name}") for name in names]
    pairs = []
    for number, root in enumerate((site.inbox, site.archive, site.error, site.output)):
        (root / "sub").mkdir(parents=True, exist_ok=True)
        link = tmp_path / f"link {number}"
        link.symlink_to(outside)
        pairs.append((root / "sub", link))
    with site.run() as running:
        with swapping(*pairs, pause=0.003):
            wait_until(lambda: len(site.describe()) >= len(names) // 3, seconds=120, what=site.describe)
            wait_until(lambda: any(task["calls"] for task in site.describe()), seconds=60)
        wait_until(lambda: not site.inbox_files(), seconds=120, what=site.inbox_files)
        wait_until(site.is_done, seconds=60)
        running.stop()

    assert {name: path.read_bytes() for name, path in tree(outside).items()} == {
        name: pdf(f"secret {name}") for name in names
    }
    # An export through the link fails its task; a file that was swapped away just then is a new drop when it is back.
    kept = [task["sha256"] for task in site.describe() if task["state"] != "failed"]
    assert len(kept) == len(set(kept)), "sent twice"
    assert {task["sha256"] for task in site.describe()} == set(map(sha256, dropped))
    lying = [path.read_bytes() for path in tree(site.inbox).values() if not path.name.endswith(".error.txt")]
    assert sorted(map(sha256, lying)) == sorted(map(sha256, dropped))
    assert site.complaints() == []
