"""Asking where one task is in trouble, or one look is: nothing else waits for it, and nothing is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fakes.memory_abilities import ASKED_BY_ID
from fakes.memory_service import MemoryService
from fakes.memory_uploads import MemoryUploadService
from fakes.workbench import PROJECT, Workbench, watch_folder

from agent.errors import ServiceUnavailable
from agent.model import LaneReason, ServiceTaskState, TaskState

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import Task

READY = ServiceTaskState.PENDING_START.value


class OneIsPoison(MemoryService):
    """Answers 500 for ever where it is asked for its first task, and is well otherwise."""

    def get_task(self, task_id: str, *, project_id: str = "") -> Task:
        if task_id == "task-0001":
            raise ServiceUnavailable("500", reason=LaneReason.SERVICE_UNAVAILABLE)
        return super().get_task(task_id, project_id=project_id)


def bench_with(tmp_path: Path, service: type[MemoryService]) -> Workbench:
    bench = Workbench(tmp_path, watch_folder(tmp_path))
    bench.service = service(bench.clock, project_ids=(PROJECT,), processing_time=0.0, abilities=ASKED_BY_ID)
    bench.start()
    return bench


def live(bench: Workbench, seconds: float, step: float = 0.1) -> None:
    end = bench.clock.monotonic() + seconds
    while bench.clock.monotonic() < end:
        bench.asking.step()
        bench.clock.advance(step)


def test_a_task_the_service_cannot_be_asked_for_keeps_no_other_waiting(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, OneIsPoison)
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        bench.drop(name)
        bench.submit()
    live(bench, 60.0)
    assert [bench.task(f"task-000{number}").service_state for number in (2, 3)] == [READY, READY]


def test_a_task_of_a_watch_folder_taken_out_of_the_configuration_waits_to_be_exported(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, MemoryService)
    bench.drop("a.pdf")
    bench.submit()
    bench.ledger.commit(bench.task().change(watch_folder="taken out"))
    live(bench, 10.0)
    task = bench.task()
    assert (task.state, task.service_state, task.ended_at) == (TaskState.PROCESSING, READY, None)


def test_a_task_that_has_a_row_already_is_made_none_again(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path))
    service = MemoryUploadService(bench.clock, project_ids=(PROJECT,), splitting_time=3.0)
    bench.service = service
    bench.start()
    bench.drop("a.pdf")
    bench.submit()
    upload = bench.task()
    (task,) = service.tasks_of(upload.task_id).values()
    bench.ledger.commit(replace(upload, task_id=task.id, version=1, state=TaskState.EXPORTED, ended_at=1.0))
    bench.rounds(10)
    assert bench.task(upload.task_id).state is TaskState.SPLIT
