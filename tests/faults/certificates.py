"""Certificates as openssl makes them: an authority of the test's own, and what goes wrong with those it signs."""

from __future__ import annotations

import ssl
import warnings
from typing import TYPE_CHECKING

from faults import means

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """An authority in a folder of its own; `certificate` is what an agent is to trust."""

    def __init__(self, folder: Path) -> None:
        self._openssl = means.program("openssl")
        self._folder = folder
        folder.mkdir()
        self.certificate = folder / "authority.crt"
        self._make_key("authority")
        self._sign("authority", "basicConstraints=critical,CA:TRUE", issuer=None, days=2)

    def server(self, name: str, *, subject: str = "IP:127.0.0.1", days: int = 2, own: bool = True) -> ssl.SSLContext:
        """Return the context of a server with a new certificate; `own`: signed by this authority, else by itself."""
        self._make_key(name)
        self._sign(name, f"subjectAltName={subject}", issuer="authority" if own else None, days=days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        return context

    def _make_key(self, name: str) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
        means.run(self._openssl, "req", "-new", *key, "-subj", f"/CN={name}", "-out", f"{name}.req", cwd=self._folder)

    def _sign(self, name: str, extensions: str, *, issuer: str | None, days: int) -> None:
        (self._folder / "extensions").write_text(extensions + "\n")
        by_itself = ("-signkey", f"{name}.key")
        by_issuer = ("-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key", "-CAcreateserial")
        key = by_itself if issuer is None else by_issuer
        request = ("x509", "-req", "-in", f"{name}.req", "-days", str(days), "-extfile", "extensions")
        means.run(self._openssl, *request, *key, "-out", f"{name}.crt", cwd=self._folder)


def outdated(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a server speak TLS 1.1 at most."""
    with warnings.catch_warnings():  # it is deprecated, which is the point
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context
