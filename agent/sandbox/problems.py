"""How the sandbox says no: RFC 7807 problems, and the legacy body of the token end point (apis.md 1.5).

Owns the two shapes; which status belongs to which mistake is decided where the mistake is found.
"""

from __future__ import annotations

import json
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from agent.sandbox.assumptions import (
    PROBLEM_MEDIA_TYPE,
    STATUS_BAD_REQUEST,
    STATUS_UNKNOWN,
    STATUS_WRONG_CREDENTIALS,
    STATUS_WRONG_STATE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class Refusal(Exception):
    """An answer on its way, not a fault of the program: a problem document; `kind` ends its `type` URI."""

    def __init__(self, status: int, kind: str, title: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(title)
        self.status = status
        self.kind = kind
        self.title = title
        self.headers = dict(headers or {})


class TokenRefusal(Exception):
    """A token request is answered with the legacy body."""

    def __init__(self, status: int, message: str, *, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = dict(fields or {})


def bad_request(kind: str, title: str) -> Refusal:
    """Return the refusal of a request that makes no sense."""
    return Refusal(STATUS_BAD_REQUEST, kind, title)


def unknown(kind: str, title: str) -> Refusal:
    """Return the refusal of something that is not there, or no longer."""
    return Refusal(STATUS_UNKNOWN, kind, title)


def wrong_state(title: str) -> Refusal:
    """Return the refusal of an action the task's state does not allow."""
    return Refusal(STATUS_WRONG_STATE, "wrong-state", title)


def unauthorized(title: str, *, scheme: str = "Bearer") -> Refusal:
    """Return the refusal of a request without a valid token or key."""
    return Refusal(STATUS_WRONG_CREDENTIALS, "unauthorized", title, headers={"WWW-Authenticate": scheme})


def too_large(limit: int) -> Refusal:
    """Return the refusal of a body beyond its limit in bytes."""
    return Refusal(413, "too-large", f"The body is larger than {limit} bytes.")


def problem_document(status: int, kind: str, title: str) -> dict[str, Any]:
    """Return `type`, `title`, `status` and `instance`; `detail` is not in the service's own table."""
    return {
        "type": f"urn:fsagent:sandbox:problem:{kind}",
        "title": title,
        "status": status,
        "instance": f"urn:uuid:{uuid.uuid4()}",
    }


def problem_response(refusal: Refusal) -> Response:
    """Return the answer a refusal asks for."""
    document = problem_document(refusal.status, refusal.kind, refusal.title)
    return Response(
        json.dumps(document), status_code=refusal.status, headers=refusal.headers, media_type=PROBLEM_MEDIA_TYPE
    )


def status_problem(status: int, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem that says no more than its status does."""
    return problem_response(status_refusal(status, headers=headers))


def status_refusal(status: int, *, headers: Mapping[str, str] | None = None) -> Refusal:
    """Return a refusal that says no more than its status does."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = f"Status {status}"
    return Refusal(status, title.lower().replace(" ", "-"), title, headers=headers)


def token_response(refusal: TokenRefusal) -> Response:
    """Return the legacy body: `message`, and `requestErrors` where fields are named."""
    document: dict[str, Any] = {"message": refusal.message}
    if refusal.fields:
        document["requestErrors"] = {field: [text] for field, text in refusal.fields.items()}
    return Response(json.dumps(document), status_code=refusal.status, media_type="application/json")
