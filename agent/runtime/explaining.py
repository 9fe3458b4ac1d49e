"""The document of `why`: where a file or task is, what happened to it, what decides, what comes next.

Reads the ledger and what one stat says; changes nothing. Times are UTC unix seconds.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from agent.errors import LocalTrouble
from agent.folders import system
from agent.model import FileState, LaneReason, TaskState
from agent.rules.lifecycle import NEXT_STEP
from agent.runtime.status import compose_status
from agent.runtime.targets import find_target, find_task, tasks_of
from agent.runtime.troubles import STOPPED
from agent.runtime.unseen import Explanation, explain_unseen, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.model import FileRecord, Settings, TaskRecord
    from agent.ports import Ledger
    from agent.runtime.unseen import Place

Document = dict[str, Any]

MOST_EXPORTS = 10_000
"""Newest tasks looked through for the one that wrote a file of the output."""
BLOCKING = frozenset({reason.value for reason in LaneReason} | STOPPED | {"hanging"})
"""Reasons of the status document that keep everything of a watch folder waiting."""
AT_REST = frozenset(
    {
        FileState.IGNORED,
        FileState.DUPLICATE,
        FileState.REJECTED,
        FileState.GONE,
        TaskState.EXPORTED,
        TaskState.FAILED,
        TaskState.ENDED_UNKNOWN,
        TaskState.DISCARDED,
        TaskState.SPLIT,
    }
)
"""States in which nothing more happens by itself: no trouble of a lane keeps anything from happening."""


def explain(settings: Settings, ledger: Ledger | None, target: str, *, is_running: bool, now: float) -> Document:
    """Return the explanation of a path, task id or file id; `known` is False where nothing can be told."""
    place = place_of(settings, target)
    record, task = _find(settings, ledger, target, place) if ledger is not None else (None, None)
    earlier = ""
    if place is not None and place.kind == "inbox" and record is not None and _is_another(place, record):
        earlier = f"An earlier file of this name is {record.state.value}: fsagent why {record.key[:8]}"
        record = task = None
    if record is None and task is None:
        explanation = explain_unseen(settings, target, place, is_running=is_running)
        document = _unseen(target, explanation, earlier=earlier)
        if explanation.is_to_be_seen and place is not None and ledger is not None:
            document["blocked_by"] = _blocked_by(settings, ledger, place.folder.name, is_running=is_running, now=now)
        return document
    assert ledger is not None
    state = shown_state(record, task)
    name = record.watch_folder if record is not None else task.watch_folder if task is not None else ""
    is_at_rest = state in AT_REST and not _is_to_move(record)
    blocked = [] if is_at_rest else _blocked_by(settings, ledger, name, is_running=is_running, now=now)
    return {
        "target": target,
        "known": True,
        "state": state.value,
        "where": _where(settings, record, task),
        "decides": _decides(settings, ledger, record, task),
        "next": _next(record, task, state),
        "blocked_by": blocked,
        "file": _file(settings, record) if record else None,
        "task": _task(settings, task) if task else None,
        "events": [
            {"at": event.at, "name": event.name, "detail": event.detail, "task_id": event.task_id}
            for event in ledger.history(file_key=record.key if record else "", task_id=task.task_id if task else "")
        ],
    }


def _unseen(target: str, explanation: Explanation, *, earlier: str) -> Document:
    return {
        "target": target,
        "known": explanation.is_known,
        "state": None,
        "where": explanation.where,
        "decides": " ".join(text for text in (explanation.decides, earlier) if text),
        "next": explanation.next,
        "blocked_by": [],
        "file": None,
        "task": None,
        "events": [],
    }


# --- finding ----------------------------------------------------------------------------------------------------------


def _find(
    settings: Settings, ledger: Ledger, target: str, place: Place | None
) -> tuple[FileRecord | None, TaskRecord | None]:
    """Return the file and the task that are meant; either may be missing."""
    task = find_task(ledger, target)
    if task is not None:
        return (ledger.file(task.file_key) if task.file_key else None), task
    # By the configuration's own name of the root, which may be a link.
    path = str(place.root.joinpath(*place.relative_path.split("/"))) if place and place.relative_path else target
    record = find_target(settings, ledger, path)
    if record is not None:
        return record, next(iter(tasks_of(ledger, record)), None)
    task = _writer_of(ledger, place) if place is not None else None
    if task is None:
        return None, None
    return (ledger.file(task.file_key) if task.file_key else None), task


def _writer_of(ledger: Ledger, place: Place) -> TaskRecord | None:
    """Return the newest task that wrote a file of the output, or of the exports' archive."""
    root = {"output": "output", "export_archive": "archive"}.get(place.kind)
    if root is None:
        return None
    for task in ledger.find_tasks(watch_folder=place.folder.name, limit=MOST_EXPORTS, newest_first=True):
        if any(planned.root == root and planned.target == place.relative_path for planned in task.plan):
            return task
    return None


