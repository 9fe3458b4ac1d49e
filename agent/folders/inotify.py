"""The system calls of inotify(7), Linux only: add, remove, read, wake.

Owns one descriptor. Knows no tree and no path but the one it is asked to watch.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import selectors
import struct
import threading
from typing import NamedTuple

MOVED_FROM = 0x00000040
MOVED_TO = 0x00000080
CLOSE_WRITE = 0x00000008
CREATE = 0x00000100
DELETE_SELF = 0x00000400
MOVE_SELF = 0x00000800
UNMOUNT = 0x00002000
OVERFLOW = 0x00004000
IGNORED = 0x00008000
ONLY_FOLDER = 0x01000000
DONT_FOLLOW = 0x02000000
EXCLUDE_UNLINKED = 0x04000000
IS_FOLDER = 0x40000000

_CLOSE_ON_EXEC = 0o2000000
_NON_BLOCKING = 0o4000
_HEADER = struct.Struct("iIII")
_READ_SIZE = 64 * 1024


class Change(NamedTuple):
    """One event: the watch it belongs to (-1: none), its bits, the name in that folder ("" for the folder itself)."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify instance; `wake` may be called from any thread, everything else from one at a time."""

    def __init__(self) -> None:
        """Raise OSError where the user has too many instances (EMFILE) or the process too many open files."""
        self._library = ctypes.CDLL(None, use_errno=True)
        self._closing = threading.Lock()
        self._closed = False
        with contextlib.ExitStack() as undo:  # short of files, each of these may be the one that fails
            self._descriptor = self._checked(self._library.inotify_init1(_CLOSE_ON_EXEC | _NON_BLOCKING), "")
            undo.callback(os.close, self._descriptor)
            self._wake_reader, self._wake_writer = os.pipe()
            undo.callback(os.close, self._wake_reader)
            undo.callback(os.close, self._wake_writer)
            self._selector = undo.enter_context(selectors.DefaultSelector())
            self._selector.register(self._descriptor, selectors.EVENT_READ)
            self._selector.register(self._wake_reader, selectors.EVENT_READ)
            undo.pop_all()

    def add(self, path: str, mask: int) -> int:
        """Watch a path and return the watch; the same inode has the same watch. Raises OSError (ENOSPC: the limit)."""
        return self._checked(
            self._library.inotify_add_watch(self._descriptor, os.fsencode(path), ctypes.c_uint32(mask)), path
        )

    def remove(self, watch: int) -> None:
        """Forget a watch; one that is gone already is fine."""
        self._library.inotify_rm_watch(self._descriptor, watch)

    def read(self, timeout: float | None) -> list[Change]:
        """Wait up to so many seconds (None: until woken) and return what the kernel has gathered, in its order."""
        if not any(key.fd == self._descriptor for key, _ in self._selector.select(timeout)):
            return []
        try:
            return list(_parse(os.read(self._descriptor, _READ_SIZE)))
        except BlockingIOError:
            return []

    def wake(self) -> None:
        """End a `read` under way, and every later one at once."""
        with self._closing:  # a number closed here may be another file's by the time it is written to
            if not self._closed:
                os.write(self._wake_writer, b"!")

    def close(self) -> None:
        """Give back every watch."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._selector.close()
            for descriptor in (self._descriptor, self._wake_reader, self._wake_writer):
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def _checked(self, result: int, path: str) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, _EXPLAINED.get((number, bool(path)), os.strerror(number)), path or None)
        return result


_EXPLAINED = {
    (errno.ENOSPC, True): "the limit fs.inotify.max_user_watches is reached",
    (errno.EMFILE, False): "the limit fs.inotify.max_user_instances, or that of open files, is reached",
}
"""(errno, whether a watch was to be added) → what it means here; the usual words ("no space left") mislead."""


def _parse(buffer: bytes) -> list[Change]:
    changes = []
    position = 0
    while position < len(buffer):
        watch, mask, _, length = _HEADER.unpack_from(buffer, position)
        position += _HEADER.size
        name = buffer[position : position + length].rstrip(b"\0")
        position += length
        changes.append(Change(watch, mask, os.fsdecode(name)))
    return changes
