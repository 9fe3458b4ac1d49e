"""The Tasks API's documents read into our records: tolerant of what is missing or new, never of what would harm.

Pure functions over parsed JSON; no request is made here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.errors import TaskFatal
from agent.model import ExportFile, ExportSpecification, FileSource, Project, ServiceTaskState, Task
from agent.rules.tags import encode_tags
from agent.services.aluma_assumptions import LOOKUP_SLACK
from agent.services.answers import shown
from agent.services.reading import is_id, read_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.model import Lookup

_KEY_TAG = "fsagent_key"


def task_id_of(document: Any) -> str | None:
    """Return the id of a task document; None where there is none that could be used."""
    value = document.get("id") if isinstance(document, dict) else None
    return value if is_id(value) else None


def read_task(document: Any) -> Task | None:
    """Return a task (apis.md 1.2); None without an id. Unknown states are UNRECOGNISED, impossible times None."""
    identifier = task_id_of(document)
    if identifier is None:
        return None
    count = document.get("documents_count")
    tags = document.get("tags")
    return Task(
        id=identifier,
        name=_text(document, "name"),
        project_id=_text(document, "project_id"),
        state=_state(document.get("state")),
        client_action=_text(document, "client_action"),
        created_at=read_time(document.get("created_at")),
        file_collection_id=_text(document, "file_collection_id"),
        documents_count=count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None,
        tags={str(name): value for name, value in tags.items() if isinstance(value, str)}
        if isinstance(tags, dict)
        else {},
        message=shown(_text(document, "message")),
    )


def read_tasks(document: Any) -> tuple[Task, ...] | None:
    """Return the tasks of a list, each id once, oldest first as listed; None where it is none."""
    items = document.get("tasks") if isinstance(document, dict) else None
    if not isinstance(items, list):
        return None
    tasks = {task.id: task for item in reversed(items) if (task := read_task(item)) is not None}
    return tuple(reversed(tasks.values()))


def _state(value: Any) -> ServiceTaskState:
    try:
        return ServiceTaskState(value)
    except ValueError:
        return ServiceTaskState.UNRECOGNISED


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def read_projects(document: Any) -> tuple[Project, ...] | None:
    """Return the projects of a list; None where it is none."""
    items = document.get("projects") if isinstance(document, dict) else document
    if not isinstance(items, list):
        return None
    return tuple(project for item in items if (project := read_project(item)) is not None)


def read_project(document: Any) -> Project | None:
    """Return a project; None without an id."""
    identifier = task_id_of(document)
    if identifier is None:
        return None
    return Project(identifier, _text(document, "name") or identifier, read_time(document.get("created_at")))


def read_specification(document: Any) -> ExportSpecification:
    """Return an export specification (seed 002). Raises TaskFatal where it makes no sense."""
    documents = document.get("documents") if isinstance(document, dict) else None
    if not isinstance(documents, list):
        raise TaskFatal("the export specification has no list of documents")
    specification = ExportSpecification(tuple(_files(item) for item in documents))
    if not specification.files:
        raise TaskFatal("the export specification names no file")
    return specification


def _files(document: Any) -> tuple[ExportFile, ...]:
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, list):
        raise TaskFatal("a document of the export specification has no list of files")
    return tuple(_file(item) for item in files)


def _file(document: Any) -> ExportFile:
    if not isinstance(document, dict):
        raise TaskFatal("a file of the export specification is no object")
    folder = document.get("folder")
    folder = "" if folder is None else folder
    filename = document.get("filename")
    if not isinstance(folder, str) or not isinstance(filename, str):
        raise TaskFatal("a file of the export specification has a folder or filename that is no text")
    source = document.get("source")
    if source not in (FileSource.CONTENT, FileSource.URL):
        raise TaskFatal(f"{shown(filename)}: the export specification names an unknown source {shown(repr(source))}")
    value = document.get(source)
    if not isinstance(value, str) or (source == FileSource.URL and not value):
        raise TaskFatal(f"{shown(filename)}: the export specification has no {source} for it")
    if source == FileSource.URL:
        return ExportFile(folder, filename, FileSource.URL, url=value)
    return ExportFile(folder, filename, FileSource.CONTENT, content=value)


def matching(tasks: Sequence[Task], lookup: Lookup, *, clock_offset: float) -> tuple[Task, ...]:
    """Return the tasks a submission may have made; `clock_offset` is the service's clock less ours, in seconds.

    A task that shows a fsagent_key is judged by it alone; one with ours is the only candidate.
    """
    keyed = tuple(task for task in tasks if task.tags.get(_KEY_TAG) == lookup.key)
    if keyed:
        return keyed
    names = {lookup.task_name, _as_sent(lookup.task_name)}
    first = lookup.sent_from + clock_offset - LOOKUP_SLACK
    last = lookup.sent_until + clock_offset + LOOKUP_SLACK
    return tuple(
        task
        for task in tasks
        if _KEY_TAG not in task.tags
        and task.project_id == lookup.project_id
        and task.name in names
        and (task.created_at is None or first <= task.created_at <= last)
    )


def _as_sent(task_name: str) -> str:
    """Return the name as it stood in the header: a service that does not decode shows it so."""
    return encode_tags([("task_name", task_name)]).partition("=")[2]
