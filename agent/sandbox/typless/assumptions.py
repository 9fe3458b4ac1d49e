"""Every point where this sandbox decides what the documentation of Typless leaves open (apis.md 3, [ASSUME]).

The sandbox is strict about these, the client tolerant. Where two pages disagree, `settings` lets a test choose.

- Both `/api/…` and `/api/v1/…` are served; the second adds `adjusted_s3_url` and, for each field, `multiple_values`.
- The key comes as `Authorization: Token KEY`; the scheme's case does not matter. Missing or wrong: 401.
- A refusal is `{"code", "message", "details"}` at the top level; a body that does not fit the schema is 422 with
  `{"detail": [{"loc", "msg", "type"}]}`.
- `file` is base64 in the standard alphabet with padding, nothing else in it: no `data:`, no line break; else 400. A
  file beyond 30,000,000 bytes and an empty one: 400, for 413 is not among the documented outcomes. `file_name` is a
  base name with an extension. An unknown document type: 400. Unknown keys are passed over.
- IN_PROGRESS, ERROR and EXPIRED have an empty `result`; all but ERROR an empty `error`.
- awaiting-poll lists the ids that are not expired, oldest first, those of one `customer` where that is asked for.
- The webhook comes once for each extraction, when it ends; whatever is answered, it is not sent again.
- `/openapi.json` needs no key.
"""

from __future__ import annotations

from typing import Final

PREFIXES: Final = ("/api", "/api/v1")
STATUS_VALIDATION: Final = 422

BODY_SLACK: Final = 64 * 1024
"""Bytes a body may have beyond the base64 of the largest file; beyond: 400."""
PROCESSED_KINDS: Final = ("pdf", "tiff", "jpeg", "png")
"""What is processed (T-data-old)."""
