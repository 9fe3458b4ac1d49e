"""What a service answered: status, headers, bounded body; and the one sentence in it that is for people.

Reads untrusted text. Knows the error shapes of apis.md 1.5, no task and no file.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from agent.errors import ServiceUnavailable, SetupRefused
from agent.model import LaneReason
from agent.rules.retrying import parse_retry_after
from agent.services.exchange import BLOCK
from agent.services.trouble import PROXY_USER_HINT, TRANSPORT_ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse

    from agent.errors import ServiceTrouble

log = logging.getLogger(__name__)

ANSWER_LIMIT = 1024 * 1024
"""Bytes read of an answer, unless a call says more."""
FIRST_REFUSAL = 300
"""Statuses from here on say no whatever the body."""
_LONGEST_SENTENCE = 300
# Controls and what turns the reading direction: a message is shown on terminals and in notes.
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,500})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete answer; `headers` in lower case; `cut` where the body was longer than asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False

    @property
    def is_success(self) -> bool:
        """Whether the status is any 2xx; which one is not documented for every call."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def date(self) -> float | None:
        """The service's clock as UTC unix seconds; None where it does not say."""
        try:
            return parsedate_to_datetime(self.headers.get("date", "")).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None

    def document(self) -> Any:
        """Return the body as JSON; None where it is none (HTML, cut, empty)."""
        if self.cut:
            return None
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def retry_after(self, now: float) -> float | None:
        """Return the seconds the service asks to wait, bounded; `now` is ours, the service's own clock goes before."""
        date = self.date
        return parse_retry_after(self.headers.get("retry-after"), now=now if date is None else date)


def shown(text: str, *, longest: int = _LONGEST_SENTENCE) -> str:
    """Return untrusted text as one printable line of at most `longest` characters."""
    line = " ".join(_UNSHOWABLE.sub(" ", text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def sentence(answer: Answer) -> str:
    """Return what the service says about it: RFC 7807, then other known bodies, then its first bytes (apis.md 1.5)."""
    said = _said(answer)
    status = _phrase(answer.status)
    return f"{status}: {said}" if said else status


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _said(answer: Answer) -> str:
    document = answer.document()
    if isinstance(document, dict):
        parts = [
            text
            for key in ("title", "detail", "code", "message", "error_description", "error", "details", "errors")
            if (text := _words(document.get(key)))
        ]
        errors = document.get("requestErrors")
        if isinstance(errors, dict):
            parts += [f"{field}: {_flat(problem)}" for field, problem in list(errors.items())[:5]]
        if parts:
            return shown("; ".join(dict.fromkeys(parts)))
    text = answer.body[:2000].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = _TITLE.search(text)
        return shown(title[1]) if title else ""
    return shown(text)


def _words(value: Any, *, levels: int = 4) -> str:
    """Return the words of one member of an error (apis.md 1.5, 2.4, 3.4): text, number, list, object with a message.

    An object without one tells what is wrong with what: its members. Nothing is looked for below so many levels.
    """
    if isinstance(value, list) and levels:
        return "; ".join(words for item in value[:5] if (words := _words(item, levels=levels - 1)))
    if isinstance(value, dict) and levels:
        told = {name: words for name in list(value)[:5] if (words := _words(value[name], levels=levels - 1))}
        own = (_words(value.get(name), levels=levels - 1) for name in ("message", "msg", "detail", "code"))
        return next(filter(None, own), "; ".join(f"{name}: {words}" for name, words in told.items()))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _flat(problem: Any) -> str:
    return " ".join(str(item) for item in problem[:3]) if isinstance(problem, list) else str(problem)


def unavailable(answer: Answer, *, origin: object, now: float) -> ServiceUnavailable:
    """Return the trouble of an answer that says: not now."""
    limited = answer.status == HTTPStatus.TOO_MANY_REQUESTS
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        location = shown(answer.headers.get("location", "nowhere"))
        return ServiceUnavailable(
            f"{origin} redirects to {location}; redirects are not followed",
            reason=LaneReason.SERVICE_UNAVAILABLE,
            hint="service.url must be the API's final address",
            retry_after=answer.retry_after(now),
            nothing_done=True,
        )
    return ServiceUnavailable(
        f"{origin} answered {sentence(answer)}",
        reason=LaneReason.RATE_LIMITED if limited else LaneReason.SERVICE_UNAVAILABLE,
        hint="see service.max_requests_per_second and service.connections" if limited else "",
        retry_after=answer.retry_after(now),
        nothing_done=limited,  # a gateway in front says the others too, of what the service may carry out
    )


def garbled(answer: Answer, *, origin: object, expected: str) -> ServiceUnavailable:
    """Return the trouble of a success whose body is not what the call promises."""
    return ServiceUnavailable(
        f"{origin} answered {answer.status} without {expected}",
        reason=LaneReason.SERVICE_UNAVAILABLE,
        hint="is service.url the API's address, and not a web page or a proxy's?",
    )


def setup_refused(answer: Answer, *, origin: object, what: str) -> ServiceTrouble:
    """Return the trouble of an answer that says: never like this."""
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        hint = PROXY_USER_HINT
    elif answer.status == HTTPStatus.FORBIDDEN:
        hint = "these credentials may not do that: check project_id and the rights of the client"
    else:
        hint = "check project_id and service.url"
    return SetupRefused(f"{origin} refuses {what}: {sentence(answer)}", reason=LaneReason.SETUP_REFUSED, hint=hint)


def read_answer(response: BaseHTTPResponse, limit: int = ANSWER_LIMIT) -> Answer:
    """Read an answer up to `limit` bytes. Raises what the libraries raise."""
    body = bytearray()
    while len(body) <= limit and (block := response.read(min(BLOCK, limit + 1 - len(body)), decode_content=True)):
        body += block
    cut = len(body) > limit
    if cut:
        response.close()
    return Answer(response.status, _plain(response), bytes(body[:limit]), cut=cut)


def read_refusal(response: BaseHTTPResponse) -> Answer:
    """Read an answer whose status alone decides: whoever refuses early often resets the connection behind it."""
    try:
        return read_answer(response)
    except TRANSPORT_ERRORS:
        log.debug("the answer %s to an upload broke off; its status decides", response.status)
        response.close()
        return Answer(response.status, _plain(response), b"", cut=True)


def _plain(response: BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
