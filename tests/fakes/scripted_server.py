"""An HTTP server on loopback that answers, lies, cuts and hangs as a test scripts it, down to the single byte.

A reply is a `Reply`, or a function that gets the request and its raw connection. The last reply of a script repeats.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import BinaryIO

TOKEN_PATH = "/oauth/token"
# struct linger: two int on POSIX, two u_short on Windows.
_LINGER_NONE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclass
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target if self.method == "CONNECT" else urlsplit(self.target).path

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Wire:
    """The raw connection a scripted function plays on."""

    sock: socket.socket
    reader: BinaryIO
    released: threading.Event

    def read_body(self, request: Request) -> bytes:
        request.body = self.reader.read(int(request.headers.get("content-length", "0")))
        return request.body

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """End with an RST, not a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.reader.close()
        self.sock.close()

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self.released.wait(30)


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def play(self, request: Request, wire: Wire) -> None:
        wire.read_body(request)
        headers = {"Content-Length": str(len(self.body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        wire.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body)


def document(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON answer."""
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})


class ScriptedServer:
    """A server with one thread for each connection; `with ScriptedServer() as server:`."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._tls = tls
        self._lock = threading.Lock()
        self._scripts: dict[tuple[str, str], list[Reply | Callable[[Request, Wire], None]]] = {}
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._released = threading.Event()
        self.requests: list[Request] = []
        self.connections = 0
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._tokens = 0
        self.on("POST", TOKEN_PATH, self._issue_token)

    def on(self, method: str, path: str, *replies: Reply | Callable[[Request, Wire], None]) -> None:
        """Answer a method and path with these, one after the other; the last repeats."""
        with self._lock:
            self._scripts[method, path] = list(replies)

    def seen(self, method: str, path: str) -> Sequence[Request]:
        """Return the requests of one method and path that came so far."""
        with self._lock:
            return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def _issue_token(self, request: Request, wire: Wire) -> None:
        with self._lock:
            self._tokens += 1
            token = f"token-{self._tokens}"
        document({"access_token": token, "expires_in": 86400}).play(request, wire)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        # A last connection wakes the accept everywhere; closing the listener under it does so on some systems only.
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=10):
            self._threads[0].join(10)
        self._listener.close()
        with self._lock:
            open_sockets = list(self._sockets)
        for sock in open_sockets:
            with suppress(OSError):  # ended already
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._released.is_set():
                sock.close()
                return
            with self._lock:
                self.connections += 1
                self._sockets.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._sockets.append(sock)
            with sock, sock.makefile("rb") as reader:
                wire = Wire(sock, reader, self._released)
                while (request := _read_request(reader)) is not None and not self._released.is_set():
                    with self._lock:
                        self.requests.append(request)
                        reply = self._reply(request)
                    if isinstance(reply, Reply):
                        reply.play(request, wire)
                    else:
                        reply(request, wire)
        except (OSError, ValueError):
            return  # the client, or the script, ended the connection

    def _reply(self, request: Request) -> Reply | Callable[[Request, Wire], None]:
        script = self._scripts.get((request.method, request.path))
        if script is None:
            return Reply(404)
        return script.pop(0) if len(script) > 1 else script[0]


def _read_request(reader: BinaryIO) -> Request | None:
    line = reader.readline(65536).decode("latin-1").strip()
    if not line:
        return None
    method, target, _ = line.split(" ", 2)
    headers: dict[str, str] = {}
    while field_line := reader.readline(256 * 1024).decode("latin-1").strip():
        name, _, value = field_line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, target, headers)
