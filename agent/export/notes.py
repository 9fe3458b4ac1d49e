"""The text an administrator finds in `output/error/` for a task whose export failed for good."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.folders import filing
from agent.rules.naming import for_display, safe_part

if TYPE_CHECKING:
    from agent.errors import TaskFatal
    from agent.model import TaskRecord, WatchFolder


def write_failure_note(folder: WatchFolder, record: TaskRecord, fatal: TaskFatal, *, now: float) -> None:
    """Write `<safe task name>.error.txt`, under a clash name where that is a stranger's. Raises LocalTrouble."""
    assert folder.export.error is not None
    filing.make_root(folder.export.error, mode=folder.export.folder_mode)
    text = failure_note(record, fatal, now=now)
    filing.write_note(folder.export.error, safe_part(record.name), text, own=f"task: {record.task_id}")


def failure_note(record: TaskRecord, fatal: TaskFatal, *, now: float) -> str:
    """Return the note's text: `key: value` lines."""
    when = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    lines = [
        f"reason: export_failed: {for_display(' '.join(fatal.message.split()))}",
        f"what to do: {fatal.hint or _what_to_do(record)}",
        f"task name: {for_display(record.name)}",
        f"task: {record.task_id}",
        f"watch folder: {record.watch_folder}",
        f"when: {when}",
    ]
    return "\n".join(lines) + "\n"


def _what_to_do(record: TaskRecord) -> str:
    # Only a source of ours can be sent again; of others' tasks the service has deleted all.
    again = f"fsagent retry {record.task_id}" if record.file_key else "submit its document anew"
    return f"mend what the sentence names, in the project or in this folder, then: {again}"
