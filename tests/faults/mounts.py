"""Small file systems of a test's own: tmpfs of a chosen size, and folders mounted in another place.

Each is a context manager that leaves nothing mounted, whoever still works in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from faults import means

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = 4096
_LAZY = 2  # MNT_DETACH


def detach(path: Path) -> None:
    """Take a mount away, whoever still uses it. Raises OSError where nothing is mounted."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.umount2(os.fsencode(path), _LAZY) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


@contextmanager
def tmpfs(path: Path, *options: str) -> Iterator[Path]:
    """Mount a file system in memory (`size=64k`, `nr_inodes=20`) at a folder, which is made where it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    means.root()
    # Without `huge=never` a file could take more than the pages it needs.
    means.run(means.program("mount"), "-t", "tmpfs", "-o", ",".join(("mode=755", *options)), "tmpfs", path)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):  # a test may have taken it away itself
            detach(path)


def remount(path: Path, *options: str) -> None:
    """Change a mounted file system's options."""
    means.run(means.program("mount"), "-o", ",".join(("remount", *options)), path)


def bind(folder: Path, path: Path) -> None:
    """Let a folder appear at another path too, as a disk does that is mounted there."""
    means.run(means.program("mount"), "--bind", folder, path)


def fill(path: Path, *, but_pages: int) -> Path:
    """Fill a tmpfs up to so many free pages, and return the file that does it."""
    filler = path / ".filler"
    free = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize
    with filler.open("wb") as file:
        file.write(bytes(max(0, free - but_pages * PAGE)))
    return filler
