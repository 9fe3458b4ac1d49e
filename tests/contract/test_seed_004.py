"""Seed 004 (asynchronous extraction), rule by rule, where no other test shows it."""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.known_agent import NOW, KnownAgent
from fakes.known_agent import task as known_task
from fakes.memory_ledger import MemoryLedger
from fakes.scripted_server import Reply, document
from fakes.service_harnesses import DOCUMENT, TYPLESS, TyplessHarness, upload
from fakes.wirings import CONTENT, READY, TASK_ID
from fakes.wirings import TYPLESS as WIRING
from fakes.wirings import upload as small_upload

from agent.errors import ServiceUnavailable, TaskMoved
from agent.model import ServiceTaskState
from agent.runtime.control import STATUS_NOTE
from agent.runtime.status import compose_status
from agent.runtime.troubles import SERVICE_NOTE
from agent.sandbox.typless.settings import ExtractionStatus, Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fakes.scripted_server import ScriptedServer

    from agent.ports import Service

HOURS = 3600.0
ENDS = [
    (ExtractionStatus.SUCCESS, ServiceTaskState.PENDING_START),
    (ExtractionStatus.ERROR, ServiceTaskState.FAILED),
    (ExtractionStatus.EXPIRED, ServiceTaskState.EXPIRED),
]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_the_id_of_the_answer_is_what_is_polled_for(server: ScriptedServer, opened: Callable[..., Service]) -> None:
    identifier = "0d14338251a6db69bfec36face27f7edcab7322"
    server.on("POST", WIRING.create, document({"extraction_id": identifier}, status=202))
    server.on("GET", WIRING.read, WIRING.finished)
    service = opened(WIRING)
    task = service.submit(small_upload(), io.BytesIO(CONTENT))
    service.get_task(task.id)
    assert server.requests[-1].target == f"/api/get-extraction-data?extraction_id={identifier}"


def test_the_answer_comes_at_once_and_the_extraction_is_waited_for(stack: ExitStack) -> None:
    harness = TyplessHarness(stack, replace(TYPLESS, extraction_delay=60))
    task = harness.submit()
    assert task.state is ServiceTaskState.RUNNING
    harness.pass_time(59)
    assert harness.service.get_task(task.id).state is ServiceTaskState.RUNNING
    harness.pass_time(2)
    harness.ready(task)


def test_what_is_not_finished_has_no_result_to_be_exported(stack: ExitStack) -> None:
    harness = TyplessHarness(stack, replace(TYPLESS, extraction_delay=60))
    task = harness.submit()
    with pytest.raises(TaskMoved):
        harness.service.start_export(task)


@pytest.mark.parametrize(("status", "expected"), ENDS)
def test_every_end_of_an_extraction_is_reached_and_only_success_is_exported(
    stack: ExitStack, status: ExtractionStatus, expected: ServiceTaskState
) -> None:
    harness = TyplessHarness(stack, replace(TYPLESS, fates=(Fate("scan.pdf", status),)))
    task = harness.reaches(harness.submit(), expected)
    if expected is ServiceTaskState.PENDING_START:
        assert harness.service.start_export(task).result is not None
        return
    with pytest.raises(TaskMoved):
        harness.service.start_export(task)


def test_a_result_can_be_fetched_until_48_hours_after_the_end(stack: ExitStack) -> None:
    harness = TyplessHarness(stack, replace(TYPLESS, extraction_delay=12 * HOURS))
    task = harness.submit()
    harness.pass_time(12 * HOURS)
    harness.eventually(lambda: task if harness.server.sandbox.describe()[0]["finished"] else None)
    harness.pass_time(48 * HOURS - 60)
    assert harness.service.start_export(harness.service.get_task(task.id)).result is not None
    harness.service.complete_export(task.id)
    harness.pass_time(120)
    assert harness.service.get_task(task.id).state is ServiceTaskState.EXPIRED


@pytest.mark.parametrize(("age", "expected"), [(35, []), (37, ["result_expires"])])
def test_status_warns_hours_before_a_result_is_deleted(tmp_path: Path, age: int, expected: list[str]) -> None:
    known, ledger = KnownAgent(tmp_path), MemoryLedger()
    ledger.put_note(STATUS_NOTE, {"lanes": [], "inboxes": {}, "failures": {}, "pid": 1, "at": NOW - 1})
    ledger.put_note(SERVICE_NOTE, {"result_lifetime": 48 * HOURS})
    ledger.commit(known_task("task-1", opened_at=NOW - age * HOURS))
    document = compose_status(known.settings, ledger, is_running=True, now=NOW)
    assert [reason["reason"] for reason in document["reasons"]] == expected


def test_an_error_brings_code_message_and_details_of_the_service(stack: ExitStack) -> None:
    fate = Fate("scan.pdf", ExtractionStatus.ERROR, code=4001, message="Not a document.", details="page 3")
    harness = TyplessHarness(stack, replace(TYPLESS, fates=(fate,)))
    assert harness.reaches(harness.submit(), ServiceTaskState.FAILED).message == "4001: Not a document.: page 3"


@pytest.mark.parametrize("answer", [{}, {"error": {}, "result": {}}, {"error": None, "result": None}])
@pytest.mark.parametrize("status", ["IN_PROGRESS", "ERROR", "EXPIRED"])
def test_a_state_is_believed_whatever_stands_beside_it(
    server: ScriptedServer, opened: Callable[..., Service], status: str, answer: dict[str, object]
) -> None:
    server.on("GET", WIRING.read, document({**answer, "status": status}))
    states = {
        "IN_PROGRESS": ServiceTaskState.RUNNING,
        "ERROR": ServiceTaskState.FAILED,
        "EXPIRED": ServiceTaskState.EXPIRED,
    }
    assert opened(WIRING).get_task(TASK_ID).state is states[status]


def test_a_catastrophe_in_place_of_a_poll_ends_no_extraction(
    server: ScriptedServer, opened: Callable[..., Service]
) -> None:
    server.on("GET", WIRING.read, Reply(500, b"<html>catastrophe"), WIRING.finished)
    service = opened(WIRING)
    with pytest.raises(ServiceUnavailable):
        service.start_export(READY)
    assert service.get_task(TASK_ID).state is ServiceTaskState.PENDING_START


def test_the_synchronous_end_point_is_never_called(stack: ExitStack) -> None:
    harness = TyplessHarness(stack)
    harness.service.check_credentials()
    task = harness.ready(harness.service.submit(upload(), io.BytesIO(DOCUMENT)))
    harness.service.start_export(task)
    asked = {seen.target.partition("?")[0] for seen in harness.server.sandbox.requests.recent()}
    assert asked == {"/api/extract-data-async", "/api/get-extraction-data"}
