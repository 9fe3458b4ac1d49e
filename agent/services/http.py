"""The session with one service: token or key, trust, proxy, limits and time-outs for every request, and one way to ask.

Control calls go through requests; uploads and downloads (`uploading`, `downloading`) through urllib3's pool below it,
on the same connections. Nothing is retried but once after a 401 with a new token; a static key has no second try.
Knows the token end point (apis.md 1.1) and no other.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
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
    Answer,
    garbled,
    read_answer,
    sentence,
    unavailable,
)
from agent.services.exchange import Exchange, InFlight
from agent.services.limits import Gate
from agent.services.masking import Masking
from agent.services.pools import Pools
from agent.services.tokens import Tokens
from agent.services.trouble import TRANSPORT_ERRORS, trouble_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agent.model import ServiceSettings
    from agent.ports import Clock
    from agent.services.tokens import Credentials, StaticKey

_BASE_ALLOWANCE = 600.0
"""Seconds a whole request may take beside its size over `min_speed` (design.md §2)."""
_CONNECT_LIMIT = 30.0
"""Seconds to wait for a connection, where `timeout` is not shorter."""


class ServiceSession:
    """Every request to one service; safe for any thread."""

    def __init__(
        self, settings: ServiceSettings, *, clock: Clock, user_agent: str, key: StaticKey | None = None
    ) -> None:
        """Prepare a session; `key` goes along with each request, else a token fetched for client id and secret."""
        self.addresses = Addresses(settings.url)
        self.origin = self.addresses.origin
        self._settings = settings
        self._clock = clock
        self._user_agent = user_agent
        self._gate = Gate(clock=clock, max_requests_per_second=settings.max_requests_per_second)
        self._tokens = Tokens(self._fetch_token, clock=clock)
        self._credentials: Credentials = key or self._tokens
        self._scheme = key.scheme if key else "Bearer"
        self._masking = Masking((settings.client_secret, *settings.api_key.split()))
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
                method, address, headers=self.headers(token) | extra, document=document, body=body, limit=limit
            )

        return self.authorised(send)

    def check_credentials(self) -> None:
        """Fetch a new token. Raises ServiceTrouble."""
        self._tokens.renew()

    def _control(
        self, method: str, address: str, *, headers: Mapping[str, str], document: Any, body: bytes | None, limit: int
    ) -> Answer:
        self._gate.enter()
        with self.exchange(size=len(body or b"")), self.seam():
            request = requests.Request(method, address, headers=dict(headers), json=document, data=body).prepare()
            timeout = min(self._settings.timeout, _CONNECT_LIMIT)
            response = self.open_pools().control(request, timeout=timeout)
            answer = read_answer(response.raw, limit)
        return self.heed(answer)

    def _fetch_token(self) -> tuple[str, float | None]:
        """Ask for a token (apis.md 1.1: JSON, two fields)."""
        answer = self._control(
            "POST",
            self.addresses.of("/oauth/token"),
            headers=self.headers(None),
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

    # --- for uploads and downloads, which read and write the wire themselves ---

    @property
    def tokens(self) -> Credentials:
        """The token or key all requests share."""
        return self._credentials

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

    def authorised(self, send: Callable[[str], Answer]) -> Answer:
        """Send with our token; after a 401 once more with a new one. Raises CredentialsRefused after a second 401."""
        token = self._credentials.current()
        answer = send(token)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return answer
        if not self._credentials.renewable:
            raise self.credentials_refused(answer, "the API key")
        answer = send(self._credentials.replace(token))
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise self.credentials_refused(answer, "a token fresh from it")
        return answer

    def credentials_refused(self, answer: Answer, what: str) -> CredentialsRefused:
        """Return the trouble of credentials, or a token, the service does not take."""
        return CredentialsRefused(
            f"{self.origin} refuses {what}: {sentence(answer)}",
            reason=LaneReason.CREDENTIALS_REFUSED,
            hint="check service.client_id and service.client_secret"
            if self._credentials.renewable
            else "check service.api_key: is it whole, still valid, and of this account?",
        )

    def headers(self, token: str | None) -> dict[str, str]:
        """Return the headers of every request; the token goes nowhere else."""
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", "Accept": "*/*"}
        if token is None:
            return headers
        self._masking.add(token)
        return headers | {"Authorization": f"{self._scheme} {token}"}

    def heed(self, answer: Answer) -> Answer:
        """Keep the quiet an answer asks for (design.md §3: Retry-After binds every request to that service)."""
        if answer.is_success:
            return answer
        answer = self._without_secrets(answer)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            self._gate.keep_quiet(self.unavailable(answer))
        return answer

    def _without_secrets(self, answer: Answer) -> Answer:
        """Return a refusal without the secrets some services repeat in it: its words go into logs and notes."""
        headers = {name: self._masking.over(value.encode()).decode() for name, value in answer.headers.items()}
        return replace(answer, headers=headers, body=self._masking.over(answer.body))

    def enter(self) -> None:
        """Wait for this request's turn. Raises ServiceUnavailable while the service asked for quiet, or once closed."""
        self._gate.enter()

    def open_pools(self) -> Pools:
        """Return the pools, made with the first request. Raises SetupRefused, and what the libraries raise."""
        with self._pools_lock:
            if self._pools is None:
                self._pools = Pools(self._settings)
            return self._pools

    def exchange(self, *, size: int) -> Exchange:
        """Return the exchange of one request with `size` bytes to move."""
        return Exchange(
            clock=self._clock,
            silence=self._settings.timeout,
            allowance=self.allowance(size),
            in_flight=self._in_flight,
        )

    def allowance(self, size: int) -> float | None:
        """Return the seconds a whole request of that many bytes may take; None: no limit."""
        speed = self._settings.min_speed
        return _BASE_ALLOWANCE + size / speed if speed else None

    def timeouts(self) -> Timeout:
        """Return how long to wait for a connection, and for the next byte."""
        return Timeout(connect=min(self._settings.timeout, _CONNECT_LIMIT), read=self._settings.timeout)

    @contextmanager
    def seam(self) -> Iterator[None]:
        """Turn what the libraries raise into ServiceTrouble."""
        try:
            yield
        except TRANSPORT_ERRORS as error:
            raise self.trouble(error) from error
