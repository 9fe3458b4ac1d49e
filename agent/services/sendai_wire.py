"""Send AI's documents read into our records: tolerant of envelopes, key styles and what is new (apis.md 2.2, 2.3).

Pure functions over parsed JSON; no request is made here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from agent.errors import TaskFatal
from agent.model import Result, ResultField, ServiceTaskState, Task
from agent.rules.form_names import as_utf8
from agent.services import sendai_assumptions as assumed
from agent.services.answers import shown
from agent.services.reading import (
    DEEPEST,
    Once,
    id_of,
    is_id,
    is_too_deep,
    member,
    number_of,
    objects_of,
    status_of,
    text_of,
    time_of,
    unwrapped,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_NO_WORD = re.compile(r"[^a-z0-9]+")
_unknown_task_state = Once("Send AI shows a task in the state %s, which is not known: taken for in progress")
_unknown_upload_state = Once("Send AI shows an upload in the state %s, which is not known: taken for in progress")


# --- requests --------------------------------------------------------------------------------------------------------


def meta_of(told: Iterable[Mapping[str, str]]) -> str:
    """Return the field `meta`: a JSON array of all pairs told of several files, each pair once."""
    pairs = dict.fromkeys((as_utf8(name), as_utf8(value)) for one in told for name, value in one.items())
    return json.dumps([{"name": name, "value": value} for name, value in pairs])


def report_of(issues: Sequence[str], message: str) -> dict[str, Any]:
    """Return the body of a report; an issue's value is its label as one word."""
    listed = [{"label": label, "value": _NO_WORD.sub("_", label.lower()).strip("_") or label} for label in issues]
    return {"issues": listed} | ({"message": message} if message else {})


# --- uploads ---------------------------------------------------------------------------------------------------------


def read_upload(document: Any) -> Task | None:
    """Return what Create Upload made, as the one thing that is followed at first; None without an id."""
    upload = unwrapped(document)
    identifier = id_of(upload)
    if identifier is None:
        return None
    return Task(
        id=identifier,
        name=text_of(upload, "name"),
        project_id=id_of(upload, "project_id") or "",
        state=ServiceTaskState.RUNNING,
        created_at=time_of(upload, "created_at"),
    )


def upload_state(upload: Mapping[str, Any]) -> ServiceTaskState | None:
    """Return what an upload as a whole is; None for a state that is not known, logged once."""
    status = status_of(upload)
    state = assumed.UPLOAD_STATES.get(status)
    if state is None:
        _unknown_upload_state.say(shown(repr(status)))
    return state


def may_grow(state: ServiceTaskState | None, tasks: Sequence[Task]) -> bool:
    """Tell whether an upload may become more tasks than it shows; what is final cannot."""
    if state in {ServiceTaskState.COMPLETED, ServiceTaskState.FAILED}:
        return False
    if state is ServiceTaskState.RUNNING or not tasks:
        return True
    return any(task.state is ServiceTaskState.RUNNING for task in tasks)


def tasks_of(upload: Mapping[str, Any], *, project_id: str) -> tuple[Task, ...]:
    """Return the tasks an upload lists, each once, in the order of their ids; some may have no name (apis.md 2.2)."""
    found: dict[str, Task] = {}
    for task in (*_listed(upload, project_id), *_only_ids(upload, project_id)):
        found.setdefault(task.id, task)
    if not found:
        found = {task.id: task for task in _in_files(member(upload, "files"), project_id)}
    return tuple(found[identifier] for identifier in sorted(found))


def _listed(upload: Mapping[str, Any], project_id: str) -> Iterator[Task]:
    for item in objects_of(upload, "tasks"):
        task = read_task(item, project_id=project_id)
        if task is not None:
            yield task


def _only_ids(upload: Mapping[str, Any], project_id: str) -> Iterator[Task]:
    for name in ("tasks", "task_ids"):
        listed = member(upload, name)
        for item in listed if isinstance(listed, list) else ():
            if is_id(item):
                yield _nameless(item, project_id)


