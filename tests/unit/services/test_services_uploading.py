"""Submissions against a server that refuses, cuts, hangs and lies (faults.md 6, 7, rows 3-8)."""

from __future__ import annotations

import io
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fakes.driven_clock import DrivenClock
from fakes.scripted_server import Reply, Request, Wire, document
from fakes.submitting import ACCEPTED, LARGE, SMALL, submit, upload

from agent.errors import (
    CredentialsRefused,
    FileBusy,
    FileRefused,
    OutcomeUnknown,
    ServiceUnavailable,
)
from agent.model import LaneReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.scripted_server import ScriptedServer

    from agent.services.aluma import AlumaService


# --- early answers ---------------------------------------------------------------------------------------------------


def refuse_without_reading(_: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 7\r\n\r\ntoo big")
    wire.hang()


def test_a_refusal_that_comes_before_the_body_is_read_is_heard(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", refuse_without_reading)
    refused = submit(service, b"x" * LARGE)
    assert isinstance(refused, FileRefused)
    assert "too big" in refused.message


def test_a_refusal_followed_by_a_reset_is_heard_where_it_arrived(server: ScriptedServer, service: AlumaService) -> None:
    def refuse_and_reset(_: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 100\r\n\r\ncut")
        wire.reset()

    server.on("POST", "/tasks", refuse_and_reset)
    # Either the refusal was read before the reset or not; never is a task thought to exist.
    assert isinstance(submit(service, b"x" * LARGE), FileRefused | ServiceUnavailable)


def test_after_an_early_refusal_the_next_request_has_a_connection_of_its_own(
    server: ScriptedServer, service: AlumaService
) -> None:
    server.on("POST", "/tasks", refuse_without_reading, ACCEPTED)
    submit(service, b"x" * LARGE)
    assert submit(service) is None


def test_a_200_before_the_end_of_the_body_does_not_cut_the_body(server: ScriptedServer, service: AlumaService) -> None:
    received: queue.Queue[int] = queue.Queue()

    def accept_early(request: Request, wire: Wire) -> None:
        wire.send(b'HTTP/1.1 202 Accepted\r\nContent-Length: 15\r\n\r\n{"id":"task-1"}')
        received.put(len(wire.read_body(request)))

    server.on("POST", "/tasks", accept_early)
    assert submit(service, b"x" * 4_000_000) is None
    assert received.get(timeout=10) == 4_000_000


def test_interim_answers_are_no_answers(server: ScriptedServer, service: AlumaService) -> None:
    def interim(request: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        ACCEPTED.play(request, wire)

    server.on("POST", "/tasks", interim)
    assert submit(service, b"x" * 4_000_000) is None


# --- interruptions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [0, 1, 300_000, 5_000_000])
def test_a_reset_before_the_last_byte_is_trouble_of_the_service(
    server: ScriptedServer, service: AlumaService, read: int
) -> None:
    def reset(_: Request, wire: Wire) -> None:
        wire.reader.read(read)
        wire.reset()

    server.on("POST", "/tasks", reset)
    assert isinstance(submit(service, b"x" * LARGE), ServiceUnavailable)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 202 Acc", b"HTTP/1.1 202 Accepted\r\nContent-Length: 50\r\n\r\n{"])
def test_a_reset_after_the_last_byte_leaves_it_unknown(
    server: ScriptedServer, service: AlumaService, answer: bytes
) -> None:
    def reset(request: Request, wire: Wire) -> None:
        wire.read_body(request)
        wire.send(answer)
        wire.reset()

    server.on("POST", "/tasks", reset)
    assert isinstance(submit(service), OutcomeUnknown)


def test_silence_after_the_last_byte_leaves_it_unknown(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    server.on("POST", "/tasks", lambda _, wire: wire.hang())
    assert isinstance(submit(open_service(server.url, timeout=0.6)), OutcomeUnknown)


def test_a_server_that_stops_reading_is_trouble_of_the_service(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    server.on("POST", "/tasks", lambda _, wire: wire.hang())
    assert isinstance(submit(open_service(server.url, timeout=0.6), b"x" * LARGE), ServiceUnavailable)


class HurryingClock:
    """A clock that runs ten thousand times as fast, so that the ten minutes of a request pass in a blink."""

    def __init__(self) -> None:
        self.looks = 0
        self._lock = threading.Lock()

    def now(self) -> float:
        return 1_711_958_908.0

    def monotonic(self) -> float:
        with self._lock:
            self.looks += 1
            return self.looks * 60.0

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        del seconds
        return event.is_set()


def test_a_trickling_answer_ends_with_the_time_a_request_may_take(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    def trickle(request: Request, wire: Wire) -> None:
        wire.read_body(request)
        for _ in range(200):
            wire.send(b"H")
            threading.Event().wait(0.005)

    server.on("POST", "/tasks", trickle)
    error = submit(open_service(server.url, clock=HurryingClock()))
    assert isinstance(error, OutcomeUnknown)
    assert "slower than allowed" in error.message


def test_nobody_listening_is_trouble_of_the_service_and_names_it(open_service: Callable[..., AlumaService]) -> None:
    error = submit(open_service("http://127.0.0.1:1"))
    assert isinstance(error, ServiceUnavailable)
    assert error.reason is LaneReason.SERVICE_UNREACHABLE
    assert error.message == "cannot reach http://127.0.0.1:1: connection refused"


def test_a_name_that_does_not_exist_is_trouble_of_the_service(open_service: Callable[..., AlumaService]) -> None:
    error = submit(open_service("http://no-such-host.invalid"))
    assert isinstance(error, ServiceUnavailable)
    assert "no-such-host.invalid" in error.message


def test_closing_ends_an_upload_under_way(server: ScriptedServer, service: AlumaService) -> None:
    begun = threading.Event()

    def begin(_: Request, wire: Wire) -> None:
        begun.set()
        wire.hang()

    server.on("POST", "/tasks", begin)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(submit, service, b"x" * LARGE)
        assert begun.wait(10)
        service.close()
        assert isinstance(result.result(4), ServiceUnavailable)


# --- the body --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 299_999, 300_001, 900_000])
def test_a_body_of_another_length_never_arrives_whole(
    server: ScriptedServer, service: AlumaService, length: int
) -> None:
    server.on("POST", "/tasks", ACCEPTED)
    with pytest.raises(FileBusy):
        service.submit(upload(300_000), io.BytesIO(b"x" * length))
    assert all(len(request.body) < 300_000 for request in server.seen("POST", "/tasks"))


def test_what_reading_the_body_raises_is_raised(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", ACCEPTED)

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(OSError, match="Input/output error"):
        service.submit(upload(2_000_000), Broken(b"x" * 2_000_000))


def test_a_body_read_in_small_pieces_arrives_whole(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", ACCEPTED)

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    service.submit(upload(len(SMALL)), Slow(SMALL))
    assert server.seen("POST", "/tasks")[0].body == SMALL


# --- the token -------------------------------------------------------------------------------------------------------


def test_a_401_is_met_with_one_new_token_and_the_whole_body_again(
    server: ScriptedServer, service: AlumaService
) -> None:
    server.on("POST", "/tasks", Reply(401), ACCEPTED)
    assert submit(service) is None
    assert [(request.token, request.body) for request in server.seen("POST", "/tasks")] == [
        ("token-1", SMALL),
        ("token-2", SMALL),
    ]


def test_a_second_401_is_a_matter_of_credentials_and_no_storm(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", Reply(401))
    error = submit(service)
    assert isinstance(error, CredentialsRefused)
    assert error.reason is LaneReason.CREDENTIALS_REFUSED
    assert len(server.seen("POST", "/tasks")) == 2
    assert len(server.seen("POST", "/oauth/token")) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refused_secret_is_a_matter_of_credentials_and_nothing_is_sent(
    server: ScriptedServer, service: AlumaService, status: int
) -> None:
    server.on("POST", "/oauth/token", document({"message": "wrong pair"}, status=status))
    error = submit(service)
    assert isinstance(error, CredentialsRefused)
    assert "wrong pair" in error.message
    assert server.seen("POST", "/tasks") == []


@pytest.mark.parametrize("reply", [Reply(500), Reply(503), Reply(302), Reply(200, b"<html>"), document({"token": "x"})])
def test_a_token_end_point_in_trouble_is_trouble_of_the_service(
    server: ScriptedServer, service: AlumaService, reply: Reply
) -> None:
    server.on("POST", "/oauth/token", reply)
    assert isinstance(submit(service), ServiceUnavailable)


def test_no_message_shows_the_secret_or_the_token(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", Reply(401))
    error = submit(service)
    assert error is not None
    shown = f"{error.message} {error.hint} {error!r}"
    assert "hunter2" not in shown
    assert "token-" not in shown


# --- connections -----------------------------------------------------------------------------------------------------


def test_uploads_one_after_the_other_share_a_connection(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", ACCEPTED)
    for _ in range(5):
        submit(service)
    assert server.connections == 1


def test_a_connection_the_server_closed_meanwhile_is_not_used_again(
    server: ScriptedServer, service: AlumaService
) -> None:
    closed = threading.Event()

    def answer_and_close(request: Request, wire: Wire) -> None:
        ACCEPTED.play(request, wire)
        wire.sock.shutdown(2)
        closed.set()

    server.on("POST", "/tasks", answer_and_close, ACCEPTED)
    submit(service)
    assert closed.wait(10)
    assert submit(service) is None


def test_a_connection_idle_for_long_is_not_trusted_with_a_document(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    clock = DrivenClock()
    service = open_service(server.url, clock=clock)
    server.on("POST", "/tasks", ACCEPTED)
    submit(service)
    clock.advance(4)
    submit(service)
    assert server.connections == 2


def test_many_uploads_at_once_all_arrive(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", ACCEPTED)
    contents = [bytes([number]) * 100_000 for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda content: submit(service, content), contents)) == [None] * 40
    assert sorted(request.body for request in server.seen("POST", "/tasks")) == contents
