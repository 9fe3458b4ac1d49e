"""What the end points of all services do alike with requests and answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from agent.sandbox.refusals import bad_request, too_large

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request


def json_answer(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer of JSON."""
    return Response(json.dumps(document), status_code=status, headers=headers, media_type="application/json")


def media_type_of(request: Request) -> str:
    """Return the Content-Type of a request without its parameters, in small letters; empty where it names none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def small_body(request: Request, limit: int) -> bytes:
    """Return a request's body. Raises Refusal (413)."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > limit:
            raise too_large(limit)
    return bytes(body)


def parsed_body(request: Request, body: bytes) -> Any:
    """Return the JSON of a request's body. Raises Refusal (400)."""
    if media_type_of(request) != "application/json":
        raise bad_request("body", "The body's Content-Type is not application/json.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise bad_request("body", "The body is not JSON.") from None
