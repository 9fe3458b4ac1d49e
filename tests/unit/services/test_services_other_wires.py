"""Send AI and Typless on the wire: what every answer means, and how large files travel."""

from __future__ import annotations

import io
import json
import threading
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from fakes.scripted_server import Reply, Request, ScriptedServer, Wire, document
from fakes.wirings import BOTH, CONTENT, READY, SENDAI, TASK_ID, TYPLESS, Wiring, submit, upload

from agent.errors import (
    AgentError,
    CredentialsRefused,
    FileRefused,
    OutcomeUnknown,
    ServiceUnavailable,
    SetupRefused,
    TaskFatal,
    TaskMoved,
    TaskTransient,
)
from agent.model import Lookup, ServiceTaskState, ServiceType

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.ports import Service


# --- what an answer to a submission means (design.md §3) -------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, OutcomeUnknown),
        (202, OutcomeUnknown),
        (301, ServiceUnavailable),
        (400, FileRefused),
        (401, CredentialsRefused),
        (403, SetupRefused),
        (404, SetupRefused),
        (405, SetupRefused),
        (407, SetupRefused),
        (408, ServiceUnavailable),
        (409, FileRefused),
        (413, FileRefused),
        (415, FileRefused),
        (422, FileRefused),
        (425, ServiceUnavailable),
        (429, ServiceUnavailable),
        (500, OutcomeUnknown),
        (502, OutcomeUnknown),
        (503, ServiceUnavailable),
        (504, OutcomeUnknown),
    ],
)
def test_an_answer_without_an_id_means_what_the_table_says(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, status: int, expected: type[AgentError]
) -> None:
    server.on("POST", wiring.create, document({"code": "why", "message": "because"}, status=status))
    assert type(submit(opened(wiring))) is expected
    assert len(server.requests) == 1


@BOTH
@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_with_an_id_is_accepted(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, status: int
) -> None:
    server.on("POST", wiring.create, Reply(status, wiring.created.body))
    task = opened(wiring).submit(upload(len(CONTENT)), io.BytesIO(CONTENT))
    assert (task.name, task.project_id, task.state) == ("scan.pdf", "p", ServiceTaskState.RUNNING)
    assert task.id in wiring.created.body.decode()


@BOTH
def test_a_refusal_says_what_the_service_says(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring
) -> None:
    problem = {"detail": [{"loc": ["body", "file"], "msg": "not base64", "type": "x"}]}
    server.on("POST", wiring.create, document(problem, status=422))
    refused = submit(opened(wiring))
    assert refused is not None
    assert "not base64" in refused.message


@BOTH
def test_a_reset_after_the_last_byte_leaves_it_unknown(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring
) -> None:
    def reset(request: Request, wire: Wire) -> None:
        wire.read_body(request)
        wire.reset()

    server.on("POST", wiring.create, reset)
    assert isinstance(submit(opened(wiring)), OutcomeUnknown)


@BOTH
def test_a_reset_before_the_last_byte_is_trouble_of_the_service(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring
) -> None:
    def reset(_: Request, wire: Wire) -> None:
        wire.reader.read(100_000)
        wire.reset()

    server.on("POST", wiring.create, reset)
    size = 32 * 1024 * 1024
    assert isinstance(submit(opened(wiring), Endless(), size), ServiceUnavailable)


@BOTH
def test_silence_after_the_last_byte_leaves_it_unknown(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring
) -> None:
    server.on("POST", wiring.create, lambda _, wire: wire.hang())
    assert isinstance(submit(opened(wiring, timeout=0.2)), OutcomeUnknown)


