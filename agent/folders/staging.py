"""Writes a whole file under a hidden name beside its target, durably, or leaves nothing behind.

The one place for: create exclusively → write, count, hash → rights → fsync → close, its error counts (faults.md 2, 4).
Publishes nothing.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

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


def write_staged(
    folder: Folder,
    name: str,
    chunks: Iterable[bytes],
    *,
    mode: int | None = None,
    like: os.stat_result | None = None,
    min_free: int = 0,
) -> Staged:
    """Write a file durably under a staged name; on any error, of `chunks` too, nothing of it is left.

    `mode`: its rights once whole, None for what a newly made file there has; `like`: owner, rights and times are this
    file's instead. `min_free`: bytes that must stay free. A file of that name is our own, cut off by a crash: it goes.
    Raises LocalTrouble, OSError where the name itself cannot be, and what `chunks` raises.
    """
    file, final_mode = _create(folder, name, inherit=mode is None and like is None)
    path = folder.path / name

    def finish() -> None:
        if like is not None:
            system.copy_owner_and_times(like, file)
        else:
            system.set_mode(file, final_mode if mode is None else mode)

    try:
        staged = _write(folder, file, chunks, finish=finish, min_free=min_free)
        with as_local_trouble("close", path):
            file.close()
    except BaseException:
        with suppress(OSError):  # the error on its way says more than that the same bytes cannot be flushed now either
            file.close()
        discard_staged(folder, name)
        raise
    return staged


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
            f"{free} bytes are free in {folder.path}, {needed} are needed",
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


def _write(
    folder: Folder, file: BinaryIO, chunks: Iterable[bytes], *, finish: Callable[[], None], min_free: int
) -> Staged:
    path = folder.path
    digest = hashlib.sha256()
    size, looked_at = 0, 0
    if min_free:
        require_space(folder, min_free)
    for chunk in chunks:
        # Only our own calls may be local trouble: an OSError out of `chunks` is its maker's.
        with as_local_trouble("write in", path):
            file.write(chunk)
        digest.update(chunk)
        size += len(chunk)
        if min_free and size - looked_at >= _LOOK_AT_SPACE_EVERY:
            looked_at = size
            require_space(folder, min_free)
    with as_local_trouble("write in", path):
        file.flush()
        finish()
        system.sync_file(file.fileno())
        status = system.stat_open(file)
    if status.st_size != size:
        raise LocalTrouble(
            f"{path} kept {status.st_size} of {size} bytes", reason=LaneReason.IO_ERROR, hint="look at the disk or share"
        )
    return Staged(system.identity(status), size, digest.hexdigest())