def _nameless(task_id: str, project_id: str, name: str = "") -> Task:
    """Return a task of which only the id is known: what it is, Get Task tells."""
    return Task(task_id, name, project_id, ServiceTaskState.RUNNING)


def _in_files(files: Any, project_id: str) -> Iterator[Task]:
    """Yield the tasks `files` speaks of, whose shape is not documented: keys or values, by their prefix or name."""
    if isinstance(files, dict):
        for key, value in files.items():
            inside = tuple(_in_file(value, project_id, name=key))
            yield from inside
            if not inside and _is_task_id(key):
                yield _nameless(key, project_id, value if isinstance(value, str) else _name_in(value))
    elif isinstance(files, list):
        for item in files:
            yield from _in_file(item, project_id, name="")


def _in_file(value: Any, project_id: str, *, name: str) -> Iterator[Task]:
    if isinstance(value, str):
        if _is_task_id(value):
            yield _nameless(value, project_id, _file_name(name))
    elif isinstance(value, list):
        for item in value:
            yield from _in_file(item, project_id, name=name)
    elif isinstance(value, dict):
        yield from _in_file_object(value, project_id, name=_name_in(value) or _file_name(name))


def _in_file_object(value: dict[str, Any], project_id: str, *, name: str) -> Iterator[Task]:
    identifier = id_of(value, "task_id")
    if identifier is None and _is_task_id(member(value, "id")):
        identifier = value["id"]
    if identifier is not None:
        yield _nameless(identifier, project_id, name)
    for several in ("task_ids", "tasks"):
        listed = member(value, several)
        for item in listed if isinstance(listed, list) else ():
            found = id_of(item) if isinstance(item, dict) else item
            if is_id(found):
                yield _nameless(str(found), project_id, _name_in(item) or name)


def _is_task_id(value: Any) -> bool:
    return is_id(value) and value.startswith(assumed.TASK_PREFIX)


def _name_in(value: Any) -> str:
    return text_of(value, "name") or text_of(value, "file_name") or text_of(value, "filename")


def _file_name(key: str) -> str:
    """Return a key of `files` where it is a file's name, and not some id: names of documents have an extension."""
    return key if "." in key else ""


# --- tasks -----------------------------------------------------------------------------------------------------------


def read_task(document: Any, *, project_id: str) -> Task | None:
    """Return a task; None without an id. One without a state is in progress."""
    task = unwrapped(document)
    identifier = id_of(task)
    if task is None or identifier is None:
        return None
    status = status_of(task)
    state = assumed.TASK_STATES.get(status)
    if state is None:
        _unknown_task_state.say(shown(repr(status)))
    return Task(
        id=identifier,
        name=text_of(task, "name"),
        project_id=id_of(task, "project_id") or project_id,
        state=state or ServiceTaskState.RUNNING,
        created_at=time_of(task, "created_at"),
        message=_message(task) if state is ServiceTaskState.FAILED else "",
    )


def _message(task: Mapping[str, Any]) -> str:
    """Return why a task failed, where it says so: which member does is not documented."""
    error = member(task, "error")
    said = text_of(task, "error_message") or text_of(task, "message")
    if not said:
        said = error if isinstance(error, str) else text_of(error, "message")
    return shown(said)


def read_result(document: Any) -> Result:
    """Return what Get Task read from a document: its annotations. Raises TaskFatal where it cannot be written down."""
    task = unwrapped(document)
    if task is None or is_too_deep(task):
        raise TaskFatal(f"the task's values are no object, or nested deeper than {DEEPEST} levels")
    return Result(task, tuple(_fields(task)))


def _fields(task: Mapping[str, Any]) -> Iterator[ResultField]:
    for number, page in enumerate(objects_of(task, "pages"), start=1):
        for annotation in objects_of(page, "annotations"):
            value = value_text(member(annotation, "content"))
            if value is not None:
                name = value_text(member(annotation, "entity_id")) or ""
                yield ResultField(name, value, number_of(member(annotation, "confidence")), number)
