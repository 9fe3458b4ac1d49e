"""What this sandbox keeps of one task, and how a task looks on the wire (apis.md 1.2)."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.model import FINAL_SERVICE_STATES, ServiceTaskState
from agent.sandbox.clock import wire_time

if TYPE_CHECKING:
    from agent.sandbox.aluma.settings import AlumaProject
    from agent.sandbox.documents import DocumentContents
    from agent.sandbox.driven import Job
    from agent.sandbox.storage import StoredDocument

MEDIA_TYPES = {"pdf": "application/pdf", "tiff": "image/tiff"}
EXPORT = "export"
ACTIONS = ("export", "validation")
PENDING = (ServiceTaskState.PENDING_START, ServiceTaskState.PENDING_COMPLETE)
STATES = (
    ServiceTaskState.QUEUED.value,
    ServiceTaskState.RUNNING.value,
    *(state.value for state in PENDING),
    ServiceTaskState.COMPLETED.value,
    ServiceTaskState.FAILED.value,
    ServiceTaskState.TIMED_OUT.value,
    ServiceTaskState.CANCELED.value,
)
"""Those of this service; the model knows states of the others too."""


@dataclass(slots=True)
class TaskEntry:
    """One task; changed only by the Sandbox, under its lock."""

    job: Job
    sequence: int
    project: AlumaProject
    file_collection_id: str
    created: float
    """UTC unix seconds."""
    tags: dict[str, str]
    content_type: str
    state: ServiceTaskState = ServiceTaskState.QUEUED
    outcome: ServiceTaskState | None = None
    """Where `running` leads once an action ended; None: the document is being processed."""
    generation: int = 0
    """Counts changes of state, so that times set for an earlier state are recognised."""
    message: str = ""
    document_file_id: str = ""
    specification: Any = None
    """The Export Specification once it was asked for, or the JSON a test put in its place."""
    exports: list[dict[str, str]] = field(default_factory=list)
    """Of every file the specification named: `folder`, `filename`, `source` and `sha256`; kept after the data."""
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def id(self) -> str:
        """The id, which its job has too."""
        return self.job.id

    @property
    def document(self) -> StoredDocument:
        """What was uploaded."""
        return self.job.document

    @property
    def contents(self) -> DocumentContents | None:
        """What was read, from then until the task is final."""
        return self.job.contents

    @property
    def name(self) -> str:
        """The task_name tag."""
        return self.tags["task_name"]

    @property
    def file_name(self) -> str:
        """What the exported files are named after."""
        return self.tags.get("file_name") or self.name

    @property
    def media_type(self) -> str:
        """The document's type by what was read; what was declared bears it out."""
        return MEDIA_TYPES[self.contents.kind] if self.contents else self.content_type

    @property
    def client_action(self) -> str:
        """What the task waits for; empty outside the pending states."""
        return EXPORT if self.state in PENDING else ""

    @property
    def is_final(self) -> bool:
        """Whether nothing but being forgotten can happen to it."""
        return self.state in FINAL_SERVICE_STATES


def new_id() -> str:
    """Return 22 URL-safe characters."""
    return secrets.token_urlsafe(16)


def task_document(task: TaskEntry, *, tags: bool, message: bool) -> dict[str, Any]:
    """Return the task object of the wire; `tags` and `message`: show what is not documented."""
    document: dict[str, Any] = {
        "id": task.id,
        "name": task.name,
        "file_collection_id": task.file_collection_id,
        "project_id": task.project.id,
        "project_name": task.project.name,
        "created_at": wire_time(task.created),
        "state": task.state.value,
    }
    if task.state in PENDING:
        document["documents_count"] = 1
        document["client_action"] = task.client_action
    if tags:
        document["tags"] = task.tags
    if message and task.message:
        document["message"] = task.message
    return document


def insight(task: TaskEntry) -> dict[str, Any]:
    """Return everything a test may ask about a task."""
    return {
        **task_document(task, tags=True, message=True),
        "content_type": task.content_type,
        "size": task.document.size,
        "sha256": task.document.sha256,
        "exports": task.exports,
        "calls": dict(task.calls),
    }
