from __future__ import annotations

import errno
import http.client
import inspect
import socket
import ssl

import pytest
import requests.exceptions
import urllib3.exceptions

from agent.errors import ServiceTrouble, ServiceUnavailable, SetupRefused
from agent.model import LaneReason
from agent.services.trouble import TRANSPORT_ERRORS, trouble_of

ORIGIN = "https://api.example.com"


def library_exceptions() -> list[type[Exception]]:
    modules = (requests.exceptions, urllib3.exceptions, http.client)
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Exception) and not issubclass(value, Warning)
    }
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


def instance(kind: type[Exception]) -> Exception:
    """Make one without its arguments, which differ from class to class."""
    error = kind.__new__(kind)
    error.args = ("something happened",)
    return error


@pytest.mark.parametrize("kind", library_exceptions(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_of_the_libraries_passes_the_seam(kind: type[Exception]) -> None:
    assert issubclass(kind, TRANSPORT_ERRORS)


@pytest.mark.parametrize("kind", library_exceptions(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_of_the_libraries_becomes_trouble_that_names_the_service(kind: type[Exception]) -> None:
    trouble = trouble_of(instance(kind), origin=ORIGIN, proxy=None)
    assert isinstance(trouble, ServiceTrouble)
    assert ORIGIN in trouble.message


def wrapped(cause: BaseException) -> Exception:
    """Wrap as the libraries do: requests around urllib3 around the system's error."""
    middle = urllib3.exceptions.ProtocolError("Connection aborted.", cause)
    middle.__context__ = cause
    outer = requests.exceptions.ConnectionError(middle)
    outer.__context__ = middle
    return outer


def certificate_error(said: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {said}")
    error.verify_message = said
    return error


@pytest.mark.parametrize(
    ("cause", "said", "hint"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connection refused", "nothing listens"),
        (socket.gaierror(-2, "Name or service not known"), "cannot be resolved", "DNS"),
        (TimeoutError("timed out"), "no answer", "service.timeout"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "network is unreachable", "route"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files", "limit of open files"),
        (ConnectionResetError(104, "Connection reset by peer"), "broke before", ""),
        (http.client.RemoteDisconnected("closed"), "broke before", ""),
        (certificate_error("certificate has expired"), "expired", "renewed"),
        (certificate_error("self-signed certificate"), "self-signed", "service.ca_file"),
        (certificate_error("unable to get local issuer certificate"), "issuer", "service.ca_file"),
        (certificate_error("Hostname mismatch, certificate is not valid for 'x'"), "mismatch", "service.url"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS", "TLS 1.2"),
    ],
)
def test_a_cause_is_named_with_what_to_do(cause: Exception, said: str, hint: str) -> None:
    trouble = trouble_of(wrapped(cause), origin=ORIGIN, proxy=None)
    assert isinstance(trouble, ServiceUnavailable)
    assert said in trouble.message
    assert hint in trouble.hint


def test_no_file_handles_left_is_its_own_reason() -> None:
    trouble = trouble_of(wrapped(OSError(errno.EMFILE, "Too many open files")), origin=ORIGIN, proxy=None)
    assert trouble.reason is LaneReason.TOO_MANY_OPEN_FILES


@pytest.mark.parametrize(
    ("status", "kind"), [(407, SetupRefused), (403, SetupRefused), (502, ServiceUnavailable), (503, ServiceUnavailable)]
)
def test_a_tunnel_the_proxy_refuses_is_judged_by_its_status(status: int, kind: type[ServiceTrouble]) -> None:
    refused = urllib3.exceptions.ProxyError("no tunnel", OSError(f"Tunnel connection failed: {status} No"))
    assert type(trouble_of(refused, origin=ORIGIN, proxy="http://proxy:3128")) is kind


def test_a_proxy_is_named_without_its_password() -> None:
    trouble = trouble_of(wrapped(ConnectionRefusedError()), origin=ORIGIN, proxy="http://user:hunter2@proxy:3128")
    assert "http://proxy:3128" in trouble.message
    assert "hunter2" not in trouble.message


@pytest.mark.parametrize(
    "error",
    [
        urllib3.exceptions.LocationParseError("http://[bad"),
        urllib3.exceptions.ProxySchemeUnknown("socks5"),
        requests.exceptions.InvalidProxyURL("no host"),
        ValueError("Invalid header value"),
    ],
)
def test_an_address_that_cannot_be_called_is_a_matter_of_set_up(error: Exception) -> None:
    assert isinstance(trouble_of(error, origin=ORIGIN, proxy=None), SetupRefused)


def test_an_error_that_is_its_own_cause_ends() -> None:
    error = ConnectionResetError("again")
    error.__cause__ = error
    assert isinstance(trouble_of(error, origin=ORIGIN, proxy=None), ServiceUnavailable)


@pytest.mark.parametrize(
    ("error", "never_left"),
    [
        (wrapped(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), True),
        (wrapped(socket.gaierror(socket.EAI_NONAME, "no such name")), True),
        (wrapped(certificate_error("self-signed certificate")), True),
        (wrapped(ConnectionResetError(errno.ECONNRESET, "reset")), False),
        (wrapped(TimeoutError("silence")), False),
    ],
    ids=["refused", "name", "certificate", "reset", "silence"],
)
def test_what_never_left_was_surely_not_carried_out(error: Exception, never_left: bool) -> None:
    assert trouble_of(error, origin=ORIGIN, proxy=None).nothing_done is never_left
