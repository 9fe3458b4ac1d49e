"""Which names of folders this process has made durable, so that a folder's own name is synced once, not for each file.

A folder that is there may have been made a moment ago, by another thread or by a process that was killed before it
could sync: what is filed in it would go with it in a power loss. Owns the memory; touches no folder itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MOST = 50_000
"""Names remembered; beyond, all of them are forgotten and each is synced once more."""
_names: set[str] = set()


def once(path: Path, sync: Callable[[], None]) -> None:
    """Have the name of the folder at a path synced unless this process has done so. Raises OSError."""
    name = os.fspath(path)
    if name in _names:
        return
    # The folder above may be one this account can walk through and not read: then it has not made this one.
    with suppress(PermissionError):
        sync()
    if len(_names) >= _MOST:
        _names.clear()
    _names.add(name)


def forget(path: Path) -> None:
    """Say that the folder at a path is about to be made: whoever finds it meanwhile syncs its name, too."""
    _names.discard(os.fspath(path))
