"""The frozen records everybody talks about; no behaviour beyond small derivations, no imports of other rooms.

Times named `…_at` are UTC unix seconds; `…_since` and `look_at` in sightings are seconds of this process's monotonic
clock and mean nothing to another process. Durations are seconds, sizes bytes; None means "never" or "no limit".
Relative paths are `str` with `/` between parts on every platform; undecodable bytes are kept as surrogates (PEP 383).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


# --- configuration, resolved: absolute paths, numbers, secrets read -------------------------------------------------


class ServiceType(StrEnum):
    """Which service's wire the agent speaks."""

    ALUMA = "aluma"
    SENDAI = "sendai"
    TYPLESS = "typless"


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """`service:` of the configuration."""

    type: ServiceType
    url: str
    client_id: str
    client_secret: str = field(repr=False)
    timeout: float = 60.0
    min_speed: int = 16 * 1024
    connections: int = 4
    max_requests_per_second: float = 0.0
    lease: float = 1800.0
    ca_file: Path | None = None
    proxy: str | None = None


class Observer(StrEnum):
    """How changes of a folder are noticed beside the scan."""

    AUTO = "auto"
    NATIVE = "native"
    POLLING = "polling"


class DocumentType(StrEnum):
    """What a file is by its content."""

    PDF = "pdf"
    TIFF = "tiff"
    JPEG = "jpeg"
    PNG = "png"
    OFFICE = "office"
    EMAIL = "email"
    TEXT = "text"
    ZIP = "zip"


class ExportScope(StrEnum):
    """Which tasks of the project the export worker takes."""

    OWN = "own"
    PROJECT = "project"


class OnConflict(StrEnum):
    """What happens where an export's target exists and is not this task's."""

    RENAME = "rename"
    OVERWRITE = "overwrite"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """`export:` of a watch folder."""

    scope: ExportScope = ExportScope.OWN
    newline: str = "native"  # native | lf | crlf
    encoding: str = "utf-8"
    on_conflict: OnConflict = OnConflict.RENAME
    file_mode: int | None = None  # None: inherit
    folder_mode: int | None = None
    poll_min: float = 1.0
    poll_max: float = 30.0
    retry_delay: float = 300.0
    max_attempts: int = 10
    on_exhausted: str = "hold"  # hold | fail
    archive: Path | None = None
    error: Path | None = None  # absolute; None only where there is no output
    workers: int = 4


@dataclass(frozen=True, slots=True)
class WatchFolder:
    """One entry of `watch_folders:`; an inbox, an output, or both."""

    name: str
    project_id: str
    inbox: Path | None
    output: Path | None
    formerly: tuple[str, ...] = ()
    include: tuple[str, ...] = ("*.pdf", "*.tif", "*.tiff")
    exclude: tuple[str, ...] = ()
    unmatched: str = "leave"  # leave | error
    recursive: bool = True
    settle: float = 2.0
    ready_file: str | None = None
    observer: Observer = Observer.AUTO
    poll_interval: float = 5.0
    rescan: float = 60.0
    accept: tuple[DocumentType, ...] = (DocumentType.PDF, DocumentType.TIFF)
    stalled_after: float = 60.0
    give_up_after: float | None = 1800.0
    truncated: str = "error"  # error | submit
    max_size: int | None = 2 * 1024**3
    hard_links: str = "check"  # check | allow
    on_duplicate: str = "submit"  # submit | skip
    task_name: str = "{file_name}"
    tags: Mapping[str, str] = field(default_factory=dict)
    send_path: bool = True
    after_submit: str = "archive"  # archive | delete
    archive: Path | None = None  # absolute; None only where there is no inbox
    error: Path | None = None
    archive_keep: float | None = None
    error_keep: float | None = None
    export: ExportSettings = field(default_factory=ExportSettings)


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """`retry:` of the configuration: what happens when the service as a whole is in trouble."""

    first: float = 1.0
    max: float = 300.0
    unknown_wait: float = 600.0


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """`logging:` of the configuration."""

    level: str = "info"
    format: str = "text"  # text | json
    file: Path | None = None
    max_size: int = 10 * 1000 * 1000
    backups: int = 5


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration."""

    service: ServiceSettings
    state_dir: Path
    watch_folders: tuple[WatchFolder, ...]
    ledger: str = "sqlite"
    retry: RetrySettings = field(default_factory=RetrySettings)
    min_free: int = 100 * 1000 * 1000
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    history_keep: float | None = 90 * 86400.0
    source: Path | None = None  # the file it was read from

    def watch_folder(self, name: str) -> WatchFolder | None:
        """Return the watch folder of that name, by `formerly` too."""
        for folder in self.watch_folders:
            if name == folder.name or name in folder.formerly:
                return folder
        return None


# --- states and reasons: public names (design.md §3) ------------------------------------------------------------------


class FileState(StrEnum):
    """Where one source file stands; once archived, its task's state says more."""

    WAITING = "waiting"
    STALLED = "stalled"
    IGNORED = "ignored"
    SENDING = "sending"
    UNKNOWN = "unknown"
    HELD = "held"
    SUBMITTED = "submitted"
    ARCHIVED = "archived"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    GONE = "gone"


