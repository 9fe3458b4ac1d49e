"""Publishes exported files: staged hidden beside their targets, then renamed into place, beneath a root and nowhere else.

A link beneath the root fails the task and is never followed. Decides nothing about names: they come made safe.
"""

from __future__ import annotations

import errno
import logging
import stat
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import NotRegular, TaskFatal, TaskTransient
from agent.folders import system
from agent.folders.staging import Staged, discard_staged, write_staged
from agent.folders.trouble import any_local_trouble, as_local_trouble, reason_of, said
from agent.model import LaneReason
from agent.rules.naming import for_display, is_staged_name, join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from agent.folders.system import Folder

__all__ = [
    "ANY_PLAIN_FILE",
    "Staged",
    "TargetState",
    "discard",
    "find_staged",
    "publish",
    "stage",
    "sync_folders",
    "target_state",
]

logger = logging.getLogger(__name__)

ANY_PLAIN_FILE = "*"
"""For `replace`: whatever plain file lies there (on_conflict: overwrite)."""

PATIENCE = 60.0
"""Seconds a rename waits for a virus scanner or indexer (faults.md 3)."""

_CANNOT_BE = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.ELOOP, errno.EFBIG}
)
"""What the system says of one name or file that cannot be there, however often it is tried."""


@dataclass(frozen=True, slots=True)
class TargetState:
    """What lies at a path beneath a root; `is_plain`: neither folder, link, nor device."""

    exists: bool
    identity: str = ""
    size: int = -1
    is_plain: bool = False


def stage(
    root: Path,
    staged: str,
    chunks: Iterable[bytes],
    *,
    file_mode: int | None,
    folder_mode: int | None,
    min_free: int = 0,
) -> Staged:
    """Write a file durably under its staged path, with the folders it needs, durable too.

    Modes None: what a newly made file or folder there would have; it is 0600 while it is written and has its rights
    just before it is synced. `min_free`: bytes that must stay free. On any error, of `chunks` too, nothing of it is
    left. Raises TaskFatal (a link, a file in a folder's place, a name the system refuses), LocalTrouble, and what
    `chunks` raises.
    """
    parent, name = system.split(staged)
    with _task_errors(root / staged):
        folder = system.make_folder(root, parent, mode=folder_mode, missing=LaneReason.OUTPUT_MISSING)
    with folder:
        return write_staged(
            folder, name, _apart(chunks), mode=file_mode, min_free=min_free
        )


def publish(
    root: Path,
    staged: str,
    target: str,
    *,
    identity: str,
    replace: str | None = None,
    patience: float = PATIENCE,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    pass
