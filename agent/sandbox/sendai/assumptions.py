"""Every point where this sandbox decides what the documentation of Send AI leaves open (apis.md 2, [ASSUME]).

The sandbox is strict about these, the client tolerant. Where two pages disagree, `settings` lets a test choose.

- A refusal is `{"message": text, "error": kind}`.
- 401: no key, another scheme, a wrong key. 403: a team or project the key does not belong to, a missing scope.
- Create Upload takes multipart/form-data without text before the first boundary; file names are escaped as HTML forms
  do it (`%22`, `%0D`, `%0A`), or as RFC 5987 has it in `filename*`. Unknown fields are passed over; `file` may be
  repeated, the others not; `meta` is an array of objects with the texts `name` and `value` and nothing else; a
  `projectId` that is not the path's is refused. An empty file is taken and fails.
- More than 100 files: 400; a file beyond 40,000,000 bytes: 413; nothing of such an upload stays.
- Task ids grow in the order of the files; a mail's own task comes before those of its attachments, whose names are
  the attachments' names.
- Upload state: any PROCESSING, else any REVIEWING, else all FAILED, else some FAILED: PARTIAL, else COMPLETED.
- Complete, discard and unlock in a state that does not allow them change nothing and answer 200 with the task as it
  is. Unlock makes a task REVIEWING again. Report changes nothing and may come in any state.
- An upload begins in the folder Inbox; any folder id is accepted by Move.
- Nothing is ever exported by the service itself: `exported_at` stays null.
- `/openapi.json` needs no key.
"""

from __future__ import annotations

from typing import Final

INBOX_FOLDER: Final = "folder_inbox"
STATUS_FORBIDDEN: Final = 403

FIELD_LIMIT: Final = 1024 * 1024
"""Bytes of one text field of a form, and of a JSON body; beyond: 413."""
MESSAGE_LIMIT: Final = 10_000
"""Characters of a report's message."""
