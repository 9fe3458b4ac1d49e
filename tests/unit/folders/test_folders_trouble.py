"""Whose fault an error of the file system is."""

from __future__ import annotations

import errno

import pytest

from agent.errors import FileBusy, LocalTrouble
from agent.folders.trouble import any_local_trouble, as_local_trouble, local_trouble, source_trouble
from agent.model import LaneReason


class WindowsError(OSError):
    """An OSError as Windows raises it: with the Windows code beside the errno."""

    def __init__(self, code: int, number: int = errno.EACCES) -> None:
        super().__init__(number, f"error {code}")
        self.winerror = code


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ENOSPC", LaneReason.DISK_FULL),
        ("EDQUOT", LaneReason.DISK_FULL),
        ("EROFS", LaneReason.READ_ONLY),
        ("EACCES", LaneReason.NOT_WRITABLE),
        ("EPERM", LaneReason.NOT_WRITABLE),
        ("EMFILE", LaneReason.TOO_MANY_OPEN_FILES),
        ("ENFILE", LaneReason.TOO_MANY_OPEN_FILES),
        ("EIO", LaneReason.IO_ERROR),
        ("ESTALE", LaneReason.IO_ERROR),
        ("ENODEV", LaneReason.IO_ERROR),
        ("ENOTCONN", LaneReason.IO_ERROR),
        ("EHOSTDOWN", LaneReason.IO_ERROR),
    ],
)
def test_errno_of_a_place_makes_its_lane_wait_with_a_hint(name: str, reason: LaneReason) -> None:
    if not hasattr(errno, name):
        pytest.skip(f"this platform has no {name}")
    trouble = local_trouble(OSError(getattr(errno, name), "words"), "write", "a/b.csv")
    assert trouble is not None
    assert (trouble.reason, trouble.message) == (reason, "cannot write a/b.csv: words")
    assert trouble.hint


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (112, LaneReason.DISK_FULL),
        (39, LaneReason.DISK_FULL),
        (1295, LaneReason.DISK_FULL),
        (19, LaneReason.READ_ONLY),
        (5, LaneReason.NOT_WRITABLE),
        (4, LaneReason.TOO_MANY_OPEN_FILES),
        *((code, LaneReason.IO_ERROR) for code in (21, 53, 59, 64, 67, 121, 1231, 1232)),
    ],
)
def test_windows_code_goes_before_the_errno(code: int, reason: LaneReason) -> None:
    trouble = local_trouble(WindowsError(code, errno.ENOENT), "write", "x")
    assert trouble is not None
    assert trouble.reason == reason


@pytest.mark.parametrize("code", [32, 33])
def test_sharing_violation_is_no_trouble_of_the_folder_though_its_errno_is_eacces(code: int) -> None:
    assert local_trouble(WindowsError(code), "open", "x") is None


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EEXIST, errno.ENAMETOOLONG, errno.EISDIR])
def test_error_about_one_name_is_no_local_trouble(number: int) -> None:
    assert local_trouble(OSError(number, "words"), "write", "x") is None


def test_error_no_table_knows_makes_the_lane_wait_where_it_must_be_one() -> None:
    assert any_local_trouble(OSError(9999, "odd"), "write", "x").reason == LaneReason.IO_ERROR


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR])
def test_missing_source_is_gone(number: int) -> None:
    trouble = source_trouble(OSError(number, "words"), "open", "x")
    assert isinstance(trouble, FileBusy)
    assert trouble.gone


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "words"), OSError(errno.EBUSY, "words"), WindowsError(32)])
def test_unreadable_source_is_busy_and_says_why(error: OSError) -> None:
    trouble = source_trouble(error, "open", "x", because="it belongs to anna")
    assert isinstance(trouble, FileBusy)
    assert (trouble.gone, trouble.message) == (False, "cannot open x: it belongs to anna")


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "w"), OSError(errno.EIO, "w"), WindowsError(64, errno.ENOENT)])
def test_source_on_a_sick_device_is_the_lanes_trouble(error: OSError) -> None:
    assert isinstance(source_trouble(error, "open", "x"), LocalTrouble)


def test_hostile_path_is_shown_without_its_control_characters() -> None:
    trouble = any_local_trouble(OSError(errno.EIO, "words"), "read", "a\x1b[2J\n.pdf")
    assert "\x1b" not in trouble.message
    assert "\n" not in trouble.message


def test_context_turns_every_oserror_into_local_trouble() -> None:
    with pytest.raises(LocalTrouble) as caught, as_local_trouble("write", "x"):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.reason == LaneReason.DISK_FULL
