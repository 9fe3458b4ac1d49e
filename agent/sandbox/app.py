"""The ASGI application around a Sandbox: routes, and every error as a problem document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from agent.sandbox.control import ControlApi
from agent.sandbox.endpoints import TasksApi
from agent.sandbox.gate import Gate
from agent.sandbox.openapi import openapi_document
from agent.sandbox.problems import Refusal, TokenRefusal, problem_response, status_problem, token_response
from agent.sandbox.routing import resource

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from agent.sandbox.core import Sandbox


def make_app(sandbox: Sandbox) -> ASGIApp:
    """Return the application; control end points exist only where the settings ask for them."""
    routes = [*TasksApi(sandbox).routes(), resource("/openapi.json", {"GET": _openapi})]
    if sandbox.settings.control:
        routes += ControlApi(sandbox).routes()
    app = Starlette(
        routes=routes,
        exception_handlers={
            Refusal: _refused,
            TokenRefusal: _token_refused,
            HTTPException: _http_error,
            ClientDisconnect: _client_gone,
            Exception: _broken,
        },
    )
    app.router.redirect_slashes = False
    return Gate(app, sandbox)


async def _openapi(_: Request) -> Response:
    return Response(json.dumps(openapi_document()), media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    return problem_response(cast("Refusal", error))


async def _token_refused(_: Request, error: Exception) -> Response:
    return token_response(cast("TokenRefusal", error))


async def _http_error(_: Request, error: Exception) -> Response:
    wrong = cast("HTTPException", error)
    return status_problem(wrong.status_code, headers=wrong.headers)


async def _client_gone(_: Request, __: Exception) -> Response:
    """Nobody reads this answer; the upload left nothing behind."""
    return status_problem(400)


async def _broken(_: Request, __: Exception) -> Response:
    return status_problem(500)
