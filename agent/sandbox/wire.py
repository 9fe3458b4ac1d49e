"""The connection below an answer: one request and its answer as ASGI has them, and the bytes beneath for faults.

Owns how a connection ends. Whoever writes raw bytes has taken the connection over: it is never used again.
"""

from __future__ import annotations

import socket
import struct
import sys
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.sandbox.faults import Ending

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from starlette.types import Message, Receive, Scope, Send

_TRANSPORT: Final = "fsagent.transport"
_DRAIN_LIMIT: Final = 64 * 1024 * 1024
# struct linger: two int on POSIX, two u_short on Windows.
_LINGER_NONE: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class WireProtocol(H11Protocol):
    """uvicorn's protocol, which also tells the application the transport a request came on."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in its base
        """Let the requests of this connection carry its transport."""
        super().connection_made(transport)
        app: Any = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "extensions": {_TRANSPORT: transport}}, receive, send)

        self.app = with_transport


class Exchange:
    """One request and its answer; an answer that comes before the body was read lets the body arrive first.

    Otherwise the connection is closed with bytes unread, the client's system sees a reset, and the answer is lost.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, now: Callable[[], float]) -> None:
        self._now = now
        names = {name for name, _ in scope["headers"]}
        self._body_left = bool(names & {b"content-length", b"transfer-encoding"})
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport | None = scope.get("extensions", {}).get(_TRANSPORT)
        self.status = 0
        """Of the answer that left; 0: none."""
        self.answered_at: float | None = None
        """When the answer began: whoever waits from then on waits no less by this clock."""

    async def receive(self) -> Message:
        """Return the next part of the body."""
        message = await self._receive()
        self._body_left = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            drained = 0
            while self._body_left and drained < _DRAIN_LIMIT:
                drained += len((await self.receive()).get("body", b""))
            message = {**message, "headers": self.dated(message.get("headers", ()))}
        await self._send(message)

    def dated(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return an answer's headers, about to leave, with the Date of the sandbox's own clock where they have none."""
        self.answered_at = self._now()
        said = list(headers)
        if any(name == b"date" for name, _ in said):
            return said
        return [*said, (b"date", formatdate(self.answered_at, usegmt=True).encode())]

    async def body(self, *, least: int | None = None) -> tuple[bytes, bool]:
        """Read the body, or at least so many bytes of it; return them and whether that is the whole."""
        read = bytearray()
        while self._body_left and (least is None or len(read) < least):
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return bytes(read), False
            read += message.get("body", b"")
        return bytes(read), not self._body_left

    # --- beneath HTTP -----------------------------------------------------------------------------------------------

    @property
    def transport(self) -> asyncio.Transport:
        """The connection itself. Raises RuntimeError where the server does not tell."""
        if self._transport is None:
            raise RuntimeError("this fault needs the sandbox's own server")
        return self._transport

    async def end(self, ending: Ending) -> None:
        """End the connection, without an answer unless one was written raw, and wait until it is over."""
        transport = self.transport
        if ending is Ending.RESET:
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            transport.abort()
        elif ending is Ending.CLOSE:
            transport.close()
        while (await self._receive())["type"] != "http.disconnect":
            pass