@BOTH
def test_a_refusal_before_the_body_is_read_is_heard(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring
) -> None:
    def refuse(_: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 7\r\n\r\ntoo big")
        wire.hang()

    server.on("POST", wiring.create, refuse)
    refused = submit(opened(wiring), Endless(), 32 * 1024 * 1024)
    assert isinstance(refused, FileRefused)
    assert "too big" in refused.message


# --- large files -----------------------------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """A file of any size that takes no memory; it ends when `size` bytes were read."""

    def __init__(self, size: int = 32 * 1024 * 1024) -> None:
        self._left = size

    def read(self, amount: int = -1) -> bytes:
        amount = min(amount, self._left)
        self._left -= amount
        return b"x" * amount


@pytest.mark.parametrize(("wiring", "size"), [(TYPLESS, 30_000_000), (SENDAI, 40_000_000)], ids=["typless", "sendai"])
def test_memory_does_not_grow_with_the_file(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, size: int
) -> None:
    received = threading.Event()

    def drain(request: Request, wire: Wire) -> None:
        left = int(request.headers["content-length"])
        while left:
            left -= len(wire.reader.read(min(left, 65_536)))
        received.set()
        wiring.created.play(Request("POST", request.target, {}), wire)

    server.on("POST", wiring.create, drain)
    service = opened(wiring)
    tracemalloc.start()
    try:
        assert submit(service, Endless(size), size) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert received.is_set()
    assert peak < 20_000_000


def test_a_document_to_typless_is_one_line_of_json(server: ScriptedServer, opened: Callable[..., Service]) -> None:
    server.on("POST", TYPLESS.create, TYPLESS.created)
    opened(TYPLESS).submit(upload(len(CONTENT), 'in/box/Köln "1".pdf'), io.BytesIO(CONTENT))
    request = server.requests[0]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == str(len(request.body))
    assert b"\n" not in request.body
    sent = json.loads(request.body)
    assert sorted(sent) == ["document_type_name", "file", "file_name"]
    assert sent["file_name"] == 'Köln "1".pdf'


# --- asking ----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, CredentialsRefused),
        (403, SetupRefused),
        (404, TaskMoved),
        (408, ServiceUnavailable),
        (429, ServiceUnavailable),
        (500, ServiceUnavailable),
        (503, ServiceUnavailable),
    ],
)
def test_an_answer_to_a_question_means_what_the_table_says(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, status: int, expected: type[AgentError]
) -> None:
    server.on("GET", wiring.read, document({"message": "because"}, status=status))
    service = opened(wiring)
    for ask in (lambda: service.get_task(TASK_ID, project_id="p"), lambda: service.start_export(READY)):
        with pytest.raises(expected):
            ask()


@BOTH
@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"null", b'{"status":'])
def test_an_answer_that_is_none_is_trouble_of_the_service(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, body: bytes
) -> None:
    server.on("GET", wiring.read, Reply(200, body))
    with pytest.raises(ServiceUnavailable):
        opened(wiring).get_task(TASK_ID, project_id="p")


@BOTH
def test_an_answer_longer_than_any_is_the_tasks_fault(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"agent.services.{wiring.kind}_assumptions.RESULT_LIMIT", 10)
    server.on("GET", wiring.read, wiring.finished)
    service = opened(wiring)
    assert service.get_task(TASK_ID, project_id="p").state is ServiceTaskState.PENDING_START
    with pytest.raises(TaskFatal, match="larger than 10 bytes"):
        service.start_export(READY)


@BOTH
def test_ids_are_quoted_where_they_stand(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring
) -> None:
    with pytest.raises(TaskMoved):
        opened(wiring).get_task("../a?b&c=d", project_id="../p")
    expected = {
        ServiceType.TYPLESS: "/api/get-extraction-data?extraction_id=..%2Fa%3Fb%26c%3Dd",
        ServiceType.SENDAI: "/v2/team_1/project/..%2Fp/task/..%2Fa%3Fb%26c%3Dd",
    }
    assert server.requests[0].target == expected[wiring.kind]


def test_a_success_without_a_result_is_asked_for_again(server: ScriptedServer, opened: Callable[..., Service]) -> None:
    empty = document({"status": "SUCCESS", "error": {}, "result": {}})
    server.on("GET", TYPLESS.read, empty, TYPLESS.finished)
    service = opened(TYPLESS)
    with pytest.raises(TaskTransient):
        service.start_export(READY)
    assert service.start_export(READY).result is not None


def test_a_kept_result_is_given_up_with_the_export(server: ScriptedServer, opened: Callable[..., Service]) -> None:
    server.on("GET", TYPLESS.read, TYPLESS.finished)
    service = opened(TYPLESS)
    service.get_task(TASK_ID)
    service.start_export(READY)
    service.cancel_export(TASK_ID)
    service.start_export(READY)
    assert len(server.requests) == 1
    service.complete_export(TASK_ID)
    service.start_export(READY)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [404, 405, 501])
def test_without_awaiting_poll_a_lost_submission_cannot_be_looked_up(
    server: ScriptedServer, opened: Callable[..., Service], status: int
) -> None:
    server.on("GET", "/api/v1/awaiting-poll", Reply(status))
    assert opened(TYPLESS, lookup_by_customer=True).find_submission(Lookup("k", "p", "x", 0, 1)) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}"])
def test_what_is_no_list_of_extractions_is_not_taken_for_an_empty_one(
    server: ScriptedServer, opened: Callable[..., Service], body: bytes
) -> None:
    server.on("GET", "/api/v1/awaiting-poll", Reply(200, body))
    with pytest.raises(ServiceUnavailable):
        opened(TYPLESS, lookup_by_customer=True).find_submission(Lookup("k", "p", "x", 0, 1))
