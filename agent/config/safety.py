"""Values that are allowed and unwise: each a warning that names what will happen."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from agent.config.fields import is_loopback
from agent.model import ExportScope

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.config import document
    from agent.model import ExportSettings, Settings, WatchFolder

SHORTEST_UNKNOWN_WAIT = 30.0
SHORTEST_LEASE = 60.0


def warn_about_unsafe_values(settings: Settings, warn: Callable[[document.Path, str], None]) -> None:
    """Call `warn` with path and consequence for every unsafe value."""

    def when(condition: bool, path: document.Path, message: str) -> None:
        if condition:
            warn(path, message)

    service, retry, log = settings.service, settings.retry, settings.logging
    when(
        service.url.startswith("http://") and not is_loopback(service.url),
        ("service", "url"),
        "http:// shows the secret and every document to the network",
    )
    when(service.timeout == 0, ("service", "timeout"), "0: no request can be answered in time")
    when(service.min_speed == 0, ("service", "min_speed"), "0: a request that crawls is never given up")
    when(service.connections == 0, ("service", "connections"), "0 means 1: one upload at a time")
    when(service.lease < SHORTEST_LEASE, ("service", "lease"), "shorter than 1m: larger exports never finish")
    when(retry.first == 0, ("retry", "first"), "0: a service in trouble is asked without a pause")
    when(retry.max < retry.first, ("retry", "max"), "shorter than retry.first: it is the only wait there is")
    when(
        retry.unknown_wait < SHORTEST_UNKNOWN_WAIT,
        ("retry", "unknown_wait"),
        "shorter than 30s: a document whose answer was lost may be processed twice",
    )
    when(settings.min_free == 0, ("min_free",), "0: the disks may fill to the last byte")
    when(settings.history_keep == 0, ("history_keep",), "0: what is finished is forgotten at once")
    when(log.file is not None and log.max_size == 0, ("logging", "max_size"), "0: the log file grows without end")
    when(log.file is not None and log.backups == 0, ("logging", "backups"), "0: the log file grows without end")
    for index, folder in enumerate(settings.watch_folders):
        here = ("watch_folders", index)
        if folder.inbox is not None:
            _warn_about_inbox(folder, here, when)
        if folder.output is not None:
            _warn_about_export(folder, folder.export, (*here, "export"), when)
            continue
        for other in settings.watch_folders:
            exports_all = other.output is not None and other.export.scope is ExportScope.PROJECT
            when(
                exports_all and other.project_id == folder.project_id,
                (*here, "inbox"),
                f"nothing of it is exported: {other.name} exports the project less the tasks of other watch folders;"
                " put inbox and output into one watch folder",
            )


def _warn_about_inbox(
    folder: WatchFolder, here: document.Path, when: Callable[[bool, document.Path, str], None]
) -> None:
    give_up = folder.give_up_after
    when(not folder.include, (*here, "include"), "empty: no file is ever submitted")
    when(not folder.accept, (*here, "accept"), "empty: every file goes to error")
    when(folder.settle == 0, (*here, "settle"), "0: files are sent while they are still being written")
    when(folder.poll_interval == 0, (*here, "poll_interval"), "0: the inbox is listed without a pause")
    when(folder.rescan == 0, (*here, "rescan"), "0: the inbox is scanned as often as it can be")
    when(folder.stalled_after < folder.settle, (*here, "stalled_after"), "shorter than settle: files stall at once")
    when(
        give_up is not None and give_up < folder.stalled_after,
        (*here, "give_up_after"),
        "shorter than stalled_after: slow writers find their files in error",
    )
    when(folder.max_size == 0, (*here, "max_size"), "0: every file goes to error; never: no limit")
    when(folder.archive_keep == 0, (*here, "archive_keep"), "0: documents are deleted as soon as their task ends")
    when(folder.error_keep == 0, (*here, "error_keep"), "0: refused documents are deleted at once")


def _warn_about_export(
    folder: WatchFolder,
    export: ExportSettings,
    here: document.Path,
    when: Callable[[bool, document.Path, str], None],
) -> None:
    when(
        export.scope is ExportScope.OWN and folder.inbox is None,
        (*here, "scope"),
        "own without an inbox: nothing is ever exported",
    )
    when(not export.formats, (*here, "formats"), "empty: no result is ever written")
    when(export.workers == 0, (*here, "workers"), "0: nothing is ever exported")
    when(export.poll_min == 0, (*here, "poll_min"), "0: the service is asked without a pause")
    when(export.poll_max < export.poll_min, (*here, "poll_max"), "shorter than poll_min: it is the only wait there is")
    when(export.retry_delay == 0, (*here, "retry_delay"), "0: a failing task is tried again without a pause")
    when(export.max_attempts == 0, (*here, "max_attempts"), "0: on_exhausted decides after the first error")
    when(
        _lacks(export.file_mode, stat.S_IRUSR | stat.S_IWUSR), (*here, "file_mode"), "the agent itself needs 0600 of it"
    )
    when(_lacks(export.folder_mode, stat.S_IRWXU), (*here, "folder_mode"), "the agent itself needs 0700 of it")


def _lacks(mode: int | None, needed: int) -> bool:
    return mode is not None and mode & needed != needed
