"""What no message may repeat: the secrets and tokens of a session, in every form in which an answer may quote them.

Some services, and proxies, answer with what they were sent; their words go into logs, notes and the status.
"""

from __future__ import annotations

import html
import json
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = b"***"
SHORTEST_SECRET = 8
"""Characters below which a word is no secret, and may be one of a sentence."""
TOKENS_KEPT = 16
"""Tokens remembered: the last ones sent, of which an answer may still be on its way."""


class Masking:
    """The secrets of one session; any thread may add and ask."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [form for secret in secrets for form in _forms(secret)]
        self._tokens: deque[tuple[str, list[bytes]]] = deque(maxlen=TOKENS_KEPT)

    def add(self, token: str) -> None:
        """Remember a token that is sent."""
        if not any(token == known for known, _ in tuple(self._tokens)):
            self._tokens.append((token, _forms(token)))

    def over(self, said: bytes) -> bytes:
        """Return what was said with a mask over every secret and token."""
        forms = (*self._secrets, *(form for _, forms in tuple(self._tokens) for form in forms))
        for form in sorted(forms, key=len, reverse=True):  # the longest first, for one may hold another
            said = said.replace(form, MASK)
        return said


def _forms(secret: str) -> list[bytes]:
    """Return a secret as it is, in JSON, in HTML and in an address."""
    if len(secret) < SHORTEST_SECRET:
        return []
    in_json = (json.dumps(secret), json.dumps(secret, ensure_ascii=False))
    forms = {secret, *(text[1:-1] for text in in_json), html.escape(secret), html.escape(secret, quote=False)}
    escaped = {quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")}
    return list({form.encode("utf-8", "replace") for form in forms | escaped})
