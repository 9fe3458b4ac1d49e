"""The control interface of this sandbox: what every kind has (`agent.sandbox.control`), and

- `POST /control/fates` with `{"file_name": pattern, "status": …, "after_review": …}`: what becomes of such files; a
  specification of `/control/specifications` is the payload of Get Task once the task was processed.
- `POST /control/tasks` with `{"id": task, "status": …}`: what somebody did at the service's own screen.
- `GET /control/state` has `uploads` beside `tasks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from agent.sandbox.control import CommonControl, json_object
from agent.sandbox.refusals import bad_request
from agent.sandbox.routing import resource
from agent.sandbox.sendai.settings import Fate, TaskStatus

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from agent.sandbox.sendai.core import SendaiSandbox


class SendaiControl(CommonControl):
    """The control end points of a sandbox of Send AI."""

    def __init__(self, sandbox: SendaiSandbox) -> None:
        super().__init__(sandbox)
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            *super().routes(),
            resource("/control/fates", {"POST": self._add_fate}),
            resource("/control/tasks", {"POST": self._set_status}),
        ]

    def state(self) -> dict[str, Any]:
        """Return what `/control/state` answers."""
        return {**super().state(), "uploads": self._sandbox.describe_uploads()}

    async def _add_fate(self, request: Request) -> Response:
        document = await json_object(request)
        file_name = document.get("file_name")
        if not isinstance(file_name, str):
            raise bad_request("control", "A fate has a text file_name.")
        status = _status(document.get("status"))
        after = _status(document.get("after_review", TaskStatus.COMPLETED))
        self._sandbox.add_fate(Fate(file_name, status, after))
        return Response(status_code=201)

    async def _set_status(self, request: Request) -> Response:
        document = await json_object(request)
        self._sandbox.set_status(str(document.get("id")), _status(document.get("status")))
        return Response(status_code=204)


def _status(value: Any) -> TaskStatus:
    try:
        return TaskStatus(value)
    except ValueError:
        raise bad_request("control", f"A status is one of {', '.join(TaskStatus)}.") from None
