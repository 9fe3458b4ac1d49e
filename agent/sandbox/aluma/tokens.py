"""Access tokens: issued for the one client, valid until they expire (apis.md 1.1)."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from agent.sandbox.aluma.problems import TokenRefusal
from agent.sandbox.refusals import STATUS_WRONG_CREDENTIALS, unauthorized

if TYPE_CHECKING:
    from agent.sandbox.aluma.settings import AlumaSettings

TOKEN_PREFIX = "sandbox-token-"  # noqa: S105 -- no token: what makes one known wherever it does not belong


class Tokens:
    """The tokens of one sandbox; its owner serialises the calls and hands in the time."""

    def __init__(self, settings: AlumaSettings) -> None:
        self._settings = settings
        self._expiry: dict[str, float] = {}

    def issue(self, client_id: str, client_secret: str, *, now: float) -> str:
        """Return a new token. Raises TokenRefusal."""
        known = hmac.compare_digest(_raw(client_id), _raw(self._settings.client_id))
        right = hmac.compare_digest(_raw(client_secret), _raw(self._settings.client_secret))
        if not (known and right):
            raise TokenRefusal(STATUS_WRONG_CREDENTIALS, "Client authentication failed")
        self._expiry = {token: expiry for token, expiry in self._expiry.items() if expiry > now}
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        self._expiry[token] = now + self._settings.token_lifetime
        return token

    def check(self, authorization: str | None, *, now: float) -> None:
        """Accept the value of an Authorization header. Raises Refusal (401)."""
        if authorization is None:
            raise unauthorized("The Authorization header is missing.")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthorized("The Authorization header is not 'Bearer <token>'.")
        expiry = self._expiry.get(token)
        if expiry is None:
            raise unauthorized("The access token is not valid.")
        if expiry <= now:
            raise unauthorized("The access token has expired.")

    def revoke_all(self) -> None:
        """Make every token invalid at once."""
        self._expiry.clear()


def _raw(text: str) -> bytes:
    """Return bytes to compare; lone surrogates from JSON escapes must not raise."""
    return text.encode("utf-8", "surrogatepass")
