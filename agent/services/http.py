"""The session with one service: token, trust, proxy, limits and time-outs for every request, and one way to ask.

Control calls go through requests, uploads and downloads through urllib3's pool below it, on the same connections.
Nothing is retried but once after a 401 with a new token; nothing is redirected but downloads, within the origin.
Knows the token end point (apis.md 1.1) and no other.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from urllib3.util import Timeout

from agent.errors import CredentialsRefused, ServiceTrouble, ServiceUnavailable
from agent.model import LaneReason
from agent.rules.retrying import Outcome, classify_token
from agent.services.addresses import Addresses
from agent.services.answers import (
    ANSWER_LIMIT,
    FIRST_REFUSAL,
    Answer,
    garbled,
    read_answer,
    read_refusal,
    sentence,
    unavailable,
)
from agent.services.exchange import BLOCK, BodyStoppedError, Exchange, InFlight, UploadBody
from agent.services.limits import Gate
from agent.services.pools import Pools
from agent.services.tokens import Tokens
from agent.services.trouble import TRANSPORT_ERRORS, trouble_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

    from urllib3 import BaseHTTPResponse

    from agent.model import ServiceSettings
    from agent.ports import Clock

_BASE_ALLOWANCE = 600.0
"""Seconds a whole request may take beside its size over `min_speed` (design.md §2)."""
_CONNECT_LIMIT = 30.0
"""Seconds to wait for a connection, where `timeout` is not shorter."""


class UploadInterruptedError(Exception):
    """An upload ended without an answer: `sent` bytes of the body had left; `trouble` says why."""

    def __init__(self, trouble: ServiceTrouble, *, sent: int, connected: bool, proxied: bool) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble
        self.sent = sent
        self.connected = connected
        self.proxied = proxied


class ServiceSession:
    """Every request to one service; safe for any thread."""

    def __init__(self, settings: ServiceSettings, *, clock: Clock, user_agent: str) -> None:
        self.addresses = Addresses(settings.url)
        self.origin = self.addresses.origin
        self._settings = settings
        self._clock = clock
        self._user_agent = user_agent
        self._gate = Gate(clock=clock, max_requests_per_second=settings.max_requests_per_second)
        self._tokens = Tokens(self._fetch_token, clock=clock)
        self._in_flight = InFlight()
        self._pools_lock = threading.Lock()
        self._pools: Pools | None = None

    # --- control calls ---

    def call(
        self,
        method: str,
        address: str,
        *,
        document: Any = None,
        body: bytes | None = None,
        content_type: str = "",
        limit: int = ANSWER_LIMIT,
    ) -> Answer:
        """Send a control call with our token and return its answer, whatever its status but 401.

        `document` is sent as JSON, `body` as it is. Raises ServiceTrouble.
        """
        extra = {"Content-Type": content_type} if content_type else {}

        def send(token: str) -> Answer:
            return self._control(
                method, address, headers=self._headers(token) | extra, document=document, body=body, limit=limit
            )

        return self._authorised(send)

    def check_credentials(self) -> None:
        """Fetch a new token. Raises ServiceTrouble."""
        self._tokens.renew()

    def _control(
        self, method: str, address: str, *, headers: Mapping[str, str], document: Any, body: bytes | None, limit: int
    ) -> Answer:
        self._gate.enter()
        with self._exchange(size=len(body or b"")), self._seam():
            request = requests.Request(method, address, headers=dict(headers), json=document, data=body).prepare()
            timeout = min(self._settings.timeout, _CONNECT_LIMIT)
            response = self._open_pools().control(request, timeout=timeout)
            answer = read_answer(response.raw, limit)
        return self._heed(answer)

    def _fetch_token(self) -> tuple[str, float | None]:
        """Ask for a token (apis.md 1.1: JSON, two fields)."""
        answer = self._control(
            "POST",
            self.addresses.of("/oauth/token"),
            headers=self._headers(None),
            document={"client_id": self._settings.client_id, "client_secret": self._settings.client_secret},
            body=None,
            limit=ANSWER_LIMIT,
        )
        outcome = classify_token(answer.status)
        if outcome is Outcome.SERVICE:
            raise self.unavailable(answer)
        if outcome is not Outcome.ACCEPTED:
            raise self.credentials_refused(answer, "the client id and secret")
        document = answer.document()
        token = document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str):
            raise garbled(answer, origin=self.origin, expected="a token")
        life = document.get("expires_in")
        return token, float(life) if isinstance(life, int | float) and not isinstance(life, bool) else None

    # --- uploads ---

    def upload(self, address: str, *, headers: Mapping[str, str], body: BinaryIO, size: int) -> Answer:
        """POST exactly `size` bytes of `body`, streamed, and return the answer, whatever its status but 401.

        Raises UploadInterruptedError where no answer came, what reading `body` raises, FileBusy where its length is
        not `size` (the request was cut before its last block), and ServiceTrouble before anything was sent.
        """
        tries = 0

        def send(token: str) -> Answer:
            nonlocal tries
            if tries:
                body.seek(0)
            tries += 1
            self._gate.enter()
            return self._upload_once(address, headers={**self._headers(token), **headers}, body=body, size=size)

        return self._authorised(send)

    def _upload_once(self, address: str, *, headers: Mapping[str, str], body: BinaryIO, size: int) -> Answer:
        with self._seam():
            pools = self._open_pools()
        with self._exchange(size=size) as exchange:
            upload = exchange.body = UploadBody(body, size=size, exchange=exchange)
            try:
                response = pools.direct.urlopen(
                    "POST",
                    address,
                    body=upload,
                    headers={**headers, "Content-Length": str(size)},
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    timeout=self._timeout(),
                )
                answer = read_refusal(response) if response.status >= FIRST_REFUSAL else read_answer(response)
            except BodyStoppedError:
                assert upload.failure is not None
                raise upload.failure from None
            except TRANSPORT_ERRORS as error:
                raise UploadInterruptedError(
                    trouble_of(error, origin=self.origin, proxy=pools.proxy),
                    sent=upload.sent,
                    connected=upload.begun,
                    proxied=pools.buffering_proxy,
                ) from error
        return self._heed(answer)

    # --- downloads ---

    @contextmanager
    def stream(
        self, address: str, *, redirects: int
    ) -> Iterator[tuple[BaseHTTPResponse, Callable[[], Iterator[bytes]]]]:
        """GET an address of our origin; yield the answer and what iterates over its blocks, of at most 1 MiB.

        Redirects within the origin are followed up to `redirects` times. Raises TaskFatal where one leads elsewhere,
        before a connection is made there; ServiceTrouble. What breaks while iterating is raised as the libraries
        raise it, for the caller knows whether it is the file's fault: `trouble` turns it into ours.
        """
        with self._exchange(size=0) as exchange:
            response = self._open_stream(address, redirects, exchange)
            try:
                yield response, lambda: self._blocks(response, exchange)
            finally:
                # Not read to its end, the connection is of no further use.
                response.close()

    def _open_stream(self, address: str, redirects: int, exchange: Exchange) -> BaseHTTPResponse:
        for _ in range(redirects + 1):
            response = self._open_authorised(address)
            if response.get_redirect_location() is False:
                exchange.allow(self._allowance(response.length_remaining or 0))
                return response
            location = response.headers.get("location", "")
            response.close()
            if not location:
                break
            address = self.addresses.of_redirect(address, location)
        raise ServiceUnavailable(
            f"{self.origin} redirects to nowhere, or more than {redirects} times", reason=LaneReason.SERVICE_UNAVAILABLE
        )

    def _open_authorised(self, address: str) -> BaseHTTPResponse:
        token = self._tokens.current()
        response = self._open_once(address, token)
        if response.status == HTTPStatus.UNAUTHORIZED:
            response.close()
            response = self._open_once(address, self._tokens.replace(token))
        return response

    def _open_once(self, address: str, token: str) -> BaseHTTPResponse:
        self._gate.enter()
        with self._seam():
            return self._open_pools().direct.urlopen(
                "GET",
                address,
                headers=self._headers(token),
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=self._timeout(),
            )

    def _blocks(self, response: BaseHTTPResponse, exchange: Exchange) -> Iterator[bytes]:
        length = response.length_remaining
        received = 0
        for block in response.stream(BLOCK, decode_content=True):
            received += len(block)
            if length is None:
                # Of unknown length: what came so far earns its time.
                exchange.allow(self._allowance(received))
            yield block

    def read_answer(self, response: BaseHTTPResponse) -> Answer:
        """Read what a stream answered in place of a file. Raises ServiceTrouble."""
        with self._seam():
            answer = read_answer(response)
        return self._heed(answer)

    # --- shared ---

    def unavailable(self, answer: Answer) -> ServiceUnavailable:
        """Return the trouble of an answer that says: not now."""
        return unavailable(answer, origin=self.origin, now=self._clock.now())

    def trouble(self, error: BaseException) -> ServiceTrouble:
        """Return what an exception of the libraries means."""
        pools = self._pools
        return trouble_of(error, origin=self.origin, proxy=pools.proxy if pools else self._settings.proxy)

    def close(self) -> None:
        """Cut off what is under way, refuse what comes, close the connections."""
        self._gate.close()
        self._in_flight.abort_all()
        with self._pools_lock:
            if self._pools is not None:
                self._pools.close()

    def _authorised(self, send: Callable[[str], Answer]) -> Answer:
        """Send with our token; after a 401 once more with a new one. Raises CredentialsRefused after a second 401."""
        token = self._tokens.current()
        answer = send(token)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return answer
        answer = send(self._tokens.replace(token))
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise self.credentials_refused(answer, "a token fresh from it")
        return answer

    def credentials_refused(self, answer: Answer, what: str) -> CredentialsRefused:
        """Return the trouble of credentials, or a token, the service does not take."""
        return CredentialsRefused(
            f"{self.origin} refuses {what}: {sentence(answer)}",
            reason=LaneReason.CREDENTIALS_REFUSED,
            hint="check service.client_id and service.client_secret",
        )

    def _headers(self, token: str | None) -> dict[str, str]:
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", "Accept": "*/*"}
        return headers | {"Authorization": f"Bearer {token}"} if token is not None else headers

    def _heed(self, answer: Answer) -> Answer:
        """Keep the quiet an answer asks for (design.md §3: Retry-After binds every request to that service)."""
        if not answer.is_success and answer.status != HTTPStatus.UNAUTHORIZED:
            self._gate.keep_quiet(self.unavailable(answer))
        return answer

    def _open_pools(self) -> Pools:
        with self._pools_lock:
            if self._pools is None:
                self._pools = Pools(self._settings)
            return self._pools

    def _exchange(self, *, size: int) -> Exchange:
        return Exchange(
            clock=self._clock,
            silence=self._settings.timeout,
            allowance=self._allowance(size),
            in_flight=self._in_flight,
        )

    def _allowance(self, size: int) -> float | None:
        speed = self._settings.min_speed
        return _BASE_ALLOWANCE + size / speed if speed else None

    def _timeout(self) -> Timeout:
        return Timeout(connect=min(self._settings.timeout, _CONNECT_LIMIT), read=self._settings.timeout)

    @contextmanager
    def _seam(self) -> Iterator[None]:
        """Turn what the libraries raise into ServiceTrouble."""
        try:
            yield
        except TRANSPORT_ERRORS as error:
            raise self.trouble(error) from error
