"""An HTTP server in a thread, for strangers: bounded headers, connections and times, and no log of what was asked.

Owns the socket, the thread and the connections. Each connection is for one request and lives for a few seconds, and
where there are too many the oldest gives way: whoever sends slowly keeps nobody out.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.errors import LaneTrouble
from agent.model import LaneReason

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp

logger = logging.getLogger(__name__)

PATIENCE: Final = 10
"""Seconds a connection may take, from its first byte to the end of its answer."""
MOST_CONNECTIONS: Final = 64
"""Far below the number of files a process may have open: the folders need them."""
_BACKLOG: Final = 256
_HEADERS_LIMIT: Final = 16 * 1024
_GRACE: Final = 1
_STOP_LIMIT: Final = 5.0


class _Connection(H11Protocol):
    """A connection that is cut off when its time is over, or when many younger ones want its place."""

    opened_at = 0.0
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in its base
        super().connection_made(transport)
        self.opened_at = self.loop.time()
        self._end = self.loop.call_later(self.timeout_keep_alive, transport.abort)
        if len(self.connections) > MOST_CONNECTIONS:
            others = [each for each in self.connections if isinstance(each, _Connection)]
            min(others, key=lambda each: each.opened_at).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End at once: what is not told is polled for."""
        self.transport.abort()


class WebServer:
    """A server that listens from its making on; `start`, then `stop`.

    `patience`: seconds a connection may live. Raises LaneTrouble where the address cannot be used.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, patience: int = PATIENCE) -> None:
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level=logging.ERROR,  # what strangers send wrong is no news
                access_log=False,  # the path holds a secret
                proxy_headers=False,
                server_header=False,
                headers=[("connection", "close")],
                timeout_keep_alive=patience,
                timeout_graceful_shutdown=_GRACE,
                h11_max_incomplete_event_size=_HEADERS_LIMIT,
                backlog=_BACKLOG,
            )
        )
        self._thread = threading.Thread(target=self._run, name="web server", daemon=True)

    def start(self) -> None:
        """Serve in a thread; what arrives before it does waits in the socket."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Close every connection and end the thread; safe to call twice and without `start`."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_LIMIT)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:
            # The thread's last line of defence: whoever owns the server finds it ended, and begins another.
            logger.exception("the web server ended unexpectedly")


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises LaneTrouble."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only for sockets that name it.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":  # there SO_REUSEADDR would let two servers share one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        listener.close()
        raise LaneTrouble(
            f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}",
            reason=LaneReason.WEB_UNAVAILABLE,
            hint="end the program that uses the port, or set web.listen to another; until then results are polled for",
        ) from error
    return listener
