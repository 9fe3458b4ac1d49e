"""The control interface of this sandbox: what every kind has (`agent.sandbox.control`), and

- `POST /control/fates` with `{"file_name": pattern, "status": …, "code": …, "message": …, "details": …}`: how such
  files end, the last three for an ERROR; a specification of `/control/specifications` is the result of such files.
- `POST /control/webhooks` with `{"url": text or null}` or `{"cut_off": true or false}` or both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from agent.sandbox.control import CommonControl, json_object
from agent.sandbox.refusals import bad_request
from agent.sandbox.routing import resource
from agent.sandbox.typless.settings import ExtractionStatus, Fate

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from agent.sandbox.typless.core import TyplessSandbox

_FATE_KEYS = {"file_name", "status", "code", "message", "details"}


class TyplessControl(CommonControl):
    """The control end points of a sandbox of Typless."""

    def __init__(self, sandbox: TyplessSandbox) -> None:
        super().__init__(sandbox)
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            *super().routes(),
            resource("/control/fates", {"POST": self._add_fate}),
            resource("/control/webhooks", {"POST": self._set_webhooks}),
        ]

    async def _add_fate(self, request: Request) -> Response:
        document = await json_object(request)
        if not document.keys() <= _FATE_KEYS or not isinstance(document.get("file_name"), str):
            raise bad_request("control", f"A fate has a text file_name, a status, and of {sorted(_FATE_KEYS)} no more.")
        try:
            status = ExtractionStatus(document.pop("status", None))
        except ValueError:
            raise bad_request("control", f"A status is one of {', '.join(ExtractionStatus)}.") from None
        if not all(isinstance(value, str) for key, value in document.items() if key != "code"):
            raise bad_request("control", "message and details are texts.")
        if not isinstance(document.get("code", ""), str | int):
            raise bad_request("control", "code is a text or a number.")
        self._sandbox.add_fate(Fate(status=status, **document))
        return Response(status_code=201)

    async def _set_webhooks(self, request: Request) -> Response:
        document = await json_object(request)
        if not document.keys() <= {"url", "cut_off"}:
            raise bad_request("control", "Of webhooks url and cut_off can be set.")
        if not isinstance(document.get("url"), str | None) or not isinstance(document.get("cut_off", False), bool):
            raise bad_request("control", "url is a text or null, cut_off true or false.")
        if "url" in document:
            self._sandbox.set_webhook(document["url"])
        if "cut_off" in document:
            self._sandbox.cut_webhooks_off(cut_off=document["cut_off"])
        return Response(status_code=204)
