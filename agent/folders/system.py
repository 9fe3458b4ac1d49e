"""The one seam to the platform: picks `posix` or `windows`, which offer the same names, and adds what both share.

Nothing above this module asks which platform it is on.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from agent.folders import durable
from agent.folders.entries import identity, irregularity, is_plain, parts_of, require_plain, sighting_of, split
from agent.folders.trouble import HELD_BY_OTHERS, as_local_trouble, windows_code

if sys.platform == "win32":
    from agent.folders.windows import (
        HARD_LINKS_CARRY_OWNERS,
        Folder,
        copy_owner_and_times,
        descriptor_beneath,
        entry_stat,
        free_space,
        hide,
        is_held_for_writing,
        keeps_files_of_others,
        make_folder,
        native_path,
        open_beneath,
        open_folder,
        open_root,
        set_mode,
        sight,
        stat_open,
        sync_file,
        sync_folder,
    )
else:
    from agent.folders.posix import (
        HARD_LINKS_CARRY_OWNERS,
        Folder,
        copy_owner_and_times,
        descriptor_beneath,
        entry_stat,
        free_space,
        hide,
        is_held_for_writing,
        keeps_files_of_others,
        make_folder,
        native_path,
        open_beneath,
        open_folder,
        open_root,
        set_mode,
        sight,
        stat_open,
        sync_file,
        sync_folder,
    )

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "HARD_LINKS_CARRY_OWNERS",
    "Folder",
    "copy_owner_and_times",
    "descriptor_beneath",
    "entry_stat",
    "free_space",
    "hide",
    "identity",
    "irregularity",
    "is_held_for_writing",
    "is_plain",
    "keeps_files_of_others",
    "make_folder",
    "make_name_durable",
    "native_path",
    "open_beneath",
    "open_folder",
    "open_root",
    "parts_of",
    "patiently",
    "publish_without_replacing",
    "replace",
    "require_plain",
    "same_device",
    "set_mode",
    "sight",
    "sighting_of",
    "split",
    "stat_open",
    "sync_file",
    "sync_folder",
]

_FIRST_PAUSE = 0.05


def make_name_durable(path: Path) -> None:
    """Make the name of a folder that is there durable, whoever made it; once in a process. Raises OSError."""
    durable.once(path, lambda: sync_folder(path.parent))


def patiently(action: Callable[[], None], *, patience: float, wait: Callable[[float], object] = time.sleep) -> None:
    """Do something again while others hold the file, with growing pauses, for `patience` seconds (faults.md 3).

    Virus scanners and indexers open what was just written; only Windows refuses a rename or deletion for that. `wait`
    takes seconds. Raises what the action raises, the last time.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            return action()
        except OSError as error:
            if windows_code(error) not in HELD_BY_OTHERS or patience <= 0:
                raise
        pause = min(pause, patience)
        wait(pause)
        patience -= pause
        pause *= 2


def publish_without_replacing(
    source: Path, destination: Path, *, patience: float = 0.0, wait: Callable[[float], object] = time.sleep
) -> None:
    """Rename a file; raises FileExistsError where the name is taken, OSError(EXDEV) for another device."""
    with open_root(source.parent) as here, open_root(destination.parent) as there:
        patiently(lambda: here.rename(source.name, there, destination.name), patience=patience, wait=wait)


def replace(
    source: Path, destination: Path, *, patience: float = 0.0, wait: Callable[[float], object] = time.sleep
) -> None:
    """Rename a file over what is there; raises OSError."""
    with open_root(source.parent) as here, open_root(destination.parent) as there:
        patiently(lambda: here.replace(source.name, there, destination.name), patience=patience, wait=wait)


def same_device(one: Path, other: Path) -> bool:
    """Tell whether a rename between two folders is possible, by where their nearest existing ancestors are."""
    return _device_of(one) == _device_of(other)


def _device_of(path: Path) -> int:
    with as_local_trouble("look at", path):
        for candidate in (path, *path.parents):
            try:
                return candidate.stat().st_dev
            except (FileNotFoundError, NotADirectoryError):
                continue
        raise FileNotFoundError(path)
