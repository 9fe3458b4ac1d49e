"""What an operator's word means: a path, a task id or a file's id, found in the ledger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from agent.model import TaskState
from agent.rules.naming import NOTE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import FileRecord, Settings, TaskRecord
    from agent.ports import Ledger

SHORTEST_ID = 6
"""Digits of a file's id that are taken for one; fewer are as likely a name."""
_ENDS_BY_WEIGHT = (
    TaskState.FAILED,
    TaskState.ENDED_UNKNOWN,
    TaskState.SUPERSEDED,
    TaskState.EXPORTED,
    TaskState.DISCARDED,
)
"""How tasks end, what an operator has to know of first."""


def find_target(settings: Settings, ledger: Ledger, target: str, *, here: str = "") -> FileRecord | None:
    """Return the newest file that a path, a task id or an id means.

    A path is absolute, relative to the folder `here` (else the process's own), or relative to an inbox; a note beside
    an error file means that file. A path in an inbox means the file that lay there too, wherever it is by now.
    """
    task = find_task(ledger, target)
    if task is not None:
        return ledger.file(task.file_key) if task.file_key else None
    target = target.removesuffix(NOTE_SUFFIX)
    absolute = Path(os.path.abspath(Path(here) / target))  # noqa: PTH100 -- resolve() would follow links
    for folder in settings.watch_folders:
        for root, place in ((folder.error, "error"), (folder.archive, "archive"), (folder.inbox, "")):
            if root is not None and absolute.is_relative_to(root):
                found = _newest(ledger, folder.name, absolute.relative_to(root).as_posix(), place)
                if found is not None:
                    return found
    for folder in settings.watch_folders:
        found = _newest(ledger, folder.name, target.replace(os.sep, "/"), "")
        if found is not None:
            return found
    if len(target) >= SHORTEST_ID and target.isascii():  # ids are: a name of any bytes is none
        by_key = ledger.find_files(key_prefix=target, limit=2)
        return by_key[0] if len(by_key) == 1 else None
    return None


def find_task(ledger: Ledger, target: str) -> TaskRecord | None:
    """Return the task of that id."""
    return ledger.task(target)


def tasks_of(ledger: Ledger, record: FileRecord) -> Sequence[TaskRecord]:
    """Return a file's tasks, the one that says most first: one that is open, one that failed, one that is exported.

    Until its upload is split, the upload's own row speaks for it.
    """
    found = {task.task_id: task for task in ledger.find_tasks(file_key=record.key)}
    named = ledger.task(record.task_id) if record.task_id else None
    if named is not None:
        found.setdefault(named.task_id, named)
    tasks = [task for task in found.values() if task.state is not TaskState.SPLIT]
    return sorted(tasks or found.values(), key=_weight)


def _weight(task: TaskRecord) -> tuple[int, int]:
    is_ended = task.ended_at is not None and task.state in _ENDS_BY_WEIGHT
    return (_ENDS_BY_WEIGHT.index(task.state) + 1 if is_ended else 0, task.number)


def _newest(ledger: Ledger, watch_folder: str, relative_path: str, place: str) -> FileRecord | None:
    """Return the newest file that lies at a relative path of a place, archive or error.

    Without a place, of those that lay there in the inbox: one that still does goes before those that were filed.
    """
    found = ledger.find_files(watch_folder=watch_folder, relative_path=relative_path, newest_first=True)
    if not place:
        return next((record for record in found if record.in_inbox), found[0] if found else None)
    for record in found:
        if record.filed_in == place and record.lies_at == relative_path:
            return record
    # Under a clash name, which no index knows.
    for record in ledger.find_files(watch_folder=watch_folder, filing=place, newest_first=True, limit=100_000):
        if record.filed_in == place and record.lies_at == relative_path:
            return record
    return None
