"""Every point where the client assumes what the documentation of the Tasks API leaves open (apis.md, [ASSUME]).

The client is tolerant about these, the sandbox strict (`sandbox.aluma.assumptions` says the same from the other side).

- Any 2xx is success; which one is documented for few calls.
- List Tasks without a filter shows every state, on one page; its filters may be ignored, so all is filtered again.
- Get Task is `GET /tasks/{id}`. A task is canceled by `PUT /tasks/{id}/cancel`; where the service has no such call
  (404, 405, 501) the task cannot be canceled, which is no trouble of the service.
- 404, 409, 400, 422 to start, complete, cancel and fail: the task is elsewhere by now.
- Projects are listed by `GET /projects`, as `{"projects": [...]}` or a bare list; an `.alproj` file is uploaded as raw
  bytes by `POST /projects?name=`.
- A file of an export specification is fetched with the bearer token; its address may be absolute.
- Tags may or may not be listed, as an object `tags`; a task's message may be in `message`.
- A name listed with its escapes not decoded is still that name.
- The token answers with `expires_in` in seconds.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

TASKS: Final = "/tasks"
PROJECTS: Final = "/projects"
ACTION: Final = "export"
PROJECT_CONTENT_TYPE: Final = "application/octet-stream"

NO_SUCH_CALL: Final = frozenset({404, 405, 501})
"""Statuses of Cancel Task that say there is no such call, or no such task."""

LIST_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a list of tasks: about 150,000."""
SPECIFICATION_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of an export specification with its inline contents."""
PROJECT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of an .alproj file that are sent."""
LOOKUP_SLACK: Final = 5.0
"""Seconds around a submission within which its task was created by the service's clock."""


def task_path(task_id: str) -> str:
    """Return the path of one task; the id is opaque, and hostile until quoted."""
    return f"{TASKS}/{quote(task_id, safe='')}"


def cancel_task_path(task_id: str) -> str:
    """Return the path that cancels a task."""
    return f"{task_path(task_id)}/cancel"


def action_path(task_id: str, call: str) -> str:
    """Return the path of start, complete, cancel or fail of the client action (apis.md 1.4)."""
    return f"{task_path(task_id)}/{call}_client_action"
