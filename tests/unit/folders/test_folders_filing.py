"""Filing away: only what was sent, nothing replaced, nothing lost, on one device and across two."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import FileBusy, LocalTrouble, NotRegular
from agent.folders import filing, system
from agent.folders.posix_calls import rename_noreplace
from agent.model import LaneReason, Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BYTES = b"%PDF- what was sent"
DIGEST = hashlib.sha256(BYTES).hexdigest()

BY_HANDLES = pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="folders are not walked by descriptors here")


def link(at: Path, to: Path) -> None:
    """Make a symlink; skips where this platform or user cannot, or only seems to."""
    try:
        at.symlink_to(to, target_is_directory=to.is_dir())
    except (OSError, NotImplementedError) as error:
        pytest.skip(f"no symlinks here: {error}")
    if not at.is_symlink():
        pytest.skip("symlinks are not told from files here")


def signature_of(path: Path) -> Signature:
    status = path.stat()
    return Signature(f"{status.st_dev:x}:{status.st_ino:x}", status.st_size, status.st_mtime_ns)


def everything(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


RENAME = "agent.folders.posix.rename_noreplace"


class Place:
    """An inbox with one file, and an archive, perhaps on another device."""

    def __init__(self, inbox: Path, archive: Path) -> None:
        self.inbox = inbox
        self.archive = archive
        (inbox / "sub").mkdir(parents=True)
        archive.mkdir(exist_ok=True)
        self.source = inbox / "sub" / "a.pdf"
        self.source.write_bytes(BYTES)
        os.utime(self.source, ns=(1_600_000_000_123_456_700, 1_600_000_000_123_456_700))
        self.signature = signature_of(self.source)

    def file_away(self, destination: str = "sub/a.pdf", **changes: Any) -> str:
        arguments: dict[str, Any] = {
            "source_root": self.inbox,
            "relative_path": "sub/a.pdf",
            "signature": self.signature,
            "destination_root": self.archive,
            "destination": destination,
            "sha256": DIGEST,
            "patience": 0.0,
        }
        return filing.file_away(**{**arguments, **changes})

    def contents(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        return everything(self.inbox), everything(self.archive)


NOTHING_MOVED: tuple[dict[str, bytes], dict[str, bytes]] = ({"sub/a.pdf": BYTES}, {})
MOVED: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {"sub/a.pdf": BYTES})


@pytest.fixture
def near(tmp_path: Path) -> Place:
    return Place(tmp_path / "inbox", tmp_path / "archive")


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Place]:
    """Return a place whose archive is on another device, where this machine has one that tests may write to."""
    for candidate in (Path("/dev/shm"), Path("/tmp"), Path.home(), Path("/var/tmp")):
        if candidate.is_dir() and os.access(candidate, os.W_OK) and candidate.stat().st_dev != tmp_path.stat().st_dev:
            break
    else:
        pytest.skip("no second device to write to")
    archive = Path(tempfile.mkdtemp(dir=candidate))
    yield Place(tmp_path / "inbox", archive)
    shutil.rmtree(archive)


@pytest.fixture(params=["near", "far"])
def place(request: pytest.FixtureRequest) -> Place:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Place)
    return found


# --- moving ----------------------------------------------------------------------------------------------------------


def test_filed_file_is_whole_and_its_identity_is_returned(place: Place) -> None:
    identity = place.file_away()
    assert place.contents() == MOVED
    assert identity == signature_of(place.archive / "sub" / "a.pdf").identity


def test_rename_keeps_the_identity(near: Place) -> None:
    assert near.file_away() == near.signature.identity


def test_times_and_mode_go_along(place: Place) -> None:
    place.source.chmod(0o604)
    before = place.source.stat()
    place.file_away()
    after = (place.archive / "sub" / "a.pdf").stat()
    assert after.st_mtime_ns == before.st_mtime_ns
    assert stat.S_IMODE(after.st_mode) == stat.S_IMODE(before.st_mode)


@BY_HANDLES
def test_owner_goes_along(place: Place) -> None:
    try:
        shutil.chown(place.source, 12345, 23456)
    except PermissionError:
        pytest.skip("only root may give files away")
    place.file_away()
    after = (place.archive / "sub" / "a.pdf").stat()
    assert (after.st_uid, after.st_gid) == (12345, 23456)


@BY_HANDLES
def test_owner_that_cannot_be_given_does_not_keep_a_copy_from_being_filed(
    far: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    far.file_away()
    assert far.contents() == MOVED


def test_taken_name_is_never_overwritten(place: Place) -> None:
    (place.archive / "sub").mkdir()
    (place.archive / "sub" / "a.pdf").write_bytes(b"earlier")
    with pytest.raises(FileExistsError):
        place.file_away()
    assert place.contents() == ({"sub/a.pdf": BYTES}, {"sub/a.pdf": b"earlier"})


def test_file_comes_back_from_the_archive_too(place: Place) -> None:
    identity = place.file_away()
    signature = Signature(identity, place.signature.size, place.signature.modified_ns)
    error = place.inbox / "error"
    error.mkdir()
    place.file_away(source_root=place.archive, destination_root=error, signature=signature)
    assert place.contents() == ({"error/sub/a.pdf": BYTES}, {})


def test_missing_archive_in_the_inbox_is_made(tmp_path: Path) -> None:
    place = Place(tmp_path / "inbox", tmp_path / "inbox" / "archive")
    place.archive.rmdir()
    place.file_away()
    assert everything(place.inbox) == {"archive/sub/a.pdf": BYTES}


def test_missing_archive_elsewhere_may_be_a_share_that_is_away_and_is_not_made(near: Place) -> None:
    near.archive.rmdir()
    with pytest.raises(LocalTrouble, match="is missing"):
        near.file_away()
    assert not near.archive.exists()
    assert everything(near.inbox) == {"sub/a.pdf": BYTES}


@BY_HANDLES
def test_both_folders_are_synced_after_the_rename(near: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    system.make_folder(near.archive, "sub").close()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    near.file_away()
    assert synced == [(near.archive / "sub").stat().st_ino, (near.inbox / "sub").stat().st_ino]


@BY_HANDLES
def test_an_archive_made_by_somebody_who_was_killed_before_he_synced_it_is_synced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "inbox", tmp_path / "inbox" / "archive")
    (place.archive / "sub").mkdir()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    place.file_away()
    names = [place.inbox.stat().st_ino, place.archive.stat().st_ino]
    assert synced[:-2] == names
    place.file_away(source_root=place.archive, destination_root=place.inbox)
    synced.clear()
    place.file_away()
    assert len(synced) == 2


@BY_HANDLES
def test_copy_is_durable_before_its_source_is_deleted(far: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    system.make_folder(far.archive, "sub").close()
    seen: list[tuple[str, bool]] = []

    def note(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        seen.append((kind, far.source.exists()))

    monkeypatch.setattr(os, "fsync", note)
    far.file_away()
    assert seen == [("file", True), ("folder", True), ("folder", False)]


# --- only what was sent ----------------------------------------------------------------------------------------------


def test_file_that_was_written_to_stays(place: Place) -> None:
    with place.source.open("ab") as writer:
        writer.write(b" and more")
    with pytest.raises(FileBusy) as caught:
        place.file_away()
    assert caught.value.gone
    assert place.contents() == ({"sub/a.pdf": BYTES + b" and more"}, {})


def test_file_rewritten_with_the_same_length_stays(place: Place) -> None:
    place.source.write_bytes(BYTES[::-1])
    with pytest.raises(FileBusy):
        place.file_away()
    assert place.contents() == ({"sub/a.pdf": BYTES[::-1]}, {})


def test_other_file_of_the_same_name_size_and_time_stays(place: Place) -> None:
    other = place.inbox / "other"
    other.write_bytes(BYTES)
    os.utime(other, ns=(place.signature.modified_ns, place.signature.modified_ns))
    other.replace(place.source)
    with pytest.raises(FileBusy) as caught:
        place.file_away()
    assert caught.value.gone
    assert place.contents() == NOTHING_MOVED


def test_time_rounded_by_a_coarse_file_system_is_forgiven_where_the_bytes_are_the_same(place: Place) -> None:
    rounded = place.signature.modified_ns // 10**9 * 10**9
    os.utime(place.source, ns=(rounded, rounded))
    place.file_away()
    assert place.contents() == MOVED


def test_time_rounded_is_not_forgiven_for_other_bytes(place: Place) -> None:
    place.source.write_bytes(BYTES[::-1])
    rounded = place.signature.modified_ns // 10**9 * 10**9
    os.utime(place.source, ns=(rounded, rounded))
    with pytest.raises(FileBusy):
        place.file_away()


@pytest.mark.parametrize("relative_path", ["sub/gone.pdf", "nowhere/a.pdf"])
def test_file_that_is_not_there_is_gone(place: Place, relative_path: str) -> None:
    with pytest.raises(FileBusy) as caught:
        place.file_away(relative_path=relative_path)
    assert caught.value.gone
    assert place.contents() == NOTHING_MOVED


def test_missing_inbox_does_not_make_its_files_gone(near: Place) -> None:
    near.inbox.rename(near.inbox.with_name("unmounted"))
    with pytest.raises(LocalTrouble):
        near.file_away()


def test_file_replaced_between_the_look_and_the_rename_is_put_back(
    near: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = system.Folder.rename

    def race(folder: system.Folder, name: str, destination: system.Folder, new_name: str) -> None:
        monkeypatch.undo()
        (near.inbox / "new").write_bytes(b"dropped just now")
        (near.inbox / "new").replace(near.source)
        rename(folder, name, destination, new_name)

    monkeypatch.setattr(system.Folder, "rename", race)
    with pytest.raises(FileBusy) as caught:
        near.file_away()
    assert caught.value.gone
    assert near.contents() == ({"sub/a.pdf": b"dropped just now"}, {})


def test_copy_with_other_bytes_than_were_sent_is_not_published(far: Place) -> None:
    with pytest.raises(FileBusy):
        far.file_away(sha256=hashlib.sha256(b"other").hexdigest())
    assert far.contents() == NOTHING_MOVED


def test_source_written_to_while_it_is_copied_stays(far: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = system.sync_file

    def write_meanwhile(handle: int) -> None:
        sync(handle)
        far.source.write_bytes(BYTES[::-1])

    monkeypatch.setattr(system, "sync_file", write_meanwhile)
    with pytest.raises(FileBusy):
        far.file_away()
    assert far.contents() == ({"sub/a.pdf": BYTES[::-1]}, {})


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planted", ["sub", "sub/deep"])
def test_link_planted_in_the_archive_is_not_followed(near: Place, tmp_path: Path, planted: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (near.archive / planted).parent.mkdir(exist_ok=True)
    link(near.archive / planted, outside)
    with pytest.raises(FileBusy) as caught:
        near.file_away("sub/deep/a.pdf")
    assert not caught.value.gone
    assert (everything(outside), everything(near.inbox)) == ({}, {"sub/a.pdf": BYTES})


def test_folder_of_the_source_swapped_for_a_link_is_not_followed(near: Place, tmp_path: Path) -> None:
    (near.inbox / "sub").rename(tmp_path / "outside")
    link(near.inbox / "sub", tmp_path / "outside")
    with pytest.raises(NotRegular):
        near.file_away()
    assert everything(tmp_path / "outside") == {"a.pdf": BYTES}


def test_source_swapped_for_a_link_is_not_moved(near: Place, tmp_path: Path) -> None:
    near.source.rename(tmp_path / "outside.pdf")
    link(near.source, tmp_path / "outside.pdf")
    with pytest.raises(NotRegular):
        near.file_away()
    assert everything(near.archive) == {}


def test_file_in_the_place_of_an_archive_folder_holds_up_this_file_alone(near: Place) -> None:
    (near.archive / "sub").write_bytes(b"filed when sub was a file")
    with pytest.raises(FileBusy) as caught:
        near.file_away()
    assert not caught.value.gone
    assert near.contents() == ({"sub/a.pdf": BYTES}, {"sub": b"filed when sub was a file"})


# --- trouble ---------------------------------------------------------------------------------------------------------


@BY_HANDLES
@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, LaneReason.DISK_FULL), (errno.EDQUOT, LaneReason.DISK_FULL), (errno.EIO, LaneReason.IO_ERROR)],
)
def test_copy_that_cannot_be_made_durable_leaves_everything_as_it_was(
    far: Place, monkeypatch: pytest.MonkeyPatch, number: int, reason: LaneReason
) -> None:
    (far.archive / "sub").mkdir()

    def fail(handle: int) -> None:
        raise OSError(number, f"no {handle}")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LocalTrouble) as caught:
        far.file_away()
    assert (caught.value.reason, far.contents()) == (reason, NOTHING_MOVED)


def test_copy_keeps_min_free(far: Place) -> None:
    with pytest.raises(LocalTrouble) as caught:
        far.file_away(min_free=2**62)
    assert (caught.value.reason, far.contents()) == (LaneReason.DISK_FULL, NOTHING_MOVED)


def refuse_rename(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(system.Folder, "rename", refuse)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ESTALE])
def test_sick_device_makes_the_lane_wait(near: Place, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    refuse_rename(monkeypatch, OSError(number, "words"))
    with pytest.raises(LocalTrouble):
        near.file_away()
    assert near.contents() == NOTHING_MOVED


def refuse_changes(monkeypatch: pytest.MonkeyPatch, closed: Path) -> None:
    refuse_rename(monkeypatch, PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr(system.Folder, "is_writable", lambda folder: folder.path != closed)


def test_archive_that_takes_no_changes_makes_the_lane_wait(near: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_changes(monkeypatch, near.archive / "sub")
    with pytest.raises(LocalTrouble) as caught:
        near.file_away()
    assert caught.value.reason == LaneReason.NOT_WRITABLE


def test_inbox_that_takes_no_changes_makes_the_lane_wait(near: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    near.source.rename(near.inbox / "a.pdf")
    refuse_changes(monkeypatch, near.inbox)
    with pytest.raises(LocalTrouble) as caught:
        near.file_away(relative_path="a.pdf")
    assert caught.value.reason == LaneReason.NOT_WRITABLE


def test_folder_of_somebody_elses_in_the_inbox_holds_up_no_other_file(
    near: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_changes(monkeypatch, near.inbox / "sub")
    with pytest.raises(FileBusy, match=r"cannot add and remove files in .*sub: Permission denied") as caught:
        near.file_away()
    assert not caught.value.gone


def test_file_that_alone_cannot_be_moved_holds_up_no_other(near: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_rename(monkeypatch, PermissionError(errno.EPERM, "Operation not permitted"))
    with pytest.raises(FileBusy) as caught:
        near.file_away()
    assert not caught.value.gone


class SharingViolationError(PermissionError):
    winerror = 32


def test_file_held_open_elsewhere_is_waited_for_then_busy(near: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_rename(monkeypatch, SharingViolationError(errno.EACCES, "in use"))
    pauses: list[float] = []
    with pytest.raises(FileBusy, match="another program holds it open") as caught:
        near.file_away(patience=2.0, wait=pauses.append)
    assert sum(pauses) == pytest.approx(2.0)
    assert not caught.value.gone


# --- doing it again --------------------------------------------------------------------------------------------------


def test_filed_file_is_known_again(place: Place) -> None:
    identity = place.file_away()
    assert filing.find_filed(place.archive, "sub/a.pdf", place.signature, DIGEST) == identity


def test_renamed_file_is_known_again_without_a_digest(near: Place) -> None:
    identity = near.file_away()
    assert filing.find_filed(near.archive, "sub/a.pdf", near.signature, "") == identity


def test_copy_is_not_known_again_without_a_digest(far: Place) -> None:
    far.file_away()
    assert filing.find_filed(far.archive, "sub/a.pdf", far.signature, "") is None


@pytest.mark.parametrize("other", [b"", BYTES[::-1]])
def test_strangers_file_is_not_taken_for_the_filed_one(near: Place, other: bytes) -> None:
    (near.archive / "a.pdf").write_bytes(other)
    assert filing.find_filed(near.archive, "a.pdf", near.signature, DIGEST) is None


@pytest.mark.parametrize("destination", ["a.pdf", "no/where.pdf"])
def test_nothing_filed_is_nothing_found(near: Place, destination: str) -> None:
    assert filing.find_filed(near.archive, destination, near.signature, DIGEST) is None


def test_link_at_the_destination_is_not_taken_for_the_filed_file(near: Place) -> None:
    link(near.archive / "a.pdf", near.source)
    assert filing.find_filed(near.archive, "a.pdf", near.signature, DIGEST) is None


def test_copy_whose_source_could_not_be_deleted_is_finished_the_next_time(
    far: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(system.Folder, "unlink", refuse)
    with pytest.raises(FileBusy):
        far.file_away()
    monkeypatch.undo()
    with pytest.raises(FileExistsError):
        far.file_away()
    assert filing.find_filed(far.archive, "sub/a.pdf", far.signature, DIGEST)
    assert filing.remove_filed(far.inbox, "sub/a.pdf", identity=far.signature.identity, size=far.signature.size)
    assert far.contents() == MOVED


def test_copy_cut_off_by_a_crash_is_made_anew(far: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(system.Folder, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "other")))
    monkeypatch.setattr(system.Folder, "unlink", crash)
    with pytest.raises(KeyboardInterrupt):
        far.file_away()
    assert len(everything(far.archive)) == 1
    monkeypatch.undo()
    far.file_away()
    assert far.contents() == MOVED


class DeathError(BaseException):
    """The process is dead: no handler of its own may do anything any more."""


class Mortal:
    """Lets the process die before its n-th change of the file system; afterwards nothing it does has an effect."""

    CALLS = ("mkdir", "open", "rename", "link", "unlink", "fchmod", "fchown", "fsync", "utime")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dies_at: int) -> None:
        self._left = dies_at
        self.is_dead = False
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._mortal(getattr(os, name)))
        monkeypatch.setattr(RENAME, self._mortal(rename_noreplace))

    def _mortal(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **keywords: Any) -> Any:
            if call is OPEN and not arguments[1] & os.O_CREAT:
                return call(*arguments, **keywords)
            self._left -= 1
            if self._left < 0:
                self.is_dead = True
                raise DeathError
            return call(*arguments, **keywords)

        return step


OPEN = os.open


def no_rename_without_replacing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(RENAME, refuse)


def file_away_as_the_caller_does(place: Place) -> str | None:
    """Do what the stage does with one planned filing, after a crash too."""
    try:
        return place.file_away()
    except FileExistsError:
        filed = filing.find_filed(place.archive, "sub/a.pdf", place.signature, DIGEST)
        assert filed is not None, "nobody else filed here"
        filing.remove_filed(place.inbox, "sub/a.pdf", identity=place.signature.identity, size=len(BYTES))
        return filed
    except FileBusy:
        return filing.find_filed(place.archive, "sub/a.pdf", place.signature, DIGEST)


@BY_HANDLES
@pytest.mark.parametrize("limit", [lambda _: None, no_rename_without_replacing], ids=["rename", "link and unlink"])
def test_death_at_any_point_of_filing_loses_and_doubles_nothing(
    place: Place, limit: Callable[[pytest.MonkeyPatch], None]
) -> None:
    points = 0
    for dies_at in range(100):
        shutil.rmtree(place.inbox)
        shutil.rmtree(place.archive)
        place = Place(place.inbox, place.archive)
        with pytest.MonkeyPatch.context() as monkeypatch:
            mortal = Mortal(monkeypatch, dies_at)
            limit(monkeypatch)
            with contextlib.suppress(DeathError):
                place.file_away()
        if not mortal.is_dead:
            break
        points += 1
        inbox, archive = place.contents()
        visible = {name for name in archive if ".fsagent-" not in name}
        assert all(archive[name] == BYTES for name in visible)
        assert visible or inbox
        assert file_away_as_the_caller_does(place) == signature_of(place.archive / "sub" / "a.pdf").identity
        assert place.contents() == MOVED
    assert points >= 4


# --- removing --------------------------------------------------------------------------------------------------------


def test_filed_file_is_removed(near: Place) -> None:
    identity = near.file_away()
    assert filing.remove_filed(near.archive, "sub/a.pdf", identity=identity, size=len(BYTES))
    assert near.contents() == ({}, {})


def test_file_that_is_gone_already_counts_as_removed(near: Place) -> None:
    assert filing.remove_filed(near.archive, "no/a.pdf", identity="1:1", size=1)


def test_other_file_of_that_name_is_not_removed(near: Place) -> None:
    (near.archive / "a.pdf").write_bytes(b"stranger")
    assert not filing.remove_filed(near.archive, "a.pdf", identity="1:1", size=8)
    assert everything(near.archive) == {"a.pdf": b"stranger"}


def test_nothing_is_removed_through_a_link(near: Place, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.pdf").write_bytes(b"precious")
    link(near.archive / "sub", tmp_path / "outside")
    identity = signature_of(tmp_path / "outside" / "a.pdf").identity
    assert not filing.remove_filed(near.archive, "sub/a.pdf", identity=identity, size=8)
    assert (tmp_path / "outside" / "a.pdf").exists()


def test_archive_that_is_away_is_trouble_not_success(near: Place) -> None:
    with pytest.raises(LocalTrouble):
        filing.remove_filed(near.archive / "away", "a.pdf", identity="1:1", size=1)


# --- roots and notes -------------------------------------------------------------------------------------------------


def test_root_is_made_and_made_again(tmp_path: Path) -> None:
    for _ in range(2):
        filing.make_root(tmp_path / "archive")
    assert (tmp_path / "archive").is_dir()


def test_root_may_be_a_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link(tmp_path / "archive", tmp_path / "real")
    filing.make_root(tmp_path / "archive")
    assert list((tmp_path / "real").iterdir()) == []


def test_root_whose_parent_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LocalTrouble):
        filing.make_root(tmp_path / "away" / "archive")
    assert not (tmp_path / "away").exists()


def test_file_in_the_place_of_a_root_is_local_trouble(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"")
    with pytest.raises(LocalTrouble, match="is no folder"):
        filing.make_root(tmp_path / "archive")


def test_note_stands_beside_its_file_in_utf8(tmp_path: Path) -> None:
    assert filing.write_note(tmp_path, "sub/a.pdf", "reason: empty: käse\n") == "sub/a.pdf.error.txt"
    assert everything(tmp_path) == {"sub/a.pdf.error.txt": "reason: empty: käse\n".encode()}


def test_note_keeps_a_strangers_file_and_says_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "a.pdf.error.txt").write_bytes(b"stranger")
    name = filing.write_note(tmp_path, "a.pdf", "reason: empty: x\n")
    assert name != "a.pdf.error.txt"
    assert everything(tmp_path) == {"a.pdf.error.txt": b"stranger", name: b"reason: empty: x\n"}


def test_same_note_written_again_stays_one(tmp_path: Path) -> None:
    (tmp_path / "b.pdf.error.txt").write_bytes(b"stranger")
    for file in ("a.pdf", "b.pdf"):
        names = {filing.write_note(tmp_path, file, "reason: empty: x\n") for _ in range(2)}
        assert len(names) == 1
    assert len(everything(tmp_path)) == 3


def test_own_earlier_note_is_replaced(tmp_path: Path) -> None:
    filing.write_note(tmp_path, "a.pdf", "reason: empty: x\ntask: 17\n")
    filing.write_note(tmp_path, "a.pdf", "reason: empty: y\ntask: 17\n", own="task: 17\n")
    assert everything(tmp_path) == {"a.pdf.error.txt": b"reason: empty: y\ntask: 17\n"}


def test_note_of_a_very_long_name_is_shortened(tmp_path: Path) -> None:
    name = filing.write_note(tmp_path, "x" * 251 + ".pdf", "reason: empty: x\n")
    assert len(name) <= 255
    assert list(everything(tmp_path)) == [name]


def test_note_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "error").mkdir()
    link(tmp_path / "error" / "sub", tmp_path / "outside")
    with pytest.raises(LocalTrouble):
        filing.write_note(tmp_path / "error", "sub/a.pdf", "reason: empty: x\n")
    assert everything(tmp_path / "outside") == {}


def test_note_is_removed_but_not_a_strangers(tmp_path: Path) -> None:
    filing.write_note(tmp_path, "a.pdf", "reason: empty: x\n")
    (tmp_path / "b.pdf.error.txt").write_bytes(b"stranger")
    assert [filing.remove_note(tmp_path, name) for name in ("a.pdf", "a.pdf", "b.pdf")] == [True, False, False]
    assert everything(tmp_path) == {"b.pdf.error.txt": b"stranger"}
