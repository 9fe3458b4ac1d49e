"""Control calls and the wire: quiet that is asked for, silence, garbage, closing, proxies."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from fakes.driven_clock import DrivenClock
from fakes.scripted_server import Reply, Request, Wire, document

from agent.errors import (
    AgentError,
    ServiceTrouble,
    ServiceUnavailable,
    SetupRefused,
)
from agent.model import LaneReason, ServiceTaskState, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.scripted_server import ScriptedServer

    from agent.services.aluma import AlumaService


@pytest.mark.parametrize("status", [429, 503, 500])
def test_quiet_the_service_asks_for_binds_every_call_until_it_is_over(
    server: ScriptedServer, open_service: Callable[..., AlumaService], status: int
) -> None:
    clock = DrivenClock()
    service = open_service(server.url, clock=clock)
    server.on("GET", "/tasks", Reply(status, headers={"Retry-After": "30"}))
    server.on("GET", "/projects", document({"projects": []}))
    with pytest.raises(ServiceUnavailable) as raised:
        service.find_ready()
    assert raised.value.retry_after == 30
    clock.advance(29)
    with pytest.raises(ServiceUnavailable):
        service.projects()
    clock.advance(1)
    assert service.projects() == ()


@pytest.mark.parametrize("value", ["-5", "0", "soon", "", "Mon, 01 Apr 2020 08:08:28 GMT"])
def test_an_absurd_retry_after_leaves_the_waiting_to_us(
    server: ScriptedServer, service: AlumaService, value: str
) -> None:
    server.on("GET", "/tasks", Reply(429, headers={"Retry-After": value}))
    with pytest.raises(ServiceUnavailable) as raised:
        service.find_ready()
    assert (raised.value.retry_after, raised.value.reason) == (None, LaneReason.RATE_LIMITED)


def test_a_retry_after_of_a_year_is_bounded(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", "/tasks", Reply(429, headers={"Retry-After": "31536000"}))
    with pytest.raises(ServiceUnavailable) as raised:
        service.find_ready()
    assert raised.value.retry_after == 3600


def test_a_retry_after_date_is_read_by_the_clock_of_the_service(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    headers = {"Date": "Mon, 01 Apr 2024 08:00:00 GMT", "Retry-After": "Mon, 01 Apr 2024 08:00:20 GMT"}
    server.on("GET", "/tasks", Reply(503, headers=headers))
    service = open_service(server.url, clock=DrivenClock(now=1711958400.0 - 86400))
    with pytest.raises(ServiceUnavailable) as raised:
        service.find_ready()
    assert raised.value.retry_after == 20


@pytest.mark.parametrize(
    ("status", "nothing_done"),
    [(401, True), (403, True), (408, False), (429, True), (503, False), (302, True), (500, False), (502, False)],
)
def test_a_refused_call_was_surely_not_carried_out_and_after_an_error_nobody_knows(
    server: ScriptedServer, service: AlumaService, status: int, nothing_done: bool
) -> None:
    server.on("PUT", "/tasks/t/start_client_action", Reply(status))
    with pytest.raises(ServiceTrouble) as raised:
        service.start_export(Task("t", "a.pdf", "p", ServiceTaskState.PENDING_START))
    assert raised.value.nothing_done is nothing_done


def test_a_control_call_that_gets_no_answer_ends(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    server.on("GET", "/tasks", lambda _, wire: wire.hang())
    with pytest.raises(ServiceUnavailable, match="in time"):
        open_service(server.url, timeout=0.2).find_ready()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00\x01\x02",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
    ],
    ids=lambda said: repr(said[:30]),
)
def test_what_is_not_http_is_trouble_of_the_service(server: ScriptedServer, service: AlumaService, said: bytes) -> None:
    def say(_: Request, wire: Wire) -> None:
        wire.send(said)
        wire.sock.shutdown(2)

    server.on("GET", "/tasks", say)
    with pytest.raises(ServiceTrouble):
        service.find_ready()


def test_closing_ends_a_call_under_way(server: ScriptedServer, service: AlumaService) -> None:
    begun = threading.Event()
    failed: list[AgentError] = []

    def begin(_: Request, wire: Wire) -> None:
        begun.set()
        wire.hang()

    def call() -> None:
        try:
            service.find_ready()
        except AgentError as error:
            failed.append(error)

    server.on("GET", "/tasks", begin)
    thread = threading.Thread(target=call)
    thread.start()
    assert begun.wait(10)
    service.close()
    thread.join(4)
    assert [type(error) for error in failed] == [ServiceUnavailable]


def test_cookies_of_the_service_are_not_kept(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", "/tasks", document({"tasks": []}, headers={"Set-Cookie": "a=b; Path=/"}))
    service.find_ready()
    service.find_ready()
    assert all("cookie" not in request.headers for request in server.requests)


def test_a_proxy_gets_the_requests_and_its_own_credentials(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    proxy = server.url.replace("http://", "http://user:pass%20word@")
    service = open_service("http://service.invalid", proxy=proxy)
    service.check_credentials()
    request = server.requests[0]
    assert request.target == "http://service.invalid/oauth/token"
    assert request.headers["proxy-authorization"] == "Basic dXNlcjpwYXNzIHdvcmQ="


def test_the_proxy_of_the_environment_is_taken(
    server: ScriptedServer, open_service: Callable[..., AlumaService], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    open_service("http://service.invalid").check_credentials()
    assert server.requests[0].target == "http://service.invalid/oauth/token"


def test_no_proxy_is_obeyed(
    server: ScriptedServer, open_service: Callable[..., AlumaService], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    open_service(server.url).check_credentials()
    assert server.requests[0].target == "/oauth/token"


def test_a_tunnel_the_proxy_refuses_is_a_matter_of_set_up(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    server.on("CONNECT", "service.invalid:443", Reply(407))
    service = open_service("https://service.invalid", proxy=server.url)
    with pytest.raises(SetupRefused, match="407"):
        service.check_credentials()


def test_a_proxy_nobody_speaks_is_a_matter_of_set_up(open_service: Callable[..., AlumaService]) -> None:
    with pytest.raises(SetupRefused):
        open_service("http://service.invalid", proxy="gopher://127.0.0.1:1").check_credentials()
