"""Every point where this sandbox decides what the documentation of the Tasks API leaves open (apis.md, [ASSUME]).

The sandbox is strict about these, the client tolerant. Owns the constants the code uses for them and, for those that
are behaviour, the list below; nothing is decided here that a source documents.

- Get Task is `GET /tasks/{id}`; a task may be canceled by `PUT /tasks/{id}/cancel`, in any state that is not final,
  at once; a final one answers as a wrong state does.
- List Tasks without a filter shows every state; a filter takes one known value; everything comes on one page; both
  filters together must both hold. Tags and messages are shown only where `list_tags` or `show_message` ask for it.
- Projects are listed by `GET /projects` as `{"projects": [...]}`; one is uploaded as the raw bytes of the `.alproj`
  file by `POST /projects?name=`, answered like a created task's project: id and name.
- X-Aluma-Tags is ASCII, split on `&`, then on the first `=`, both sides percent-decoded as UTF-8; a piece without
  `=`, a name given twice, a broken escape, an empty task_name and a file_created_time that is no whole number are
  refused. All headers together may be up to 64 KiB long.
- A missing Content-Type is accepted and the content decides; another type than PDF or TIFF, or one the content does
  not bear out, is accepted and fails the task (seed 001 says so of the format).
- Projects of the sandbox have no validation stage: the only client action a task ever waits for is `export`.
- After complete: running, then completed. After fail: running, then failed. After the lease: pending export again.
- Cancel, complete and fail answer without a body; fail's own body may be empty or `{"message": text}`.
- A file may be fetched, with a bearer token, while its task is not final and its specification was asked for once.
- An unknown project, task, file collection or file is answered 404, and so is one whose data or record was deleted.
- A token request that names neither JSON nor a form, or lacks a field, is answered 400, a wrong pair 401.
- `/openapi.json` needs no token.
"""

from __future__ import annotations

from typing import Final

GET_TASK_PATH: Final = "/tasks/{task_id}"
CANCEL_TASK_PATH: Final = "/tasks/{task_id}/cancel"
PROJECTS_PATH: Final = "/projects"

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

STATUS_ACTION_TAKEN: Final = 202
"""Cancel, fail and the cancelling of a task; documented for start and complete only."""
STATUS_WRONG_STATE: Final = 409
STATUS_PROJECT_UPLOADED: Final = 201
STATUS_DOWNLOAD: Final = 200

FAIL_BODY_LIMIT: Final = 64 * 1024
"""Bytes of the JSON body of Fail Client Action and of the token request; beyond: 413."""
PROJECT_BODY_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of an uploaded project file; beyond: 413."""