def _is_another(place: Place, record: FileRecord) -> bool:
    """Tell whether what lies in the inbox is not the file the ledger knows by that path."""
    if record.in_inbox or record.watch_folder != place.folder.name:
        return False
    try:
        sighting = system.sight(place.root, place.relative_path)
    except (LocalTrouble, ValueError):
        return False
    return sighting is not None


# --- sentences --------------------------------------------------------------------------------------------------------


def shown_state(record: FileRecord | None, task: TaskRecord | None) -> FileState | TaskState:
    """Return the state that says most: the file's, or its task's once it was sent."""
    if record is None or (task is not None and record.state in {FileState.SUBMITTED, FileState.ARCHIVED}):
        assert task is not None
        return task.state
    return record.state


def _path(settings: Settings, record: FileRecord) -> Path | None:
    """Return where the file lies, as far as the ledger knows."""
    folder = settings.watch_folder(record.watch_folder)
    if (
        folder is None
        or record.filed_in == "deleted"
        or (record.state is FileState.GONE and record.filed_in != "inbox")
    ):
        return None
    root = {"archive": folder.archive, "error": folder.error}.get(record.filed_in, folder.inbox)
    return root.joinpath(*record.lies_at.split("/")) if root is not None else None


def _where(settings: Settings, record: FileRecord | None, task: TaskRecord | None) -> str:
    if record is None:
        return f"At the service, in project {task.project_id}; its source is not in this ledger." if task else ""
    if record.filed_in == "deleted":
        return "Nowhere any more: it was removed after it had been kept as long as configured."
    path = _path(settings, record)
    if path is None:
        return (
            "Nowhere: it is not where it was."
            if record.state is FileState.GONE
            else "In a folder no longer configured."
        )
    place = record.filed_in or "inbox"
    text = f"In {place}/: {path}" if place != "inbox" else f"In the inbox: {path}"
    if not os.path.lexists(path):
        text += " (where nothing lies now)"
    if _is_to_move(record):
        text += f"; on its way to {record.filing}/"
    return text


def _decides(settings: Settings, ledger: Ledger, record: FileRecord | None, task: TaskRecord | None) -> str:
    sentences = []
    if record is not None:
        sentences.append(_file_decides(settings, record))
    if task is not None:
        said = _task_decides(task)
        sentences += [] if any(said in sentence for sentence in sentences) else [said]
    if record is not None:
        sentences.append(_among(tasks_of(ledger, record)))
    return " ".join(sentence for sentence in dict.fromkeys(sentences) if sentence)


