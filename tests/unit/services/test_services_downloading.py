"""Downloads that are missing, cut, endless, or lead elsewhere (faults.md rows 20 and 23)."""

from __future__ import annotations

import gzip
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from fakes.scripted_server import Reply, Request, Wire

from agent.errors import AgentError, CredentialsRefused, ServiceUnavailable, SetupRefused, TaskFatal, TaskTransient
from agent.model import ExportFile, FileSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fakes.scripted_server import ScriptedServer

    from agent.services.aluma import AlumaService

PATH = "/file_collections/c/files/f"


def file(url: str = PATH) -> ExportFile:
    return ExportFile("", "scan.pdf", FileSource.URL, url=url)


def fetch(service: AlumaService, url: str = PATH) -> bytes:
    with service.download(file(url)) as blocks:
        return b"".join(blocks)


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """A port nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_file_arrives_as_it_is_with_our_token(server: ScriptedServer, service: AlumaService) -> None:
    content = bytes(range(256)) * 20_000
    server.on("GET", PATH, Reply(200, content))
    assert fetch(service) == content
    assert server.seen("GET", PATH)[0].token == "token-1"


def test_blocks_are_at_most_a_mebibyte(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", PATH, Reply(200, b"x" * 5_000_000))
    with service.download(file()) as blocks:
        assert max(len(block) for block in blocks) <= 1024 * 1024


@pytest.mark.parametrize(
    ("head", "first", "rest"),
    [(b"Content-Length: 6", b"abc", b"def"), (b"Transfer-Encoding: chunked", b"6\r\nabc", b"def\r\n0\r\n\r\n")],
    ids=["length", "chunks"],
)
def test_what_has_come_is_handed_on_before_the_rest_comes(
    server: ScriptedServer, service: AlumaService, head: bytes, first: bytes, rest: bytes
) -> None:
    handed_on = threading.Event()

    def crawl(_: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + first)
        if handed_on.wait(10):
            wire.send(rest)

    server.on("GET", PATH, crawl)
    with service.download(file()) as blocks:
        received = next(blocks)
        handed_on.set()
        assert received + b"".join(blocks) == b"abcdef"


def test_a_file_served_in_chunks_arrives(server: ScriptedServer, service: AlumaService) -> None:
    def chunked(_: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    server.on("GET", PATH, chunked)
    assert fetch(service) == b"abcde"


def test_a_file_that_comes_compressed_unasked_is_written_plain(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", PATH, Reply(200, gzip.compress(b"x" * 3_000_000), {"Content-Encoding": "gzip"}))
    with service.download(file()) as blocks:
        received = list(blocks)
    assert b"".join(received) == b"x" * 3_000_000
    assert max(len(block) for block in received) <= 1024 * 1024


def test_files_one_after_the_other_share_a_connection(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", PATH, Reply(200, b"x" * 100_000))
    for _ in range(5):
        fetch(service)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(404), TaskTransient),
        (Reply(410), TaskTransient),
        (Reply(400), TaskTransient),
        (Reply(206, b"part"), TaskTransient),
        (Reply(401), CredentialsRefused),
        (Reply(403), SetupRefused),
        (Reply(429), ServiceUnavailable),
        (Reply(500), ServiceUnavailable),
        (Reply(503), ServiceUnavailable),
        (Reply(302), ServiceUnavailable),
        (Reply(304), ServiceUnavailable),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else value.__name__,
)
def test_an_answer_in_place_of_the_file_is_judged(
    server: ScriptedServer, service: AlumaService, reply: Reply, kind: type[AgentError]
) -> None:
    server.on("GET", PATH, reply)
    with pytest.raises(kind):
        fetch(service)


def test_a_401_is_met_with_one_new_token(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", PATH, Reply(401), Reply(200, b"x"))
    assert fetch(service) == b"x"
    assert [request.token for request in server.seen("GET", PATH)] == ["token-1", "token-2"]


def test_quiet_asked_for_in_place_of_a_file_binds_every_call(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", PATH, Reply(503, headers={"Retry-After": "30"}))
    with pytest.raises(ServiceUnavailable):
        fetch(service)
    with pytest.raises(ServiceUnavailable):
        service.find_ready()
    assert server.seen("GET", "/tasks") == []


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\nabc\r\n",
    ],
)
def test_a_file_cut_short_is_a_transient_error_of_its_task(
    server: ScriptedServer, service: AlumaService, said: bytes
) -> None:
    def say(_: Request, wire: Wire) -> None:
        wire.send(said)
        wire.sock.shutdown(socket.SHUT_RDWR)

    server.on("GET", PATH, say)
    with pytest.raises(TaskTransient):
        fetch(service)


def test_a_file_longer_than_announced_is_a_transient_error_of_its_task(
    server: ScriptedServer, service: AlumaService
) -> None:
    def too_long(_: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole and more")

    server.on("GET", PATH, too_long, Reply(200, b"whole"))
    with pytest.raises(TaskTransient, match=r"scan\.pdf.*longer than announced"):
        fetch(service)
    assert fetch(service) == b"whole"
    assert server.connections == 2, "a connection with garbage on it was used again"


def test_a_file_that_stops_coming_is_trouble_of_the_service(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    def stop(_: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        wire.hang()

    server.on("GET", PATH, stop)
    with pytest.raises(ServiceUnavailable):
        fetch(open_service(server.url, timeout=0.6))


def test_an_error_of_the_reader_is_its_own(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", PATH, Reply(200, b"x" * 5_000_000))
    with pytest.raises(OSError, match="No space left"), service.download(file()):
        raise OSError(28, "No space left on device")


def test_after_a_download_left_half_way_the_next_one_is_whole(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", PATH, Reply(200, b"x" * 5_000_000), Reply(200, b"whole"))
    with service.download(file()) as blocks:
        next(iter(blocks))
    assert fetch(service) == b"whole"


def test_a_redirect_within_the_origin_is_followed(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", PATH, Reply(302, headers={"Location": "/store/f?sig=1"}))
    server.on("GET", "/store/f", Reply(200, b"moved"))
    assert fetch(service) == b"moved"


def test_a_redirect_in_circles_is_trouble_of_the_service(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", PATH, Reply(302, headers={"Location": PATH}))
    with pytest.raises(ServiceUnavailable):
        fetch(service)
    assert len(server.seen("GET", PATH)) == 6


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_port_fails_the_task_before_connecting(
    server: ScriptedServer, service: AlumaService, canary: socket.socket, status: int
) -> None:
    port = canary.getsockname()[1]
    server.on("GET", PATH, Reply(status, headers={"Location": f"http://127.0.0.1:{port}/f"}))
    with pytest.raises(TaskFatal):
        fetch(service)


SHAPES = ["http://127.0.0.1:{}/f", "//127.0.0.1:{}/f", "http://localhost:{}/f", "\\\\127.0.0.1:{}\\f"]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_address_of_another_port_fails_the_task_before_connecting(
    service: AlumaService, canary: socket.socket, shape: str
) -> None:
    with pytest.raises(TaskFatal):
        fetch(service, shape.format(canary.getsockname()[1]))


def test_an_address_of_another_scheme_fails_the_task(server: ScriptedServer, service: AlumaService) -> None:
    with pytest.raises(TaskFatal):
        fetch(service, server.url.replace("http:", "https:") + PATH)
    assert server.requests == []


def test_a_file_given_inline_is_not_fetched(service: AlumaService) -> None:
    with pytest.raises(TaskFatal), service.download(ExportFile("", "a.csv", FileSource.CONTENT, content="x")):
        pass
