"""The frozen records everybody talks about; no behaviour beyond small derivations, no imports of other rooms.

Times named `…_at` are UTC unix seconds; `…_since` and `look_at` in sightings are seconds of this process's monotonic
clock and mean nothing to another process. Durations are seconds, sizes bytes; None means "never" or "no limit".
Relative paths are `str` with `/` between parts on every platform; undecodable bytes are kept as surrogates (PEP 383).
"""

from __future__ import annotations

from agent.model.bookkeeping import (
    Event,
    LaneState,
    Request,
    RootKind,
    RootRecord,
)
from agent.model.files import (
    Count,
    FileRecord,
    Irregular,
    Sighting,
    Signature,
)
from agent.model.settings import (
    DocumentType,
    ExportScope,
    ExportSettings,
    LoggingSettings,
    Observer,
    OnConflict,
    RetrySettings,
    ServiceSettings,
    ServiceType,
    Settings,
    WatchFolder,
    WebSettings,
)
from agent.model.states import (
    OPEN_TASK_STATES,
    FileState,
    LaneReason,
    Reason,
    TaskState,
)
from agent.model.tasks import (
    FINAL_SERVICE_STATES,
    ExportFile,
    ExportSpecification,
    FileSource,
    Lookup,
    PlannedFile,
    Project,
    Result,
    ResultField,
    ServiceTaskState,
    Task,
    TaskRecord,
    TaskReference,
    Upload,
    UploadProgress,
)

__all__ = [
    "FINAL_SERVICE_STATES",
    "OPEN_TASK_STATES",
    "Count",
    "DocumentType",
    "Event",
    "ExportFile",
    "ExportScope",
    "ExportSettings",
    "ExportSpecification",
    "FileRecord",
    "FileSource",
    "FileState",
    "Irregular",
    "LaneReason",
    "LaneState",
    "LoggingSettings",
    "Lookup",
    "Observer",
    "OnConflict",
    "PlannedFile",
    "Project",
    "Reason",
    "Request",
    "Result",
    "ResultField",
    "RetrySettings",
    "RootKind",
    "RootRecord",
    "ServiceSettings",
    "ServiceTaskState",
    "ServiceType",
    "Settings",
    "Sighting",
    "Signature",
    "Task",
    "TaskRecord",
    "TaskReference",
    "TaskState",
    "Upload",
    "UploadProgress",
    "WatchFolder",
    "WebSettings",
]
