"""Every point where the client assumes what the documentation of Typless leaves open (apis.md 3, [ASSUME]).

The client is tolerant about these, the sandbox strict (`sandbox.typless.assumptions` says the same from the other
side).

- Operations are appended to `service.url`; awaiting-poll is known below `/v1` only.
- The key is sent with the prefix "Token " once, whether it was copied with it or not.
- `file` is plain base64 without line breaks or prefix; `customer` is left out where there is none.
- Any 2xx with an extraction id is success.
- A poll may answer in an envelope, in camelCase, its status in any case. An unknown status is work in progress.
- IN_PROGRESS, ERROR and EXPIRED may or may not bring an `error` or a `result`.
- An unknown extraction id is 400, 404, 410 or 422: gone, which the caller believes after some time only.
- Errors are `code`, `message`, `details`, whatever their types, and FastAPI's `detail` for 422.
- A confidence is a number, or a text that is one. A page from 0 on is passed on as given, for whether pages count from
  0 or 1 is not said; a negative one is no position.
- Line items and VAT rates are lists of rows, a row a list of fields, or an object with `extracted_fields`.
- The key is judged before the id: polling for an id nobody has tells whether the key is good, without making anything.
- awaiting-poll lists every extraction of a customer that was not polled yet, in progress or finished; where there is no
  such call, a lost answer cannot be looked up.
- A `customer` of our own for each submission is accepted, as free text is.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from agent.model import DocumentType, ServiceTaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

SUBMIT: Final = "/extract-data-async"
POLL: Final = "/get-extraction-data"
AWAITING_POLL: Final = "/awaiting-poll"
AWAITING_POLL_VERSION: Final = "/v1"

NOBODYS: Final = "fsagent-asks-whether-the-key-is-good"
"""An extraction id nobody has."""
ACCEPTED_TYPES: Final = frozenset({DocumentType.PDF, DocumentType.JPEG, DocumentType.PNG, DocumentType.TIFF})
"""Others are sent where `accept` says so, and the answer decides."""
SIZE_LIMIT: Final = 30_000_000
"""Bytes of one file (third parties say 30 MB)."""
RESULT_LIFETIME: Final = 48 * 3600.0
"""Seconds from an extraction's end until its result is deleted (seed 004)."""
FIRST_POLL: Final = 2.0
"""Seconds after which a first poll may be worth it."""
RESULT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the answer to a poll."""
ERROR_LIMIT: Final = 4_000
"""Characters of an error that are passed on."""

UNKNOWN_ID: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
NO_SUCH_CALL: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})

STATES: Final[Mapping[str, ServiceTaskState]] = {
    "IN_PROGRESS": ServiceTaskState.RUNNING,
    "SUCCESS": ServiceTaskState.PENDING_START,
    "ERROR": ServiceTaskState.FAILED,
    "EXPIRED": ServiceTaskState.EXPIRED,
}


def awaiting_poll_path(url: str) -> str:
    """Return the path of awaiting-poll below `service.url`, which may name the version itself."""
    has_version = url.rstrip("/").endswith(AWAITING_POLL_VERSION)
    return AWAITING_POLL if has_version else AWAITING_POLL_VERSION + AWAITING_POLL


def own_customer(customer: str, key: str) -> str:
    """Return the customer that finds one submission again; reports still sort by its beginning."""
    return f"{customer}-{key}" if customer else f"fsagent-{key}"
