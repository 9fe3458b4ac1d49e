"""The connections urllib3 fills its pools with: each tells the exchange of its thread what it sends and receives.

Owns when a connection is used again. Deadlines, counting and aborting are `exchange`'s.
"""

from __future__ import annotations

import http.client
import io
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from agent.services.exchange import current_exchange

if TYPE_CHECKING:
    import socket

    from agent.services.exchange import Exchange

IDLE_LIMIT = 3.0
"""Seconds after which an idle connection is not used again: servers close theirs from 5 s on, and a POST that meets
the closing is of unknown outcome."""

_SLICE = 1.0
"""Seconds between looks at whether the exchange was cut off: on Windows a shutdown alone wakes nobody who waits."""


class _AnswerReader(io.RawIOBase):
    """Reads an answer under its exchange's deadline, what came early first."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, exchange: Exchange) -> None:
        self._raw = raw
        self._sock = sock
        self._exchange = exchange
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        exchange = self._exchange
        if exchange.early:
            view = memoryview(buffer)
            count = min(len(view), len(exchange.early))
            view[:count] = exchange.early[:count]
            exchange.early = exchange.early[count:]
            return count
        received = self._glance(buffer) if self._is_over else self._receive(buffer)
        if exchange.connection is not None:
            exchange.connection.last_used_at = exchange.monotonic()
        return received

    def _receive(self, buffer: Any) -> int:
        silence = self._exchange.patience()
        while True:
            wait = min(self._exchange.patience(), silence, _SLICE)
            self._sock.settimeout(wait)
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                silence -= wait
                if silence <= 0:
                    raise

    def end(self) -> None:
        """Wait no more: the answer is read to its end, and what still comes is too much."""
        self._is_over = True

    def _glance(self, buffer: Any) -> int | None:
        """Read what is there already; None where nothing is."""
        before = self._sock.gettimeout()
        try:
            self._sock.settimeout(0.0)
            return self._sock.recv_into(buffer)
        except OSError:  # nothing there, or a connection that is no longer
            return None
        finally:
            self._sock.settimeout(before)

    def close(self) -> None:
        # The socket counts its files: without this it would stay open.
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """http.client's response, reading through the current exchange, which learns of bytes behind the answer's end."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        exchange = current_exchange()
        self._reader: _AnswerReader | None = None
        if exchange is not None:
            exchange.hold(sock)
            raw: Any = self.fp.detach()
            self._reader = _AnswerReader(raw, sock, exchange)
            self.fp = io.BufferedReader(self._reader, 64 * 1024)

    def _close_conn(self) -> None:
        # Called at the end of the body, and when an answer is closed before that: then its length is not 0.
        exchange = current_exchange()
        if self.length == 0 and self._reader is not None and exchange is not None:
            self._reader.end()
            if self.fp.peek(1):
                exchange.found_excess()
        super()._close_conn()  # type: ignore[misc]  # http.client's own, unknown to its stubs


class _Connection(HTTPConnection):
    """A connection that tells its exchange what it does; not reused when idle for long or half-way through."""

    response_class = _Answer
    spent = False
    last_used_at: float | None = None

    def connect(self) -> None:
        self.spent = False
        self.last_used_at = None
        super().connect()

    @property
    def is_connected(self) -> bool:
        exchange = current_exchange()
        if self.spent or exchange is None:
            return False
        if self.last_used_at is not None and exchange.monotonic() - self.last_used_at > IDLE_LIMIT:
            return False
        return super().is_connected

    def putrequest(
        self,
        method: str,
        url: str,
        skip_host: bool = False,
        skip_accept_encoding: bool = False,
    ) -> None:
        exchange = current_exchange()
        if exchange is not None:
            exchange.attach(self)
        super().putrequest(method, url, skip_host=skip_host, skip_accept_encoding=skip_accept_encoding)

    def send(self, data: Any) -> None:
        exchange = current_exchange()
        if exchange is None or exchange.body is None or not exchange.body.begun or self.sock is None:
            super().send(data)
            if exchange is not None and self.sock is not None:
                exchange.hold(self.sock)
            return
        try:
            exchange.send(self.sock, data, exchange.body.count)
        except OSError:
            self.spent = True
            raise


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class PlainPool(HTTPConnectionPool):
    """A pool of connections that know their exchange."""

    ConnectionCls = _Connection


class TlsPool(HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _TlsConnection
