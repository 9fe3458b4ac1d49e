"""How this service says no: RFC 7807 problems, and the legacy body of the token end point (apis.md 1.5)."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from agent.sandbox.aluma.assumptions import PROBLEM_MEDIA_TYPE, STATUS_WRONG_STATE
from agent.sandbox.messages import json_answer
from agent.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping


class TokenRefusal(Exception):
    """A token request is answered with the legacy body."""

    def __init__(self, status: int, message: str, *, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = dict(fields or {})


def wrong_state(title: str) -> Refusal:
    """Return the refusal of an action the task's state does not allow."""
    return Refusal(STATUS_WRONG_STATE, "wrong-state", title)


def say_no(refusal: Refusal) -> Response:
    """Return a refusal as this service writes it; `detail` is not in its own table."""
    document = {
        "type": f"urn:fsagent:sandbox:problem:{refusal.kind}",
        "title": refusal.title,
        "status": refusal.status,
        "instance": f"urn:uuid:{uuid.uuid4()}",
    }
    return Response(
        json.dumps(document), status_code=refusal.status, headers=refusal.headers, media_type=PROBLEM_MEDIA_TYPE
    )


def token_response(refusal: TokenRefusal) -> Response:
    """Return the legacy body: `message`, and `requestErrors` where fields are named."""
    document: dict[str, Any] = {"message": refusal.message}
    if refusal.fields:
        document["requestErrors"] = {field: [text] for field, text in refusal.fields.items()}
    return json_answer(document, status=refusal.status)
