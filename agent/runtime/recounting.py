"""The entries of `history`: files and tasks of the ledger, those last changed first.

Reads the ledger only. An entry has the file's own state, or its task's once it was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.model import FileState, TaskState
from agent.runtime.explaining import shown_state
from agent.runtime.targets import find_target
from agent.runtime.unseen import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.model import FileRecord, Settings, TaskRecord
    from agent.ports import Ledger

Document = dict[str, Any]

EVENTS_AT_FIRST = 1_000
MOST_TASKS = 100_000
"""Tasks of one state that are put in order; beyond, those opened last."""


def recount(
    settings: Settings,
    ledger: Ledger,
    *,
    state: str | None = None,
    watch_folder: str | None = None,
    path: str | None = None,
    limit: int,
) -> list[Document]:
    """Return up to `limit` entries that meet every condition, newest first."""
    names = _names(settings, watch_folder)
    pairs: Iterator[tuple[FileRecord | None, TaskRecord | None]]
    if path is not None:
        pairs = _of_path(settings, ledger, path)
    elif state in set(TaskState):
        pairs = _of_tasks(ledger, TaskState(state), names)
    elif state is not None:
        pairs = _of_files(ledger, FileState(state), names, limit=limit)
    else:
        pairs = _of_all(ledger, names, limit=limit)
    entries = [_entry(record, task, state=state) for record, task in pairs]
    chosen = [entry for entry in entries if _meets(entry, state=state, names=names)]
    return sorted(chosen, key=lambda entry: (entry["at"], entry["id"] or ""), reverse=True)[:limit]


def _names(settings: Settings, watch_folder: str | None) -> tuple[str, ...]:
    """Return the names a watch folder's rows may have: its own and earlier ones; none for every folder."""
    folder = settings.watch_folder(watch_folder) if watch_folder is not None else None
    return (folder.name, *folder.formerly) if folder is not None else ()


def _meets(entry: Document, *, state: str | None, names: Sequence[str]) -> bool:
    has_state = state is None or state in {entry["file_state"], entry["task_state"]}
    return has_state and (not names or entry["watch_folder"] in names)


def _task_of(ledger: Ledger, record: FileRecord) -> TaskRecord | None:
    return ledger.task(record.task_id) if record.task_id else None


def _of_path(settings: Settings, ledger: Ledger, path: str) -> Iterator[tuple[FileRecord | None, TaskRecord | None]]:
    """Yield every file that lay at a path of an inbox, else the one that a path, task or id means."""
    place = place_of(settings, path)
    target, relative_path = path, path
    if place is not None and place.relative_path:
        target, relative_path = str(place.root.joinpath(*place.relative_path.split("/"))), place.relative_path
    folders = [place.folder] if place is not None else settings.watch_folders
    seen = set()
    for folder in folders if place is None or place.kind == "inbox" else ():
        for record in ledger.find_files(watch_folder=folder.name, relative_path=relative_path, newest_first=True):
            seen.add(record.key)
            yield record, _task_of(ledger, record)
    found = find_target(settings, ledger, target)
    if found is not None and found.key not in seen:
        yield found, _task_of(ledger, found)
    elif found is None and (task := ledger.task(path)) is not None:
        yield None, task


def _of_tasks(
    ledger: Ledger, state: TaskState, names: Sequence[str]
) -> Iterator[tuple[FileRecord | None, TaskRecord | None]]:
    for name in names or (None,):
        for task in ledger.find_tasks(watch_folder=name, states=[state], limit=MOST_TASKS, newest_first=True):
            yield (ledger.file(task.file_key) if task.file_key else None), task


def _of_files(
    ledger: Ledger, state: FileState, names: Sequence[str], *, limit: int
) -> Iterator[tuple[FileRecord | None, TaskRecord | None]]:
    for record in _last_changed(ledger, state, names, limit=limit):
        yield record, _task_of(ledger, record)


def _last_changed(ledger: Ledger, state: FileState | None, names: Sequence[str], *, limit: int) -> Iterator[FileRecord]:
    states = [state] if state is not None else []
    for name in names or (None,):
        yield from ledger.find_files(watch_folder=name, states=states, limit=limit, newest_first=True)


def _of_all(
    ledger: Ledger, names: Sequence[str], *, limit: int
) -> Iterator[tuple[FileRecord | None, TaskRecord | None]]:
    """Yield what the newest events are about, and the files last changed: a file may change without an event."""
    count = EVENTS_AT_FIRST
    files, tasks, is_all = _subjects(ledger, names, count)
    while len(files) + len(tasks) < limit and not is_all:
        count *= 4
        files, tasks, is_all = _subjects(ledger, names, count)
    changed = {record.key: record for record in _last_changed(ledger, None, names, limit=limit)}
    for key in {**dict.fromkeys(files), **changed}:
        record = changed.get(key) or ledger.file(key)
        if record is not None:
            yield record, _task_of(ledger, record)
    for task_id in tasks:
        task = ledger.task(task_id)
        if task is not None and task.file_key not in files:
            yield None, task


def _subjects(ledger: Ledger, names: Sequence[str], count: int) -> tuple[list[str], list[str], bool]:
    """Return the keys of files, else ids of tasks, that the newest events are about, and whether that is all."""
    files: dict[str, None] = {}
    tasks: dict[str, None] = {}
    events = ledger.history(limit=count)
    for event in events:
        if names and event.watch_folder not in names:
            continue
        if event.file_key:
            files.setdefault(event.file_key)
        elif event.task_id:
            tasks.setdefault(event.task_id)
    return list(files), list(tasks), len(events) < count


def _entry(record: FileRecord | None, task: TaskRecord | None, *, state: str | None) -> Document:
    shown = shown_state(record, task)
    of_task = task is not None and (isinstance(shown, TaskState) or state == task.state)
    source: FileRecord | TaskRecord | None = task if of_task else record
    assert source is not None
    return {
        "at": source.state_at,
        "state": source.state.value,
        "watch_folder": source.watch_folder,
        "path": record.relative_path if record is not None else None,
        "task_id": task.task_id if task is not None else None,
        "id": record.key if record is not None else None,
        "detail": source.detail,
        "reason": record.reason.value if record is not None and record.reason is not None and not of_task else None,
        "file_state": record.state.value if record is not None else None,
        "task_state": task.state.value if task is not None else None,
    }
