"""What authorises a request: an access token, fetched once for everybody and renewed, or a key that stays as it is.

Owns the token's life by the monotonic clock; a wall clock that is a day off changes nothing. Neither secret, key nor
token ever reaches a log, a message or another origin.
"""

from __future__ import annotations

import math
import re
import threading
from typing import TYPE_CHECKING, Protocol

from agent.errors import CredentialsRefused, ServiceTrouble, ServiceUnavailable, SetupRefused
from agent.model import LaneReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.ports import Clock

RENEW_BEFORE_END = 120.0
"""Seconds; the service advises one or two minutes (apis.md 1.1)."""
_ASSUMED_LIFE = 3600.0
"""Seconds a token is taken to live whose answer does not say so."""
_USABLE = re.compile(r"[\x21-\x7e]{1,16384}")


class Credentials(Protocol):
    """What the session asks for before each request."""

    renewable: bool
    """A refused token is replaced once; a refused key is refused."""

    def current(self) -> str:
        """Return the token or key to send. Raises ServiceTrouble."""

    def replace(self, refused: str) -> str:
        """Return another one than the one the service refused. Raises ServiceTrouble."""


class StaticKey:
    """A key of the configuration, with or without the name of the scheme in front: keys are shown so to be copied."""

    renewable = False

    def __init__(self, key: str, *, scheme: str) -> None:
        self.scheme = scheme
        words = key.split()
        if len(words) > 1 and words[0].lower() == scheme.lower():
            words = words[1:]
        self._key = " ".join(words)

    def current(self) -> str:
        """Return the key. Raises CredentialsRefused where it is none."""
        if _USABLE.fullmatch(self._key):
            return self._key
        raise CredentialsRefused(
            "service.api_key is empty, or has characters that no key has",
            reason=LaneReason.CREDENTIALS_REFUSED,
            hint="copy the key again as the service shows it",
        )

    def replace(self, refused: str) -> str:
        """Return the same key: there is no other."""
        del refused
        return self.current()


class Tokens:
    """One token for all threads; `fetch` asks the service and returns token and life in seconds (None: not said)."""

    renewable = True

    def __init__(self, fetch: Callable[[], tuple[str, float | None]], *, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        # Token and the monotonic second of its renewal; one tuple, so that nobody reads half of a change.
        self._kept = ("", -math.inf)
        self._fetches = 0
        self._failure: ServiceTrouble | None = None

    def current(self) -> str:
        """Return a token with some life left. Raises ServiceTrouble."""
        token, renew_at = self._kept
        if token and self._clock.monotonic() < renew_at:
            return token
        return self._renewed(unless_not=token)

    def replace(self, refused: str) -> str:
        """Return another token than the one the service refused. Raises ServiceTrouble."""
        return self._renewed(unless_not=refused)

    def renew(self) -> None:
        """Fetch a token even where the present one is good. Raises ServiceTrouble."""
        self._renewed(unless_not=self._kept[0])

    def _renewed(self, *, unless_not: str) -> str:
        """Fetch a token unless another thread did meanwhile; its failure is shared, or each would ask again."""
        fetches = self._fetches
        with self._lock:
            token, renew_at = self._kept
            if token != unless_not and self._clock.monotonic() < renew_at:
                return token
            if self._fetches != fetches and self._failure is not None:
                raise _again(self._failure)
            try:
                token, life = self._fetch()
                if not _USABLE.fullmatch(token):
                    raise ServiceUnavailable(
                        "the service's token cannot stand in a header", reason=LaneReason.SERVICE_UNAVAILABLE
                    )
            except ServiceTrouble as trouble:
                self._failure = trouble
                raise
            finally:
                self._fetches += 1
            self._failure = None
            self._keep(token, life)
            return token

    def _keep(self, token: str, life: float | None) -> None:
        life = life if life is not None and math.isfinite(life) and life > 0 else _ASSUMED_LIFE
        # A short life is used for its first half at least, or every request would fetch a token of its own.
        self._kept = (token, self._clock.monotonic() + max(life - RENEW_BEFORE_END, life / 2))


def _again(trouble: ServiceTrouble) -> ServiceTrouble:
    """Return the trouble anew: one exception object must not be raised by several threads."""
    kinds: tuple[type[ServiceTrouble], ...] = (ServiceUnavailable, CredentialsRefused, SetupRefused)
    kind = next((kind for kind in kinds if isinstance(trouble, kind)), ServiceTrouble)
    return kind(trouble.message, reason=trouble.reason, hint=trouble.hint, retry_after=trouble.retry_after)
