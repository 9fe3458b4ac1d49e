"""What happens to every request around the application: limits, scripted faults, the request log.

Plain ASGI. Owns nothing of what requests mean.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from agent.sandbox.assumptions import HEADERS_LIMIT
from agent.sandbox.faults import Seen
from agent.sandbox.problems import status_problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agent.sandbox.core import Sandbox
    from agent.sandbox.faults import Fault

_DRAIN_LIMIT: Final = 64 * 1024 * 1024
_WITHOUT_BODY: Final = (204, 304)
CONTROL_PREFIX: Final = "/control/"


class Gate:
    """The outermost application; requests of the control interface pass it unlogged and meet no faults."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ValueError(f"the sandbox speaks HTTP only, not {scope['type']}")
        exchange = _Exchange(scope, receive, send)
        if self._sandbox.settings.control and scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, exchange.receive, exchange.send)
            return
        try:
            await self._answer(scope, exchange)
        finally:
            self._record(scope, exchange.status)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        fault = self._sandbox.faults.take(scope["method"], scope["path"])
        if fault is not None:
            if fault.applied:
                await self._app(scope, exchange.receive, _discard)
            await _fault_response(fault)(scope, exchange.receive, exchange.send)
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS_LIMIT:
            await status_problem(431)(scope, exchange.receive, exchange.send)
        else:
            await self._app(scope, exchange.receive, exchange.send)

    def _record(self, scope: Scope, status: int) -> None:
        target = scope["path"]
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        self._sandbox.requests.record(Seen(self._sandbox.now(), scope["method"], target, status))


class _Exchange:
    """One request and its answer; an answer that comes before the body was read lets the body arrive first.

    Otherwise the connection is closed with bytes unread, the client's system sees a reset, and the answer is lost.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope["headers"]}
        self._body_left = bool(names & {b"content-length", b"transfer-encoding"})
        self._receive = receive
        self._send = send
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._body_left = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            drained = 0
            while self._body_left and drained < _DRAIN_LIMIT:
                drained += len((await self.receive()).get("body", b""))
        await self._send(message)


async def _discard(_: Message) -> None:
    """Drop an answer that nobody is to see."""


def _fault_response(fault: Fault) -> Response:
    if fault.status in _WITHOUT_BODY:
        return Response(status_code=fault.status, headers=dict(fault.headers))
    if fault.body is None:
        return status_problem(fault.status, headers=fault.headers)
    body: Any = fault.body if isinstance(fault.body, str) else json.dumps(fault.body)
    response = Response(body, status_code=fault.status, headers=dict(fault.headers))
    if "content-type" not in response.headers:
        response.headers["content-type"] = "text/html" if isinstance(fault.body, str) else "application/json"
    return response
