"""What stands between an agent and the sandbox: a TCP proxy that misbehaves at a byte, TLS in front, and canaries.

The proxy forwards bytes and knows of HTTP only where an upload begins and how long it is.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from types import TracebackType

_LINGER_NONE = struct.pack("ii", 1, 0)
_BLOCK = 64 * 1024
_LOOK = 0.05


class Part(Enum):
    """Where in an upload's exchange a byte is counted from."""

    HEAD = "head"
    BODY = "body"
    END = "end"
    """The end of the body; offsets are negative, or 0 for all of it."""
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Reset:
    """One upload's connection is reset, on both sides, once exactly so many bytes have gone through."""

    part: Part
    offset: int

    def __str__(self) -> str:
        """Return the place as a sweep names it."""
        return f"{self.part.value}{self.offset:+d}"


class Listener:
    """Accepts connections on loopback and serves each in a thread; a context manager that ends all of them."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.connections = 0

    def serve(self, client: socket.socket) -> None:
        """Serve one connection to its end."""
        raise NotImplementedError

    def keep(self, sock: socket.socket) -> socket.socket:
        """Have a socket closed at the end."""
        with self._lock:
            self._sockets.append(sock)
        return sock

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(self.keep(client),), daemon=True)
            with self._lock:
                self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        # What the other sides do to a connection is what is tested: its end is the end of serving it.
        with suppress(OSError, ValueError), client:
            self.serve(client)

    def __enter__(self) -> Self:
        """Begin to accept."""
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave no socket and no thread behind."""
        self.over.set()
        with suppress(OSError):  # wakes the thread in accept
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets, threads = list(self._sockets), list(self._threads)
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in threads:
            thread.join(10)


class Canary(Listener):
    """A server nobody may ever reach: counts connections and keeps what was said to it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = b""

    def serve(self, client: socket.socket) -> None:
        """Listen."""
        while block := client.recv(_BLOCK):
            self.heard += block


class TlsFront(Listener):
    """Ends TLS in front of a plain server; its certificate can be changed while it runs."""

    def __init__(self, target: int, context: ssl.SSLContext) -> None:
        super().__init__()
        self._target = target
        self.context = context

    def serve(self, client: socket.socket) -> None:
        """Shake hands and forward."""
        client.settimeout(10)
        with self.context.wrap_socket(client, server_side=True) as secure:
            self.keep(secure)
            server = self.keep(socket.create_connection(("127.0.0.1", self._target)))
            with server:
                secure.settimeout(None)
                while not self.over.is_set():
                    ready = [secure] if secure.pending() else select.select([secure, server], [], [])[0]
                    for source in ready:
                        block = source.recv(_BLOCK)
                        if not block:
                            return
                        (server if source is secure else secure).sendall(block)


class Proxy(Listener):
    """Forwards to a port of loopback; uploads meet the resets planned for them, one each.

    `trickle`: after so many bytes of a connection's uploads only one byte a second goes on.
    """

    def __init__(self, target: int, *, resets: Iterable[Reset] = ()) -> None:
        super().__init__()
        self._target = target
        self._plans = list(resets)
        self.done: list[Reset] = []
        self.trickle: int | None = None
        self.crawls = threading.Event()
        """Set once an upload has come to where it trickles."""

    @property
    def url(self) -> str:
        """Where the agent finds the service."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, client: socket.socket) -> None:
        """Forward both ways until one side ends or the plan says so."""
        with self.keep(socket.create_connection(("127.0.0.1", self._target))) as server:
            passage = _Passage()
            while not self.over.is_set():
                for source in select.select([client, server], [], [])[0]:
                    block = source.recv(_BLOCK)
                    if not block:
                        return
                    if source is client:
                        self._up(block, passage, server)
                    else:
                        self._down(block, passage, client)
                    if passage.is_over:
                        assert passage.plan is not None
                        self.done.append(passage.plan)
                        _reset(client)
                        _reset(server)
                        return

    def _up(self, block: bytes, passage: _Passage, server: socket.socket) -> None:
        if block.startswith(b"POST /tasks?"):
            with self._lock:
                plan = self._plans.pop(0) if self._plans else None
            passage.begin(block, plan)
        for piece in self._pieces(passage.allowed_up(block), passage):
            server.sendall(piece)

    def _pieces(self, block: bytes, passage: _Passage) -> Iterable[bytes]:
        """Yield what may go on, byte after byte where it trickles."""
        if self.trickle is None or passage.up <= self.trickle:
            yield block
            return
        self.crawls.set()
        for number in range(len(block)):
            if self.trickle is None or self.over.wait(1.0):
                yield block[number:]
                return
            yield block[number : number + 1]

    @staticmethod
    def _down(block: bytes, passage: _Passage, client: socket.socket) -> None:
        allowed = passage.allowed_down(block)
        if allowed:
            client.sendall(allowed)


class _Passage:
    """How much of one connection's upload has gone through, and where it is to end."""

    def __init__(self) -> None:
        self.plan: Reset | None = None
        self.up = 0
        self._up_limit: int | None = None
        self._down_left: int | None = None
        self.is_over = False

    def begin(self, first: bytes, plan: Reset | None) -> None:
        """Begin an upload; its head comes in one piece."""
        self.plan, self.up = plan, 0
        self._up_limit = self._down_left = None
        if plan is None:
            return
        head = first.index(b"\r\n\r\n") + 4
        length = re.search(rb"\r\ncontent-length: (\d+)\r\n", first, re.IGNORECASE)
        assert length is not None
        ends = {Part.HEAD: 0, Part.BODY: head, Part.END: head + int(length[1])}
        if plan.part is Part.ANSWER:
            self._down_left = plan.offset
        else:
            self._up_limit = ends[plan.part] + plan.offset

    def allowed_up(self, block: bytes) -> bytes:
        """Return what of a block goes on to the server; less than the whole: it is over."""
        allowed = block if self._up_limit is None else block[: self._up_limit - self.up]
        self.up += len(block)
        self.is_over = self._up_limit is not None and self.up >= self._up_limit
        return allowed

    def allowed_down(self, block: bytes) -> bytes:
        """Return what of a block goes back to the client."""
        if self._down_left is None:
            return block
        allowed = block[: self._down_left]
        self._down_left -= len(allowed)
        self.is_over = self._down_left == 0
        return allowed


def _reset(sock: socket.socket) -> None:
    """End a connection with an RST, not a FIN."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        sock.close()
