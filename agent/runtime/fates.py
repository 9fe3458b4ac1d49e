"""What has become of a dropped file, by the ledger: one sentence, and whether more will come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.model import FileState, TaskState
from agent.rules.naming import for_display
from agent.runtime.targets import tasks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import FileRecord, TaskRecord
    from agent.ports import Ledger
    from agent.submission.drop import Dropped

NOT_SEEN = "not seen yet"


@dataclass(frozen=True, slots=True)
class Fate:
    """Where one file stands; `is_over`: nothing more happens by itself, `ok`: it went as it should."""

    state: str
    message: str = ""
    task_id: str = ""
    is_over: bool = False
    ok: bool = False


def fate_of(ledger: Ledger, dropped: Dropped) -> Fate:
    """Return what the ledger says about a dropped file now."""
    record = _record(ledger, dropped)
    if record is None:
        return Fate(NOT_SEEN)
    if record.state is FileState.REJECTED:
        return _rejected(record)
    tasks = tasks_of(ledger, record)
    if tasks:
        return _fate_of_tasks(record, tasks)
    match record.state:
        case FileState.DUPLICATE:
            return Fate("duplicate", "the same content was accepted before", is_over=True, ok=True)
        case FileState.HELD:
            hint = f"decide: fsagent resolve {record.key[:8]} --submitted TASK|--resubmit|--reject"
            return Fate("held", f"{_shown(record.detail)}; {hint}", is_over=True)
        case FileState.GONE | FileState.IGNORED:
            return Fate(record.state.value, _shown(record.detail), is_over=True)
        case state:
            return Fate(state.value, _shown(record.detail))


def _record(ledger: Ledger, dropped: Dropped) -> FileRecord | None:
    found = ledger.find_files(watch_folder=dropped.watch_folder, relative_path=dropped.relative_path, newest_first=True)
    for record in found:
        # Some shares give a file another id whenever they like; its name was free, so what is first seen later is it.
        if record.signature.identity == dropped.identity or record.first_seen_at >= dropped.at:
            return record
    return None


def _rejected(record: FileRecord) -> Fate:
    reason = record.reason.value if record.reason is not None else "error"
    is_filed = record.filed_in == "error" and record.filed_at is not None
    return Fate("error", f"{reason}: {_shown(record.detail)}", record.task_id, is_over=is_filed)


def _fate_of_tasks(record: FileRecord, tasks: Sequence[TaskRecord]) -> Fate:
    """Return what the first of a file's tasks says, which says most: with one still open, the file is not over."""
    is_filed = record.state is not FileState.SUBMITTED
    task = tasks[0]
    match task.state:
        case TaskState.EXPORTED:
            count = sum(planned.root == "output" for each in tasks for planned in each.plan)
            message = f"{count} file{'' if count == 1 else 's'}" if count else _shown(task.detail)
            return Fate("exported", message, task.task_id, is_over=is_filed, ok=is_filed)
        case TaskState.FAILED:
            # Its source is on its way to error/; the row says so once it lies there.
            gone = record.state is FileState.GONE
            return Fate("failed", _shown(task.detail), task.task_id, is_over=gone)
        case TaskState.DISCARDED:
            return Fate("discarded", _shown(task.detail), task.task_id, is_over=is_filed, ok=is_filed)
        case TaskState.SPLIT:  # into tasks of other files
            return Fate("split", _shown(record.detail), task.task_id, is_over=is_filed)
        case TaskState.SUPERSEDED | TaskState.ENDED_UNKNOWN:
            return Fate(task.state.value, _shown(task.detail), task.task_id, is_over=True)
        case _ if task.held:
            message = f"{_shown(task.detail)}; to try it again: fsagent retry {task.task_id}"
            return Fate("held", message, task.task_id, is_over=True)
        case state:
            return Fate(state.value, _shown(task.detail), task.task_id)


def _shown(text: str) -> str:
    return for_display(" ".join(text.split()))
