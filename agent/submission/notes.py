"""The text beside a file in `error/`: why it lies there and what to do, for people and scripts alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.model import Reason
from agent.rules.naming import for_display

if TYPE_CHECKING:
    from agent.model import FileRecord

WHAT_TO_DO = {
    Reason.EMPTY: "write the file again and drop it into the inbox",
    Reason.TOO_LARGE: "split the file or raise max_size, then: fsagent retry",
    Reason.WRONG_TYPE: "convert the file or add its type to `accept`, then: fsagent retry",
    Reason.TRUNCATED: "copy the file into the inbox again; this one is not complete",
    Reason.UNMATCHED: "rename the file or add a pattern to `include`, then: fsagent retry",
    Reason.REFUSED_BY_SERVICE: "read what the service says, mend the file or the project, then: fsagent retry",
    Reason.TASK_FAILED: "read what the service says, mend the file or the project, then: fsagent retry",
    Reason.TASK_TIMED_OUT: "nobody finished the task in time; to send the file again: fsagent retry",
    Reason.TASK_CANCELED: "somebody canceled the task; to send the file again: fsagent retry",
    Reason.RESULT_EXPIRED: "the result was not fetched in time; to send the file again: fsagent retry",
}


def error_note(record: FileRecord, *, at: float) -> str:
    """Return the note's text: `key: value` lines; `reason:` first."""
    assert record.reason is not None, "a file goes to error/ for a reason"
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    lines = [
        f"reason: {record.reason.value}: {one_line(record.detail)}",
        f"what to do: {WHAT_TO_DO[record.reason]}",
        f"file: {for_display(record.relative_path)}",
        f"watch folder: {record.watch_folder}",
        f"when: {when}",
        f"attempts: {record.attempts}",
        f"task: {record.task_id or 'none'}",
        f"id: {record.key}",
    ]
    return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """Return text without anything that could start a line of its own."""
    return for_display(" ".join(text.split()))
