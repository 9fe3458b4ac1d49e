"""The control interface of this sandbox: what every kind has (`agent.sandbox.control`), and

- `POST /control/listing` with `{"lag": seconds}`: List Tasks shows tasks only so long after their creation.
- `DELETE /control/leases` ends every lease before its time.
- `DELETE /control/tokens` makes every access token invalid.
- `GET /control/state` answers every task with tags, content type, size, sha256, the files its export names and how
  often start, complete, cancel and fail succeeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from agent.sandbox.control import CommonControl, json_object, seconds_of
from agent.sandbox.routing import resource

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from agent.sandbox.aluma.core import AlumaSandbox


class AlumaControl(CommonControl):
    """The control end points of a sandbox of the Tasks API."""

    def __init__(self, sandbox: AlumaSandbox) -> None:
        super().__init__(sandbox)
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            *super().routes(),
            resource("/control/listing", {"POST": self._lag_listing}),
            resource("/control/leases", {"DELETE": self._end_leases}),
            resource("/control/tokens", {"DELETE": self._revoke}),
        ]

    async def _lag_listing(self, request: Request) -> Response:
        self._sandbox.faults.lag_listing(seconds_of(await json_object(request), "lag"))
        return Response(status_code=204)

    async def _end_leases(self, _: Request) -> Response:
        self._sandbox.end_leases()
        return Response(status_code=204)

    async def _revoke(self, _: Request) -> Response:
        self._sandbox.revoke_tokens()
        return Response(status_code=204)
