"""A held file whose task an operator names: the service is asked for it, where that can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.memory_service import AfterActing
from fakes.memory_uploads import MemoryUploadService
from fakes.workbench import PROJECT, Workbench, watch_folder

from agent.errors import OutcomeUnknown, ServiceUnavailable, TaskMoved, UserError
from agent.model import FileState, LaneReason
from agent.runtime.operations import Operations

if TYPE_CHECKING:
    from pathlib import Path

    from agent.ports import Service

LOST = OutcomeUnknown("504")
AWAY = ServiceUnavailable("cannot reach the service", reason=LaneReason.SERVICE_UNREACHABLE)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """Return a bench whose file arrived as task-0001, its answer was lost, and it is held."""
    bench = Workbench(tmp_path)
    bench.drop("a.pdf")
    bench.service.script("submit", AfterActing(LOST))
    bench.submit()
    return hold(bench)


def hold(bench: Workbench) -> Workbench:
    record = bench.file("a.pdf")
    bench.ledger.commit(record.change(state=FileState.HELD, state_at=bench.clock.now()))
    return bench


def operations(bench: Workbench, service: Service | None) -> Operations:
    return Operations(
        bench.settings,
        ledger=bench.parts.ledger,
        clock=bench.process_clock,
        file_away=bench.parts.file_away,
        service=service,
    )


def resolve(bench: Workbench, task_id: str, service: Service | None) -> str:
    answer = operations(bench, service).resolve(id="a.pdf", submitted=task_id)
    assert answer["ok"]
    assert bench.file("a.pdf").state is FileState.SUBMITTED
    return str(answer["message"])


def test_a_task_that_the_service_knows_is_taken(bench: Workbench) -> None:
    assert resolve(bench, "task-0001", bench.service) == "a.pdf is task task-0001"


def test_a_task_that_the_service_does_not_know_is_refused_and_decides_nothing(bench: Workbench) -> None:
    with pytest.raises(UserError, match="knows no task task-0010"):
        operations(bench, bench.service).resolve(id="a.pdf", submitted="task-0010")
    assert bench.file("a.pdf").state is FileState.HELD
    assert bench.ledger.task("task-0010") is None


def test_where_the_service_is_away_the_word_is_taken_and_said_to_be_unchecked(bench: Workbench) -> None:
    bench.service.script("get_task", AWAY)
    message = resolve(bench, "task-0010", bench.service)
    assert "not checked: the service could not be asked: cannot reach the service" in message


def test_without_credentials_the_word_is_taken_and_said_to_be_unchecked(bench: Workbench) -> None:
    assert "not checked: no agent runs, and the service's credentials are not set here" in resolve(bench, "t", None)


def test_a_task_the_service_may_have_forgotten_is_taken(bench: Workbench) -> None:
    bench.clock.advance(61 * 3600)
    assert "may have forgotten it" in resolve(bench, "task-0010", bench.service)


def test_a_call_that_is_not_there_is_no_witness_against_a_task_in_the_list(bench: Workbench) -> None:
    bench.service.script("get_task", TaskMoved("no such page", gone=True))
    assert resolve(bench, "task-0001", bench.service) == "a.pdf is task task-0001"


@pytest.fixture
def uploading(tmp_path: Path) -> Workbench:
    """Return a bench as `bench` is, of a service that makes uploads: the file arrived as upload-0001."""
    bench = Workbench(tmp_path, watch_folder(tmp_path))
    bench.service = MemoryUploadService(bench.clock, project_ids=(PROJECT,))
    bench.start()
    bench.drop("a.pdf")
    bench.service.script("submit", AfterActing(LOST))
    bench.submit()
    return hold(bench)


def test_an_upload_that_the_service_knows_is_taken(uploading: Workbench) -> None:
    assert resolve(uploading, "upload-0001", uploading.service) == "a.pdf is task upload-0001"


def test_an_upload_that_the_service_does_not_know_is_refused(uploading: Workbench) -> None:
    with pytest.raises(UserError, match="knows no upload upload-0010"):
        operations(uploading, uploading.service).resolve(id="a.pdf", submitted="upload-0010")
