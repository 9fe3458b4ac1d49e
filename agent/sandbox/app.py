"""The ASGI application around a sandbox: routes, and every error as its service writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from agent.sandbox.gate import Gate
from agent.sandbox.messages import json_answer
from agent.sandbox.refusals import Refusal, status_refusal
from agent.sandbox.routing import resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, ExceptionHandler

    from agent.sandbox.playable import Playable, SayNo


def make_app(
    sandbox: Playable,
    *,
    routes: Sequence[BaseRoute],
    control: Sequence[BaseRoute],
    document: dict[str, Any],
    say_no: SayNo,
) -> ASGIApp:
    """Return the application of a service; control end points exist only where the settings ask for them."""

    async def openapi(_: Request) -> Response:
        return json_answer(document)

    served = [*routes, resource("/openapi.json", {"GET": openapi})]
    if sandbox.settings.control:
        served += control
    app = Starlette(routes=served, exception_handlers=_handlers(say_no))
    app.router.redirect_slashes = False
    return Gate(app, sandbox, say_no=say_no)


def _handlers(say_no: SayNo) -> dict[Any, ExceptionHandler]:
    """Return what answers each error that may leave an end point."""

    async def refused(_: Request, error: Exception) -> Response:
        return say_no(cast("Refusal", error))

    async def http_error(_: Request, error: Exception) -> Response:
        wrong = cast("HTTPException", error)
        return say_no(status_refusal(wrong.status_code, headers=wrong.headers))

    async def client_gone(_: Request, __: Exception) -> Response:
        return say_no(status_refusal(400))  # nobody reads this answer; the upload left nothing behind

    async def broken(_: Request, __: Exception) -> Response:
        return say_no(status_refusal(500))

    return {
        Refusal: refused,
        HTTPException: http_error,
        ClientDisconnect: client_gone,
        Exception: broken,
    }
