"""Poll: whose tasks are ours to export, into which folder, and which of them not now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import PROJECT, Workbench, watch_folder

from agent.errors import OutcomeUnknown
from agent.model import ExportScope, FileState, TaskState, Upload

if TYPE_CHECKING:
    from pathlib import Path


def bench_with(base: Path, *scopes: tuple[str, str, ExportScope]) -> Workbench:
    """Return a bench with one watch folder for each name, project and scope."""
    folders = [watch_folder(base, name, project_id=project, export={"scope": scope}) for name, project, scope in scopes]
    return Workbench(base, *folders)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return bench_with(tmp_path, ("invoices", PROJECT, ExportScope.OWN))


def strange_task(bench: Workbench, project_id: str = PROJECT, name: str = "strange.pdf") -> str:
    upload = Upload("strange key", project_id, name, "application/pdf", 1, name, {})
    return bench.service._create(upload, b"x").id


def poll(bench: Workbench) -> list[tuple[str, str]]:
    found = bench.parts.polling.work(bench.settings.watch_folders)
    return [(folder.name, record.task_id) for folder, record, _ in found]


def submitted(bench: Workbench, path: str = "a.pdf", **changes: Any) -> None:
    bench.drop(path)
    bench.submit()
    if changes:
        bench.ledger.commit(bench.task().change(**changes))


def test_our_own_tasks_are_found_oldest_first(bench: Workbench) -> None:
    submitted(bench, "a.pdf")
    submitted(bench, "b.pdf")
    assert poll(bench) == [("invoices", "task-0001"), ("invoices", "task-0002")]


def test_tasks_of_others_are_not_touched_and_not_recorded(bench: Workbench) -> None:
    strange_task(bench)
    assert poll(bench) == []
    assert bench.ledger.find_tasks() == []


def test_with_the_scope_project_tasks_of_others_in_it_are_ours_too(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, ("invoices", PROJECT, ExportScope.PROJECT))
    task_id = strange_task(bench)
    strange_task(bench, "project-2")
    assert poll(bench) == [("invoices", task_id)]
    record = bench.task(task_id)
    assert (record.file_key, record.source_folder, record.state) == ("", "", TaskState.PROCESSING)


def test_a_task_of_another_watch_folder_goes_to_that_ones_output(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, ("all", PROJECT, ExportScope.PROJECT), ("mine", PROJECT, ExportScope.OWN))
    bench.drop("a.pdf", folder=bench.settings.watch_folders[1])
    bench.submit()
    assert poll(bench) == [("mine", "task-0001")]


def test_a_task_that_may_be_a_lost_answer_of_ours_is_not_adopted(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, ("invoices", PROJECT, ExportScope.PROJECT))
    bench.drop("a.pdf")
    bench.service.script("submit", AfterActing(OutcomeUnknown("504")))
    bench.submit()
    assert bench.file("a.pdf").state is FileState.UNKNOWN
    assert poll(bench) == []
    assert bench.ledger.find_tasks() == []
    bench.parts.unknown.work("invoices")
    assert poll(bench) == [("invoices", "task-0001")]


def test_however_many_wait_for_their_answers_a_lost_one_is_not_adopted(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, ("invoices", PROJECT, ExportScope.PROJECT))
    bench.drop("a.pdf")
    bench.service.script("submit", AfterActing(OutcomeUnknown("504")))
    bench.submit()
    record = bench.file("a.pdf")
    others = [replace(record, key=f"{number:04}", version=1, task_name="b.pdf", state_at=0.0) for number in range(1000)]
    bench.ledger.commit(*others)
    assert poll(bench) == []


def test_without_an_output_nothing_is_exported(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, output=None))
    submitted(bench)
    assert poll(bench) == []


@pytest.mark.parametrize(
    "changes",
    [{"held": True}, {"state": TaskState.EXPORTING}, {"state": TaskState.ENDED_UNKNOWN, "ended_at": 1.0}],
    ids=["held", "under way", "ended"],
)
def test_what_is_held_under_way_or_ended_is_left(bench: Workbench, changes: dict[str, Any]) -> None:
    submitted(bench, **changes)
    assert poll(bench) == []


@pytest.mark.parametrize("state", [TaskState.SUPERSEDED, TaskState.FAILED])
def test_what_ended_here_and_not_at_the_service_is_found_to_be_failed_there(bench: Workbench, state: TaskState) -> None:
    submitted(bench, state=state)
    assert poll(bench) == [("invoices", "task-0001")]


def test_what_was_put_off_waits_its_time(bench: Workbench) -> None:
    submitted(bench, retry_at=bench.clock.now() + 300)
    assert poll(bench) == []
    bench.clock.advance(300)
    assert poll(bench) == [("invoices", "task-0001")]


def test_a_clock_that_was_set_back_a_day_puts_nothing_off_for_a_day(bench: Workbench) -> None:
    submitted(bench, retry_at=bench.clock.now() + 86400 + 300)
    assert poll(bench) == [("invoices", "task-0001")]


def test_a_service_without_lists_is_not_asked_for_one_the_ledger_knows_what_is_ready(bench: Workbench) -> None:
    bench.service.abilities.lists_tasks = False
    submitted(bench)
    record = bench.task()
    assert poll(bench) == []
    bench.ledger.commit(record.change(service_state="pending:start_client_action"))
    assert poll(bench) == [("invoices", "task-0001")]
    assert bench.service.named("find_ready") == []
