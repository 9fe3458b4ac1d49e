"""Tells whose fault an error of the file system is: the place as a whole (a lane waits) or one file (it is busy).

Owns the tables of errno and Windows error codes. Opens nothing, logs nothing and decides nothing about lanes.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent.errors import FileBusy, LocalTrouble
from agent.model import LaneReason
from agent.rules.naming import for_display

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ERROR_ACCESS_DENIED = 5
ERROR_SHARING_VIOLATION = 32
ERROR_LOCK_VIOLATION = 33

HELD_BY_OTHERS = frozenset({ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION})
"""What a virus scanner or an indexer causes for a moment: worth waiting for (faults.md 3)."""

_HINTS = {
    LaneReason.DISK_FULL: "free space (or inodes, or quota) there; the agent goes on by itself",
    LaneReason.READ_ONLY: "the file system is read-only: look at the system's log, check the disk, mount it read-write",
    LaneReason.NOT_WRITABLE: "give the agent's user the right to read, write and delete in that folder",
    LaneReason.TOO_MANY_OPEN_FILES: "raise the limit of open files (LimitNOFILE= of the service, ulimit -n)",
    LaneReason.IO_ERROR: "look whether the disk or share is connected and sound; the agent goes on once it answers",
}

# By name, since no platform has all of them.
_ERRNO_NAMES = {
    LaneReason.DISK_FULL: "ENOSPC EDQUOT",
    LaneReason.READ_ONLY: "EROFS",
    LaneReason.NOT_WRITABLE: "EACCES EPERM",
    LaneReason.TOO_MANY_OPEN_FILES: "EMFILE ENFILE",
    LaneReason.IO_ERROR: (
        "EIO ESTALE ENODEV ENXIO ENOTCONN EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENETRESET ETIMEDOUT ECONNREFUSED "
        "ECONNRESET ECONNABORTED EREMOTEIO ENOMEDIUM ENOLINK ECOMM EPROTO ESHUTDOWN EUCLEAN EKEYEXPIRED"
    ),
}
_BY_ERRNO = {
    getattr(errno, name): reason
    for reason, names in _ERRNO_NAMES.items()
    for name in names.split()
    if hasattr(errno, name)
}

# Windows system error codes (winerror.h): disk and quota; write-protected; no rights; handles; then device and network.
_WINDOWS_CODES = {
    LaneReason.DISK_FULL: (39, 112, 1295),
    LaneReason.READ_ONLY: (19,),
    LaneReason.NOT_WRITABLE: (ERROR_ACCESS_DENIED, 1314),
    LaneReason.TOO_MANY_OPEN_FILES: (4, 1450),
    LaneReason.IO_ERROR: (
        *(15, 20, 21, 23, 27, 31, 51, 53, 54, 55, 57, 58, 59, 64, 65, 67, 71, 121, 170, 240, 483, 1006, 1117, 1167),
        *(1222, 1225, 1229, 1231, 1232, 1233, 1236, 1311, 1326, 1392, 1393, 2250),
    ),
}
_BY_WINDOWS_CODE = {code: reason for reason, codes in _WINDOWS_CODES.items() for code in codes}

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_BUSY = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY, errno.EAGAIN, errno.EDEADLK})


def windows_code(error: OSError) -> int:
    """Return the Windows error code behind an OSError; 0 where there is none."""
    return int(getattr(error, "winerror", None) or 0)


def reason_of(error: OSError) -> LaneReason | None:
    """Return why a lane has to wait for this; None where the error speaks of one name only.

    The Windows code goes first: a sharing violation is EACCES too, but says nothing about the folder.
    """
    code = windows_code(error)
    if code:
        return _BY_WINDOWS_CODE.get(code)
    return _BY_ERRNO.get(error.errno or 0)


def local_trouble(error: OSError, what: str, path: Path | str) -> LocalTrouble | None:
    """Return the lane's trouble behind an error of `what` (a verb: "write") at a path; None: it is no local trouble."""
    reason = reason_of(error)
    return None if reason is None else _trouble(error, what, path, reason)


def any_local_trouble(error: OSError, what: str, path: Path | str) -> LocalTrouble:
    """Return the lane's trouble for any error: one that no table knows is an I/O error, so nothing is given up."""
    return _trouble(error, what, path, reason_of(error) or LaneReason.IO_ERROR)


def source_trouble(error: OSError, what: str, path: Path | str, *, because: str = "") -> FileBusy | LocalTrouble:
    """Return what an error at one source file means: busy or gone where it is about the file, else the lane's trouble.

    `because` names who or what keeps it, where the platform tells.
    """
    code = windows_code(error)
    shown = for_display(str(path))
    if error.errno in _GONE and code not in _BY_WINDOWS_CODE:
        return FileBusy(f"{shown} is not there any more", gone=True)
    if code in HELD_BY_OTHERS or (not code and error.errno in _BUSY):
        return FileBusy(f"cannot {what} {shown}: {because or said(error)}")
    return any_local_trouble(error, what, path)


@contextmanager
def as_local_trouble(what: str, path: Path | str) -> Iterator[None]:
    """Turn every OSError inside into LocalTrouble."""
    try:
        yield
    except OSError as error:
        raise any_local_trouble(error, what, path) from error


def said(error: OSError) -> str:
    """Return the system's own words for an error."""
    return error.strerror or str(error)


def _trouble(error: OSError, what: str, path: Path | str, reason: LaneReason) -> LocalTrouble:
    message = f"cannot {what} {for_display(str(path))}: {said(error)}"
    return LocalTrouble(message, reason=reason, hint=_HINTS[reason])
