"""The seam to the platform: folders walked by handles, renames that replace nothing, waiting for other programs."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import FileBusy, LocalTrouble, NotRegular
from agent.folders import system
from agent.folders.windows_calls import long_path
from agent.model import Irregular, LaneReason

if TYPE_CHECKING:
    from collections.abc import Callable

BY_HANDLES = pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="folders are not walked by descriptors here")


def link(at: Path, to: Path) -> None:
    """Make a symlink; skips where this platform or user cannot, or only seems to."""
    try:
        at.symlink_to(to, target_is_directory=to.is_dir())
    except (OSError, NotImplementedError) as error:
        pytest.skip(f"no symlinks here: {error}")
    if not at.is_symlink():
        pytest.skip("symlinks are not told from files here")


def make_fifo(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs here")
    os.mkfifo(path)


# --- reading beneath a root ------------------------------------------------------------------------------------------


def test_file_beneath_a_root_opens(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.pdf").write_bytes(b"whole")
    with system.open_beneath(tmp_path, "a/b/c.pdf") as file:
        assert file.read() == b"whole"


def test_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "c.pdf").write_bytes(b"whole")
    link(tmp_path / "root", tmp_path / "real")
    with system.open_beneath(tmp_path / "root", "c.pdf") as file:
        assert file.read() == b"whole"


def test_symlink_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root").mkdir()
    link(tmp_path / "root" / "c.pdf", tmp_path / "secret")
    with pytest.raises(NotRegular, match="symlink"):
        system.open_beneath(tmp_path / "root", "c.pdf")


def test_symlinked_folder_on_the_way_is_never_walked(tmp_path: Path) -> None:
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "deep" / "c.pdf").write_bytes(b"secret")
    (tmp_path / "root").mkdir()
    link(tmp_path / "root" / "a", tmp_path / "outside")
    with pytest.raises(NotRegular, match="symlink"):
        system.open_beneath(tmp_path / "root", "a/deep/c.pdf")


def test_fifo_is_refused_without_blocking(tmp_path: Path) -> None:
    make_fifo(tmp_path / "c.pdf")
    with pytest.raises(NotRegular, match="fifo"):
        system.open_beneath(tmp_path, "c.pdf")


def test_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("no sockets in folders here")
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("c.pdf")
        with pytest.raises(NotRegular, match="socket"):
            system.open_beneath(tmp_path, "c.pdf")


@BY_HANDLES
def test_device_is_refused() -> None:
    if not Path("/dev/zero").is_char_device():
        pytest.skip("no devices in folders here")
    with pytest.raises(NotRegular, match="device"):
        system.open_beneath(Path("/dev"), "zero")


def test_folder_named_like_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.pdf").mkdir()
    with pytest.raises(NotRegular, match="folder"):
        system.open_beneath(tmp_path, "c.pdf")


@pytest.mark.parametrize("relative_path", ["c.pdf", "no/c.pdf", "file/c.pdf"])
def test_file_that_is_not_there_is_gone(tmp_path: Path, relative_path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileBusy) as caught:
        system.open_beneath(tmp_path, relative_path)
    assert caught.value.gone


def test_missing_root_is_the_lanes_trouble_and_says_nothing_about_the_file(tmp_path: Path) -> None:
    with pytest.raises(LocalTrouble, match="is missing"):
        system.open_beneath(tmp_path / "away", "c.pdf")


@pytest.mark.parametrize("relative_path", ["../c.pdf", "/etc/passwd", "a/../../c", "a//b", "", "a/.", "a\0b"])
def test_path_that_leaves_the_root_is_refused_before_anything_is_opened(tmp_path: Path, relative_path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        system.open_beneath(tmp_path / "not-even-there", relative_path)


@BY_HANDLES
def test_too_many_open_files_is_the_lanes_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.pdf").write_bytes(b"x")

    def no_handles(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", no_handles)
    with pytest.raises(LocalTrouble) as caught:
        system.open_beneath(tmp_path, "c.pdf")
    assert caught.value.reason == LaneReason.TOO_MANY_OPEN_FILES


@BY_HANDLES
def test_refused_reading_names_owner_and_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.pdf").write_bytes(b"x")
    (tmp_path / "c.pdf").chmod(0o640)
    real_open = os.open

    def refuse(path: str, *arguments: int, **keywords: int) -> int:
        if path == "c.pdf":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileBusy, match="mode 0640") as caught:
        system.open_beneath(tmp_path, "c.pdf")
    assert not caught.value.gone


# --- looking ---------------------------------------------------------------------------------------------------------


def test_sight_agrees_with_stat(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "c.pdf"
    path.write_bytes(b"12345")
    status = path.stat()
    sighting = system.sight(tmp_path, "a/c.pdf")
    assert sighting is not None
    assert sighting.relative_path == "a/c.pdf"
    assert sighting.signature.identity == f"{status.st_dev:x}:{status.st_ino:x}"
    assert (sighting.size, sighting.signature.modified_ns) == (5, status.st_mtime_ns)
    assert (sighting.links, sighting.irregular) == (1, None)


def test_listing_and_sight_give_the_same_identity(tmp_path: Path) -> None:
    (tmp_path / "c.pdf").write_bytes(b"12345")
    with os.scandir(system.native_path(tmp_path)) as entries:
        listed = system.sighting_of(system.entry_stat(next(entries)), "c.pdf")
    assert listed == system.sight(tmp_path, "c.pdf")


def test_sight_of_what_is_gone_or_a_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert [system.sight(tmp_path, name) for name in ("gone.pdf", "no/where.pdf", "folder")] == [None, None, None]


def test_sight_counts_hard_links(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    os.link(tmp_path / "a.pdf", tmp_path / "b.pdf")
    sighting = system.sight(tmp_path, "a.pdf")
    assert sighting is not None
    assert sighting.links == 2


def test_sight_names_a_link_and_looks_through_none(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "c.pdf").write_bytes(b"secret")
    (tmp_path / "root").mkdir()
    link(tmp_path / "root" / "c.pdf", tmp_path / "outside" / "c.pdf")
    link(tmp_path / "root" / "a", tmp_path / "outside")
    sightings = [system.sight(tmp_path / "root", name) for name in ("c.pdf", "a/c.pdf")]
    assert [sighting and sighting.irregular for sighting in sightings] == [Irregular.SYMLINK, Irregular.SYMLINK]


def test_sight_names_a_fifo(tmp_path: Path) -> None:
    make_fifo(tmp_path / "c.pdf")
    sighting = system.sight(tmp_path, "c.pdf")
    assert sighting is not None
    assert sighting.irregular == Irregular.FIFO


# --- making folders --------------------------------------------------------------------------------------------------


@BY_HANDLES
def test_folders_are_made_beneath_a_root_and_each_parent_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    system.make_folder(tmp_path, "a/b/c").close()
    made = [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert synced == [path.stat().st_ino for path in made]
    assert (tmp_path / "a" / "b" / "c").is_dir()


@BY_HANDLES
def test_a_folder_that_is_there_has_its_name_synced_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    for _ in range(3):
        system.make_folder(tmp_path, "a/b").close()
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]


@BY_HANDLES
def test_a_folder_whose_name_could_not_be_synced_is_synced_by_the_next_who_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            system.make_folder(tmp_path, "a")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    system.make_folder(tmp_path, "a").close()
    assert synced == [tmp_path.stat().st_ino]


@BY_HANDLES
def test_a_folder_another_thread_is_just_making_is_synced_by_whoever_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.make_folder(tmp_path, "a").close()
    (tmp_path / "a").rmdir()  # by a reader: what was known of it says nothing of the next one
    synced: list[int] = []
    mkdir = os.mkdir

    def found_by_another(*arguments: Any, **options: Any) -> None:
        mkdir(*arguments, **options)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
            system.make_folder(tmp_path, "a").close()

    monkeypatch.setattr(os, "mkdir", found_by_another)
    system.make_folder(tmp_path, "a").close()
    assert synced == [tmp_path.stat().st_ino]


def test_folder_is_not_made_through_a_planted_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    link(tmp_path / "root" / "a", tmp_path / "outside")
    with pytest.raises(NotRegular):
        system.make_folder(tmp_path / "root", "a/b")
    assert list((tmp_path / "outside").iterdir()) == []


def test_folder_swapped_for_a_link_after_it_was_opened_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "a").mkdir(parents=True)
    with system.open_folder(tmp_path / "root", "a") as folder:
        try:
            (tmp_path / "root" / "a").rename(tmp_path / "root" / "old")
        except PermissionError:
            pytest.skip("a folder that is held open cannot be swapped here: nothing to test")
        link(tmp_path / "root" / "a", tmp_path / "outside")
        folder.create("c.pdf").close()
    assert list((tmp_path / "outside").iterdir()) == []
    assert [path.name for path in (tmp_path / "root" / "old").iterdir()] == ["c.pdf"]


# --- renaming --------------------------------------------------------------------------------------------------------


def no_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.open not in os.supports_dir_fd:
        pytest.skip("renames need no fallback here")

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("agent.folders.posix.rename_noreplace", refuse)


def no_links_either(monkeypatch: pytest.MonkeyPatch) -> None:
    no_renameat2(monkeypatch)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


def nothing_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch


WAYS = pytest.mark.parametrize("limit", [nothing_missing, no_renameat2, no_links_either])


@WAYS
def test_publishing_gives_the_file_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: Callable[[pytest.MonkeyPatch], None]
) -> None:
    limit(monkeypatch)
    (tmp_path / "staged").write_bytes(b"new")
    system.publish_without_replacing(tmp_path / "staged", tmp_path / "target")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("target", b"new")]


@WAYS
def test_publishing_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: Callable[[pytest.MonkeyPatch], None]
) -> None:
    limit(monkeypatch)
    (tmp_path / "staged").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        system.publish_without_replacing(tmp_path / "staged", tmp_path / "target")
    assert ((tmp_path / "staged").read_bytes(), (tmp_path / "target").read_bytes()) == (b"new", b"old")


@WAYS
def test_publishing_does_not_replace_a_dangling_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: Callable[[pytest.MonkeyPatch], None]
) -> None:
    (tmp_path / "staged").write_bytes(b"new")
    link(tmp_path / "target", tmp_path / "nowhere")
    limit(monkeypatch)
    with pytest.raises(FileExistsError):
        system.publish_without_replacing(tmp_path / "staged", tmp_path / "target")
    assert not (tmp_path / "nowhere").exists()


def test_reservation_goes_away_where_the_rename_over_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_links_either(monkeypatch)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "rename", fail)
    (tmp_path / "staged").write_bytes(b"new")
    with pytest.raises(OSError, match="Input/output"):
        system.publish_without_replacing(tmp_path / "staged", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["staged"]


@given(taken=st.binary(max_size=8), new=st.binary(max_size=8), is_taken=st.booleans())
def test_no_publishing_ever_loses_bytes(
    tmp_path_factory: pytest.TempPathFactory, taken: bytes, new: bytes, is_taken: bool
) -> None:
    folder = tmp_path_factory.mktemp("publishing")
    (folder / "staged").write_bytes(new)
    if is_taken:
        (folder / "target").write_bytes(taken)
    try:
        system.publish_without_replacing(folder / "staged", folder / "target")
    except FileExistsError:
        assert is_taken
    contents = sorted(path.read_bytes() for path in folder.iterdir())
    assert contents == sorted([new, taken] if is_taken else [new])


# --- waiting for other programs --------------------------------------------------------------------------------------


class SharingViolationError(PermissionError):
    winerror = 32


def test_rename_waits_with_growing_pauses_up_to_its_patience() -> None:
    pauses: list[float] = []

    def always_held() -> None:
        raise SharingViolationError(errno.EACCES, "in use")

    with pytest.raises(SharingViolationError):
        system.patiently(always_held, patience=1.0, wait=pauses.append)
    assert sum(pauses) == pytest.approx(1.0)
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.4]


def test_rename_goes_through_once_the_other_program_lets_go() -> None:
    attempts: list[int] = []

    def held_twice() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise SharingViolationError(errno.EACCES, "in use")

    system.patiently(held_twice, patience=60.0, wait=lambda _: None)
    assert len(attempts) == 3


def test_other_errors_are_not_waited_for() -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        system.patiently(full, patience=60.0, wait=lambda _: pytest.fail("waited"))


# --- small things ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (r"C:\scans\a.pdf", r"\\?\C:\scans\a.pdf"),
        ("C:/scans/./x/../a.pdf", r"\\?\C:\scans\a.pdf"),
        (r"C:\scans\ends with dot.", r"\\?\C:\scans\ends with dot."),
        (r"\\server\share\in\a.pdf", r"\\?\UNC\server\share\in\a.pdf"),
        (r"\\?\C:\scans\a.pdf", r"\\?\C:\scans\a.pdf"),
        ("C:\\" + "d" * 300 + "\\a.pdf", "\\\\?\\C:\\" + "d" * 300 + "\\a.pdf"),
    ],
)
def test_long_path_keeps_names_and_lifts_the_limit(path: str, expected: str) -> None:
    assert long_path(path) == expected


@pytest.mark.parametrize("path", ["a.pdf", r"C:a.pdf", r"\scans\a.pdf"])
def test_long_path_refuses_what_is_not_absolute(path: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        long_path(path)


def test_free_space_is_positive_and_missing_folder_is_local_trouble(tmp_path: Path) -> None:
    assert system.free_space(tmp_path) > 0
    with pytest.raises(LocalTrouble):
        system.free_space(tmp_path / "away")


def test_folder_yet_to_be_made_is_on_its_parents_device(tmp_path: Path) -> None:
    assert system.same_device(tmp_path, tmp_path / "archive" / "not yet")


def test_file_held_for_writing_is_noticed(tmp_path: Path) -> None:
    if not hasattr(ctypes, "WinDLL"):
        pytest.skip("this system does not tell")
    path = tmp_path / "c.pdf"
    with path.open("wb"):
        assert system.is_held_for_writing(path)
    assert not system.is_held_for_writing(path)
