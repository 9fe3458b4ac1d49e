"""Writes a whole file under a hidden name beside its target, durably, or leaves nothing behind.

The one place for: create exclusively → write, count, hash → rights → fsync → close, its error counts (faults.md 2, 4).
Publishes nothing.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from agent.errors import LocalTrouble
from agent.folders import system
from agent.folders.trouble import as_local_trouble, said
from agent.model import LaneReason
from agent.rules.naming import for_display
from agent.rules.sizes import readable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from agent.folders.system import Folder

logger = logging.getLogger(__name__)

_LOOK_AT_SPACE_EVERY = 64 * 1024 * 1024
_NEW_FILE = 0o666
_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class Staged:
    """A staged file that is durable; a rename keeps `identity`."""

    identity: str
    size: int
    sha256: str


def create_staged(folder: Folder, name: str, *, mode: int | None = None, like: os.stat_result | None = None) -> NewFile:
    """Create a file under a staged name; one of that name is our own, cut off by a crash: it goes.

    `mode`: its rights once whole, None for what a newly made file there has; `like`: owner, rights and times are this
    file's instead. Raises OSError.
    """
    file, inherited = _create(folder, name, inherit=mode is None and like is None)
    return NewFile(folder, name, file, inherited if mode is None else mode, like)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A staged file that is open and empty; `fill` ends its life, one way or the other."""

    folder: Folder
    name: str
    file: BinaryIO
    mode: int
    like: os.stat_result | None

    def fill(self, chunks: Iterable[bytes], *, min_free: int = 0) -> Staged:
        """Write the bytes durably; on any error, of `chunks` too, nothing of the file is left.

        `min_free`: bytes that must stay free. Raises LocalTrouble and what `chunks` raises.
        """
        try:
            size, digest = self._write(chunks, min_free)
            with as_local_trouble("write in", self.folder.path):
                staged = self._finish(size, digest)
                self.file.close()
        except BaseException:
            with suppress(OSError):  # what is on its way says more than that the bytes cannot be flushed now either
                self.file.close()
            discard_staged(self.folder, self.name)
            raise
        return staged

    def _write(self, chunks: Iterable[bytes], min_free: int) -> tuple[int, str]:
        digest = hashlib.sha256()
        size, looked_at = 0, 0
        if min_free:
            require_space(self.folder, min_free)
        for chunk in chunks:
            # Only our own calls may be local trouble: an OSError out of `chunks` is its maker's.
            with as_local_trouble("write in", self.folder.path):
                self.file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            if min_free and size - looked_at >= _LOOK_AT_SPACE_EVERY:
                looked_at = size
                require_space(self.folder, min_free)
        return size, digest.hexdigest()

    def _finish(self, size: int, digest: str) -> Staged:
        """Give it its rights and make it durable; an fsync that failed is never tried on this handle again."""
        self.file.flush()
        if self.like is not None:
            system.copy_owner_and_times(self.like, self.file)
        else:
            system.set_mode(self.file, self.mode)
        system.sync_file(self.file.fileno())
        status = system.stat_open(self.file)
        if status.st_size != size:
            raise OSError(errno.EIO, f"{status.st_size} of {size} bytes were kept")
        return Staged(system.identity(status), size, digest)


def discard_staged(folder: Folder, name: str) -> None:
    """Remove a staged file; where that fails now, recovery finds it by its name, so it is logged only."""
    try:
        folder.unlink(name)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("%s is left over: %s", for_display(str(folder.path / name)), said(error))


def require_space(folder: Folder, needed: int) -> None:
    """Raise LocalTrouble(disk_full) where fewer bytes than needed are free."""
    with as_local_trouble("ask for the free space of", folder.path):
        free = folder.free_space()
    if free < needed:
        raise LocalTrouble(
            f"{readable(free)} are free in {folder.path}, {readable(needed)} are needed",
            reason=LaneReason.DISK_FULL,
            hint="free space there, or lower min_free; the agent goes on by itself",
        )


def _create(folder: Folder, name: str, *, inherit: bool) -> tuple[BinaryIO, int]:
    """Create the file with rights for its owner alone, and return the rights a newly made one would have had.

    Those can only be had by making it so: the umask cannot be read without changing it for every thread, and a default
    ACL has its say too. The file is empty as long as it has them, and they are what it will have once published.
    """
    wanted = _NEW_FILE if inherit else _OWNER_ONLY
    try:
        file = folder.create(name, mode=wanted)
    except FileExistsError:
        folder.unlink(name)
        file = folder.create(name, mode=wanted)
    try:
        final_mode = stat.S_IMODE(system.stat_open(file).st_mode)
        if inherit:
            system.set_mode(file, _OWNER_ONLY)
    except BaseException:
        file.close()
        discard_staged(folder, name)
        raise
    return file, final_mode
