"""Tasks: what the service shows, what an export asks for, and what the ledger knows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.model.states import TaskState


class ServiceTaskState(StrEnum):
    """States of a task at the service (apis.md 1.3); what a client does not know becomes UNRECOGNISED.

    Other services' states are read as these (apis.md 2.3, 3.2): a result that can be fetched is PENDING_START.
    """

    QUEUED = "queued"
    RUNNING = "running"
    PENDING_START = "pending:start_client_action"
    PENDING_COMPLETE = "pending:complete_client_action"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELED = "canceled"
    REVIEWING = "reviewing"
    DISCARDED = "discarded"
    EXPIRED = "expired"
    UNRECOGNISED = "unrecognised"


FINAL_SERVICE_STATES = frozenset(
    {
        ServiceTaskState.COMPLETED,
        ServiceTaskState.FAILED,
        ServiceTaskState.TIMED_OUT,
        ServiceTaskState.CANCELED,
        ServiceTaskState.DISCARDED,
        ServiceTaskState.EXPIRED,
    }
)


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the service shows it."""

    id: str
    name: str
    project_id: str
    state: ServiceTaskState
    client_action: str = ""
    created_at: float | None = None  # None: unreadable
    file_collection_id: str = ""
    documents_count: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True, slots=True)
class TaskReference:
    """A task the ledger knows, handed to services that cannot list by state."""

    id: str
    project_id: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Upload:
    """What is told to the service about one file to be sent."""

    key: str
    project_id: str
    file_name: str
    content_type: str
    size: int
    task_name: str
    tags: Mapping[str, str]  # further tags in order, fsagent_key among them
    customer: str = ""  # Typless: whom usage is reported for
    meta: Mapping[str, str] = field(default_factory=dict)  # Send AI: pairs in order, fsagent_key among them


@dataclass(frozen=True, slots=True)
class Lookup:
    """What an unknown submission is looked for by; times are ours, the service corrects them by its `Date`."""

    key: str
    project_id: str
    task_name: str
    sent_from: float
    sent_until: float
    customer: str = ""


class FileSource(StrEnum):
    """Where an exported file's bytes come from (seed 002)."""

    CONTENT = "content"
    URL = "url"


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of an export specification; every string in it is untrusted."""

    folder: str
    filename: str
    source: FileSource
    content: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class ResultField:
    """One value a service read from a document; everything in it is untrusted text."""

    name: str
    value: str
    confidence: float | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a service that names no files read from a document; `document` is its answer without the envelope, JSON."""

    document: Any
    fields: tuple[ResultField, ...] = ()
    line_items: tuple[tuple[ResultField, ...], ...] = ()
    vat_rates: tuple[tuple[ResultField, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ExportSpecification:
    """What a started export asks to be written: documents, each with one or more files, or a result to make them of."""

    documents: tuple[tuple[ExportFile, ...], ...] = ()
    result: Result | None = None

    @property
    def files(self) -> tuple[ExportFile, ...]:
        """All files in order."""
        return tuple(file for document in self.documents for file in document)


@dataclass(frozen=True, slots=True)
class Project:
    """A project of the service."""

    id: str
    name: str
    created_at: float | None = None


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """An upload as the service shows it: the tasks it became so far, and whether there may come more."""

    name: str
    tasks: tuple[Task, ...]
    may_grow: bool
    state: ServiceTaskState = ServiceTaskState.RUNNING


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file on its way to the output; `staged` and `target` are relative to `root`.

    `identity`, `size` and `sha256` are those of the staged file once it is durable; a rename keeps the identity, so
    after a crash they tell our own published file from a stranger's.
    """

    wanted: str  # the target before any clash suffix
    target: str
    staged: str
    source: FileSource
    root: str = "output"  # output | archive: the copy below export.archive
    identity: str = ""
    size: int = -1
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One row of the ledger about one task; changed like a FileRecord."""

    task_id: str
    watch_folder: str
    project_id: str
    name: str
    state: TaskState
    state_at: float
    opened_at: float
    version: int = 1
    file_key: str = ""  # the source file, where the task is ours
    source_folder: str = ""  # the source's folder relative to the inbox
    service_state: str = ""
    detail: str = ""
    attempts: int = 0
    retry_at: float | None = None
    held: bool = False  # max_attempts reached with on_exhausted: hold
    started_at: float | None = None  # our lease began, or may have; None: we hold none
    plan: tuple[PlannedFile, ...] = ()
    staged: bool = False  # every planned file is durable beside its target: roll forward after a crash
    published: bool = False  # every target is durable
    seen_at: float = 0.0  # last sign of life at the service
    asked_at: float = 0.0  # last time it was asked for by itself
    ended_at: float | None = None  # final at the service, as far as we know
    upload_id: str = ""  # the upload it is part of, where the service makes several tasks of one
    number: int = 1  # which task of its file, by the order of their ids

    def change(self, **changes: Any) -> TaskRecord:
        """Return the record as it will be after the next commit."""
        return replace(self, version=self.version + 1, **changes)
