"""Where connections come from: trust, proxy and pools, the same for uploads, downloads and control calls.

Verification is never off, TLS is 1.2 or newer. Redirects and retries of the libraries are never used.
"""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from urllib3 import PoolManager, ProxyManager, make_headers
from urllib3.util import parse_url

from agent.errors import SetupRefused
from agent.model import LaneReason
from agent.services.connections import PlainPool, TlsPool
from agent.services.exchange import BLOCK

if TYPE_CHECKING:
    from pathlib import Path

    import requests
    from urllib3.connectionpool import HTTPConnectionPool

    from agent.model import ServiceSettings

_SPARE_CONNECTIONS = 16
"""Connections kept beside those of the uploads: export workers, polls."""


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS settings: `ca_file` alone where given, else the system's authorities. Raises SetupRefused."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise SetupRefused(
            f"cannot read the certificates in service.ca_file {ca_file}: {error}",
            reason=LaneReason.SETUP_REFUSED,
            hint="service.ca_file must be a PEM file with one or more CA certificates",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None and not _has_system_authorities(context):
        context.load_verify_locations(cafile=DEFAULT_CA_BUNDLE_PATH)
    return context


def _has_system_authorities(context: ssl.SSLContext) -> bool:
    if sys.platform == "win32":
        return context.cert_store_stats()["x509_ca"] > 0
    # A folder of certificates is read on demand and counts 0 until then.
    paths = ssl.get_default_verify_paths()
    return paths.cafile is not None or paths.capath is not None


def proxy_for(settings: ServiceSettings) -> str | None:
    """Return the proxy's address: `service.proxy`, else the environment's (NO_PROXY obeyed), else None."""
    proxy = settings.proxy or select_proxy(settings.url, get_environ_proxies(settings.url, no_proxy=None))
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


class Pools:
    """The pools of one service."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.proxy = proxy_for(settings)
        self._secure = settings.url.lower().startswith("https:")
        self._manager = self._build(settings)
        self._adapter = _SharedPools(self._manager)

    def _build(self, settings: ServiceSettings) -> PoolManager:
        context = trust(settings.ca_file)
        options: dict[str, Any] = {
            "num_pools": 4,
            "maxsize": settings.connections + _SPARE_CONNECTIONS,
            "block": False,
            "blocksize": BLOCK,
            "ssl_context": context,
            "cert_reqs": "CERT_REQUIRED",
            "retries": False,
        }
        manager: PoolManager
        if self.proxy:
            credentials = parse_url(self.proxy).auth
            headers = make_headers(proxy_basic_auth=unquote(credentials)) if credentials else None
            manager = ProxyManager(self.proxy, proxy_headers=headers, proxy_ssl_context=context, **options)
        else:
            manager = PoolManager(**options)
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
        return manager

    @property
    def direct(self) -> PoolManager:
        """The hot path: urllib3 without requests above it."""
        return self._manager

    @property
    def buffering_proxy(self) -> bool:
        """Whether a proxy sees requests and may finish them by itself; a TLS tunnel only hands bytes on."""
        return self.proxy is not None and not self._secure

    def control(self, request: requests.PreparedRequest, *, timeout: float) -> requests.Response:
        """Send a control call; the answer's body is not read yet.

        One adapter serves all threads: it holds pools and nothing else, where a Session would add cookies.
        """
        proxies = {"http": self.proxy, "https": self.proxy} if self.proxy else {}
        return self._adapter.send(request, stream=True, timeout=timeout, verify=True, proxies=proxies)

    def close(self) -> None:
        """Close idle connections."""
        self._manager.clear()


class _SharedPools(HTTPAdapter):
    """requests on our pools, so that trust, proxy and deadlines are the same everywhere."""

    def __init__(self, manager: PoolManager) -> None:
        self._shared = manager
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> HTTPConnectionPool:
        """Return our own pool; `verify` and `cert` are settled in its TLS context."""
        del verify, proxies, cert
        assert request.url is not None
        return self._shared.connection_from_url(request.url)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool as it is: requests would add its own bundle to the trusted authorities."""
