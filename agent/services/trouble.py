"""From what the libraries raise to the agent's own errors: the one seam.

Owns messages and hints for the operator about connections. What a service answered is `answers`' business.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from agent.errors import ServiceTrouble, ServiceUnavailable, SetupRefused
from agent.model import LaneReason
from agent.services.exchange import TookTooLong

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRANSPORT_ERRORS: tuple[type[Exception], ...] = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,  # ProxySchemeUnsupported, and addresses or headers that http.client will not send
)
"""All that sending a request and reading its answer may raise."""

_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")
_SETUP_STATUSES = frozenset({"401", "403", "404", "405", "407"})
PROXY_USER_HINT = "the proxy wants a user: http://USER:PASSWORD@HOST:PORT in service.proxy"
_PROXY_HINT = "check service.proxy and the variables HTTPS_PROXY and NO_PROXY"

_TIMEOUTS = (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)
_WRONG_ADDRESS = (ValueError, urllib3.exceptions.InvalidHeader, requests.exceptions.URLRequired)
_BROKEN = (http.client.HTTPException, urllib3.exceptions.ProtocolError, ConnectionError, requests.ConnectionError)

_SYSTEM_ERRORS = {
    errno.ENETUNREACH: "the network is unreachable",
    errno.EHOSTUNREACH: "the host is unreachable",
    errno.EADDRNOTAVAIL: "no local port or address is free",
    errno.EACCES: "the system does not allow the connection",
    errno.EPERM: "the system does not allow the connection",
    10013: "the system does not allow the connection",
    10049: "no local port or address is free",
    10051: "the network is unreachable",
    10065: "the host is unreachable",
}
_NO_HANDLES = frozenset({errno.EMFILE, errno.ENFILE, 10024})

# What OpenSSL says about a certificate, in the order of asking; the rest is shown as it is.
_CERTIFICATE_HINTS = (
    ("expired", "the certificate has to be renewed by whoever runs the service; check this machine's date too"),
    ("not yet valid", "check this machine's date"),
    ("mismatch", "the certificate is for another name; check service.url"),
    ("doesn't match", "the certificate is for another name; check service.url"),
    ("not valid for", "the certificate is for another name; check service.url"),
    ("self-signed", "if this is your own authority, name its certificate in service.ca_file"),
    ("self signed", "if this is your own authority, name its certificate in service.ca_file"),
    ("issuer", "if a proxy or your own authority signs, name its certificate in service.ca_file"),
)


def trouble_of(error: BaseException, *, origin: object, proxy: str | None) -> ServiceTrouble:
    """Return what an exception of the libraries means; `origin` is the service as shown to people."""
    found = tuple(_causes(error))
    place = f"{origin} through the proxy {_without_credentials(proxy)}" if proxy else str(origin)
    return (
        _tunnel_trouble(found, place)
        or _name_trouble(found, place)
        or _tls_trouble(found, place)
        or _system_trouble(found, place)
        or _time_trouble(found, place)
        or _address_trouble(found, place)
        or _broken(found, place)
    )


def is_timeout(error: BaseException) -> bool:
    """Tell whether an exception of the libraries means silence or slowness."""
    return any(isinstance(cause, _TIMEOUTS) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that led to it, outermost first."""
    queue: list[BaseException] = [error]
    seen: set[int] = set()
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        related = [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]
        queue += [item for item in related if isinstance(item, BaseException)]


def _unreachable(
    message: str, hint: str, reason: LaneReason = LaneReason.SERVICE_UNREACHABLE, *, never_left: bool = False
) -> ServiceUnavailable:
    return ServiceUnavailable(message, reason=reason, hint=hint, nothing_done=never_left)


def _tunnel_trouble(found: Sequence[BaseException], place: str) -> ServiceTrouble | None:
    system = [str(cause) for cause in found if isinstance(cause, OSError)]
    match = next((match for text in system if (match := _TUNNEL_REFUSED.search(text))), None)
    if match is None:
        return None
    message = f"cannot reach {place}: the proxy answered {match[1]}"
    if match[1] not in _SETUP_STATUSES:
        return _unreachable(message, _PROXY_HINT, never_left=True)
    hint = PROXY_USER_HINT if match[1] == "407" else _PROXY_HINT
    return SetupRefused(message, reason=LaneReason.SETUP_REFUSED, hint=hint)


