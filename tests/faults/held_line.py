"""A line between an agent and a server that a test can hold in the middle of an upload, and let go on."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from system.sites import PATIENCE

if TYPE_CHECKING:
    from types import TracebackType

_BUFFER = 64 * 1024
"""Bytes the kernel may keep of what is held: an agent that sends more than a few of these stands still."""
ENOUGH = 12_000_000
"""Bytes of a document that no buffers on the way can swallow: sending it does not end while the line is held."""


class HeldLine:
    """Passes connections on to a port of this machine; `hold` stops what clients send, once it is many bytes.

    `with HeldLine(port) as line:`; clients connect to `line.url`.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="held-line")]
        self._go_on = threading.Event()
        self._go_on.set()
        self._limit: int | None = None
        self._is_held = threading.Event()

    def hold(self, *, after: int = 4 * _BUFFER) -> None:
        """From now on let no client send more than that many bytes on one connection."""
        self._is_held.clear()
        self._go_on.clear()
        self._limit = after

    def wait_held(self) -> None:
        """Return once a client stands still in the middle of what it sends."""
        assert self._is_held.wait(PATIENCE), "nobody sent anything long"

    def release(self) -> None:
        """Let everything go on."""
        self._limit = None
        self._go_on.set()

    def __enter__(self) -> Self:
        """Pass on."""
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every connection and thread."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.release()
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            pumps = [
                threading.Thread(target=self._pump, args=(client, server), kwargs={"is_held": True}),
                threading.Thread(target=self._pump, args=(server, client), kwargs={"is_held": False}),
            ]
            with self._lock:
                self._sockets += [client, server]
                self._threads += pumps
            for pump in pumps:
                pump.start()

    def _pump(self, source: socket.socket, destination: socket.socket, *, is_held: bool) -> None:
        since_armed = 0
        with suppress(OSError):
            while data := source.recv(_BUFFER):
                since_armed = since_armed + len(data) if self._limit is not None else 0
                if is_held and self._limit is not None and since_armed > self._limit:
                    self._is_held.set()
                    self._go_on.wait()
                destination.sendall(data)
        with suppress(OSError):
            # Only this direction: the answer to what was sent may still be on its way.
            destination.shutdown(socket.SHUT_WR)
