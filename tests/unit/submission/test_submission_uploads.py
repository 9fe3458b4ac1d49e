"""Uploads that become several tasks, as Send AI makes them: matched to files by name, each with its own end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.memory_uploads import MemoryUploadService
from fakes.workbench import PROJECT, Workbench, watch_folder

from agent.errors import OutcomeUnknown
from agent.model import FileState, Reason, ServiceTaskState, TaskState, UploadProgress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.model import TaskRecord, Upload


@pytest.fixture
def service(bench: Workbench) -> MemoryUploadService:
    assert isinstance(bench.service, MemoryUploadService)
    return bench.service


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path, watch_folder(tmp_path))
    bench.service = MemoryUploadService(bench.clock, project_ids=(PROJECT,), splitting_time=3.0)
    bench.start()
    return bench


def rows(bench: Workbench) -> dict[str, TaskRecord]:
    return {record.task_id: record for record in bench.ledger.find_tasks()}


def mail(_upload: Upload) -> Sequence[str]:
    return ("body", "invoice.pdf", "terms.pdf")


def test_an_upload_is_open_until_its_tasks_are_known(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit()
    assert rows(bench)["upload-0001"].ended_at is None
    bench.rounds(6)
    upload, task = rows(bench)["upload-0001"], rows(bench)["task-0001"]
    assert (upload.state, upload.ended_at is not None) == (TaskState.SPLIT, True)
    assert (task.upload_id, task.name, task.file_key) == ("upload-0001", "a.pdf", bench.file("a.pdf").key)


def test_a_file_knows_its_task_once_its_upload_is_split(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.run()
    assert (bench.file("a.pdf").task_id, bench.names("output")) == ("task-0001", ["a.csv", "a.json"])


def test_the_tasks_of_one_file_are_numbered_and_each_has_its_result(
    bench: Workbench, service: MemoryUploadService
) -> None:
    service.split = mail
    bench.drop("sub/a.pdf")
    bench.run()
    assert bench.names("output") == [
        "sub/a-2.csv", "sub/a-2.json", "sub/a-3.csv", "sub/a-3.json", "sub/a.csv", "sub/a.json"
    ]  # fmt: skip
    assert [rows(bench)[f"task-000{number}"].number for number in (1, 2, 3)] == [1, 2, 3]


def test_one_failed_task_brings_the_source_to_error_and_the_others_are_exported(
    bench: Workbench, service: MemoryUploadService
) -> None:
    service.split = mail
    bench.drop("a.pdf")
    bench.submit()
    service.end("task-0002", ServiceTaskState.FAILED, message="blank")
    bench.run()
    assert (bench.file("a.pdf").state, bench.file("a.pdf").reason) == (FileState.REJECTED, Reason.TASK_FAILED)
    assert bench.names("output") == ["a-3.csv", "a-3.json", "a.csv", "a.json"]


def test_an_upload_that_failed_without_tasks_brings_its_files_to_error(
    bench: Workbench, service: MemoryUploadService, monkeypatch: pytest.MonkeyPatch
) -> None:

    bench.drop("a.pdf")
    bench.submit()
    failed = UploadProgress("a.pdf", (), may_grow=False, state=ServiceTaskState.FAILED)
    monkeypatch.setattr(service, "find_tasks_of", lambda _upload: failed)
    bench.rounds(6)
    assert (bench.file("a.pdf").reason, bench.names("error")) == (
        Reason.TASK_FAILED,
        ["a.pdf", "a.pdf.error.txt"],
    )


def test_a_task_before_people_waits_while_the_others_are_exported(
    bench: Workbench, service: MemoryUploadService
) -> None:
    service.split = mail
    bench.drop("a.pdf")
    bench.submit()
    service.show("task-0003", ServiceTaskState.REVIEWING)
    bench.rounds(12)
    assert rows(bench)["task-0003"].state is TaskState.REVIEWING
    assert bench.names("output") == ["a-2.csv", "a-2.json", "a.csv", "a.json"]


def test_a_lost_answer_cannot_be_looked_up_and_is_held(bench: Workbench, service: MemoryUploadService) -> None:

    service.script("submit", OutcomeUnknown("no answer"))
    bench.drop("a.pdf")
    bench.submit()
    bench.rounds(3)
    record = bench.file("a.pdf")
    assert (record.state, record.detail) == (FileState.HELD, "this service cannot be asked whether the file arrived")
    assert bench.names("inbox") == ["a.pdf"]
