"""What an operator's word means: a path, a task id or a file's id, found in the ledger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.model import FileRecord, Settings, TaskRecord
    from agent.ports import Ledger

SHORTEST_ID = 6
"""Digits of a file's id that are taken for one; fewer are as likely a name."""
NOTE_SUFFIX = ".error.txt"


def find_target(settings: Settings, ledger: Ledger, target: str) -> FileRecord | None:
    """Return the newest file that a path, a task id or an id means.

    A path is absolute, relative to the present folder, or relative to an inbox; a note beside an error file means
    that file.
    """
    task = find_task(ledger, target)
    if task is not None:
        return ledger.file(task.file_key) if task.file_key else None
    target = target.removesuffix(NOTE_SUFFIX)
    absolute = Path(os.path.abspath(target))  # noqa: PTH100 -- resolve() would follow links
    for folder in settings.watch_folders:
        for root, place in ((folder.error, "error"), (folder.archive, "archive"), (folder.inbox, "")):
            if root is not None and absolute.is_relative_to(root):
                found = _newest(ledger, folder.name, absolute.relative_to(root).as_posix(), place)
                if found is not None:
                    return found
    for folder in settings.watch_folders:
        found = _newest(ledger, folder.name, target.replace(os.sep, "/"), None)
        if found is not None:
            return found
    if len(target) >= SHORTEST_ID:
        by_key = ledger.find_files(key_prefix=target, limit=2)
        return by_key[0] if len(by_key) == 1 else None
    return None


def find_task(ledger: Ledger, target: str) -> TaskRecord | None:
    """Return the task of that id."""
    return ledger.task(target)


def _newest(ledger: Ledger, watch_folder: str, relative_path: str, place: str | None) -> FileRecord | None:
    """Return the newest file that lies, or lay, at a relative path; in `place`, where that is told."""
    found = ledger.find_files(watch_folder=watch_folder, relative_path=relative_path, newest_first=True)
    for record in found:
        if place is None or record.filed_in == place or (place == "" and record.in_inbox):
            return record
    if place in {"archive", "error"}:  # filed under a clash name
        for record in ledger.find_files(watch_folder=watch_folder, filing=place, newest_first=True, limit=100_000):
            if record.filed_in == place and record.filed_as == relative_path:
                return record
    return None
