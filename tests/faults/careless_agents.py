"""Agents that leave out one thing a power loss asks for: the sweep must find each of them.

`python careless_agents.py WHAT ARGUMENTS…` runs `fsagent ARGUMENTS…` without it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from agent.cli import main
from agent.folders import posix, system
from agent.ledger import connections

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path


def _folders_unsynced() -> None:
    posix.Folder.sync = lambda _: None  # type: ignore[method-assign, assignment]  # the very thing


def _files_unsynced() -> None:
    def sync_file(handle: int) -> None:
        del handle

    system.sync_file = sync_file


def _commits_unsynced() -> None:
    connect = connections._connect

    def careless(path: Path, *pragmas: str) -> sqlite3.Connection:
        return connect(path, *(pragma.replace("= FULL", "= NORMAL") for pragma in pragmas))

    connections._connect = careless


WITHOUT: Final[dict[str, Callable[[], Any]]] = {
    "folders": _folders_unsynced,
    "files": _files_unsynced,
    "commits": _commits_unsynced,
}

if __name__ == "__main__":
    what = sys.argv.pop(1)
    WITHOUT[what]()
    main()
