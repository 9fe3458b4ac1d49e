"""Carrying out the faults a request meets: other answers, none, spoiled ones, and effects that come later.

Which request meets which fault is decided in `faults`; what requests mean is the application's.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from agent.sandbox.faults import Dropped, Fault, Spoiled
from agent.sandbox.refusals import status_refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

    from agent.sandbox.faults import AnyFault
    from agent.sandbox.playable import Playable, SayNo
    from agent.sandbox.wire import Exchange

_WITHOUT_BODY: Final = (204, 304)
_LOOK: Final = 0.02
"""Real seconds between two looks at the sandbox's clock, and between two blocks of a slow answer at least."""
_BLOCK: Final = 64 * 1024
_UNSENT_LIMIT: Final = 1024 * 1024
"""Bytes that may wait for a reader before more are made."""


class FaultPlayer:
    """Plays the faults of one sandbox around its application."""

    def __init__(self, app: ASGIApp, sandbox: Playable, *, say_no: SayNo) -> None:
        self._app = app
        self._sandbox = sandbox
        self._say_no = say_no
        self._later: set[asyncio.Task[None]] = set()

    async def play(self, fault: AnyFault, scope: Scope, exchange: Exchange) -> None:
        """Answer one request as the fault says."""
        match fault:
            case Fault():
                await self._take_effect(fault, scope, exchange)
                await _response(fault, self._say_no)(scope, exchange.receive, exchange.send)
            case Dropped():
                if fault.after is None:
                    await self._take_effect(fault, scope, exchange)
                else:
                    await exchange.body(least=fault.after)
                await exchange.end(fault.ends)
            case Spoiled():
                await self._spoil(fault, scope, exchange)

    # --- effects ----------------------------------------------------------------------------------------------------

    async def _take_effect(self, fault: Fault | Dropped, scope: Scope, exchange: Exchange) -> None:
        """Read the whole body and let the request do what it asks for, now or later."""
        if isinstance(fault, Fault) and not fault.applied:
            return  # its answer lets the body arrive
        body, is_whole = await exchange.body()
        if not (fault.applied and is_whole):
            return
        if not fault.late:
            await self._apply(scope, body)
            return
        task = asyncio.create_task(self._apply_at(self._sandbox.now() + fault.late, scope, body))
        self._later.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._later.discard)

    async def _apply_at(self, moment: float, scope: Scope, body: bytes) -> None:
        while self._sandbox.now() < moment:  # noqa: ASYNC110 -- a clock that other threads move sets no event of a loop
            await asyncio.sleep(_LOOK)
        await self._apply(scope, body)

    async def _apply(self, scope: Scope, body: bytes) -> None:
        """Hand a request to the application; nobody sees its answer."""
        await self._app(scope, _Replay(body).receive, _discard)

    # --- spoiled answers --------------------------------------------------------------------------------------------

    async def _spoil(self, fault: Spoiled, scope: Scope, exchange: Exchange) -> None:
        caught = _Caught()
        body, _ = await exchange.body()
        await self._app(scope, _Replay(body).receive, caught.send)
        exchange.status = caught.status
        sends = len(caught.body) if fault.sends is None else min(fault.sends, len(caught.body))
        is_whole = sends == len(caught.body) and not fault.endless
        transport = exchange.transport
        caught.headers = exchange.dated(caught.headers)
        transport.write(_head(caught, fault))
        for block in _blocks(bytes(caught.body[:sends]), fault.pace):
            await self._write(exchange, block, fault)
        while fault.endless and not transport.is_closing():
            await self._write(exchange, b"." * (_BLOCK if fault.pace is None else _size(fault.pace)), fault)
        if fault.chunked and is_whole:
            transport.write(b"0\r\n\r\n")
        await exchange.end(fault.ends)

    async def _write(self, exchange: Exchange, block: bytes, fault: Spoiled) -> None:
        transport = exchange.transport
        # The transport tells its own protocol when it drained, not us.
        while transport.get_write_buffer_size() > _UNSENT_LIMIT and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
        if transport.is_closing():
            return
        transport.write(b"%x\r\n%b\r\n" % (len(block), block) if fault.chunked else block)
        await asyncio.sleep(0 if fault.pace is None else len(block) / fault.pace)


class _Replay:
    """Gives a body that was read already to an application."""

    def __init__(self, body: bytes) -> None:
        self._messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive(self) -> Message:
        return self._messages.pop() if self._messages else {"type": "http.disconnect"}


class _Caught:
    """An answer of the application in memory."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message["headers"])
        else:
            self.body += message.get("body", b"")


async def _discard(_: Message) -> None:
    """Drop an answer that nobody is to see."""


def _response(fault: Fault, say_no: SayNo) -> Response:
    if fault.status in _WITHOUT_BODY:
        return Response(status_code=fault.status, headers=dict(fault.headers))
    if fault.body is None:
        return say_no(status_refusal(fault.status, headers=fault.headers))
    body: Any = fault.body if isinstance(fault.body, str) else json.dumps(fault.body)
    response = Response(body, status_code=fault.status, headers=dict(fault.headers))
    if "content-type" not in response.headers:
        response.headers["content-type"] = "text/html" if isinstance(fault.body, str) else "application/json"
    return response


def _head(caught: _Caught, fault: Spoiled) -> bytes:
    """Return status line and headers of a spoiled answer."""
    lines = [b"HTTP/1.1 %d %b" % (caught.status, HTTPStatus(caught.status).phrase.encode())]
    lines += [b"%b: %b" % item for item in caught.headers if item[0] != b"content-length"]
    length = len(caught.body) if fault.declares is None else fault.declares
    lines.append(b"transfer-encoding: chunked" if fault.chunked else b"content-length: %d" % length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _size(pace: float) -> int:
    """Return the bytes of one block of a slow answer: at most some blocks in each look."""
    return max(1, min(_BLOCK, int(pace * _LOOK)))


def _blocks(body: bytes, pace: float | None) -> list[bytes]:
    size = _BLOCK if pace is None else _size(pace)
    return [body[start : start + size] for start in range(0, len(body), size)]
