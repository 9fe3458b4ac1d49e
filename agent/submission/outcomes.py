"""What the ledger is to know once the answer to a submission is there: the file's row, its task's, and the event."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import LaneTrouble, TaskMoved
from agent.model import Event, FileRecord, FileState, LaneReason, TaskRecord, TaskState
from agent.rules.naming import for_display, relative_parent

if TYPE_CHECKING:
    from agent.model import Task
    from agent.ports import Service

logger = logging.getLogger(__name__)

Rows = tuple[FileRecord, TaskRecord, Event]

CHANGED = "the file changed while it was sent; the new content is sent as a task of its own"


def accepted(record: FileRecord, task: Task, *, now: float, sha256: str) -> Rows:
    """Return the rows of a file that became a task; its way to archive/ is planned with them."""
    file_record = record.change(
        state=FileState.SUBMITTED,
        state_at=now,
        answered_at=now,
        task_id=task.id,
        sha256=sha256 or record.sha256,
        filing="archive",
        destination=record.relative_path,
        detail="",
    )
    task_record = TaskRecord(
        task_id=task.id,
        watch_folder=record.watch_folder,
        project_id=record.project_id,
        name=record.task_name,
        state=TaskState.PROCESSING,
        state_at=now,
        opened_at=now,
        file_key=record.key,
        source_folder=relative_parent(record.relative_path),
        service_state=task.state.value,
        seen_at=now,
        asked_at=now,
    )
    return file_record, task_record, Event(now, record.watch_folder, "submitted", "", record.key, task.id)


def superseded(record: FileRecord, task: Task, *, now: float, sha256: str, is_canceled: bool) -> Rows:
    """Return the rows of a file whose content is another by now: nothing of its task is ever written."""
    file_record, task_record, event = accepted(record, task, now=now, sha256=sha256)
    file_record = changed_while_sent(file_record)
    ended_at = now if is_canceled else None
    task_record = replace(task_record, state=TaskState.SUPERSEDED, detail=CHANGED, ended_at=ended_at)
    return file_record, task_record, event


def changed_while_sent(record: FileRecord) -> FileRecord:
    """Return the row, not yet committed, of a file that was sent while somebody wrote to it."""
    return replace(record, state=FileState.GONE, in_inbox=False, filing="", destination="", detail=CHANGED)


def cancel(service: Service, record: FileRecord, task: Task) -> bool:
    """Cancel the task of a file that changed while it was sent; return whether the service did."""
    logger.warning("%s: %s: %s", record.watch_folder, for_display(record.relative_path), CHANGED)
    try:
        service.cancel_task(task.id)
    except (LaneTrouble, TaskMoved) as error:
        logger.info("task %s could not be canceled: %s", task.id, error.message)
        return False
    return True


def refuses_all() -> LaneTrouble:
    """Return the trouble of a lane whose every file is refused."""
    return LaneTrouble(
        "the service refused ten files in a row, none accepted between",
        reason=LaneReason.SERVICE_REFUSES_ALL,
        hint="look at the project and at one of the files in error/; the rest waits in the inbox",
    )
