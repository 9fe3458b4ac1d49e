"""Publishes exported files: staged hidden beside their targets, then renamed into place, never outside a root.

A link beneath the root fails the task and is never followed. Decides nothing about names: they come made safe.
"""

from __future__ import annotations

import errno
import logging
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import LocalTrouble, NotRegular, TaskFatal, TaskTransient
from agent.folders import system
from agent.folders.staging import Staged, create_staged, discard_staged
from agent.folders.trouble import (
    ERROR_LOCK_VIOLATION,
    ERROR_SHARING_VIOLATION,
    any_local_trouble,
    reason_of,
    said,
    windows_code,
)
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

_CANNOT_BE = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.ELOOP})
_CANNOT_BE_ON_WINDOWS = frozenset({123, 161, 206, 267})  # invalid name, bad path, name too long, no folder
"""What the system says of a name that cannot be there, however often it is tried."""


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
    with ExitStack() as stack:
        with _task_errors(root / staged, "write"):
            folder = stack.enter_context(
                system.make_folder(root, parent, mode=folder_mode, missing=LaneReason.OUTPUT_MISSING)
            )
            new = create_staged(folder, name, mode=file_mode)
        # Outside: whatever error the chunks bring is not the target's.
        return new.fill(chunks, min_free=min_free)


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
    """Rename the staged file of that identity to its target; the caller makes it durable with `sync_folders`.

    `replace`: the identity of our own earlier file, or ANY_PLAIN_FILE; what else lies there, or with None anything,
    raises FileExistsError. May be repeated: done already counts as done. `patience` in seconds.

    Raises TaskFatal (with `replace`: a folder or link has the name; a link or file in a folder's place),
    TaskTransient where the staged file is not there any more, LocalTrouble.
    """
    parent, name = system.split(staged)
    new_parent, new_name = system.split(target)
    with (
        _task_errors(root / target, "publish"),
        system.open_folder(root, parent, missing=LaneReason.OUTPUT_MISSING) as source,
        system.open_folder(root, new_parent, missing=LaneReason.OUTPUT_MISSING) as folder,
    ):
        lying = _state(folder, new_name)
        is_there = lying.exists and lying.identity == identity
        if _state(source, name).identity != identity:
            if is_there:
                return
            raise TaskTransient(
                f"the staged file of {_shown(root / target)} is gone", hint="look what deletes files there"
            )
        if is_there and (parent, name) != (new_parent, new_name):
            # A crash between link and unlink, where the file system has no rename that replaces nothing.
            source.unlink(name)
            return
        move = source.replace if _may_replace(lying, replace, root / target) else source.rename
        source.show(name)
        system.patiently(lambda: move(name, folder, new_name), patience=patience, wait=wait)


def _may_replace(lying: TargetState, replace: str | None, path: Path) -> bool:
    if replace is None or not lying.exists:
        return False
    if not lying.is_plain:
        raise TaskFatal(f"{_shown(path)} cannot be replaced: it is a folder or a link")
    return replace in (ANY_PLAIN_FILE, lying.identity)


def target_state(root: Path, target: str) -> TargetState:
    """Return what lies at a path.

    Raises TaskFatal (a link or file in a folder's place, a name that cannot be) and LocalTrouble.
    """
    parent, name = system.split(target)
    with _task_errors(root / target, "look at"):
        try:
            folder = system.open_folder(root, parent, missing=LaneReason.OUTPUT_MISSING)
        except FileNotFoundError:
            return TargetState(exists=False)
        with folder:
            return _state(folder, name)


def sync_folders(root: Path, relative_folders: Iterable[str]) -> None:
    """Make what was renamed in these folders durable; one that a reader has removed is skipped. Raises LocalTrouble."""
    for relative_folder in sorted(set(relative_folders)):
        with _task_errors(root / relative_folder, "make durable"):
            try:
                folder = system.open_folder(root, relative_folder, missing=LaneReason.OUTPUT_MISSING)
            except FileNotFoundError:
                continue
            with folder:
                folder.sync()


def discard(root: Path, staged: str, *, identity: str = "") -> None:
    """Delete a staged file; what cannot be deleted now is logged, recovery finds it by its name.

    One whose name is no staged one (published, then planned anew) goes only where `identity` says that it is ours.
    """
    parent, name = system.split(staged)
    try:
        with system.open_folder(root, parent) as folder:
            if is_staged_name(name) or (identity and _state(folder, name).identity == identity):
                discard_staged(folder, name)
    except FileNotFoundError:
        return
    except (OSError, NotRegular, LocalTrouble) as error:
        logger.warning("%s is left over: %s", _shown(root / staged), error)


def find_staged(root: Path) -> Iterator[str]:
    """Yield the relative paths of staged files beneath a root, whoever's they are; what cannot be read is logged.

    Raises LocalTrouble where the root itself is not there.
    """
    system.open_root(root, missing=LaneReason.OUTPUT_MISSING).close()
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        try:
            with system.open_folder(root, parent) as folder:
                entries = folder.names()
        except FileNotFoundError:
            continue
        except (OSError, NotRegular) as error:
            logger.warning("%s is not looked through for left-overs: %s", _shown(root / parent), error)
            continue
        for name, is_folder in entries:
            if is_folder:
                waiting.append(join(parent, name))
            elif is_staged_name(name):
                yield join(parent, name)


def _state(folder: Folder, name: str) -> TargetState:
    try:
        status = folder.stat(name)
    except FileNotFoundError:
        return TargetState(exists=False)
    return TargetState(
        exists=True, identity=system.identity(status), size=status.st_size, is_plain=system.is_plain(status)
    )


@contextmanager
def _task_errors(path: Path, what: str) -> Iterator[None]:
    """Turn what the file system says of a target into the task's error or the lane's; FileExistsError passes."""
    try:
        yield
    except FileExistsError:
        raise
    except NotRegular as error:
        raise TaskFatal(f"{error.message}: nothing is written through it", hint="put a real folder there") from error
    except OSError as error:
        code = windows_code(error)
        if code in _CANNOT_BE_ON_WINDOWS or (error.errno in _CANNOT_BE and reason_of(error) is None):
            raise TaskFatal(f"cannot {what} {_shown(path)}: {said(error)}") from error
        if code in (ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION):
            raise LocalTrouble(
                f"cannot {what} {_shown(path)}: another program holds it open",
                reason=LaneReason.NOT_WRITABLE,
                hint="find and stop what keeps files there open",
            ) from error
        raise any_local_trouble(error, what, path) from error


def _shown(path: Path) -> str:
    return for_display(str(path))
