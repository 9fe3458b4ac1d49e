"""What a power loss could still take: names and bytes the agent has changed and not synced since.

Watches the calls of the one seam to the platform, in this process; a killed process leaves its changes unsynced.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from agent.folders import system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    import pytest

Identity = tuple[int, int]


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


class Durability:
    """The unsynced names and files of everything that runs while `monkeypatch` is not undone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._files: set[Identity] = set()
        self._names: set[tuple[Identity, str]] = set()
        """Entries of folders; one that was removed or renamed away is as good as there."""
        for name in ("rename", "replace"):
            monkeypatch.setattr(system.Folder, name, self._renamed(getattr(system.Folder, name)))
        monkeypatch.setattr(system.Folder, "create", self._created(system.Folder.create))
        monkeypatch.setattr(os, "fsync", self._synced)

    def _renamed(self, rename: Callable[..., Any]) -> Callable[..., Any]:
        def renamed(folder: system.Folder, name: str, destination: system.Folder, new_name: str) -> None:
            rename(folder, name, destination, new_name)
            self._names.add((_identity(os.fstat(destination._handle)), new_name))

        return renamed

    def _created(self, create: Callable[..., Any]) -> Callable[..., BinaryIO]:
        def created(folder: system.Folder, name: str, **options: Any) -> BinaryIO:
            file: BinaryIO = create(folder, name, **options)
            self._names.add((_identity(os.fstat(folder._handle)), name))
            self._files.add(_identity(os.fstat(file.fileno())))
            return file

        return created

    def _synced(self, handle: int) -> None:
        """Stand for fsync, which no test here has to wait for: nothing in it loses power."""
        synced = _identity(os.fstat(handle))
        self._files.discard(synced)
        self._names = {(folder, name) for folder, name in self._names if folder != synced}

    def unsynced(self, path: Path) -> list[str]:
        """Return what of a file is not durable: its bytes, its name. Folders are synced where they are made."""
        name = _identity(path.parent.stat()), path.name
        lost = ["its bytes"] if _identity(path.stat()) in self._files else []
        return [*lost, "its name"] if name in self._names else lost
