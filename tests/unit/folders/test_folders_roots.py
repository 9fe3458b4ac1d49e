"""Root markers: whose folder it is, and whether it is still the one we knew (design.md §3.1)."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.errors import LocalTrouble
from agent.folders import roots
from agent.folders.roots import DAMAGED, MARKER, RootLook, adopt_root, look_at_root, read_marker, touch_marker
from agent.folders.system import identity
from agent.model import LaneReason, RootKind, RootRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OURS = "0123456789abcdef" * 2
THEIRS = "fedcba9876543210" * 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


def look(path: Path, *, known: RootRecord | None = None, kind: RootKind = RootKind.INBOX) -> RootLook:
    return look_at_root(path, kind=kind, watch_folder="invoices", ledger_id=OURS, known=known)


def known_root(path: Path) -> RootRecord:
    record = look(path).record
    assert record is not None
    return record


def only_the_marker_lies_in(path: Path) -> bool:
    return [entry.name for entry in path.iterdir()] == [MARKER]


def test_a_root_never_seen_gets_the_marker_and_a_record(root: Path) -> None:
    found = look(root)
    assert found.reason is None
    assert found.record == RootRecord("invoices", RootKind.INBOX, str(root), identity(root.stat()), marked=True)
    assert (root / MARKER).read_text() == f"{OURS}\n"
    assert only_the_marker_lies_in(root)


def test_a_root_of_ours_is_ours_again(root: Path) -> None:
    known = known_root(root)
    found = look(root, known=known)
    assert (found.reason, found.record) == (None, known)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(RootKind.INBOX, LaneReason.INBOX_MISSING), (RootKind.OUTPUT, LaneReason.OUTPUT_MISSING)],
)
def test_a_missing_root_is_named_by_its_kind_and_not_made(root: Path, kind: RootKind, reason: LaneReason) -> None:
    found = look(root / "away", kind=kind)
    assert found.reason is reason
    assert found.hint
    assert not (root / "away").exists()


def test_a_file_in_the_root_s_place_is_no_root(root: Path) -> None:
    (root / "file").write_bytes(b"")
    found = look(root / "file")
    assert found.reason is LaneReason.INBOX_MISSING
    assert "not a folder" in found.detail


def test_a_root_of_another_ledger_is_left_alone_and_says_what_to_do(root: Path) -> None:
    (root / MARKER).write_text(f"{THEIRS}\n")
    found = look(root)
    assert found.reason is LaneReason.OWNED_BY_OTHER_AGENT
    assert THEIRS in found.detail
    assert "fsagent adopt invoices" in found.hint
    assert (root / MARKER).read_text() == f"{THEIRS}\n"


def test_another_ledger_s_marker_counts_even_where_we_know_the_folder(root: Path) -> None:
    known = known_root(root)
    (root / MARKER).write_text(THEIRS)
    assert look(root, known=known).reason is LaneReason.OWNED_BY_OTHER_AGENT


def test_a_lost_marker_is_written_again_in_the_same_folder(root: Path) -> None:
    known = known_root(root)
    (root / MARKER).unlink()
    found = look(root, known=known)
    assert (found.reason, found.record) == (None, known)
    assert read_marker(root) == OURS


def test_an_empty_mount_point_pauses_and_gets_no_marker(root: Path) -> None:
    known = known_root(root)
    root.rename(root.parent / "unmounted")
    root.mkdir()
    found = look(root, known=known)
    assert found.reason is LaneReason.ROOT_CHANGED
    assert "fsagent adopt invoices" in found.hint
    assert list(root.iterdir()) == []


def test_a_folder_that_comes_back_heals(root: Path) -> None:
    known = known_root(root)
    root.rename(root.parent / "unmounted")
    assert look(root, known=known).reason is LaneReason.INBOX_MISSING
    (root.parent / "unmounted").rename(root)
    assert look(root, known=known).record == known


def test_a_restored_copy_with_our_marker_is_ours_with_a_new_record(root: Path) -> None:
    known = known_root(root)
    root.rename(root.parent / "original")
    shutil.copytree(root.parent / "original", root)
    found = look(root, known=known)
    assert found.reason is None
    assert found.record == replace(known, identity=identity(root.stat()))
    assert found.record != known


def test_a_root_moved_in_the_configuration_starts_anew(root: Path) -> None:
    known = known_root(root)
    other = root.parent / "other"
    other.mkdir()
    found = look(other, known=known)
    assert found.reason is None
    assert found.record is not None
    assert found.record.path == str(other)


def test_a_root_never_marked_is_not_held_against_its_identity(root: Path) -> None:
    known = RootRecord("invoices", RootKind.INBOX, str(root), "1:2", marked=False)
    assert look(root, known=known).reason is None


def test_of_two_agents_racing_one_owns_the_root_and_the_other_sees_it(root: Path) -> None:
    barrier = threading.Barrier(2)
    found: dict[str, RootLook] = {}

    def first_look(ledger_id: str) -> None:
        barrier.wait(10)
        found[ledger_id] = look_at_root(
            root, kind=RootKind.INBOX, watch_folder="invoices", ledger_id=ledger_id, known=None
        )

    threads = [threading.Thread(target=first_look, args=(ledger_id,)) for ledger_id in (OURS, THEIRS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    owner = read_marker(root)
    loser = THEIRS if owner == OURS else OURS
    assert owner is not None
    assert found[owner].reason is None
    assert found[loser].reason is LaneReason.OWNED_BY_OTHER_AGENT
    assert owner in found[loser].detail
    assert only_the_marker_lies_in(root)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(os.fsync)
    monkeypatch.setattr(os, "fsync", disk.sync)
    yield disk
    disk.answer.set()


class SlowDisk:
    """The first file written to it is not durable before `answer` is set."""

    def __init__(self, sync: Callable[[int], None]) -> None:
        self._sync = sync
        self.is_asked = threading.Event()
        self.answer = threading.Event()

    def sync(self, handle: int) -> None:
        if not self.is_asked.is_set():
            self.is_asked.set()
            assert self.answer.wait(20)
        self._sync(handle)


def test_a_root_whose_marker_takes_long_to_write_keeps_no_other_waiting(root: Path, slow_disk: SlowDisk) -> None:
    other = root.with_name("other")
    other.mkdir()
    slow = threading.Thread(target=look, args=(root,))
    slow.start()
    assert slow_disk.is_asked.wait(10)
    quick = threading.Thread(target=look, args=(other,), daemon=True)
    quick.start()
    quick.join(10)
    is_written = read_marker(other) == OURS
    slow_disk.answer.set()
    slow.join(10)
    quick.join(10)
    assert is_written


def test_an_operator_who_adopts_while_the_marker_is_written_disturbs_nobody(root: Path, slow_disk: SlowDisk) -> None:
    found: list[RootLook] = []
    looking = threading.Thread(target=lambda: found.append(look(root)))
    looking.start()
    assert slow_disk.is_asked.wait(10)
    adopting = threading.Thread(
        target=adopt_root,
        args=(root,),
        kwargs={"kind": RootKind.INBOX, "watch_folder": "invoices", "ledger_id": OURS},
    )
    adopting.start()
    adopting.join(0.2)  # whether it waits or is through by then: both have to find the marker in order
    slow_disk.answer.set()
    looking.join(10)
    adopting.join(10)
    assert [each.reason for each in found] == [None]
    assert only_the_marker_lies_in(root)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", OURS.upper().encode(), OURS.encode()[:-1], OURS.encode() * 2, OURS.encode() + b"\n" * 100],
    ids=["empty", "garbage", "upper case", "cut", "two", "too long"],
)
def test_a_damaged_marker_is_left_alone_and_named(root: Path, content: bytes) -> None:
    (root / MARKER).write_bytes(content)
    found = look(root)
    assert read_marker(root) == DAMAGED
    assert found.reason is LaneReason.OWNED_BY_OTHER_AGENT
    assert "not a marker" in found.detail
    assert (root / MARKER).read_bytes() == content


def test_a_folder_in_the_marker_s_place_is_a_damaged_marker(root: Path) -> None:
    (root / MARKER).mkdir()
    assert read_marker(root) == DAMAGED


def test_a_marker_behind_a_link_is_not_believed(root: Path) -> None:
    (root.parent / "elsewhere").write_text(OURS)
    try:
        (root / MARKER).symlink_to(root.parent / "elsewhere")
    except OSError as error:
        pytest.skip(f"no symlinks here: {error}")
    if not (root / MARKER).is_symlink():
        pytest.skip("symlinks are not told apart here")
    assert read_marker(root) == DAMAGED


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_in_the_marker_s_place_blocks_nothing(root: Path) -> None:
    os.mkfifo(root / MARKER)
    assert read_marker(root) == DAMAGED


def test_without_a_marker_there_is_none(root: Path) -> None:
    assert read_marker(root) is None


def test_adopting_takes_over_another_ledger_s_root(root: Path) -> None:
    (root / MARKER).write_text(THEIRS)
    record = adopt_root(root, kind=RootKind.INBOX, watch_folder="invoices", ledger_id=OURS)
    assert look(root).record == record
    assert read_marker(root) == OURS
    assert only_the_marker_lies_in(root)


def test_adopting_a_missing_root_says_so(root: Path) -> None:
    with pytest.raises(LocalTrouble, match="does not exist") as trouble:
        adopt_root(root / "away", kind=RootKind.OUTPUT, watch_folder="invoices", ledger_id=OURS)
    assert trouble.value.reason is LaneReason.OUTPUT_MISSING


def test_adopting_over_a_folder_in_the_marker_s_place_fails_and_leaves_nothing(root: Path) -> None:
    (root / MARKER).mkdir()
    with pytest.raises(LocalTrouble):
        adopt_root(root, kind=RootKind.INBOX, watch_folder="invoices", ledger_id=OURS)
    assert only_the_marker_lies_in(root)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (30, LaneReason.READ_ONLY),
        (28, LaneReason.DISK_FULL),
        (13, LaneReason.NOT_WRITABLE),
        (24, LaneReason.TOO_MANY_OPEN_FILES),
        (5, LaneReason.IO_ERROR),
    ],
)
def test_a_marker_that_cannot_be_written_names_the_reason(
    root: Path, number: int, reason: LaneReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), os.fspath(path))

    monkeypatch.setattr(roots, "hide", fail)
    assert look(root).reason is reason
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "reason"),
    [(13, LaneReason.NOT_READABLE), (5, LaneReason.IO_ERROR), (107, LaneReason.INBOX_MISSING)],
)
def test_a_root_that_cannot_be_listed_names_the_reason(
    root: Path, number: int, reason: LaneReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), os.fspath(path))

    monkeypatch.setattr(os, "scandir", fail)
    assert look(root).reason is reason


def test_touching_the_marker_leaves_its_content(root: Path) -> None:
    look(root)
    touch_marker(root)
    assert read_marker(root) == OURS


def test_touching_where_there_is_no_marker_is_an_error_and_makes_none(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        touch_marker(root)
    assert list(root.iterdir()) == []
