"""One agent per state_dir: a lock file the operating system releases by itself, and beside it who holds it."""

from __future__ import annotations

import getpass
import json
import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from agent.errors import AgentError, LockHeld

if TYPE_CHECKING:
    from pathlib import Path

LOCK_FILE = "agent.lock"
HOLDER_FILE = "agent.holder.json"
PATIENCE = 1.0
"""Seconds a starting agent waits: a `status` that looks whether one runs holds the lock for a moment."""


class StateLock:
    """The lock of one state_dir."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._lock = FileLock(state_dir / LOCK_FILE, mode=0o600, thread_local=False)

    def acquire(self, *, now: float, patience: float = PATIENCE) -> None:
        """Take the lock and write down who has it.

        Raises LockHeld with the holder's name and since when, and AgentError where that cannot be done in this folder.
        """
        try:
            self._lock.acquire(timeout=patience, poll_interval=0.05)
        except Timeout as error:
            raise LockHeld(
                self._sentence(), hint=f"stop that one first, or look at it: fsagent status ({LOCK_FILE})"
            ) from error
        except OSError as error:
            raise AgentError(
                f"the lock in {self._state_dir} cannot be taken: {error.strerror or error}",
                hint="run the agent as the account that owns this folder, or give it the folder",
            ) from error
        try:
            self._write_down(now)
        except OSError as error:
            self.release()
            raise AgentError(
                f"{self._state_dir / HOLDER_FILE} cannot be written: {error.strerror or error}",
                hint="look whether its disk is full or read-only, and at the rights of its folder",
            ) from error

    def _write_down(self, now: float) -> None:
        holder = {"pid": os.getpid(), "user": _user(), "host": platform.node(), "since": now}
        path = self._state_dir / HOLDER_FILE
        path.write_text(json.dumps(holder), encoding="utf-8")
        with suppress(OSError):  # a file system without modes: the folder itself is 0700
            path.chmod(0o600)

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def is_held_elsewhere(self) -> bool:
        """Return whether an agent runs; False also where the state_dir is not there yet."""
        if not self._state_dir.is_dir():
            return False
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return True
        self._lock.release()
        return False

    def holder(self) -> dict[str, Any]:
        """Return what the holder wrote down: pid, user, host, since; empty where that cannot be read."""
        try:
            found = json.loads((self._state_dir / HOLDER_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _sentence(self) -> str:
        holder = self.holder()
        if not holder:
            return f"another agent works on {self._state_dir}"
        return (
            f"another agent works on {self._state_dir}: process {holder.get('pid')} of {holder.get('user')}"
            f" on {holder.get('host')}, since {_moment(holder.get('since'))}"
        )


def _moment(since: Any) -> str:
    """Return a time as people read it; what a damaged file says instead of one is shown as it is."""
    try:
        moment = datetime.fromtimestamp(since, UTC).astimezone()
    except (TypeError, ValueError, OverflowError, OSError):
        return str(since)
    return moment.isoformat(sep=" ", timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in the database, as in some containers
        return "unknown"
