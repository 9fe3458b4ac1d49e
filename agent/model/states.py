"""States and reasons: public names (design.md §3)."""

from __future__ import annotations

from enum import StrEnum


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
    REVIEWING = "reviewing"
    """People look at it at the service, as long as it takes."""
    EXPORTING = "exporting"
    EXPORTED = "exported"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    ENDED_UNKNOWN = "ended_unknown"
    DISCARDED = "discarded"
    """People, or a filter of the service, put it aside: no error, and nothing is exported."""
    SPLIT = "split"
    """An upload whose tasks have rows of their own by now."""


OPEN_TASK_STATES = frozenset({TaskState.PROCESSING, TaskState.REVIEWING, TaskState.EXPORTING, TaskState.SUPERSEDED})
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
    WEB_UNAVAILABLE = "web_unavailable"
    PAUSED = "paused"
