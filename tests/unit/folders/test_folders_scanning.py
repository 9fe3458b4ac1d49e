"""The scan: what it yields, where it does not go, and when it may be believed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agent.folders import scanning
from agent.folders.scanning import Scan, scan
from agent.folders.system import sight
from agent.model import Irregular, Sighting

HANDLES = Path("/proc/self/fd")
BOTH_WALKS = pytest.mark.parametrize("by_handles", [True, False], ids=["by handles", "by paths"])


def wants_pdf(relative_path: str) -> bool:
    return relative_path.lower().endswith(".pdf")


def make(root: Path, *relative_paths: str) -> None:
    for relative_path in relative_paths:
        path = root / relative_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def seen(walk: Scan) -> dict[str, Sighting]:
    return {sighting.relative_path: sighting for batch in walk for sighting in batch}


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """Return a symlink, to nowhere, outside the inbox of the test; skip where links cannot be made."""
    path = tmp_path / "probe-link"
    try:
        path.symlink_to("nowhere")
    except OSError as error:
        pytest.skip(f"no symlinks here: {error}")
    if not path.is_symlink():
        pytest.skip("symlinks are not told apart here")
    return path


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


@BOTH_WALKS
def test_yields_wanted_files_of_the_whole_tree_with_slashes(
    inbox: Path, by_handles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_handles:
        monkeypatch.setattr(os, "supports_fd", set())
    make(inbox, "a.pdf", "deep/er/b.PDF", "deep/note.txt")
    walk = scan(inbox, recursive=True, wants=wants_pdf)
    assert set(seen(walk)) == {"a.pdf", "deep/er/b.PDF"}
    assert walk.outcome.complete
    assert (walk.outcome.files, walk.outcome.folders, walk.outcome.left_out) == (2, 3, 1)


def test_agrees_with_the_sight_of_one_file(inbox: Path) -> None:
    make(inbox, "sub/a.pdf")
    assert seen(scan(inbox, recursive=True, wants=wants_pdf))["sub/a.pdf"] == sight(inbox, "sub/a.pdf")


def test_stays_in_the_root_where_not_recursive(inbox: Path) -> None:
    make(inbox, "a.pdf", "sub/b.pdf")
    assert set(seen(scan(inbox, recursive=False, wants=wants_pdf))) == {"a.pdf"}


def test_a_folder_named_like_a_document_is_a_folder(inbox: Path) -> None:
    make(inbox, "x.pdf/inside.pdf")
    assert set(seen(scan(inbox, recursive=True, wants=wants_pdf))) == {"x.pdf/inside.pdf"}


@BOTH_WALKS
def test_enters_neither_excluded_nor_junk_folders(
    inbox: Path, by_handles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_handles:
        monkeypatch.setattr(os, "supports_fd", set())
    make(inbox, "archive/a.pdf", "archive2/b.pdf", "@eaDir/c.pdf", "sub/error/d.pdf")
    walk = scan(
        inbox,
        recursive=True,
        wants=wants_pdf,
        skips_folder=lambda path: path == "@eaDir",
        excluded=[inbox / "archive", inbox / "sub" / "error", inbox.parent / "elsewhere"],
    )
    assert set(seen(walk)) == {"archive2/b.pdf"}


def test_yields_batches_of_bounded_size(inbox: Path) -> None:
    make(inbox, *(f"{number}.pdf" for number in range(25)))
    sizes = [len(batch) for batch in scan(inbox, recursive=True, wants=wants_pdf, batch=10)]
    assert sizes == [10, 10, 5]


@BOTH_WALKS
def test_links_are_counted_and_never_followed(
    inbox: Path, link: Path, by_handles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_handles:
        monkeypatch.setattr(os, "supports_fd", set())
    outside = inbox.parent / "outside"
    make(outside, "secret.pdf")
    (inbox / "file.pdf").symlink_to(outside / "secret.pdf")
    (inbox / "folder").symlink_to(outside, target_is_directory=True)
    (inbox / "broken.pdf").symlink_to(link)
    walk = scan(inbox, recursive=True, wants=wants_pdf)
    found = seen(walk)
    assert {path: sighting.irregular for path, sighting in found.items()} == dict.fromkeys(
        ["file.pdf", "folder", "broken.pdf"], Irregular.SYMLINK
    )
    assert walk.outcome.complete
    assert walk.outcome.irregular == 3


@pytest.mark.usefixtures("link")
def test_a_link_with_a_junk_name_is_left_out(inbox: Path) -> None:
    (inbox / "~$a.pdf").symlink_to("nowhere")
    walk = scan(inbox, recursive=True, wants=wants_pdf, skips_folder=lambda path: path.startswith("~$"))
    assert seen(walk) == {}
    assert walk.outcome.left_out == 1


def test_a_link_in_place_of_archive_or_error_is_no_file_of_anybody(link: Path, inbox: Path) -> None:
    link.rename(inbox / "archive")
    assert seen(scan(inbox, recursive=True, wants=lambda _: True, excluded=[inbox / "archive"])) == {}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_irregular_and_blocks_nothing(inbox: Path) -> None:
    os.mkfifo(inbox / "x.pdf")
    assert seen(scan(inbox, recursive=True, wants=wants_pdf))["x.pdf"].irregular is Irregular.FIFO


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX") or not hasattr(os, "mkfifo"), reason="no sockets in folders here")
def test_a_socket_is_irregular(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(inbox)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.pdf")
        assert seen(scan(inbox, recursive=True, wants=wants_pdf))["s.pdf"].irregular is Irregular.SOCKET


def test_names_that_are_not_utf8_come_through(inbox: Path) -> None:
    name = "caf\udce9.pdf"
    try:
        (inbox / name).write_bytes(b"x")
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error}")
    if [path.name for path in inbox.iterdir()] != [name]:
        pytest.skip("this file system changes such names")
    assert set(seen(scan(inbox, recursive=True, wants=wants_pdf))) == {name}


def test_a_missing_root_is_an_error_not_an_empty_scan(inbox: Path) -> None:
    walk = scan(inbox / "away", recursive=True, wants=wants_pdf)
    with pytest.raises(FileNotFoundError):
        seen(walk)
    assert not walk.outcome.complete


@BOTH_WALKS
def test_a_folder_that_goes_during_the_scan_is_no_fault(
    inbox: Path, by_handles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_handles:
        monkeypatch.setattr(os, "supports_fd", set())
    make(inbox, "a.pdf")
    (inbox / "sub").mkdir()
    walk = scan(inbox, recursive=True, wants=wants_pdf, batch=1)
    batches = iter(walk)
    next(batches)
    (inbox / "sub").rmdir()
    assert list(batches) == []
    assert walk.outcome.complete


@BOTH_WALKS
def test_a_link_swapped_in_for_a_folder_is_not_entered(
    inbox: Path, link: Path, by_handles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_handles:
        monkeypatch.setattr(os, "supports_fd", set())
    outside = inbox.parent / "outside"
    make(outside, "secret.pdf")
    make(inbox, "a.pdf")
    (inbox / "sub").mkdir()
    walk = scan(inbox, recursive=True, wants=wants_pdf, batch=1)
    batches = iter(walk)
    next(batches)
    (inbox / "sub").rmdir()
    link.unlink()
    (inbox / "sub").symlink_to(outside, target_is_directory=True)
    assert [sighting.relative_path for batch in batches for sighting in batch] == []


def test_an_unreadable_folder_makes_the_scan_incomplete_and_is_named(inbox: Path) -> None:
    make(inbox, "a.pdf", "closed/b.pdf")
    (inbox / "closed").chmod(0)
    try:
        if os.access(inbox / "closed", os.R_OK):
            pytest.skip("this account reads everything")
        walk = scan(inbox, recursive=True, wants=wants_pdf)
        assert set(seen(walk)) == {"a.pdf"}
        assert not walk.outcome.complete
        assert [place.relative_path for place in walk.outcome.unreadable] == ["closed"]
    finally:
        (inbox / "closed").chmod(0o700)


def test_a_folder_that_fails_makes_the_scan_incomplete(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(inbox, "a.pdf", "sub/b.pdf")
    monkeypatch.setattr(os, "supports_fd", set())
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("sub"):
            raise OSError(5, "Input/output error", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    walk = scan(inbox, recursive=True, wants=wants_pdf)
    assert set(seen(walk)) == {"a.pdf"}
    assert not walk.outcome.complete
    assert [(place.relative_path, place.error.errno) for place in walk.outcome.unreadable] == [("sub", 5)]
    assert walk.outcome.unreadable[0].sentence == "sub cannot be read: Input/output error"


@pytest.mark.skipif(os.scandir not in os.supports_fd, reason="no folder handles here")
def test_a_folder_that_cannot_be_opened_makes_the_scan_incomplete(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(inbox, "a.pdf", "sub/b.pdf")
    real = os.open

    def open_but_sub(path: str | Path, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "sub":
            raise OSError(13, "Permission denied", path)
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_but_sub)
    walk = scan(inbox, recursive=True, wants=wants_pdf)
    assert set(seen(walk)) == {"a.pdf"}
    assert not walk.outcome.complete
    assert [place.relative_path for place in walk.outcome.unreadable] == ["sub"]


def test_of_very_many_unreadable_places_only_the_first_are_named(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_NAMED_AT_MOST", 2)
    make(inbox, *(f"{number}.pdf" for number in range(5)))

    def fail(entry: os.DirEntry[str]) -> os.stat_result:
        raise OSError(5, "Input/output error", entry.path)

    monkeypatch.setattr(scanning, "entry_stat", fail)
    walk = scan(inbox, recursive=True, wants=wants_pdf)
    assert seen(walk) == {}
    assert (len(walk.outcome.unreadable), walk.outcome.unreadable_count) == (2, 5)
    assert not walk.outcome.complete


@pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="no folder handles here")
def test_a_very_deep_tree_needs_few_handles_and_comes_back_up(inbox: Path) -> None:
    resource = pytest.importorskip("resource")
    handle = os.open(inbox, os.O_RDONLY)
    depth = 300
    for level in range(depth):
        for name in ("d", "side"):
            os.mkdir(name, dir_fd=handle)
        os.close(os.open(f"{level}.pdf", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        deeper = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    open_now = len(list(HANDLES.iterdir())) if HANDLES.is_dir() else 50
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 60, limits[1]))
    try:
        walk = scan(inbox, recursive=True, wants=wants_pdf)
        found = seen(walk)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(found) == depth
    assert walk.outcome.folders == 2 * depth + 1
    assert walk.outcome.complete


def test_folders_whose_path_nobody_could_name_are_not_entered(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_LONGEST_PATH", 12)
    make(inbox, "short/a.pdf", "short/much-longer/b.pdf")
    walk = scan(inbox, recursive=True, wants=wants_pdf)
    assert set(seen(walk)) == {"short/a.pdf"}
    assert walk.outcome.too_deep == 1
    assert walk.outcome.complete


def test_a_scan_given_up_halfway_leaves_no_handle_open(inbox: Path) -> None:
    if not (HANDLES.is_absolute() and HANDLES.is_dir()):  # on Windows it would be a folder of the current drive
        pytest.skip("open handles cannot be counted here")
    make(inbox, *(f"sub{number}/a.pdf" for number in range(5)))
    before = len(list(HANDLES.iterdir()))
    batches = iter(scan(inbox, recursive=True, wants=wants_pdf, batch=1))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert len(list(HANDLES.iterdir())) == before
