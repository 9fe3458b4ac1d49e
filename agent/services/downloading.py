"""Fetching one file from the service's own origin, redirects within it included.

Every address is judged by `addresses` before a connection is made. What an answer means is the service's to say.
"""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from agent.errors import ServiceUnavailable
from agent.model import LaneReason
from agent.services.answers import Answer, read_answer
from agent.services.exchange import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

    from agent.services.exchange import Exchange
    from agent.services.http import ServiceSession

_REDIRECTS = 5
_LARGEST_BLOCK = 1024 * 1024


class LongerThanAnnounced(Exception):
    """More bytes came than the answer's Content-Length says: where the file ends, nobody knows."""


class Download:
    """An answer whose body is still to be read."""

    def __init__(self, session: ServiceSession, response: BaseHTTPResponse, exchange: Exchange) -> None:
        self._session = session
        self._response = response
        self._exchange = exchange
        self.status = response.status

    def blocks(self) -> Iterator[bytes]:
        """Yield the body as it comes, in blocks of at most 1 MiB: between two, the reader looks at his own deadline.

        Raises LongerThanAnnounced, and what the libraries raise where it is cut, silent or too slow: whose fault that
        is, the caller knows.
        """
        length = self._response.length_remaining
        self._exchange.allow(self._session.allowance(length or 0))
        received = 0
        # Not `stream`, which waits for a whole block: at a byte a second that is longer than any lease.
        while block := self._response.read1(BLOCK, decode_content=True):
            received += len(block)
            if length is None:
                # Of unknown length: what came so far earns its time.
                self._exchange.allow(self._session.allowance(received))
            for start in range(0, len(block), _LARGEST_BLOCK):
                yield block[start : start + _LARGEST_BLOCK]
        if self._exchange.excess:
            raise LongerThanAnnounced

    def answer(self) -> Answer:
        """Read what came in place of a file. Raises ServiceTrouble."""
        with self._session.seam():
            answer = read_answer(self._response)
        return self._session.heed(answer)


@contextmanager
def fetch(session: ServiceSession, address: str) -> Iterator[Download]:
    """GET an address of the session's origin. Raises TaskFatal where a redirect leads elsewhere, ServiceTrouble."""
    with session.exchange(size=0) as exchange:
        response = _follow(session, address)
        try:
            yield Download(session, response, exchange)
        finally:
            # Not read to its end, the connection is of no further use; else it is back in its pool already.
            response.close()


def _follow(session: ServiceSession, address: str) -> BaseHTTPResponse:
    for _ in range(_REDIRECTS + 1):
        response = _authorised(session, address)
        if response.get_redirect_location() is False:
            return response
        location = response.headers.get("location", "")
        response.close()
        if not location:
            break
        address = session.addresses.of_redirect(address, location)
    raise ServiceUnavailable(
        f"{session.origin} redirects to nowhere, or more than {_REDIRECTS} times", reason=LaneReason.SERVICE_UNAVAILABLE
    )


def _authorised(session: ServiceSession, address: str) -> BaseHTTPResponse:
    """GET with our token; after a 401 once more with a new one."""
    token = session.tokens.current()
    response = _get(session, address, token)
    if response.status != HTTPStatus.UNAUTHORIZED:
        return response
    response.close()
    return _get(session, address, session.tokens.replace(token))


def _get(session: ServiceSession, address: str, token: str) -> BaseHTTPResponse:
    session.enter()
    with session.seam():
        return session.open_pools().direct.urlopen(
            "GET",
            address,
            headers=session.headers(token),
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=session.timeouts(),
        )