def _name_trouble(found: Sequence[BaseException], place: str) -> ServiceTrouble | None:
    kinds = (socket.gaierror, urllib3.exceptions.NameResolutionError)
    if not any(isinstance(cause, kinds) for cause in found):
        return None
    return _unreachable(
        f"cannot reach {place}: the name cannot be resolved",
        "check service.url, service.proxy and this machine's DNS",
        never_left=True,
    )


def _tls_trouble(found: Sequence[BaseException], place: str) -> ServiceTrouble | None:
    certificate = next((cause for cause in found if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        said = getattr(certificate, "verify_message", "") or str(certificate)
        hint = next((hint for word, hint in _CERTIFICATE_HINTS if word in said.lower()), "see service.ca_file")
        return _unreachable(f"cannot trust {place}: {said}", hint, never_left=True)
    kinds = (ssl.SSLError, urllib3.exceptions.SSLError, requests.exceptions.SSLError)
    tls = next((cause for cause in found if isinstance(cause, kinds)), None)
    if tls is None:
        return None
    library = next((cause for cause in found if isinstance(cause, ssl.SSLError)), None)
    said = getattr(library, "reason", None) or str(library or "the handshake failed")
    return _unreachable(
        f"cannot talk TLS with {place}: {said}", "the port must speak TLS 1.2 or newer; check service.url and the proxy"
    )


def _system_trouble(found: Sequence[BaseException], place: str) -> ServiceTrouble | None:
    if any(isinstance(cause, ConnectionRefusedError) for cause in found):
        hint = "nothing listens there, or a firewall refuses"
        return _unreachable(f"cannot reach {place}: connection refused", hint, never_left=True)
    for cause in found:
        number = cause.errno if isinstance(cause, OSError) else None
        if number in _NO_HANDLES:
            return _unreachable(
                f"cannot reach {place}: too many open files",
                "raise the limit of open files, or lower service.connections",
                LaneReason.TOO_MANY_OPEN_FILES,
            )
        if number in _SYSTEM_ERRORS:
            return _unreachable(f"cannot reach {place}: {_SYSTEM_ERRORS[number]}", "check network, route and firewall")
    return None


def _time_trouble(found: Sequence[BaseException], place: str) -> ServiceTrouble | None:
    over = next((cause for cause in found if isinstance(cause, TookTooLong)), None)
    if over is not None:
        return _unreachable(f"no complete answer from {place}: {over}", "see service.min_speed, and the network")
    if not any(isinstance(cause, _TIMEOUTS) for cause in found):
        return None
    return _unreachable(
        f"no answer from {place} in time",
        "the network, a firewall or the service swallows what is sent; see service.timeout",
    )


def _address_trouble(found: Sequence[BaseException], place: str) -> ServiceTrouble | None:
    # Some errors of the wire are ValueErrors too; these are not about the address.
    if any(isinstance(cause, _BROKEN) for cause in found):
        return None
    wrong = next((cause for cause in found if isinstance(cause, _WRONG_ADDRESS)), None)
    if wrong is None or isinstance(wrong, requests.exceptions.JSONDecodeError):
        return None
    return SetupRefused(
        f"cannot call {place}: {type(wrong).__name__}",
        reason=LaneReason.SETUP_REFUSED,
        hint="check service.url and service.proxy",
    )


def _broken(found: Sequence[BaseException], place: str) -> ServiceTrouble:
    through_proxy = any(
        isinstance(cause, urllib3.exceptions.ProxyError | requests.exceptions.ProxyError) for cause in found
    )
    return _unreachable(
        f"the connection to {place} broke before its answer was complete", _PROXY_HINT if through_proxy else ""
    )


def _without_credentials(proxy: str) -> str:
    """Return a proxy's address without user and password, which may be a secret."""
    try:
        parts = urlsplit(proxy)
        host = parts.hostname or "?"
        return f"{parts.scheme}://{host}:{parts.port}" if parts.port else f"{parts.scheme}://{host}"
    except ValueError:
        return "(unreadable)"
