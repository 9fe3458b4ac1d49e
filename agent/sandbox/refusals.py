"""How a sandbox says no: the refusal itself; each service writes it its own way (`say_no`).

Which status belongs to which mistake is decided where the mistake is found.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS_BAD_REQUEST: Final = 400
STATUS_WRONG_CREDENTIALS: Final = 401
STATUS_UNKNOWN: Final = 404


class Refusal(Exception):
    """An answer on its way, not a fault of the program; `kind` names the mistake in one word."""

    def __init__(self, status: int, kind: str, title: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(title)
        self.status = status
        self.kind = kind
        self.title = title
        self.headers = dict(headers or {})


def bad_request(kind: str, title: str) -> Refusal:
    """Return the refusal of a request that makes no sense."""
    return Refusal(STATUS_BAD_REQUEST, kind, title)


def unknown(kind: str, title: str) -> Refusal:
    """Return the refusal of something that is not there, or no longer."""
    return Refusal(STATUS_UNKNOWN, kind, title)


def unauthorized(title: str, *, scheme: str = "Bearer") -> Refusal:
    """Return the refusal of a request without a valid token or key."""
    return Refusal(STATUS_WRONG_CREDENTIALS, "unauthorized", title, headers={"WWW-Authenticate": scheme})


def too_large(limit: int) -> Refusal:
    """Return the refusal of a body beyond its limit in bytes."""
    return Refusal(413, "too-large", f"The body is larger than {limit} bytes.")


def status_refusal(status: int, *, headers: Mapping[str, str] | None = None) -> Refusal:
    """Return a refusal that says no more than its status does."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = f"Status {status}"
    return Refusal(status, title.lower().replace(" ", "-"), title, headers=headers)
