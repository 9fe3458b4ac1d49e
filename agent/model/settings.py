"""The configuration, resolved: absolute paths, secrets read, durations in seconds, sizes in bytes, None: never."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    team_id: str = ""
    path_prefix: str = "/v2/{team_id}/project/{project_id}"
    on_unknown: str = "hold"  # hold | resubmit: a lost answer that cannot be looked up
    lookup_by_customer: bool = False
    webhook_secret: str = field(default="", repr=False)
    timeout: float = 60.0
    min_speed: int = 16 * 1024
    connections: int = 4
    max_requests_per_second: float = 0.0
    lease: float = 1800.0
    ca_file: Path | None = None
    proxy: str | None = None

    @property
    def secrets(self) -> list[str]:
        """What no log and no message may show."""
        return [secret for secret in (self.client_secret, self.api_key, self.webhook_secret) if secret]


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
    formats: tuple[str, ...] = ("json", "csv")  # of results, where the service names no files


@dataclass(frozen=True, slots=True)
class WatchFolder:
    """One entry of `watch_folders:`; an inbox, an output, or both.

    `project_id` is what the service sorts documents by: a project, or the document type's name (Typless).
    """

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
    max_size_is_set: bool = False  # somebody wrote it: it counts in place of the limit the service is assumed to have
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
    batch: str = "file"  # file | folder: what one upload holds (Send AI)
    meta: Mapping[str, str] = field(default_factory=dict)  # pairs sent along with each upload (Send AI)
    customer: str = ""  # whom usage is reported for (Typless)
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
class WebSettings:
    """`web:` of the configuration."""

    host: str = ""
    port: int | None = None  # None: nothing listens


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
    web: WebSettings = field(default_factory=WebSettings)
    source: Path | None = None  # the file it was read from

    def watch_folder(self, name: str) -> WatchFolder | None:
        """Return the watch folder of that name, by `formerly` too."""
        for folder in self.watch_folders:
            if name == folder.name or name in folder.formerly:
                return folder
        return None
