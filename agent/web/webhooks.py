"""The end points that services call: `POST /webhooks/typless/<webhook_secret>` (apis.md 3.3).

Whoever knows the secret may nudge, and no more: an id is handed on, nothing else of a body is used, answered or logged.
The Host is not asked for, because these requests come from outside, often through a proxy.
"""

from __future__ import annotations

import hmac
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route, Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp

logger = logging.getLogger(__name__)

LONGEST_BODY: Final = 64 * 1024
_LONGEST_DRAIN: Final = 1024 * 1024
"""Of a body that is too long so much is read all the same: a connection closed with bytes unread is reset, and the
client would not see why."""
_LONGEST_ID: Final = 512


def webhook_app(secret: str, take: Callable[[str], None]) -> ASGIApp:
    """Return the application; `take` is given each id and must not wait."""
    expected = secret.encode()

    async def typless(request: Request) -> Response:
        given = request.path_params["secret"].encode(errors="replace")
        if not hmac.compare_digest(given, expected):
            return Response(status_code=404)
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if body is None:
            return Response(status_code=413)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return Response(status_code=400)
        task_id = _task_id(document)
        if task_id is None:
            logger.debug("a webhook named no extraction")
        else:
            take(task_id)
        return Response(status_code=200)

    return Router([Route("/webhooks/typless/{secret}", typless, methods=["POST"])], redirect_slashes=False)


async def _body(request: Request) -> bytes | None:
    """Return the body, None where it is too long. Raises ClientDisconnect."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > _LONGEST_DRAIN:
            break
    return bytes(body) if len(body) <= LONGEST_BODY else None


def _task_id(document: Any) -> str | None:
    """Return what may be an id; the event's type is not asked for, since polling tells what has become of it."""
    data = document.get("data") if isinstance(document, dict) else None
    task_id = data.get("id") if isinstance(data, dict) else None
    if isinstance(task_id, str) and 0 < len(task_id) <= _LONGEST_ID and task_id.isprintable():
        return task_id
    return None
