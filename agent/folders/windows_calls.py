r"""The calls of kernel32 that Python's own `os` does not offer, through ctypes; what they answer becomes OSError.

Every path handed to them has `\\?\` in front (`long_path`): no limit of 260 characters, no trailing dot or space cut
off. The module can be imported anywhere; all but `long_path` needs Windows.
"""

from __future__ import annotations

import ctypes
import ntpath
import os
import sys
from ctypes import wintypes
from functools import cache
from typing import Any

# winnt.h, fileapi.h, winbase.h
GENERIC_READ = 0x80000000
GENERIC_WRITE = 0x40000000
FILE_LIST_DIRECTORY = 0x1
DELETE = 0x10000
SHARE_READ, SHARE_WRITE, SHARE_DELETE = 1, 2, 4
CREATE_NEW, OPEN_EXISTING = 1, 3
ATTRIBUTE_HIDDEN = 0x2
FLAG_DELETE_ON_CLOSE = 0x04000000
FLAG_BACKUP_SEMANTICS = 0x02000000
FLAG_OPEN_REPARSE_POINT = 0x00200000

_ATTRIBUTE_READONLY = 0x1
_ATTRIBUTE_NORMAL = 0x80
_MOVE_REPLACE_EXISTING, _MOVE_WRITE_THROUGH = 0x1, 0x8
_INVALID_HANDLE = ctypes.c_void_p(-1).value
_INVALID_ATTRIBUTES = 0xFFFFFFFF
_EPOCH_100NS = 116444736000000000  # 1970 in units of 100 ns since 1601


def long_path(path: str) -> str:
    r"""Return an absolute path with `\\?\` in front (`\\?\UNC\` for a share), its separators and dots tidied."""
    if path.startswith("\\\\?\\"):
        return path
    tidy = ntpath.normpath(path)
    drive = ntpath.splitdrive(tidy)[0]
    if drive.startswith("\\\\"):
        return "\\\\?\\UNC\\" + tidy[2:]
    if not drive or not ntpath.isabs(tidy):
        raise ValueError(f"not an absolute path: {path!r}")
    return "\\\\?\\" + tidy


@cache
def _kernel32() -> Any:
    """Return kernel32 with the signatures used here."""
    if sys.platform != "win32":
        raise RuntimeError("kernel32 is on Windows only")
    library = ctypes.WinDLL("kernel32", use_last_error=True)
    text, number, boolean = wintypes.LPCWSTR, wintypes.DWORD, wintypes.BOOL
    pointer, handle = ctypes.c_void_p, wintypes.HANDLE
    signatures = {
        "CreateFileW": (handle, [text, number, number, pointer, number, number, handle]),
        "CloseHandle": (boolean, [handle]),
        "MoveFileExW": (boolean, [text, text, number]),
        "DeleteFileW": (boolean, [text]),
        "GetFileAttributesW": (number, [text]),
        "SetFileAttributesW": (boolean, [text, number]),
        "SetFileTime": (boolean, [handle, pointer, pointer, pointer]),
        "GetDiskFreeSpaceExW": (boolean, [text, pointer, pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _last_error(path: str, other: str | None = None) -> OSError:
    """Return the OSError (by its subclass, as Python's own calls raise it) for the thread's last Windows error."""
    if sys.platform != "win32":
        raise RuntimeError("Windows only")
    code = ctypes.get_last_error()
    return OSError(None, ctypes.FormatError(code).strip(), path, code, other)


def _require(result: Any, path: str, other: str | None = None) -> None:
    if not result:
        raise _last_error(path, other)


def open_handle(path: str, *, access: int, share: int, disposition: int = OPEN_EXISTING, flags: int = 0) -> int:
    """Open or create a file, or open a folder, and return its handle. Raises OSError."""
    handle = _kernel32().CreateFileW(path, access, share, None, disposition, flags, None)
    if handle is None or handle == _INVALID_HANDLE:
        raise _last_error(path)
    return int(handle)


def close_handle(handle: int) -> None:
    """Give a handle back."""
    _kernel32().CloseHandle(handle)


def descriptor_of(handle: int, flags: int) -> int:
    """Return a descriptor that owns the handle from now on."""
    if sys.platform != "win32":
        raise RuntimeError("Windows only")
    import msvcrt  # noqa: PLC0415 -- on Windows only

    try:
        return msvcrt.open_osfhandle(handle, flags | os.O_BINARY | os.O_NOINHERIT)
    except BaseException:
        close_handle(handle)
        raise


def move(source: str, destination: str, *, replace: bool) -> None:
    """Rename within a volume, written through. Raises FileExistsError unless `replace`, OSError(EXDEV) elsewhere."""
    flags = _MOVE_WRITE_THROUGH | (_MOVE_REPLACE_EXISTING if replace else 0)
    _require(_kernel32().MoveFileExW(source, destination, flags), source, destination)


def delete(path: str) -> None:
    """Delete a file, one marked read-only too; a link itself, never what it leads to. Raises OSError."""
    attributes = _kernel32().GetFileAttributesW(path)
    if attributes != _INVALID_ATTRIBUTES and attributes & _ATTRIBUTE_READONLY:
        _kernel32().SetFileAttributesW(path, attributes & ~_ATTRIBUTE_READONLY or _ATTRIBUTE_NORMAL)
    _require(_kernel32().DeleteFileW(path), path)


def set_hidden(path: str, *, hidden: bool) -> None:
    """Set or clear the hidden attribute. Raises OSError."""
    attributes = _kernel32().GetFileAttributesW(path)
    if attributes == _INVALID_ATTRIBUTES:
        raise _last_error(path)
    wanted = attributes | ATTRIBUTE_HIDDEN if hidden else attributes & ~ATTRIBUTE_HIDDEN
    if wanted != attributes:
        _require(_kernel32().SetFileAttributesW(path, wanted or _ATTRIBUTE_NORMAL), path)


def set_times(descriptor: int, *, born_ns: int, read_ns: int, modified_ns: int) -> None:
    """Set the times of an open file, in unix nanoseconds. Raises OSError."""
    if sys.platform != "win32":
        raise RuntimeError("Windows only")
    import msvcrt  # noqa: PLC0415 -- on Windows only

    filetimes = [ctypes.c_ulonglong(time // 100 + _EPOCH_100NS) for time in (born_ns, read_ns, modified_ns)]
    handle = msvcrt.get_osfhandle(descriptor)
    _require(_kernel32().SetFileTime(handle, *map(ctypes.byref, filetimes)), "")


def free_space(path: str) -> int:
    """Return the bytes this user may still write there, his quota counted. Raises OSError."""
    free = ctypes.c_ulonglong(0)
    _require(_kernel32().GetDiskFreeSpaceExW(path, ctypes.byref(free), None, None), path)
    return free.value
