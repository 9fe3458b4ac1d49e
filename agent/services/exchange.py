"""One HTTP exchange on the wire: its deadline, what was handed to the socket, and how it is cut off from outside.

Knows no service, no token, no status; decides nothing about what an interruption means. The connections that carry it
are in `connections`.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Protocol, Self

from urllib3.util.wait import wait_for_read

from agent.errors import FileBusy

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from agent.ports import Clock

BLOCK = 256 * 1024
"""Bytes read and sent at once; http.client's 16 KiB cost half the speed (performance.md)."""

_SLICE = 1.0
"""Seconds between looks at an early answer and the deadline while the peer takes no more bytes."""

# urllib3 hands a connection neither its caller nor any per-request value; the thread is what both ends share.
_current = threading.local()


class TookTooLong(TimeoutError):
    """The whole exchange took longer than it may."""


class BodyStopped(Exception):
    """The upload's body cannot be sent to its end; `UploadBody.failure` says why. No OSError, or urllib3 eats it."""


class Source(Protocol):
    """What a body is read from: a file, or what is made of files on the way."""

    def read(self, amount: int = ..., /) -> bytes:
        """Return the next bytes; empty at the end."""

    def seek(self, position: int, /) -> object:
        """Go back to the start (0), where a body is sent again."""


class Connection(Protocol):
    """What an exchange and its connection tell each other."""

    spent: bool
    """An answer came, or the sending broke off, before the body's end: never used again."""
    last_used_at: float | None
    """Monotonic seconds of the last byte received."""


def current_exchange() -> Exchange | None:
    """Return the exchange this thread is in."""
    exchange: Exchange | None = getattr(_current, "exchange", None)
    return exchange


class Exchange:
    """One request and its answer; a context manager that makes it the current one of this thread."""

    def __init__(
        self,
        *,
        clock: Clock,
        silence: float,
        allowance: float | None,
        in_flight: InFlight,
    ) -> None:
        self._clock = clock
        self._in_flight = in_flight
        self._started = clock.monotonic()
        self._silence = silence
        self._allowance = allowance
        self._socket: socket.socket | None = None
        self._aborted = False
        self._outer: Exchange | None = None
        self.connection: Connection | None = None
        self.body: UploadBody | None = None
        self.early = b""
        self.excess = False
        """More bytes came than the answer was announced to have."""

    def __enter__(self) -> Self:
        """Register and become this thread's exchange."""
        self._in_flight.add(self)
        self._outer = current_exchange()
        _current.exchange = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the thread back to the exchange around this one, if any."""
        _current.exchange = self._outer
        self._in_flight.discard(self)

    def allow(self, seconds: float | None) -> None:
        """Set how long the whole exchange may take, in seconds since its start; None: no limit."""
        self._allowance = seconds

    def monotonic(self) -> float:
        """Return the clock's monotonic seconds."""
        return self._clock.monotonic()

    def attach(self, connection: Connection) -> None:
        """Take note of the connection this exchange runs on."""
        self.connection = connection

    def hold(self, sock: socket.socket) -> None:
        """Take note of the socket, so that `abort` reaches it."""
        self._socket = sock
        if self._aborted:
            self.abort()

    def found_excess(self) -> None:
        """Take note of bytes behind the end of the answer; nothing read after them could be believed."""
        self.excess = True
        if self.connection is not None:
            self.connection.spent = True

    def patience(self) -> float:
        """Return how long the next wait on the socket may last. Raises TookTooLong."""
        if self._aborted:
            raise TookTooLong("the connection was closed on our side")
        if self._allowance is None:
            return self._silence
        left = self._started + self._allowance - self.monotonic()
        if left <= 0:
            raise TookTooLong(f"slower than allowed: not finished after {self._allowance:.0f} s")
        return min(self._silence, left)

    def abort(self) -> None:
        """End the exchange from another thread: a wait on its socket returns at once."""
        self._aborted = True
        if self._socket is not None:
            try:
                # The plain socket's method: SSLSocket.shutdown would take the TLS state away under the other thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                return  # closed already, which is what we want

    def refused_early(self) -> bool:
        """Tell whether the peer answered with an error, or hung up, before the whole body was sent.

        What is read here is kept in `early` for the answer's reader. On TLS a readable socket may mean a session
        ticket only, so it takes a read to know.
        """
        sock = self._socket
        if sock is None or not wait_for_read(sock, timeout=0.0):
            return False
        before = sock.gettimeout()
        try:
            sock.settimeout(0.0)
            data = sock.recv(64 * 1024)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            return not _wants_more(error)
        finally:
            sock.settimeout(before)
        self.early += data
        # A 2xx before the end leaves the body owed; 1xx is no answer yet.
        status_class = self.early.split(b" ", 1)[1][:1] if b" " in self.early else b""
        return not data or status_class in (b"3", b"4", b"5")

    def send(self, sock: socket.socket, data: bytes, progress: Callable[[int], None]) -> None:
        """Send a block; silence counts from the last progress. Raises BrokenPipeError where an answer waits.

        sendall would make the time-out one for the whole block, and could not say how far it came.
        """
        view = memoryview(data)
        progressed = self.monotonic()
        while view:
            sock.settimeout(min(_SLICE, self.patience()))
            try:
                count = sock.send(view)
            except TimeoutError:
                if self.refused_early():
                    raise BrokenPipeError("the service answered before the end of the body") from None
                if self.monotonic() - progressed >= self._silence:
                    raise
                continue
            except OSError as error:
                # urllib3 reads the answer after a broken pipe, but not after its counterparts on Windows.
                if self.refused_early() and self.early:
                    raise BrokenPipeError(str(error)) from error
                raise
            progress(count)
            progressed = self.monotonic()
            view = view[count:]


