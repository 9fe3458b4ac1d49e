"""What happens to every request around the application: limits, scripted faults, the request log.

Plain ASGI. Owns nothing of what requests mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.sandbox.playing import FaultPlayer
from agent.sandbox.refusals import status_refusal
from agent.sandbox.request_log import Seen
from agent.sandbox.wire import Exchange

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from agent.sandbox.playable import Playable, SayNo

CONTROL_PREFIX: Final = "/control/"
HEADERS_LIMIT: Final = 64 * 1024
"""Bytes of all headers of a request together; beyond: 431 ([ASSUME], apis.md)."""


class Gate:
    """The outermost application; requests of the control interface pass it unlogged and meet no faults."""

    def __init__(self, app: ASGIApp, sandbox: Playable, *, say_no: SayNo) -> None:
        self._app = app
        self._sandbox = sandbox
        self._say_no = say_no
        self._player = FaultPlayer(app, sandbox, say_no=say_no)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ValueError(f"the sandbox speaks HTTP only, not {scope['type']}")
        exchange = Exchange(scope, receive, send, now=self._sandbox.now)
        if self._sandbox.settings.control and scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, exchange.receive, exchange.send)
            return
        target = scope["path"]
        query = scope["query_string"].decode("latin-1")
        try:
            await self._answer(scope, exchange, query)
        finally:
            at = self._sandbox.now() if exchange.answered_at is None else exchange.answered_at
            seen = Seen(at, scope["method"], f"{target}?{query}" if query else target, exchange.status)
            self._sandbox.requests.record(seen)

    async def _answer(self, scope: Scope, exchange: Exchange, query: str) -> None:
        fault = self._sandbox.faults.take(scope["method"], scope["path"], query)
        if fault is not None:
            await self._player.play(fault, scope, exchange)
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS_LIMIT:
            await self._say_no(status_refusal(431))(scope, exchange.receive, exchange.send)
        else:
            await self._app(scope, exchange.receive, exchange.send)
