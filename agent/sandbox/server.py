"""Serving a sandbox on a socket: in a thread for tests and the demo, or until a signal for `fsagent sandbox`.

Owns the threads and the socket. The socket is bound and listens before the server starts, so port 0 has its real
number at once and no connection is ever refused.
"""

from __future__ import annotations

import _thread
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, Self, cast, overload

import uvicorn

from agent.errors import UserError
from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.clock import RealTime
from agent.sandbox.kinds import play
from agent.sandbox.wire import WireProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

    from typing_extensions import TypeVar

    from agent.sandbox.aluma.core import AlumaSandbox
    from agent.sandbox.clock import WallClock
    from agent.sandbox.kinds import AnySandbox, AnySettings
    from agent.sandbox.sendai.core import SendaiSandbox
    from agent.sandbox.sendai.settings import SendaiSettings
    from agent.sandbox.typless.core import TyplessSandbox
    from agent.sandbox.typless.settings import TyplessSettings

    Played_co = TypeVar("Played_co", bound=AnySandbox, default=AlumaSandbox, covariant=True)
else:
    from typing import TypeVar

    Played_co = TypeVar("Played_co", covariant=True)  # a default needs Python 3.13, and only type checkers ask for it

_BACKLOG: Final = 2048
_KEEP_ALIVE: Final = 75
_GRACE: Final = 2
_HEADERS_BUFFER: Final = 256 * 1024
"""Well above what the application answers with 431, so that such a request gets its problem document."""
_START_LIMIT: Final = 30.0


class SandboxServer(Generic[Played_co]):
    """A running sandbox of the service its settings are for.

    `with SandboxServer(settings) as server:` or `start` and `stop`.
    `sandbox` gives tests the state, the faults and the clock behind the wire. Raises UserError where the address
    cannot be used.
    """

    @overload
    def __init__(
        self: SandboxServer[AlumaSandbox],
        settings: AlumaSettings | None = None,
        *,
        host: str = ...,
        port: int = ...,
        clock: WallClock | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: SandboxServer[SendaiSandbox],
        settings: SendaiSettings,
        *,
        host: str = ...,
        port: int = ...,
        clock: WallClock | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: SandboxServer[TyplessSandbox],
        settings: TyplessSettings,
        *,
        host: str = ...,
        port: int = ...,
        clock: WallClock | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: SandboxServer[AnySandbox],
        settings: AnySettings,
        *,
        host: str = ...,
        port: int = ...,
        clock: WallClock | None = ...,
    ) -> None: ...

    def __init__(
        self,
        settings: AnySettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: WallClock | None = None,
    ) -> None:
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        sandbox, app, self._workers = play(settings or AlumaSettings(), clock=clock or RealTime())
        self.sandbox = cast("Played_co", sandbox)
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=WireProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,  # by the sandbox's own clock: `wire`
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_GRACE,
                h11_max_incomplete_event_size=_HEADERS_BUFFER,
            )
        )
        self._thread = threading.Thread(target=self._run, name="sandbox-server", daemon=True)

    def start(self) -> None:
        """Serve; return once requests are answered."""
        for worker in self._workers:
            worker.start()
        self._thread.start()
        if not (self._server.ready.wait(_START_LIMIT) and self._server.started):
            raise RuntimeError("the sandbox did not start")

    def stop(self) -> None:
        """End requests, threads and data; safe to call twice and without `start`."""
        self._server.should_exit = True
        self.sandbox.release()
        for thread in (self._thread, *(worker.thread for worker in self._workers)):
            if thread.is_alive():
                thread.join()
        self._socket.close()
        self.sandbox.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._server.ready.set()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


class _Server(uvicorn.Server):
    """A server that tells when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def serve_forever(settings: AnySettings, *, host: str, port: int, ready: Callable[[SandboxServer[Any]], None]) -> None:
    """Serve until SIGINT or SIGTERM (Ctrl-Break on Windows); `ready` is called once requests are answered.

    Only from the main thread. Raises UserError where the address cannot be used.
    """
    with SandboxServer(settings, host=host, port=port) as server, _until_signal() as ended:
        ready(server)
        while not ended.wait(0.5):  # bounded, because Windows delivers no signal to a thread that waits without end
            pass


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """Give an event that the usual signals set; put the handlers back afterwards."""
    ended = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        # Not here: the main thread may be interrupted while it holds the event's lock, and would wait for itself.
        _thread.start_new_thread(ended.set, ())

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises UserError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only for sockets that name it: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":  # there SO_REUSEADDR would let two servers share one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        said = getattr(error, "strerror", None) or error
        raise UserError(f"cannot listen on {host}:{port}: {said}", hint="choose another; 0 is a free one") from error
    return listener
