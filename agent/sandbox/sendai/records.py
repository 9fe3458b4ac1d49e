"""What this sandbox keeps of uploads and tasks, and how they look on the wire (apis.md 2.2)."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.sandbox.clock import wire_time
from agent.sandbox.sendai.settings import TaskListing, TaskStatus

if TYPE_CHECKING:
    from agent.sandbox.contents import Found
    from agent.sandbox.sendai.settings import SendaiSettings
    from agent.sandbox.storage import StoredDocument

_PAGE_SIZE = (2480, 3508)
_LINE_HEIGHT = 40.0


@dataclass(slots=True, eq=False)
class SentFile:
    """One file of an upload, and the documents of the tasks it becomes, the file itself first."""

    name: str
    content_type: str
    document: StoredDocument
    attachments: list[tuple[str, StoredDocument]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class TaskEntry:
    """One task; changed only by the sandbox, under its lock."""

    id: str
    name: str
    upload: UploadEntry
    file: SentFile
    part: int
    """1: the file itself; beyond: an attachment of it."""
    status: TaskStatus = TaskStatus.PROCESSING
    generation: int = 0
    message: str = ""
    pages: list[dict[str, Any]] = field(default_factory=list)
    replaced: Any = None
    """The JSON a test put in place of the payload."""
    opened: float | None = None
    issues: list[dict[str, str]] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True, eq=False)
class UploadEntry:
    """One upload."""

    id: str
    name: str
    project_id: str
    meta: list[dict[str, str]]
    created: float
    """UTC unix seconds."""
    shown: float
    """When its tasks are shown."""
    folder_id: str
    files: list[SentFile]
    tasks: list[TaskEntry] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)


def new_id(kind: str, order: int) -> str:
    """Return an id that is larger than those before it."""
    return f"{kind}_{order:010d}{secrets.token_hex(4)}"


def upload_status(upload: UploadEntry) -> str:
    """Return what the tasks come to."""
    seen = {task.status for task in upload.tasks}
    for status in (TaskStatus.PROCESSING, TaskStatus.REVIEWING):
        if status in seen:
            return status.value
    if seen == {TaskStatus.FAILED}:
        return "FAILED"
    return "PARTIAL" if TaskStatus.FAILED in seen else "COMPLETED"


def created_document(upload: UploadEntry) -> dict[str, Any]:
    """Return the bare answer of Create Upload."""
    at = wire_time(upload.created)
    return {
        "id": upload.id,
        "name": upload.name,
        "projectId": upload.project_id,
        "status": "processing",
        "fileType": upload.files[0].name.rpartition(".")[2].lower(),
        "fileSize": sum(file.document.size for file in upload.files),
        "createdAt": at,
        "updatedAt": at,
    }


def upload_document(upload: UploadEntry, settings: SendaiSettings, *, now: float) -> dict[str, Any]:
    """Return the payload of Get Upload."""
    tasks = upload.tasks if now >= upload.shown else []
    status = upload_status(upload) if tasks else TaskStatus.PROCESSING.value
    return {
        "id": upload.id,
        "name": upload.name,
        "status": settings.review_word if status == TaskStatus.REVIEWING else status,
        "meta": upload.meta,
        "folder_id": upload.folder_id,
        "created_at": wire_time(upload.created),
        **_listing(tasks, settings.listing),
    }


def _listing(tasks: list[TaskEntry], listing: TaskListing) -> dict[str, Any]:
    match listing:
        case TaskListing.TASKS:
            shown = [{"id": task.id, "name": task.name, "status": task.status.value} for task in tasks]
            return {"files": {}, "tasks": shown}
        case TaskListing.TASK_IDS:
            return {"files": {}, "task_ids": [task.id for task in tasks]}
        case TaskListing.FILES_BY_TASK:
            return {"files": {task.id: {"name": task.file.name} for task in tasks}}
        case TaskListing.FILES_BY_NAME:
            ids: dict[str, list[str]] = {}
            for task in tasks:
                ids.setdefault(task.file.name, []).append(task.id)
            return {"files": {name: some[0] if len(some) == 1 else some for name, some in ids.items()}}
        case TaskListing.NONE:
            return {"files": {}}


def task_document(task: TaskEntry) -> Any:
    """Return the payload of Get Task."""
    if task.replaced is not None and task.pages:
        return task.replaced
    return {
        "id": task.id,
        "name": task.name,
        "created_at": wire_time(task.upload.created),
        "meta": task.upload.meta,
        "status": task.status.value,
        "step_type": "EXTRACT",
        "upload_id": task.upload.id,
        "project_id": task.upload.project_id,
        "approved": task.calls["complete"] > 0,
        "exported_at": None,
        "export_failed_at": None,
        "last_opened_at": None if task.opened is None else wire_time(task.opened),
        "pages": task.pages,
    }


def make_pages(found: Found, *, pages: int) -> list[dict[str, Any]]:
    """Return the pages of a task with what was read as annotations; what is not in the document is left out."""
    width, height = _PAGE_SIZE
    made: list[dict[str, Any]] = [
        {
            "id": f"page_{number}",
            "width": width,
            "height": height,
            "annotations": [],
            "checkboxes": [],
            "segments": [],
            "signatures": [],
        }
        for number in range(1, pages + 1)
    ]
    rows = (value for row in (*found.line_items, *found.vat_rates) for value in row)
    values = [value for value in (*found.fields, *rows) if value.value is not None]
    for number, value in enumerate(values, 1):
        made[max(value.page, 1) - 1]["annotations"].append(
            {
                "id": f"ann_{number}",
                "entity_id": value.name,
                "confidence": value.confidence,
                "content": value.value,
                "top": number * _LINE_HEIGHT,
                "left_of_line": 120.5,
            }
        )
    return made


def task_insight(task: TaskEntry) -> dict[str, Any]:
    """Return everything a test may ask about a task.

    `size` and `sha256` are those of the file it came of; `tags` has what `meta` says once only, for an upload of
    several files may say a thing of each.
    """
    names = Counter(pair["name"] for pair in task.upload.meta)
    return {
        "id": task.id,
        "name": task.name,
        "state": task.status.value,
        "message": task.message,
        "upload_id": task.upload.id,
        "upload_name": task.upload.name,
        "project_id": task.upload.project_id,
        "folder_id": task.upload.folder_id,
        "tags": {
            "file_name": task.file.name,
            **{pair["name"]: pair["value"] for pair in task.upload.meta if names[pair["name"]] == 1},
        },
        "meta": task.upload.meta,
        "file_name": task.file.name,
        "content_type": task.file.content_type,
        "size": task.file.document.size,
        "sha256": task.file.document.sha256,
        "part": task.part,
        "issues": task.issues,
        "calls": dict(task.calls),
        "result": task_document(task) if task.status is TaskStatus.COMPLETED else None,
    }


def upload_insight(upload: UploadEntry) -> dict[str, Any]:
    """Return everything a test may ask about an upload."""
    return {
        "id": upload.id,
        "name": upload.name,
        "state": upload_status(upload),
        "project_id": upload.project_id,
        "folder_id": upload.folder_id,
        "meta": upload.meta,
        "files": [
            {
                "name": file.name,
                "content_type": file.content_type,
                "size": file.document.size,
                "sha256": file.document.sha256,
            }
            for file in upload.files
        ],
        "tasks": [task.id for task in upload.tasks],
        "calls": dict(upload.calls),
    }
