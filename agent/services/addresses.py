"""Addresses of a service: its origin, and whether an address it names is still the service's own.

The one place that decides where a token may go. Everything it returns begins with the origin as configured; a path
alone is taken from what the service says. Opens no connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urljoin, urlsplit

from agent.errors import TaskFatal

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST = 8 * 1024
# Controls and spaces around are dropped by one parser and kept by another; a backslash is "/" to some.
_NEVER = re.compile(r"[\x00-\x1f\x7f-\xa0\\\u2028\u2029\ud800-\udfff]|^ | $")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ADDRESS_CHARACTERS = "/?:@!$&'()*+,;=%-._~[]"


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port; two addresses of one origin are the same party."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Return the origin as people write it: without the default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def origin_of(address: str) -> Origin:
    """Return an absolute address's origin. Raises ValueError where it has none, or names a user."""
    parts = urlsplit(address)
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"not a plain http or https address: {address!r}")
    return Origin(scheme, parts.hostname.lower(), parts.port or _DEFAULT_PORTS[scheme])


class Addresses:
    """The addresses below `service.url`."""

    def __init__(self, url: str) -> None:
        self.origin = origin_of(url)
        self._prefix = urlsplit(url).path.rstrip("/")

    def of(self, path: str, **query: str) -> str:
        """Return the address of one of the API's own paths; `path` begins with "/" and is already quoted."""
        address = f"{self.origin}{self._prefix}{path}"
        return f"{address}?{urlencode(query, safe=':', quote_via=quote)}" if query else address

    def of_export(self, url: str) -> str:
        """Return the address of a file an export specification names: relative to the API (seed 002).

        Raises TaskFatal where it leads to another origin or nowhere.
        """
        _refuse_unreadable(url)
        if url.startswith("//") or _SCHEME.match(url):
            return self._own(url, url)
        path = url if url.startswith("/") else f"/{url}"
        if not path.startswith(f"{self._prefix}/"):
            path = self._prefix + path
        return self._own(f"{self.origin}{path}", url)

    def of_redirect(self, current: str, location: str) -> str:
        """Return where a redirect from `current` leads. Raises TaskFatal where that is another origin or nowhere."""
        _refuse_unreadable(location)
        try:
            address = urljoin(current, location)
        except ValueError as error:
            raise TaskFatal(f"the service names an address that cannot be used: {_shown(location)}") from error
        return self._own(address, location)

    def _own(self, address: str, named: str) -> str:
        try:
            origin = origin_of(f"{self.origin.scheme}:{address}" if address.startswith("//") else address)
            parts = urlsplit(address)
        except ValueError as error:
            raise TaskFatal(f"the service names an address that cannot be used: {_shown(named)}") from error
        if origin != self.origin:
            raise TaskFatal(
                f"the service names a file of another origin ({origin}); nothing was asked there: {_shown(named)}",
                hint=f"files are fetched from {self.origin} only",
            )
        # Rebuilt on our own origin: what was compared is what is connected to.
        target = quote(parts.path or "/", safe=_ADDRESS_CHARACTERS.replace("?", ""))
        if not target.startswith("/"):
            raise TaskFatal(f"the service names an address that cannot be used: {_shown(named)}")
        if parts.query:
            target += f"?{quote(parts.query, safe=_ADDRESS_CHARACTERS)}"
        return f"{self.origin}{target}"


def _refuse_unreadable(url: str) -> None:
    if not url or len(url) > _LONGEST or _NEVER.search(url):
        raise TaskFatal(f"the service names an address that cannot be used: {_shown(url)}")


def _shown(url: str) -> str:
    return ascii(url[:200])
