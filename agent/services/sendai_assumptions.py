"""Every point where the client assumes what the documentation of Send AI leaves open (apis.md 2, [ASSUME]).

The client is tolerant about these, the sandbox strict (`sandbox.sendai.assumptions` says the same from the other side).

- Paths are those of the end points' own pages; `service.path_prefix` is for accounts that have the others.
- Any 2xx is success. Answers come in an envelope `payload` or bare, in snake_case or camelCase, states in any case.
- `projectId` is sent along in the form, though the path has it. Text fields come before the files.
- A file's name in a form is escaped as browsers do it (`rules.form_names`), and a task is named after its file.
- `name` and `meta` hold what finds an upload again for people; an upload whose answer was lost cannot be looked up.
- Get Upload lists its tasks as `tasks`, as `task_ids`, or somewhere in `files`, where a task's id begins with `task_`
  or is called `task_id`. A task listed without a name is asked for by itself.
- IN_REVIEW is REVIEWING. Unknown states are work in progress. What an upload is decides only whether more tasks may
  come: PROCESSING, or any task PROCESSING, or an unknown state with no task. Else each task speaks for itself.
- COMPLETED is final for us, and its values are in Get Task; `exported_at` is of no concern.
- Complete, discard, report and move answer with what became of it; the state in the answer counts, not the status. An
  answer without one is followed by asking for the task.
- An upload is moved by `POST …/move/{folder_id}`; where there is no such call, by `PUT …/move` with `folder_id` in
  JSON.
- A page is known by its place in `pages`, from 1.
- 400, 404, 409 and 422 to anything but a new upload: task or upload are elsewhere by now, or unknown (404).
- The key is judged before team, project and id: asking for an upload nobody has tells whether the key is good, without
  making anything. 403 and 404 to that question say that it is.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from agent.model import DocumentType, ServiceTaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH_PREFIX: Final = "/v2/{team_id}/project/{project_id}"
NOBODYS: Final = "fsagent-asks-whether-the-key-is-good"
"""A project, and an upload, that no account has."""
ACCEPTED_TYPES: Final = frozenset(
    {DocumentType.PDF, DocumentType.JPEG, DocumentType.PNG, DocumentType.TIFF, DocumentType.EMAIL}
)
"""No list is documented; others are sent where `accept` says so, and the answer decides."""
SIZE_LIMIT: Final = 40_000_000
"""Bytes of one file; whether MB or MiB is meant is not said."""
BATCH_LIMIT: Final = 100
RESULT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of an answer about one task or upload."""
NO_SUCH_CALL: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
"""Statuses of Move Upload that say it goes by another name, or that there is no such upload."""
TASK_PREFIX: Final = "task_"
"""How a task's id begins, where only that tells it from other texts."""

TASK_STATES: Final[Mapping[str, ServiceTaskState]] = {
    "PROCESSING": ServiceTaskState.RUNNING,
    "REVIEWING": ServiceTaskState.REVIEWING,
    "IN_REVIEW": ServiceTaskState.REVIEWING,
    "COMPLETED": ServiceTaskState.PENDING_START,
    "FAILED": ServiceTaskState.FAILED,
    "DISCARDED": ServiceTaskState.DISCARDED,
    "FILTERED": ServiceTaskState.DISCARDED,
}
UPLOAD_STATES: Final[Mapping[str, ServiceTaskState]] = {
    "PROCESSING": ServiceTaskState.RUNNING,
    "REVIEWING": ServiceTaskState.REVIEWING,
    "IN_REVIEW": ServiceTaskState.REVIEWING,
    "COMPLETED": ServiceTaskState.COMPLETED,
    "PARTIAL": ServiceTaskState.COMPLETED,
    "FAILED": ServiceTaskState.FAILED,
}


def project_path(prefix: str, *, team_id: str, project_id: str) -> str:
    """Return what stands before every operation; ids are opaque, and hostile until quoted."""
    values = {"{team_id}": quote(team_id, safe=""), "{project_id}": quote(project_id, safe="")}
    path = prefix or PATH_PREFIX
    for placeholder, value in values.items():
        path = path.replace(placeholder, value)
    return f"/{path.strip('/')}" if path.strip("/") else ""


def uploads_path() -> str:
    """Return the path of new uploads, below the project's."""
    return "/upload"


def upload_path(upload_id: str) -> str:
    """Return the path of one upload, below the project's."""
    return f"/upload/{quote(upload_id, safe='')}"


def move_path(upload_id: str, folder_id: str = "") -> str:
    """Return the path that moves an upload: POST with the folder in the path, else PUT with it in the body."""
    path = f"{upload_path(upload_id)}/move"
    return f"{path}/{quote(folder_id, safe='')}" if folder_id else path


def task_path(task_id: str, operation: str = "") -> str:
    """Return the path of one task, or of complete, discard and report, below the project's."""
    path = f"/task/{quote(task_id, safe='')}"
    return f"{path}/{operation}" if operation else path
