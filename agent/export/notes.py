"""The text an administrator finds in `output/error/` for a task whose export failed for good."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.folders import filing
from agent.rules.naming import clash_name, for_display, safe_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.errors import TaskFatal
    from agent.model import TaskRecord, WatchFolder

NAMES_TRIED = 20


def write_failure_note(
    folder: WatchFolder, record: TaskRecord, fatal: TaskFatal, *, now: float, entropy: Callable[[], int]
) -> None:
    """Write `<safe task name>.error.txt`, under a clash name where that is taken. Raises LocalTrouble."""
    assert folder.export.error is not None
    filing.make_root(folder.export.error)
    text = failure_note(record, fatal, now=now)
    name = safe_part(record.name) or record.task_id
    for _ in range(NAMES_TRIED):
        try:
            filing.write_note(folder.export.error, name, text)
        except FileExistsError:
            name = clash_name(safe_part(record.name) or record.task_id, now=now, entropy=entropy())
        else:
            return


def failure_note(record: TaskRecord, fatal: TaskFatal, *, now: float) -> str:
    """Return the note's text: `key: value` lines."""
    when = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    lines = [
        f"reason: export_failed: {for_display(' '.join(fatal.message.split()))}",
        "what to do: "
        + (fatal.hint or "mend what the sentence names, in the project or in this folder, then: fsagent retry"),
        f"task name: {for_display(record.name)}",
        f"task: {record.task_id}",
        f"watch folder: {record.watch_folder}",
        f"when: {when}",
    ]
    return "\n".join(lines) + "\n"
