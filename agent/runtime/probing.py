"""Tries what an agent will do: make, rename and delete a hidden file in a folder, be told of it by an event, listen.

Serves `checking`. Leaves nothing behind, and what it makes is junk to every running agent's filter.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
import threading
from typing import TYPE_CHECKING, TypeAlias

from agent.errors import LocalTrouble
from agent.folders import system
from agent.folders.network_mounts import network_file_system
from agent.folders.staging import discard_staged
from agent.folders.trouble import any_local_trouble, said
from agent.folders.watching import PROBE_PATIENCE, Watcher
from agent.model import LaneReason, Observer
from agent.rules.naming import staged_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from agent.ports import Clock

Watch: TypeAlias = "Callable[[str], None]"
"""Told a name before a file of that name is made."""

Trouble: TypeAlias = "tuple[str, str]"
"""What is wrong, and what to do."""

_DRIVE = re.compile(r"[A-Za-z]:")


def try_writing(root: Path, *, watch: Watch | None = None) -> Trouble | None:
    """Make, rename and delete a hidden file; return what does not work, None where all of it does."""
    first, second = (staged_name(secrets.token_hex(8)) for _ in range(2))
    for name in (first, second):
        if watch is not None:
            watch(name)
    try:
        with system.open_root(root) as folder:
            try:
                file = folder.create(first)
                try:
                    _write_rename_delete(folder, file, first, second)
                finally:
                    for name in (first, second):
                        discard_staged(folder, name)
            except OSError as error:
                trouble = any_local_trouble(error, "create, rename and delete in", root)
                return trouble.message, trouble.hint
    except LocalTrouble as trouble:
        if not is_folder(root) and trouble.reason is LaneReason.NOT_READABLE:
            return "is not there, or no folder", "make it (fsagent init does), or connect its disk or share"
        return trouble.message, trouble.hint
    return None


def _write_rename_delete(folder: system.Folder, file: BinaryIO, first: str, second: str) -> None:
    with file:
        file.write(b"fsagent check\n")
    folder.rename(first, folder, second)
    folder.unlink(second)


def is_folder(path: Path) -> bool:
    """Tell whether a folder is there; one that cannot be reached is not."""
    return os.path.isdir(path)  # noqa: PTH112 -- Path.is_dir raises where a folder above may not be entered


def nearest_folder(path: Path) -> Path:
    """Return the path itself, or the nearest folder above that is there."""
    return next((candidate for candidate in (path, *path.parents) if is_folder(candidate)), path)


def mapped_drive(path: Path) -> str:
    """Return the letter of a network drive, which belongs to one logon; "" anywhere else."""
    if not _DRIVE.fullmatch(path.drive):
        return ""
    try:
        return path.drive if network_file_system(path) else ""
    except OSError:
        return ""  # a folder that is away has its own finding


def try_listening(host: str, port: int) -> str:
    """Take an address for a moment; return why that cannot be, "" where it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as candidate:
        try:
            if sys.platform == "win32":  # there SO_REUSEADDR would share a port that is in use
                candidate.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            candidate.bind((host, port))
        except (OSError, UnicodeError) as error:
            return getattr(error, "strerror", None) or str(error)
    return ""


class Events:
    """Finds out whether changes of a folder give native events; `expect` and `try_writing` it, then `wait`."""

    def __init__(self, root: Path, observer: Observer, *, clock: Clock) -> None:
        self._clock = clock
        self._expected: set[str] = set()
        self._seen = threading.Event()
        self._why = _why_not(root, observer)
        self._watcher: Watcher | None = None
        if observer is not Observer.POLLING and not self._why:
            self._watcher = Watcher(
                root,
                mode=Observer.NATIVE,
                recursive=False,
                wants=self._expected.__contains__,
                on_hint=self._hint,
                clock=clock,
            )
            self._watcher.start()

    def expect(self, name: str) -> None:
        """Take an event of this name for the proof."""
        self._expected.add(name)

    def wait(self) -> tuple[str, str]:
        """Return "native", or "polling" and why, "" where the configuration asks for it; waits up to 2 s."""
        if self._watcher is None:
            return "polling", self._why
        health = self._watcher.check()
        if self._clock.wait(self._seen, PROBE_PATIENCE):
            return "native", ""
        return "polling", health.detail or "a file that was made gave no event"

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.stop()

    def _hint(self, relative_path: str | None) -> None:
        if relative_path is not None:
            self._seen.set()


def _why_not(root: Path, observer: Observer) -> str:
    if observer is not Observer.AUTO:
        return ""
    try:
        network = network_file_system(root)
    except OSError as error:
        return said(error)
    return f"{network}: changes made elsewhere give no event here" if network else ""
