"""Asks the service for a task that an operator names: a slip of the keys would leave its file without any.

Serves `operations`. Decides whether the word is taken; changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from agent.errors import AgentError, TaskMoved, UserError
from agent.model import Lookup, TaskReference
from agent.submission.unknown import FORGOTTEN_AFTER

if TYPE_CHECKING:
    from agent.model import FileRecord
    from agent.ports import Service, UploadService


def unconfirmed(service: Service | None, record: FileRecord, task_id: str, *, now: float) -> str:
    """Return why nobody but the operator says that there is this task; "" where the service knows it.

    Raises UserError where the service says that there is none, and cannot have forgotten it since.
    """
    if service is None:
        return "no agent runs, and the service's credentials are not set here"
    sent_at = record.intent_at if record.intent_at is not None else record.state_at
    try:
        if _is_known(service, record, task_id, sent_at=sent_at, now=now):
            return ""
    except AgentError as trouble:
        return f"the service could not be asked: {trouble.message}"
    if now - sent_at > min(FORGOTTEN_AFTER, service.abilities.result_lifetime or FORGOTTEN_AFTER):
        return "the service does not know it, and may have forgotten it since it was sent"
    what = "upload" if service.abilities.splits_submissions else "task"
    raise UserError(
        f"the service knows no {what} {task_id}: nothing was decided", hint=f"look up the id of the {what} there"
    )


def _is_known(service: Service, record: FileRecord, task_id: str, *, sent_at: float, now: float) -> bool:
    try:
        if service.abilities.splits_submissions:
            cast("UploadService", service).find_tasks_of(TaskReference(task_id, record.project_id, sent_at))
        else:
            service.get_task(task_id, project_id=record.project_id)
    except TaskMoved:
        if not service.abilities.lists_tasks:
            return False
        # A call nobody has documented is no witness against a task that stands in the list.
        lookup = Lookup(record.key, record.project_id, record.task_name, sent_from=sent_at, sent_until=now)
        return any(task.id == task_id for task in service.find_submission(lookup) or ())
    return True
