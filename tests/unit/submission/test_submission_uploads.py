"""Uploads that become several tasks, as Send AI makes them: matched to files by name, each with its own end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.memory_uploads import MemoryUploadService
from fakes.workbench import PROJECT, Workbench, pdf, watch_folder

from agent.errors import OutcomeUnknown
from agent.model import FileState, Reason, ServiceTaskState, TaskState, UploadProgress
from agent.submission.uploads import NO_TASK, UNTOLD

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


def finished_without_tasks(
    bench: Workbench, service: MemoryUploadService, monkeypatch: pytest.MonkeyPatch, state: ServiceTaskState
) -> None:
    """Let a file be an upload that ends, and of which the service shows no task."""
    bench.drop("a.pdf")
    bench.submit()
    ended = UploadProgress("a.pdf", (), may_grow=False, state=state)
    with monkeypatch.context() as patch:
        patch.setattr(service, "find_tasks_of", lambda _upload: ended)
        bench.rounds(6)


def test_an_upload_whose_tasks_are_never_told_ended_unseen_and_its_source_stays(
    bench: Workbench, service: MemoryUploadService, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_without_tasks(bench, service, monkeypatch, ServiceTaskState.COMPLETED)
    upload = rows(bench)["upload-0001"]
    assert (upload.state, upload.detail) == (TaskState.ENDED_UNKNOWN, UNTOLD)
    assert bench.names("archive") == ["a.pdf"]


@pytest.mark.parametrize("state", [ServiceTaskState.COMPLETED, ServiceTaskState.FAILED])
def test_content_of_an_upload_without_tasks_that_is_dropped_again_is_no_duplicate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: ServiceTaskState
) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, on_duplicate="skip"))
    service = MemoryUploadService(bench.clock, project_ids=(PROJECT,), splitting_time=3.0)
    bench.service = service
    bench.start()
    finished_without_tasks(bench, service, monkeypatch, state)
    bench.drop("again.pdf", pdf("a.pdf"))
    bench.run()
    assert bench.names("output") == ["again.csv", "again.json"]


def test_a_file_no_task_of_its_upload_is_of_says_so(bench: Workbench, service: MemoryUploadService) -> None:
    bench.settings = replace(bench.settings, watch_folders=(replace(bench.folder, batch="folder"),))
    bench.start()
    for name in ("case/a.pdf", "case/b.pdf"):
        bench.drop(name)
    service.split = lambda upload: ("a.pdf",) if upload.file_name.endswith("a.pdf") else ()
    bench.run()
    assert bench.file("case/b.pdf").detail == NO_TASK


def test_tasks_of_no_file_that_is_known_are_numbered_by_their_names(
    bench: Workbench, service: MemoryUploadService
) -> None:
    bench.settings = replace(bench.settings, watch_folders=(replace(bench.folder, batch="folder"),))
    bench.start()
    for name in ("case/a.pdf", "case/b.pdf"):
        bench.drop(name)
    service.split = lambda upload: ("invoice", "letter") if upload.file_name.endswith("a.pdf") else ("letter",)
    bench.run()
    exported = [name for name in bench.names("output") if name.endswith(".json")]
    assert exported == ["case/invoice.json", "case/letter-2.json", "case/letter.json"]


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
