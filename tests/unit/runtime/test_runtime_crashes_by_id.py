"""Killed at every boundary where the service is asked by id: submit, ask, split, export, alone and as a batch.

Such a service cannot be asked whether a submission arrived: what a kill leaves in doubt is held, and an operator who
looks at the service decides it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.crash_sweep import STRIDE, Sweep
from fakes.memory_abilities import ASKED_BY_ID
from fakes.memory_service import MemoryService
from fakes.memory_uploads import MemoryUploadService
from fakes.workbench import PROJECT, pdf

from agent.model import FileState, Reason, ServiceTaskState, TaskState
from agent.runtime.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fakes.workbench import Workbench

    from agent.model import Upload

CASE = ("case 7/1.pdf", "case 7/2.pdf", "case 7/3.pdf")
FAILING = "case 7/2.pdf"


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    sweep = Sweep(tmp_path, monkeypatch)
    sweep.act = run_and_decide
    return sweep


def serve(bench: Workbench, service: MemoryService) -> None:
    bench.service = service
    bench.start()


def uploading(bench: Workbench) -> MemoryUploadService:
    assert isinstance(bench.service, MemoryUploadService)
    return bench.service


def run_and_decide(bench: Workbench) -> None:
    """Run, let the operator decide what is held by what the service shows, and run again."""
    bench.run()
    operations = Operations(
        bench.settings, ledger=bench.parts.ledger, clock=bench.process_clock, file_away=bench.parts.file_away
    )
    while held := [record for record in bench.files() if record.state is FileState.HELD]:
        arrived = [each.task_id for each in bench.service.submissions if each.upload.key == held[0].key]
        if arrived:
            operations.resolve(id=held[0].key, submitted=arrived[0])
        else:
            operations.resolve(id=held[0].key, resubmit=True)
    bench.run()


def assert_sent_once(bench: Workbench, *names: str) -> None:
    assert sorted(each.upload.file_name for each in bench.service.submissions) == sorted(
        name.rpartition("/")[2] for name in names
    )
    assert {each.key for each in bench.files()} == {each.upload.key for each in bench.service.submissions}


def assert_exported(bench: Workbench, exported: Mapping[str, Sequence[str]]) -> None:
    """Assert that the output holds a JSON document and a CSV file for each stem, of the task of that name."""
    found = bench.contents("output")
    assert sorted(found) == sorted(f"{stem}.{end}" for stem in exported for end in ("csv", "json"))
    for stem, (task_name, number) in exported.items():
        assert f'"{task_name}"'.encode() in found[f"{stem}.json"], stem
        (task,) = [task for task in bench.ledger.find_tasks() if task.name == task_name and task.upload_id]
        assert (task.state, str(task.number)) == (TaskState.EXPORTED, number)


def test_a_task_asked_for_by_its_id(sweep: Sweep) -> None:
    def prepare(bench: Workbench) -> None:
        serve(bench, MemoryService(bench.clock, project_ids=(PROJECT,), abilities=ASKED_BY_ID))
        bench.drop("sub/a.pdf")

    def check(bench: Workbench) -> None:
        assert_sent_once(bench, "sub/a.pdf")
        assert bench.task().state is TaskState.EXPORTED
        assert sorted(bench.contents("output")) == ["sub/a.csv", "sub/a.json"]
        assert bench.contents("archive") == {"sub/a.pdf": pdf("sub/a.pdf")}

    sweep.prepare = prepare
    sweep.run(check, fewest=50)


def test_an_upload_that_becomes_several_tasks(sweep: Sweep) -> None:
    def prepare(bench: Workbench) -> None:
        service = MemoryUploadService(bench.clock, project_ids=(PROJECT,), splitting_time=2.0)
        service.split = mail
        serve(bench, service)
        bench.drop("sub/a.pdf")

    def mail(_upload: Upload) -> Sequence[str]:
        return ("the mail", "invoice.pdf")

    def check(bench: Workbench) -> None:
        assert_sent_once(bench, "sub/a.pdf")
        assert_exported(bench, {"sub/a": ("the mail", "1"), "sub/a-2": ("invoice.pdf", "2")})
        assert bench.contents("archive") == {"sub/a.pdf": pdf("sub/a.pdf")}

    sweep.prepare = prepare
    sweep.run(check, fewest=50)


def in_a_batch(sweep: Sweep, end: Callable[[Workbench], None]) -> None:
    """Drop a folder of three files that is one upload; `end` is the world's part before each round."""

    def prepare(bench: Workbench) -> None:
        serve(bench, MemoryUploadService(bench.clock, project_ids=(PROJECT,), processing_time=3.0))
        for name in CASE:
            bench.drop(name)
        bench.world = lambda: end(bench)

    sweep.folder = lambda _base: {"batch": "folder"}
    sweep.prepare = prepare


def test_a_folder_sent_as_one_upload(sweep: Sweep) -> None:
    def check(bench: Workbench) -> None:
        assert_sent_once(bench, *CASE)
        assert [len(upload.parts) for upload in uploading(bench).uploads()] == [len(CASE)]
        assert_exported(bench, {f"case 7/{number}": (f"{number}.pdf", "1") for number in (1, 2, 3)})
        assert bench.contents("archive") == {name: pdf(name) for name in CASE}

    in_a_batch(sweep, lambda _bench: None)
    sweep.run(check, fewest=90)


@pytest.mark.parametrize("part", range(2))
def test_a_folder_killed_again_while_it_recovers_and_while_a_person_decides(sweep: Sweep, part: int) -> None:
    def check(bench: Workbench) -> None:
        assert_sent_once(bench, *CASE)
        assert_exported(bench, {f"case 7/{number}": (f"{number}.pdf", "1") for number in (1, 2, 3)})
        assert bench.contents("archive") == {name: pdf(name) for name in CASE}

    in_a_batch(sweep, lambda _bench: None)
    sweep.run_twice(check, part=part, parts=12 * STRIDE)


def test_a_folder_of_which_one_file_fails(sweep: Sweep) -> None:
    def fail(bench: Workbench) -> None:
        for task in bench.service.tasks():
            if task.name == "2.pdf" and task.state is ServiceTaskState.RUNNING:
                bench.service.end(task.id, ServiceTaskState.FAILED, message="unreadable")

    def check(bench: Workbench) -> None:
        assert_sent_once(bench, *CASE)
        assert_exported(bench, {"case 7/1": ("1.pdf", "1"), "case 7/3": ("3.pdf", "1")})
        failed = bench.file(FAILING)
        assert (failed.state, failed.reason) == (FileState.REJECTED, Reason.TASK_FAILED)
        error = bench.contents("error")
        assert f"task: {failed.task_id}".encode() in error.pop(f"{FAILING}.error.txt")
        assert error == {FAILING: pdf(FAILING)}
        assert bench.contents("archive") == {name: pdf(name) for name in CASE if name != FAILING}

    in_a_batch(sweep, fail)
    sweep.run(check, fewest=90)
