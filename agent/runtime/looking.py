"""Looking at an agent from outside: its ledger for reading, and whether one runs.

Imports little on purpose, so that `status` answers at once: no service, no stage, no watcher. Changes nothing and makes
no file: an administrator who looks must not leave one in the agent's folder that the agent's account cannot open.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent.errors import AgentError, LedgerMissing
from agent.ledger.opening import open_ledger_readonly
from agent.runtime.lock import LOCK_FILE, StateLock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Settings
    from agent.ports import Ledger


@contextmanager
def reading_ledger(settings: Settings) -> Iterator[Ledger | None]:
    """Open the ledger to look at, beside a running agent or without one; None before the first run.

    Raises LedgerError, and AgentError where this account may not look into the state_dir.
    """
    _require_access(settings)
    try:
        ledger = open_ledger_readonly(settings.state_dir)
    except LedgerMissing:
        yield None
        return
    try:
        yield ledger
    finally:
        ledger.close()


def is_running(settings: Settings) -> bool:
    """Return whether an agent works on the state_dir now. Raises AgentError where this account may not look."""
    _require_access(settings)
    # Asking takes the lock for a moment and would make its file: without the file nobody can hold it.
    if not os.path.lexists(settings.state_dir / LOCK_FILE):
        return False
    try:
        return StateLock(settings.state_dir).is_held_elsewhere()
    except OSError as error:
        raise _no_access(settings, error) from error


def _require_access(settings: Settings) -> None:
    """Tell "not there yet" from "not for this account": the folder is 0700."""
    try:
        with os.scandir(settings.state_dir):
            return
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if os.path.isfile(settings.state_dir):  # noqa: PTH113 -- never raises; Windows may call its name invalid
            return
        raise _no_access(settings, error) from error


def _no_access(settings: Settings, error: OSError) -> AgentError:
    return AgentError(
        f"the state_dir {settings.state_dir} cannot be looked into: {error.strerror or error}",
        hint="run this command as the account the agent runs as, or as administrator",
    )
