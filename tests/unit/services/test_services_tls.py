"""TLS as it goes wrong: verification is never dropped, and the reason is said (faults.md row 7)."""

from __future__ import annotations

import io
import shutil
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fakes.scripted_server import Request, ScriptedServer, Wire, document

from agent.errors import FileRefused, ServiceUnavailable, SetupRefused
from agent.model import Upload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.services.aluma import AlumaService

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="no openssl here to make certificates with")


def certificate(folder: Path, *, days: int = 2, name: str = "IP:127.0.0.1", common_name: str = "127.0.0.1") -> Path:
    """Make key and self-signed certificate in one PEM file."""
    assert OPENSSL is not None
    (folder / "extensions").write_text(f"subjectAltName={name}\nbasicConstraints=critical,CA:TRUE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem"]
    request = [OPENSSL, "req", "-new", *key, "-subj", f"/CN={common_name}", "-out", "request.pem"]
    sign = [OPENSSL, "x509", "-req", "-in", "request.pem", "-signkey", "key.pem", "-days", str(days)]
    for command in (request, [*sign, "-extfile", "extensions", "-out", "certificate.pem"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    path = folder / "both.pem"
    path.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    return path


def tls_server(pem: Path) -> ScriptedServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return ScriptedServer(tls=context)


@needs_openssl
def test_a_service_of_our_own_authority_is_trusted_with_ca_file(
    tmp_path: Path, open_service: Callable[..., AlumaService]
) -> None:
    pem = certificate(tmp_path)
    with tls_server(pem) as server:
        open_service(server.url, ca_file=tmp_path / "certificate.pem").check_credentials()


@needs_openssl
def test_a_self_signed_certificate_is_refused_before_the_secret_is_told(
    tmp_path: Path, open_service: Callable[..., AlumaService]
) -> None:
    with tls_server(certificate(tmp_path)) as server:
        with pytest.raises(ServiceUnavailable, match="self-signed") as raised:
            open_service(server.url).check_credentials()
        assert server.requests == []
    assert "service.ca_file" in raised.value.hint


@needs_openssl
def test_an_expired_certificate_is_refused_though_its_authority_is_known(
    tmp_path: Path, open_service: Callable[..., AlumaService]
) -> None:
    with (
        tls_server(certificate(tmp_path, days=-1)) as server,
        pytest.raises(ServiceUnavailable, match="expired") as raised,
    ):
        open_service(server.url, ca_file=tmp_path / "certificate.pem").check_credentials()
    assert "renewed" in raised.value.hint


@needs_openssl
def test_a_certificate_for_another_name_is_refused(tmp_path: Path, open_service: Callable[..., AlumaService]) -> None:
    pem = certificate(tmp_path, name="DNS:other.example", common_name="other.example")
    with tls_server(pem) as server, pytest.raises(ServiceUnavailable) as raised:
        open_service(server.url, ca_file=tmp_path / "certificate.pem").check_credentials()
    assert "service.url" in raised.value.hint


@needs_openssl
def test_a_document_travels_over_tls(tmp_path: Path, open_service: Callable[..., AlumaService]) -> None:
    content = bytes(range(256)) * 20_000
    with tls_server(certificate(tmp_path)) as server:
        server.on("POST", "/tasks", document({"id": "task-1"}))
        open_service(server.url, ca_file=tmp_path / "certificate.pem").submit(upload(content), io.BytesIO(content))
        assert server.seen("POST", "/tasks")[0].body == content


@needs_openssl
def test_an_early_refusal_is_heard_over_tls(tmp_path: Path, open_service: Callable[..., AlumaService]) -> None:
    def refuse(_: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 7\r\n\r\ntoo big")
        wire.hang()

    content = b"x" * (32 * 1024 * 1024)
    with tls_server(certificate(tmp_path)) as server:
        server.on("POST", "/tasks", refuse)
        service = open_service(server.url, ca_file=tmp_path / "certificate.pem")
        with pytest.raises(FileRefused, match="too big"):
            service.submit(upload(content), io.BytesIO(content))


def test_a_port_that_speaks_no_tls_is_said(open_service: Callable[..., AlumaService]) -> None:
    def greet(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(greet, listener)
        with pytest.raises(ServiceUnavailable, match="TLS"):
            open_service(f"https://127.0.0.1:{listener.getsockname()[1]}").check_credentials()


def test_a_ca_file_that_is_none_is_a_matter_of_set_up(
    tmp_path: Path, open_service: Callable[..., AlumaService]
) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("not a certificate")
    with pytest.raises(SetupRefused, match="ca_file"):
        open_service("https://127.0.0.1:1", ca_file=path).check_credentials()


def upload(content: bytes) -> Upload:
    return Upload("key-1", "p", "scan.pdf", "application/pdf", len(content), "scan.pdf", {})
