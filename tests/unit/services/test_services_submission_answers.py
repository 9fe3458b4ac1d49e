"""What leaves with a submission, and what each answer to it means (the table of design.md §3)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from fakes.scripted_server import Reply, document
from fakes.submitting import ACCEPTED, SMALL, submit, upload

from agent.errors import (
    AgentError,
    FileRefused,
    OutcomeUnknown,
    ServiceUnavailable,
    SetupRefused,
)
from agent.model import Reason

if TYPE_CHECKING:
    from fakes.scripted_server import ScriptedServer

    from agent.services.aluma import AlumaService


def test_the_body_arrives_as_it_is_with_type_length_and_tags(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", ACCEPTED)
    content = bytes(range(256)) * 5000
    service.submit(upload(len(content), task_name="a&b.pdf"), io.BytesIO(content))
    request = server.seen("POST", "/tasks")[0]
    assert request.body == content
    assert request.target == "/tasks?project_id=p"
    assert request.headers["content-type"] == "application/pdf"
    assert request.headers["content-length"] == str(len(content))
    assert request.headers["x-aluma-tags"] == "task_name=a%26b.pdf&file_name=scan.pdf&fsagent_key=key-1"


def test_an_answer_with_no_more_than_an_id_is_completed_with_what_was_sent(
    server: ScriptedServer, service: AlumaService
) -> None:
    server.on("POST", "/tasks", document({"id": "task-1"}))
    task = service.submit(upload(len(SMALL)), io.BytesIO(SMALL))
    assert (task.id, task.name, task.project_id) == ("task-1", "scan.pdf", "p")


def test_memory_does_not_grow_with_the_file(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", ACCEPTED)
    largest = 0

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal largest
            assert size is not None
            assert size > 0
            largest = max(largest, size)
            return super().read(size)

    service.submit(upload(2_000_000), Watched(b"x" * 2_000_000))
    assert largest <= 256 * 1024


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(200, b"<html>Welcome</html>"), OutcomeUnknown),
        (Reply(202), OutcomeUnknown),
        (Reply(202, b'{"id": "tas'), OutcomeUnknown),
        (Reply(202, b'{"name": "scan.pdf"}'), OutcomeUnknown),
        (Reply(202, b'{"id": ""}'), OutcomeUnknown),
        (Reply(202, b'{"id": 7}'), OutcomeUnknown),
        (Reply(202, b"[" * 100_000), OutcomeUnknown),
        (Reply(202, b'{"id": "x", "padding": "' + b"x" * 2_000_000 + b'"}'), OutcomeUnknown),
        (Reply(204), OutcomeUnknown),
        (Reply(500), OutcomeUnknown),
        (Reply(502), OutcomeUnknown),
        (Reply(504), OutcomeUnknown),
        (Reply(503), ServiceUnavailable),
        (Reply(429), ServiceUnavailable),
        (Reply(408), ServiceUnavailable),
        (Reply(425), ServiceUnavailable),
        (Reply(302, headers={"Location": "https://evil.example/"}), ServiceUnavailable),
        (Reply(307, headers={"Location": "/elsewhere"}), ServiceUnavailable),
        (Reply(308), ServiceUnavailable),
        (Reply(403), SetupRefused),
        (Reply(404), SetupRefused),
        (Reply(405), SetupRefused),
        (Reply(407), SetupRefused),
        (Reply(400), FileRefused),
        (Reply(413), FileRefused),
        (Reply(415), FileRefused),
        (Reply(422), FileRefused),
        (Reply(418), FileRefused),
    ],
    ids=lambda value: f"{value.status}-{value.body[:12]!r}" if isinstance(value, Reply) else value.__name__,
)
def test_an_answer_means_what_the_table_says(
    server: ScriptedServer, service: AlumaService, reply: Reply, kind: type[AgentError]
) -> None:
    server.on("POST", "/tasks", reply)
    assert type(submit(service)) is kind


def test_nothing_is_ever_sent_twice_by_itself(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", Reply(503))
    submit(service)
    assert len(server.seen("POST", "/tasks")) == 1


def test_a_redirect_is_not_followed(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", Reply(307, headers={"Location": f"{server.url}/other"}))
    submit(service)
    assert server.seen("POST", "/other") == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"type":"urn:x","title":"The PDF is encrypted","status":400}', "The PDF is encrypted"),
        (b'{"title":"Bad","detail":"Page 3 is broken"}', "Bad; Page 3 is broken"),
        (b'{"message":"Validation failed","requestErrors":{"a":["is required"]}}', "Validation failed; a: is required"),
        (b"plain words", "plain words"),
        (b"<html><head><title>Bad Gateway</title></head>", "Bad Gateway"),
        (b"two\nlines\x1b[31m and \xe2\x80\xaecolour", "two lines [31m and colour"),
    ],
)
def test_the_sentence_of_the_service_is_handed_on(
    server: ScriptedServer, service: AlumaService, body: bytes, said: str
) -> None:
    server.on("POST", "/tasks", Reply(400, body))
    refused = submit(service)
    assert isinstance(refused, FileRefused)
    assert refused.reason is Reason.REFUSED_BY_SERVICE
    assert said in refused.message


def test_a_long_sentence_is_cut(server: ScriptedServer, service: AlumaService) -> None:
    server.on("POST", "/tasks", Reply(400, b"x" * 100_000))
    refused = submit(service)
    assert refused is not None
    assert len(refused.message) < 500
