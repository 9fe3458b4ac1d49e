"""The call of the C library that Python's own `os` does not offer, through ctypes; counterpart of `windows_calls`."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

_RENAME_NOREPLACE = 1  # linux/fs.h


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def rename_noreplace(source_folder: int, source: str, destination_folder: int, destination: str) -> None:
    """Call renameat2(2) with RENAME_NOREPLACE; OSError(ENOSYS) where the C library has none."""
    call = getattr(_libc(), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = os.fsencode(source), os.fsencode(destination)
    if call(source_folder, names[0], destination_folder, names[1], ctypes.c_uint(_RENAME_NOREPLACE)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source, None, destination)
