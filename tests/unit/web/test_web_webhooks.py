"""Webhooks over real connections: what is taken, what is refused, and that nobody keeps others out."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import LaneTrouble
from agent.model import LaneReason
from agent.web import server as server_module
from agent.web.server import MOST_CONNECTIONS, WebServer
from agent.web.webhooks import LONGEST_BODY, webhook_app

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "a-secret-of-webhooks-0123"
PATH = f"/webhooks/typless/{SECRET}"
PATIENCE = 20.0


def event(task_id: Any) -> bytes:
    """Return the documented event (apis.md 3.3)."""
    return json.dumps(
        {
            "event_id": "0e895e25cfa24844c724c0c675da4078b7d13b32",
            "event_time": "2022-02-03T10:19:17.388584",
            "type": "extraction.finished",
            "data": {"id": task_id, "message": "Extraction process finished"},
        }
    ).encode()


class Receiving:
    """A server with the webhooks of one secret, and the ids it took."""

    def __init__(self, *, patience: int = 10) -> None:
        self.taken: list[str] = []
        self.server = WebServer(webhook_app(SECRET, self.taken.append), host="127.0.0.1", port=0, patience=patience)

    def ask(
        self, body: bytes = b"", *, path: str = PATH, method: str = "POST", headers: dict[str, str] | None = None
    ) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            assert SECRET.encode() not in answer.read()
            return answer.status
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)


@contextmanager
def serving(*, patience: int = 10) -> Iterator[Receiving]:
    receiving = Receiving(patience=patience)
    receiving.server.start()
    try:
        yield receiving
    finally:
        receiving.server.stop()


@pytest.fixture(scope="module")
def running_server() -> Iterator[Receiving]:
    with serving() as receiving:
        yield receiving


@pytest.fixture
def web(running_server: Receiving) -> Receiving:
    running_server.taken.clear()
    return running_server


def test_the_id_of_the_documented_event_is_taken(web: Receiving) -> None:
    assert web.ask(event("0e895e08e170ec2d"), headers={"Content-Type": "application/json"}) == 200
    assert web.taken == ["0e895e08e170ec2d"]


def test_the_host_is_not_asked_for(web: Receiving) -> None:
    assert web.ask(event("abc"), headers={"Host": "hooks.example.com"}) == 200


def test_a_body_in_chunks_is_taken(web: Receiving) -> None:
    with web.connect() as connection:
        body = event("abc")
        lead = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(lead.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        assert b" 200 " in connection.recv(100)
    assert web.taken == ["abc"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[" * 60_000, b'{"data": {"id": "abc"}', b"1" * 60_000],
    ids=["nothing", "cut", "no text", "deep", "unfinished", "endless number"],
)
def test_broken_json_is_refused(web: Receiving, body: bytes) -> None:
    assert web.ask(body) == 400
    assert web.taken == []


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"null", b'{"data": []}', *map(event, (None, 7, "", ["abc"], "x" * 513, "a\nb", "\ud800"))],
)
def test_a_document_that_names_no_extraction_changes_nothing(web: Receiving, body: bytes) -> None:
    assert web.ask(body) == 200
    assert web.taken == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/webhooks",
        "/webhooks/typless",
        "/webhooks/typless/",
        f"{PATH}x",
        PATH[:-1],
        f"{PATH}/",
        f"/webhooks/sendai/{SECRET}",
        f"/webhooks/typless/{SECRET.upper()}",
        "/webhooks/typless/%ff%fe%00",
        f"/webhooks/typless/?secret={SECRET}",
    ],
)
def test_other_paths_and_secrets_are_not_there(web: Receiving, path: str) -> None:
    assert web.ask(event("abc"), path=path) == 404
    assert web.taken == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_are_refused(web: Receiving, method: str) -> None:
    assert web.ask(event("abc"), method=method) == 405
    assert web.taken == []


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not(web: Receiving) -> None:
    lead = event("abc")

    assert web.ask(lead + b" " * (LONGEST_BODY - len(lead))) == 200
    assert web.ask(lead + b" " * (LONGEST_BODY - len(lead) + 1)) == 413
    assert web.taken == ["abc"]


def test_an_endless_body_is_cut_off(web: Receiving) -> None:
    with web.connect() as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        with pytest.raises(OSError):  # noqa: PT011 -- reset or broken pipe, as the system likes
            connection.sendall(chunk * 1_000)


def test_headers_without_end_are_refused(web: Receiving) -> None:
    with web.connect() as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Long: ".encode() + b"x" * 20_000)
        assert b" 400 " in connection.recv(100)


def test_a_connection_is_for_one_request(web: Receiving) -> None:
    with web.connect() as connection:
        request = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode()
        connection.sendall(request)
        answer = b""
        while block := connection.recv(1000):
            answer += block
    assert b" 200 " in answer
    assert b"connection: close" in answer.lower()


def test_slow_clients_keep_nobody_out_and_are_cut_off(web: Receiving) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(web.connect()) for _ in range(2 * MOST_CONNECTIONS)]
        for connection in slow[MOST_CONNECTIONS:]:
            connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Le".encode())

        assert web.ask(event("abc")) == 200
        assert slow[0].recv(1) == b"", "the oldest gives way"


@pytest.mark.parametrize("sent", ["POST /", f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{"])
def test_a_connection_lives_no_longer_than_its_time(sent: str) -> None:
    with serving(patience=1) as web, web.connect() as connection:
        connection.sendall(sent.encode())
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


@pytest.mark.parametrize("sent", ["", "POST /", f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{"])
def test_stops_in_time_with_clients_that_send_nothing_more(sent: str) -> None:
    with serving() as web, web.connect() as connection:
        connection.sendall(sent.encode())
        assert web.ask(event("abc")) == 200
        began = time.monotonic()
        web.server.stop()
        took = time.monotonic() - began

        assert not web.server.is_alive
        assert took < server_module._STOP_LIMIT


def test_no_request_is_logged(web: Receiving, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        web.ask(event("abc"))
        web.ask(b"{")
        web.ask(event("abc"), path=f"{PATH}/more")
        with web.connect() as connection:
            connection.sendall(f"nonsense {PATH}\r\n\r\n".encode())
            connection.recv(100)

    assert SECRET not in caplog.text


def test_a_port_in_use_is_said(web: Receiving) -> None:
    with pytest.raises(LaneTrouble, match=f"127.0.0.1:{web.server.port}") as refused:
        WebServer(webhook_app(SECRET, web.taken.append), host="127.0.0.1", port=web.server.port)

    assert refused.value.reason is LaneReason.WEB_UNAVAILABLE


def test_an_address_that_is_none_is_said() -> None:
    with pytest.raises(LaneTrouble, match="cannot listen"):
        WebServer(webhook_app(SECRET, print), host="x" * 100 + ".example", port=0)


def test_many_at_once_are_all_taken(web: Receiving) -> None:
    threads = [threading.Thread(target=web.ask, args=(event(f"id-{number}"),)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(web.taken) == sorted(f"id-{number}" for number in range(30))