def _wants_more(error: OSError) -> bool:
    """Tell whether a TLS read only lacked data (SSL_ERROR_WANT_READ is 2, …_WRITE 3)."""
    return type(error).__name__ in {"SSLWantReadError", "SSLWantWriteError"}


class InFlight:
    """The exchanges under way, so that closing can cut them off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exchanges: set[Exchange] = set()
        self._closed = False

    def add(self, exchange: Exchange) -> None:
        """Register an exchange; one that comes after the closing is cut off at once."""
        with self._lock:
            self._exchanges.add(exchange)
            closed = self._closed
        if closed:
            exchange.abort()

    def discard(self, exchange: Exchange) -> None:
        """Forget an exchange that is over."""
        with self._lock:
            self._exchanges.discard(exchange)

    def abort_all(self) -> None:
        """Cut off everything under way and everything to come."""
        with self._lock:
            self._closed = True
            exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.abort()


class UploadBody:
    """The body of one upload: exactly `size` bytes, or the request is cut so that no server takes it as whole."""

    def __init__(self, source: Source, *, size: int, exchange: Exchange) -> None:
        self._source = source
        self._size = size
        self._exchange = exchange
        self._taken = 0
        self.begun = False
        self.sent = 0
        """Bytes of the body the socket has taken."""
        self.failure: BaseException | None = None
        """What reading the source raised, or FileBusy where its length was not `size`."""

    def count(self, sent: int) -> None:
        """Add what the socket took."""
        self.sent += sent

    def read(self, amount: int = BLOCK) -> bytes:
        """Return the next block; empty at the end, or once the service refused. Raises BodyStopped."""
        self.begun = True
        self._exchange.patience()
        left = self._size - self._taken
        if left and self._exchange.refused_early():
            if self._exchange.connection is not None:
                self._exchange.connection.spent = True
            return b""
        if not left:
            return b""
        try:
            block = self._source.read(min(amount, left))
            # Before the last block leaves: with it the server would have a whole body.
            grown = len(block) == left and bool(self._source.read(1))
        except Exception as error:
            self.failure = error
            raise BodyStopped from error
        if not block or grown:
            self.failure = FileBusy("the file changed while it was sent: its length is no longer what it was")
            raise BodyStopped
        self._taken += len(block)
        return block
