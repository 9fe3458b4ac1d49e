"""The ASGI application around a sandbox: routes, and every error as the service writes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from agent.sandbox.control import ControlApi
from agent.sandbox.endpoints import TasksApi
from agent.sandbox.gate import Gate
from agent.sandbox.openapi import openapi_document
from agent.sandbox.problems import Refusal, TokenRefusal, problem_response, status_refusal, token_response
from agent.sandbox.routing import resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, ExceptionHandler

    from agent.sandbox.core import Sandbox
    from agent.sandbox.playable import Playable, SayNo


def make_app(sandbox: Sandbox) -> ASGIApp:
    """Return the application of the Tasks API."""
    return build_app(
        sandbox, routes=TasksApi(sandbox).routes(), control=ControlApi(sandbox).routes(), document=openapi_document()
    )


def build_app(
    sandbox: Playable,
    *,
    routes: Sequence[BaseRoute],
    control: Sequence[BaseRoute],
    document: dict[str, Any],
    say_no: SayNo = problem_response,
) -> ASGIApp:
    """Return the application of a service; control end points exist only where the settings ask for them."""

    async def openapi(_: Request) -> Response:
        return Response(json.dumps(document), media_type="application/json")

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

    async def token_refused(_: Request, error: Exception) -> Response:
        return token_response(cast("TokenRefusal", error))

    async def http_error(_: Request, error: Exception) -> Response:
        wrong = cast("HTTPException", error)
        return say_no(status_refusal(wrong.status_code, headers=wrong.headers))

    async def client_gone(_: Request, __: Exception) -> Response:
        return say_no(status_refusal(400))  # nobody reads this answer; the upload left nothing behind

    async def broken(_: Request, __: Exception) -> Response:
        return say_no(status_refusal(500))

    return {
        Refusal: refused,
        TokenRefusal: token_refused,
        HTTPException: http_error,
        ClientDisconnect: client_gone,
        Exception: broken,
    }
