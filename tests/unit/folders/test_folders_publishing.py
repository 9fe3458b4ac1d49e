"""Exports beneath an output root: staged whole or not at all, published without replacing, never through a link."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from agent.errors import LocalTrouble, TaskFatal, TaskTransient
from agent.folders import publishing
from agent.folders.publishing import ANY_PLAIN_FILE, Staged, TargetState
from agent.model import LaneReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PART = ".fsagent-0123456789abcdef.part"

KEEPS_MODES = pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="rights are inherited from the folder here")


def link(at: Path, to: Path) -> None:
    """Make a symlink; skips where this platform or user cannot, or only seems to."""
    try:
        at.symlink_to(to, target_is_directory=to.is_dir())
    except (OSError, NotImplementedError) as error:
        pytest.skip(f"no symlinks here: {error}")
    if not at.is_symlink():
        pytest.skip("symlinks are not told from files here")


def stage(
    root: Path, chunks: Iterable[bytes] = (b"one ", b"two"), *, folder: str = "", file_mode: int | None = None
) -> Staged:
    return publishing.stage(root, join(folder, PART), chunks, file_mode=file_mode, folder_mode=None)


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def everything(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


@pytest.fixture
def mask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


# --- staging ---------------------------------------------------------------------------------------------------------


def test_staged_file_is_whole_and_described(root: Path) -> None:
    staged = stage(root, folder="a/b")
    status = (root / "a" / "b" / PART).stat()
    assert (root / "a" / "b" / PART).read_bytes() == b"one two"
    assert staged == Staged(f"{status.st_dev:x}:{status.st_ino:x}", 7, hashlib.sha256(b"one two").hexdigest())


def test_staging_syncs_the_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    stage(root)
    assert synced == [7]


def test_what_a_crash_cut_off_is_written_anew(root: Path) -> None:
    (root / PART).write_bytes(b"on")
    stage(root)
    assert everything(root) == {PART: b"one two"}


def test_error_of_the_source_leaves_nothing(root: Path) -> None:
    def cut() -> Iterator[bytes]:
        yield b"one "
        raise TaskTransient("cut")

    with pytest.raises(TaskTransient, match="cut"):
        stage(root, cut())
    assert everything(root) == {}


def test_oserror_of_the_source_is_not_blamed_on_the_target(root: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one "
        raise OSError(errno.EINVAL, "of the source")

    with pytest.raises(OSError, match="of the source"):
        stage(root, broken())
    assert everything(root) == {}


@pytest.mark.parametrize(("number", "reason"), [(errno.EIO, LaneReason.IO_ERROR), (errno.ENOSPC, LaneReason.DISK_FULL)])
def test_failed_fsync_throws_the_bytes_away_and_is_tried_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: LaneReason
) -> None:
    attempts: list[int] = []

    def fail(handle: int) -> None:
        attempts.append(handle)
        raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LocalTrouble) as caught:
        stage(root)
    assert (caught.value.reason, everything(root), len(attempts)) == (reason, {}, 1)


def test_write_that_fails_half_way_is_local_trouble_and_leaves_nothing(root: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limit of the file size here")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, before[1]))
    try:
        with pytest.raises(LocalTrouble):
            stage(root, [bytes(512 * 1024)] * 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert everything(root) == {}


def test_nothing_is_staged_where_less_than_min_free_would_be_left(root: Path) -> None:
    with pytest.raises(LocalTrouble) as caught:
        publishing.stage(root, PART, [b"x"], file_mode=None, folder_mode=None, min_free=2**62)
    assert (caught.value.reason, everything(root)) == (LaneReason.DISK_FULL, {})


def test_missing_output_is_local_trouble(tmp_path: Path) -> None:
    with pytest.raises(LocalTrouble) as caught:
        stage(tmp_path / "away")
    assert caught.value.reason == LaneReason.OUTPUT_MISSING


def test_file_in_the_place_of_a_folder_fails_the_task(root: Path) -> None:
    (root / "a").write_bytes(b"a reader's")
    with pytest.raises(TaskFatal):
        stage(root, folder="a")
    assert everything(root) == {"a": b"a reader's"}


def test_name_the_system_refuses_fails_the_task(root: Path) -> None:
    with pytest.raises(TaskFatal):
        publishing.stage(root, "x" * 300 + "/" + PART, [b"x"], file_mode=None, folder_mode=None)


@pytest.mark.parametrize("folder", ["a", "a/b"])
def test_link_planted_in_the_output_fails_the_task_and_is_not_followed(tmp_path: Path, root: Path, folder: str) -> None:
    (tmp_path / "outside" / "b").mkdir(parents=True)
    link(root / "a", tmp_path / "outside")
    with pytest.raises(TaskFatal):
        stage(root, folder=folder)
    assert everything(tmp_path / "outside") == {}


def test_link_planted_under_the_staged_name_is_removed_not_followed(tmp_path: Path, root: Path) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    link(root / PART, tmp_path / "outside")
    stage(root)
    assert (tmp_path / "outside").read_bytes() == b"precious"
    assert not (root / PART).is_symlink()


# --- rights ----------------------------------------------------------------------------------------------------------


@KEEPS_MODES
@pytest.mark.usefixtures("mask")
def test_inherit_gives_the_rights_of_a_newly_made_file(root: Path) -> None:
    stage(root)
    assert stat.S_IMODE((root / PART).stat().st_mode) == 0o640


@KEEPS_MODES
@pytest.mark.usefixtures("mask")
def test_file_is_for_its_owner_alone_while_it_is_written(root: Path) -> None:
    seen: list[int] = []

    def chunks() -> Iterator[bytes]:
        yield b"secret"
        seen.append(stat.S_IMODE((root / PART).stat().st_mode))

    stage(root, chunks())
    assert seen == [0o600]


@KEEPS_MODES
@pytest.mark.usefixtures("mask")
def test_configured_modes_go_before_the_mask(root: Path) -> None:
    publishing.stage(root, f"a/b/{PART}", [b"x"], file_mode=0o664, folder_mode=0o775)
    modes = [stat.S_IMODE((root / path).stat().st_mode) for path in ("a", "a/b", f"a/b/{PART}")]
    assert modes == [0o775, 0o775, 0o664]


@KEEPS_MODES
def test_setgid_of_a_folder_goes_down_and_survives_a_configured_mode(root: Path) -> None:
    root.chmod(0o2775)
    if not root.stat().st_mode & stat.S_ISGID:
        pytest.skip("no setgid folders here")
    publishing.stage(root, f"a/{PART}", [b"x"], file_mode=None, folder_mode=0o750)
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o2750


# --- publishing ------------------------------------------------------------------------------------------------------


def test_published_file_has_its_name_bytes_and_identity(root: Path) -> None:
    staged = stage(root, folder="a")
    publishing.publish(root, f"a/{PART}", "a/result.csv", identity=staged.identity)
    assert everything(root) == {"a/result.csv": b"one two"}
    assert publishing.target_state(root, "a/result.csv") == TargetState(
        exists=True, identity=staged.identity, size=7, is_plain=True
    )


def test_publishing_twice_is_done_once(root: Path) -> None:
    staged = stage(root)
    for _ in range(2):
        publishing.publish(root, PART, "result.csv", identity=staged.identity)
    assert everything(root) == {"result.csv": b"one two"}


def test_strangers_file_is_not_replaced(root: Path) -> None:
    staged = stage(root)
    (root / "result.csv").write_bytes(b"stranger")
    with pytest.raises(FileExistsError):
        publishing.publish(root, PART, "result.csv", identity=staged.identity)
    assert everything(root) == {PART: b"one two", "result.csv": b"stranger"}


def test_own_earlier_file_is_replaced_where_its_identity_is_given(root: Path) -> None:
    (root / "result.csv").write_bytes(b"earlier")
    earlier = publishing.target_state(root, "result.csv").identity
    staged = stage(root)
    publishing.publish(root, PART, "result.csv", identity=staged.identity, replace=earlier)
    assert everything(root) == {"result.csv": b"one two"}


def test_file_that_is_not_the_earlier_one_is_not_replaced(root: Path) -> None:
    (root / "result.csv").write_bytes(b"stranger")
    staged = stage(root)
    with pytest.raises(FileExistsError):
        publishing.publish(root, PART, "result.csv", identity=staged.identity, replace="0:0")
    assert (root / "result.csv").read_bytes() == b"stranger"


def test_overwrite_replaces_a_plain_file(root: Path) -> None:
    (root / "result.csv").write_bytes(b"stranger")
    staged = stage(root)
    publishing.publish(root, PART, "result.csv", identity=staged.identity, replace=ANY_PLAIN_FILE)
    assert everything(root) == {"result.csv": b"one two"}


def test_overwrite_without_anything_there_just_publishes(root: Path) -> None:
    staged = stage(root)
    publishing.publish(root, PART, "result.csv", identity=staged.identity, replace=ANY_PLAIN_FILE)
    assert everything(root) == {"result.csv": b"one two"}


def test_overwrite_fails_the_task_where_a_folder_has_the_name(root: Path) -> None:
    (root / "result.csv").mkdir()
    staged = stage(root)
    with pytest.raises(TaskFatal):
        publishing.publish(root, PART, "result.csv", identity=staged.identity, replace=ANY_PLAIN_FILE)


def test_overwrite_fails_the_task_where_a_link_has_the_name(tmp_path: Path, root: Path) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    link(root / "result.csv", tmp_path / "outside")
    staged = stage(root)
    with pytest.raises(TaskFatal):
        publishing.publish(root, PART, "result.csv", identity=staged.identity, replace=ANY_PLAIN_FILE)
    assert (tmp_path / "outside").read_bytes() == b"precious"


def test_staged_file_that_somebody_deleted_makes_the_task_start_over(root: Path) -> None:
    staged = stage(root)
    (root / PART).unlink()
    with pytest.raises(TaskTransient):
        publishing.publish(root, PART, "result.csv", identity=staged.identity)


def test_staged_file_that_somebody_replaced_is_not_published(root: Path) -> None:
    staged = stage(root)
    (root / "other").write_bytes(b"not ours")
    (root / "other").replace(root / PART)
    with pytest.raises(TaskTransient):
        publishing.publish(root, PART, "result.csv", identity=staged.identity)
    assert not (root / "result.csv").exists()


def test_folder_swapped_for_a_link_after_staging_fails_the_task(tmp_path: Path, root: Path) -> None:
    (tmp_path / "outside").mkdir()
    staged = stage(root, folder="a")
    (root / "a").rename(tmp_path / "moved")
    link(root / "a", tmp_path / "outside")
    with pytest.raises(TaskFatal):
        publishing.publish(root, f"a/{PART}", "a/result.csv", identity=staged.identity)
    assert everything(tmp_path / "outside") == {}


@KEEPS_MODES
def test_crash_between_link_and_unlink_is_finished(root: Path) -> None:
    staged = stage(root)
    os.link(root / PART, root / "result.csv")
    publishing.publish(root, PART, "result.csv", identity=staged.identity)
    assert everything(root) == {"result.csv": b"one two"}


@KEEPS_MODES
@pytest.mark.parametrize("call", ["link", "unlink", "rename"])
def test_publishing_goes_on_after_it_failed_at_any_call(root: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def no_such_rename(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    staged = stage(root)
    monkeypatch.setattr("agent.folders.posix.rename_noreplace", no_such_rename)
    with monkeypatch.context() as failing:
        failing.setattr(os, call, fail)
        with contextlib.suppress(LocalTrouble):
            publishing.publish(root, PART, "result.csv", identity=staged.identity)
    publishing.publish(root, PART, "result.csv", identity=staged.identity)
    assert everything(root) == {"result.csv": b"one two"}


# --- looking, syncing, clearing up -----------------------------------------------------------------------------------


def test_free_target_does_not_exist(root: Path) -> None:
    assert publishing.target_state(root, "no/such.csv") == TargetState(exists=False)


def test_folder_at_the_target_is_not_plain(root: Path) -> None:
    (root / "result.csv").mkdir()
    state = publishing.target_state(root, "result.csv")
    assert (state.exists, state.is_plain) == (True, False)


def test_dangling_link_at_the_target_exists_and_is_not_plain(root: Path) -> None:
    link(root / "result.csv", root / "nowhere")
    state = publishing.target_state(root, "result.csv")
    assert (state.exists, state.is_plain) == (True, False)


def test_target_beyond_a_file_fails_the_task(root: Path) -> None:
    (root / "a").write_bytes(b"")
    with pytest.raises(TaskFatal):
        publishing.target_state(root, "a/result.csv")


def test_folders_are_synced_once_each_and_missing_ones_skipped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.open not in os.supports_dir_fd:
        pytest.skip("folders are not synced here")
    (root / "a").mkdir()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    publishing.sync_folders(root, ["a", "", "a", "taken away"])
    assert synced == [root.stat().st_ino, (root / "a").stat().st_ino]


def test_discard_removes_the_staged_file_and_may_be_repeated(root: Path) -> None:
    stage(root)
    for _ in range(2):
        publishing.discard(root, PART)
    assert everything(root) == {}


def test_discard_leaves_a_published_name_alone_unless_it_is_known_to_be_ours(root: Path) -> None:
    (root / "result.csv").write_bytes(b"stranger")
    publishing.discard(root, "result.csv")
    publishing.discard(root, "result.csv", identity="0:0")
    assert everything(root) == {"result.csv": b"stranger"}
    publishing.discard(root, "result.csv", identity=publishing.target_state(root, "result.csv").identity)
    assert everything(root) == {}


def test_discard_in_an_output_that_is_away_raises_nothing(tmp_path: Path) -> None:
    publishing.discard(tmp_path / "away", PART)


def test_left_over_staged_files_are_found_but_not_through_links(tmp_path: Path, root: Path) -> None:
    stage(root)
    stage(root, folder="a/b")
    (root / "a" / "result.csv").write_bytes(b"x")
    (root / "a" / ".fsagent-short.part").write_bytes(b"x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / PART).write_bytes(b"not beneath")
    link(root / "c", tmp_path / "outside")
    assert sorted(publishing.find_staged(root)) == [PART, f"a/b/{PART}"]
