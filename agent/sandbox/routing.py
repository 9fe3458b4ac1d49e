"""One route for each path, so that a wrong method is answered with every method that would be right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

Answer = Callable[[Request], Awaitable[Response]]


def resource(path: str, answers: Mapping[str, Answer]) -> Route:
    """Return the route of a path; `answers` by method. HEAD is answered as GET is."""

    async def dispatch(request: Request) -> Response:
        return await answers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, dispatch, methods=list(answers))
