"""The copies `fsagent submit` makes in an inbox: which is being written, and removing what a killed command left.

While a command copies it holds a lock in the state_dir, named after the inbox and its staged file. The system lets go
of it with the process: a staged file whose lock can be taken is nobody's. Its age would prove nothing, for a source may
be slow, or hang for days.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from agent.errors import AgentError
from agent.folders import publishing
from agent.folders.roots import is_ours
from agent.folders.trouble import as_local_trouble, said
from agent.rules.naming import staged_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.ports import Ledger

logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for a lock of a name nobody was told; who looks for abandoned ones may hold it for a moment."""
_SUFFIX = ".lock"


@contextmanager
def copying(state_dir: Path, inbox: Path) -> Iterator[str]:
    """Yield the staged name under which copies may be written in an inbox, one after the other, until the block ends.

    Raises LocalTrouble where the state_dir cannot be written.
    """
    entropy = secrets.token_hex(8)
    path = state_dir / f"{_prefix(inbox)}{entropy}{_SUFFIX}"
    lock = _lock(path)
    with as_local_trouble("write in", state_dir):
        lock.acquire(timeout=PATIENCE)
    _give_to_owner_of(state_dir, path)
    was_there = os.path.isdir(inbox)  # noqa: PTH112 -- Path.is_dir raises for a dead share: who copies says so
    try:
        yield staged_name(entropy)
    finally:
        lock.release()
        if was_there:
            _clear(path, inbox)
        else:
            _forget(path)


def remove_abandoned(state_dir: Path, inbox: Path, ledger: Ledger) -> None:
    """Remove the staged copies of commands that ended without removing them, where the inbox is there and ours."""
    for path in sorted(state_dir.glob(f"{_prefix(inbox)}*{_SUFFIX}")):
        if is_ours(inbox, ledger_id=ledger.ledger_id):  # else its disk may be away, with the copy on it
            _clear(path, inbox)


def _prefix(inbox: Path) -> str:
    return f"submit-{hashlib.sha256(os.fsencode(inbox)).hexdigest()[:8]}-"


def _lock(path: Path) -> FileLock:
    return FileLock(path, mode=0o600, thread_local=False)


def _give_to_owner_of(state_dir: Path, path: Path) -> None:
    """Let the agent's account take the lock that an administrator's command has made."""
    if sys.platform != "win32":
        with suppress(OSError):  # whoever may not give it away owns the folder, or could not have made it
            status = state_dir.stat()
            os.chown(path, status.st_uid, status.st_gid)


def _clear(path: Path, inbox: Path) -> None:
    """Remove a staged copy, and its lock file once it is gone; nothing while somebody holds the lock."""
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    except OSError as error:
        logger.warning("%s cannot be locked, so its copy in %s is left alone: %s", path, inbox, said(error))
        return
    try:
        is_gone = _remove(inbox, staged_name(path.name.removeprefix(_prefix(inbox)).removesuffix(_SUFFIX)))
    finally:
        lock.release()
    if is_gone:
        _forget(path)
    else:
        with suppress(OSError):  # the state_dir's own trouble is told by whoever needs it
            path.touch(mode=0o600)  # Windows removes the file with its lock: it says what there is to remove


def _forget(path: Path) -> None:
    with suppress(OSError):  # a command that looks for abandoned ones has it open, and removes it
        path.unlink()


def _remove(inbox: Path, staged: str) -> bool:
    try:
        if not publishing.target_state(inbox, staged).exists:
            return True
        publishing.discard(inbox, staged)
        logger.info("%s in %s was left by a `submit` that was ended in the middle: removed", staged, inbox)
        return not publishing.target_state(inbox, staged).exists
    except AgentError as trouble:
        logger.warning("%s in %s stays until the next start or `submit`: %s", staged, inbox, trouble.message)
        return False