class TaskState(StrEnum):
    """Where one task stands, as far as the agent is concerned."""

    PROCESSING = "processing"
    EXPORTING = "exporting"
    EXPORTED = "exported"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    ENDED_UNKNOWN = "ended_unknown"


OPEN_TASK_STATES = frozenset({TaskState.PROCESSING, TaskState.EXPORTING, TaskState.SUPERSEDED})
"""Tasks that may still change; a superseded one is open until `ended_at` is set."""


class Reason(StrEnum):
    """Why a file lies in `error/`: the first word of its note."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    WRONG_TYPE = "wrong_type"
    TRUNCATED = "truncated"
    UNMATCHED = "unmatched"
    REFUSED_BY_SERVICE = "refused_by_service"
    TASK_FAILED = "task_failed"
    TASK_TIMED_OUT = "task_timed_out"
    TASK_CANCELED = "task_canceled"
    RESULT_EXPIRED = "result_expired"


class LaneReason(StrEnum):
    """Why a lane waits."""

    SERVICE_UNREACHABLE = "service_unreachable"
    SERVICE_UNAVAILABLE = "service_unavailable"
    RATE_LIMITED = "rate_limited"
    CREDENTIALS_REFUSED = "credentials_refused"
    SETUP_REFUSED = "setup_refused"
    SERVICE_REFUSES_ALL = "service_refuses_all"
    INBOX_MISSING = "inbox_missing"
    OUTPUT_MISSING = "output_missing"
    ROOT_CHANGED = "root_changed"
    OWNED_BY_OTHER_AGENT = "owned_by_other_agent"
    NOT_READABLE = "not_readable"
    NOT_WRITABLE = "not_writable"
    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    IO_ERROR = "io_error"
    TOO_MANY_OPEN_FILES = "too_many_open_files"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    PAUSED = "paused"


# --- the inbox -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signature:
    """What identifies the very bytes of a file at one moment: `identity` is "device:file id", both in hexadecimal."""

    identity: str
    size: int
    modified_ns: int


class Irregular(StrEnum):
    """Why a directory entry is never opened."""

    SYMLINK = "symlink"
    JUNCTION = "junction"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"
    HARD_LINK = "hard_link"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One file (or irregular entry) seen in an inbox; nothing was opened."""

    relative_path: str
    signature: Signature
    links: int = 1
    owner: int | None = None  # numeric user id on POSIX
    born_at: float | None = None  # birth time on Windows
    irregular: Irregular | None = None

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return self.signature.size


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One row of the ledger about one source file; `key` is its fsagent_key.

    A change is a new record made by `change()`: it carries the version the row will have, and the ledger refuses it
    (StaleRecord) unless the row still has the version before.
    """

    key: str
    watch_folder: str
    relative_path: str
    signature: Signature
    state: FileState
    state_at: float
    first_seen_at: float
    version: int = 1
    in_inbox: bool = True
    detail: str = ""  # why it is in this state, one sentence for people
    reason: Reason | None = None
    # settling; monotonic seconds of the process that wrote them
    unchanged_since: float | None = None
    look_at: float | None = None
    looks: int = 0
    ready: bool = False
    # submission
    project_id: str = ""
    task_name: str = ""
    document_type: str = ""
    claimed_by: str = ""
    intent_at: float | None = None  # service-independent UTC of the last intent to send
    answered_at: float | None = None
    attempts: int = 0
    sha256: str = ""
    task_id: str = ""
    # filing: the destination is in the ledger before anything moves
    filing: str = ""  # where it is to go: "" | archive | error | inbox (a retry)
    destination: str = ""  # relative to that folder's root
    filed_at: float | None = None  # None while a filing is planned and not done
    filed_in: str = ""  # where it lies now: "" (inbox) | archive | error | deleted
    filed_as: str = ""  # relative to that folder's root
    filed_identity: str = ""

    @property
    def lies_at(self) -> str:
        """Where the file lies now, relative to the folder that `filed_in` names."""
        return self.filed_as or self.relative_path

    @property
    def lying_signature(self) -> Signature:
        """What identifies the file where it lies now; a copy to another device has an identity of its own."""
        return replace(self.signature, identity=self.filed_identity or self.signature.identity)

    def change(self, **changes: Any) -> FileRecord:
        """Return the record as it will be after the next commit."""
        return replace(self, version=self.version + 1, **changes)


@dataclass(frozen=True, slots=True)
class Count:
    """How many files or tasks are in one state; `oldest_at` is the oldest `state_at` among them."""

    watch_folder: str
    state: str
    count: int
    oldest_at: float | None


# --- the service -------------------------------------------------------------------------------------------------------


class ServiceTaskState(StrEnum):
    """States of a task at the service (apis.md 1.3); what a client does not know becomes UNRECOGNISED."""

    QUEUED = "queued"
    RUNNING = "running"
    PENDING_START = "pending:start_client_action"
    PENDING_COMPLETE = "pending:complete_client_action"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELED = "canceled"
    UNRECOGNISED = "unrecognised"


FINAL_SERVICE_STATES = frozenset(
    {ServiceTaskState.COMPLETED, ServiceTaskState.FAILED, ServiceTaskState.TIMED_OUT, ServiceTaskState.CANCELED}
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


@dataclass(frozen=True, slots=True)
class Lookup:
    """What an unknown submission is looked for by; times are ours, the service corrects them by its `Date`."""

    key: str
    project_id: str
    task_name: str
    sent_from: float
    sent_until: float


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
class ExportSpecification:
    """What a started export asks to be written: documents, each with one or more files."""

    documents: tuple[tuple[ExportFile, ...], ...]

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


# --- the export -----------------------------------------------------------------------------------------------------------


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
    started_at: float | None = None  # our lease began; None: we hold none
    plan: tuple[PlannedFile, ...] = ()
    staged: bool = False  # every planned file is durable beside its target: roll forward after a crash
    published: bool = False  # every target is durable
    seen_at: float = 0.0  # last sign of life at the service
    asked_at: float = 0.0  # last time it was asked for by itself
    ended_at: float | None = None  # final at the service, as far as we know

    def change(self, **changes: Any) -> TaskRecord:
        """Return the record as it will be after the next commit."""
        return replace(self, version=self.version + 1, **changes)


# --- ledger: the rest ---------------------------------------------------------------------------------------------------------


class RootKind(StrEnum):
    """Which of a watch folder's two roots."""

    INBOX = "inbox"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class RootRecord:
    """What the ledger remembers of a root folder, to know it again; `identity` as in Signature."""

    watch_folder: str
    kind: RootKind
    path: str
    identity: str
    marked: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history; `name` is a short verb phrase, `detail` a sentence."""

    at: float
    watch_folder: str
    name: str
    detail: str = ""
    file_key: str = ""
    task_id: str = ""
    id: int = 0  # given by the ledger


@dataclass(frozen=True, slots=True)
class Request:
    """What a command asks of the running agent; `answer` is set once `done_at` is."""

    id: int
    command: str
    arguments: Mapping[str, Any]
    asked_at: float
    done_at: float | None = None
    ok: bool = False
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LaneState:
    """Whether a lane works; `lane` is "service" or "<watch folder>/submission" or "<watch folder>/export"."""

    lane: str
    reason: LaneReason | None = None
    detail: str = ""
    hint: str = ""
    since: float | None = None
    retry_at: float | None = None