def _file_decides(settings: Settings, record: FileRecord) -> str:
    folder = settings.watch_folder(record.watch_folder)
    detail = _sentence(record.detail)
    match record.state:
        case FileState.WAITING if record.ready:
            return f"It is at rest and waits for its turn. {detail}".rstrip()
        case FileState.WAITING:
            return detail or (f"It must not change for {folder.settle:g} s (settle)." if folder else "")
        case FileState.STALLED if folder is not None and folder.give_up_after is not None:
            return f"{detail} One that is not whole goes to error/ after {folder.give_up_after:g} s (give_up_after)."
        case FileState.REJECTED if record.reason is not None:
            return f"{record.reason.value}: {detail}"
        case FileState.SENDING:
            return "Its bytes are on their way to the service."
        case _:
            return detail


def _task_decides(task: TaskRecord) -> str:
    if task.held:
        return f"Its export failed {task.attempts} times and is held: {_sentence(task.detail)}"
    if task.state is TaskState.PROCESSING and task.retry_at is not None and task.attempts:
        return f"Attempt {task.attempts} to export it failed: {_sentence(task.detail)}"
    is_open = task.state is TaskState.PROCESSING and task.service_state
    said = f"The service said last: {task.service_state}." if is_open else ""
    return " ".join(text for text in (said, _sentence(task.detail)) if text)


def _among(tasks: Sequence[TaskRecord]) -> str:
    """Return how many of several tasks of a file are where: only one of them is shown."""
    if len(tasks) < 2:  # noqa: PLR2004 -- several
        return ""
    counts = Counter(task.state.value for task in tasks)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"The file became {len(tasks)} tasks: {told}."


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _next(record: FileRecord | None, task: TaskRecord | None, state: FileState | TaskState) -> str:
    if record is not None and record.state is FileState.GONE and record.filed_in == "inbox":
        return "Nothing for this record: the file was put back into the inbox and is a file of its own there."
    if task is not None and task.held:
        return f"You decide: mend what it says, then `fsagent retry {task.task_id}`."
    if record is not None and _is_to_move(record) and state in AT_REST:
        return f"It is moved to {record.filing}/ as soon as that can be done; nothing else is left to do."
    return NEXT_STEP[state]


def _is_to_move(record: FileRecord | None) -> bool:
    return record is not None and bool(record.filing) and record.filed_at is None


def _blocked_by(settings: Settings, ledger: Ledger, name: str, *, is_running: bool, now: float) -> list[Document]:
    """Return the reasons of the status document that keep the next step of a watch folder from being done."""
    folder = settings.watch_folder(name)
    places = {"agent", "service", folder.name if folder else name}
    status = compose_status(settings, ledger, is_running=is_running, now=now)
    return [reason for reason in status["reasons"] if reason["where"] in places and reason["reason"] in BLOCKING]


# --- what the ledger has ----------------------------------------------------------------------------------------------


def _file(settings: Settings, record: FileRecord) -> Document:
    path = _path(settings, record)
    return {
        "id": record.key,
        "watch_folder": record.watch_folder,
        "path": record.relative_path,
        "state": record.state.value,
        "since": record.state_at,
        "reason": record.reason.value if record.reason else None,
        "detail": record.detail,
        "size": record.signature.size,
        "modified": record.signature.modified_ns / 1e9,
        "first_seen": record.first_seen_at,
        "lies_at": str(path) if path else None,
        "attempts": record.attempts,
        "task_id": record.task_id or None,
        "sha256": record.sha256 or None,
    }


def _task(settings: Settings, task: TaskRecord) -> Document:
    folder = settings.watch_folder(task.watch_folder)
    roots = {"output": folder.output, "archive": folder.export.archive} if folder else {}
    planned = [(roots.get(each.root), each) for each in task.plan] if task.published else []
    return {
        "id": task.task_id,
        "name": task.name,
        "project_id": task.project_id,
        "watch_folder": task.watch_folder,
        "state": task.state.value,
        "since": task.state_at,
        "opened": task.opened_at,
        "ended": task.ended_at,
        "service_state": task.service_state,
        "detail": task.detail,
        "attempts": task.attempts,
        "held": task.held,
        "retry_at": task.retry_at,
        "files": [str(root.joinpath(*each.target.split("/"))) for root, each in planned if root is not None],
    }
