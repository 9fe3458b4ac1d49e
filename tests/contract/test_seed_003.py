"""Seed 003 (uploads and their tasks), example by example and rule by rule, where no other test shows it."""

from __future__ import annotations

import email.message
import io
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from fakes.memory_uploads import MemoryUploadService
from fakes.scripted_server import document
from fakes.service_harnesses import DOCUMENT, PROJECT, SENDAI, SendaiHarness, reference, upload
from fakes.workbench import PROJECT as BENCH_PROJECT
from fakes.workbench import Workbench, watch_folder

from agent.errors import SetupRefused
from agent.model import ServiceTaskState, ServiceType, Task, TaskReference, TaskState
from agent.runtime.operations import Operations
from agent.sandbox.sendai.settings import SCOPES, Fate, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fakes.scripted_server import ScriptedServer

    from agent.model import UploadProgress
    from agent.ports import Service, UploadService

ATTACHMENTS = ("invoice_001.pdf", "invoice_002.pdf", "invoice_003.pdf")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def mail() -> bytes:
    message = email.message.EmailMessage()
    message["From"], message["Subject"] = "office@example.com", "Invoices of March"
    message.set_content("Please find three invoices attached.")
    for name in ATTACHMENTS:
        message.add_attachment(DOCUMENT, maintype="application", subtype="pdf", filename=name)
    return message.as_bytes()


def uploads(service: Service) -> UploadService:
    return cast("UploadService", service)


def together(harness: SendaiHarness, *names: str) -> Task:
    parts = [(upload(name, f"key-{number}"), io.BytesIO(DOCUMENT)) for number, name in enumerate(names)]
    return uploads(harness.service).submit_together("Monthly Invoice Batch - March 2024", parts)


def shown(harness: SendaiHarness, sent: Task) -> UploadProgress:
    return uploads(harness.service).find_tasks_of(reference(sent))


def states(progress: UploadProgress) -> dict[str, ServiceTaskState]:
    return {task.name: task.state for task in progress.tasks}


# --- its examples ----------------------------------------------------------------------------------------------------


def test_a_mail_with_three_attachments_is_one_upload_of_four_tasks(stack: ExitStack) -> None:
    harness = SendaiHarness(stack)
    content = mail()
    sent = harness.service.submit(upload("march.eml", size=len(content)), io.BytesIO(content))
    assert sorted(states(shown(harness, sent))) == [*ATTACHMENTS, "march.eml"]
    assert len(harness.server.sandbox.describe_uploads()) == 1


def test_each_of_the_four_tasks_of_a_mail_has_its_result_under_the_name_of_the_mail(
    stack: ExitStack, tmp_path: Path
) -> None:
    harness = SendaiHarness(stack)
    folder = watch_folder(
        tmp_path, project_id=PROJECT, accept=("email",), include=("*.eml",), export={"poll_min": 0.1, "poll_max": 0.5}
    )
    bench = Workbench(tmp_path, folder)
    bench.service = harness.service  # type: ignore[assignment]  # a service on the wire in place of the one in memory
    bench.start()
    bench.drop("march.eml", mail())
    bench.run()
    stems = ("march", "march-2", "march-3", "march-4")
    assert bench.names("output") == sorted(f"{stem}.{end}" for stem in stems for end in ("csv", "json"))
    assert bench.names("archive") == ["march.eml"]


def test_a_batch_in_all_four_states_shows_which_task_is_where(stack: ExitStack) -> None:
    ends = {
        "invoice_001.pdf": ServiceTaskState.PENDING_START,
        "invoice_002.pdf": ServiceTaskState.REVIEWING,
        "invoice_003.pdf": ServiceTaskState.RUNNING,
        "receipt_001.jpg": ServiceTaskState.FAILED,
    }
    words = (TaskStatus.COMPLETED, TaskStatus.REVIEWING, TaskStatus.PROCESSING, TaskStatus.FAILED)
    fates = tuple(Fate(name, word) for name, word in zip(ends, words, strict=True))
    harness = SendaiHarness(stack, replace(SENDAI, fates=fates))
    sent = together(harness, *ends)
    harness.eventually(lambda: sent if states(shown(harness, sent)) == ends else None)
    assert shown(harness, sent).may_grow


def test_problematic_tasks_are_reviewed_or_discarded_while_the_others_stay_as_they_are(stack: ExitStack) -> None:
    fates = (Fate("[bc].pdf", TaskStatus.REVIEWING), Fate("d.pdf", TaskStatus.FAILED))
    harness = SendaiHarness(stack, replace(SENDAI, fates=fates))
    sent = together(harness, "a.pdf", "b.pdf", "c.pdf", "d.pdf")
    harness.eventually(lambda: sent if shown(harness, sent).state is ServiceTaskState.REVIEWING else None)
    waiting = {task.name: task for task in shown(harness, sent).tasks if task.state is ServiceTaskState.REVIEWING}
    assert set(waiting) == {"b.pdf", "c.pdf"}
    uploads(harness.service).complete_review(reference(waiting["b.pdf"]))
    uploads(harness.service).discard_task(reference(waiting["c.pdf"]))
    harness.ready(waiting["b.pdf"])
    assert list(states(shown(harness, sent)).values()) == [
        ServiceTaskState.PENDING_START,
        ServiceTaskState.PENDING_START,
        ServiceTaskState.DISCARDED,
        ServiceTaskState.FAILED,
    ]
    assert harness.server.sandbox.describe_uploads()[0]["state"] == "PARTIAL"


# --- what an upload comes to -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "word", "expected"),
    [
        ([TaskStatus.COMPLETED, TaskStatus.PROCESSING], "PROCESSING", ServiceTaskState.RUNNING),
        ([TaskStatus.COMPLETED, TaskStatus.REVIEWING], "REVIEWING", ServiceTaskState.REVIEWING),
        ([TaskStatus.COMPLETED, TaskStatus.COMPLETED], "COMPLETED", ServiceTaskState.COMPLETED),
        ([TaskStatus.COMPLETED, TaskStatus.FAILED], "PARTIAL", ServiceTaskState.COMPLETED),
        ([TaskStatus.FAILED, TaskStatus.FAILED], "FAILED", ServiceTaskState.FAILED),
    ],
)
def test_every_state_of_an_upload_is_understood(
    stack: ExitStack, tasks: list[TaskStatus], word: str, expected: ServiceTaskState
) -> None:
    fates = tuple(Fate(f"{number}.pdf", status) for number, status in enumerate(tasks))
    harness = SendaiHarness(stack, replace(SENDAI, fates=fates))
    sent = together(harness, "0.pdf", "1.pdf")
    harness.eventually(lambda: sent if shown(harness, sent).state is expected else None)
    assert harness.server.sandbox.describe_uploads()[0]["state"] == word
    assert shown(harness, sent).may_grow is (word == "PROCESSING")


# --- its end points --------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[UploadService], object]] = {
    "POST /upload": lambda service: service.submit(upload(), io.BytesIO(DOCUMENT)),
    "GET /upload/u1": lambda service: service.find_tasks_of(TaskReference("u1", PROJECT, 0.0)),
    "PUT /upload/u1/move": lambda service: service.move_upload(TaskReference("u1", PROJECT, 0.0), "f1"),
    "GET /task/t1": lambda service: service.get_task("t1", project_id=PROJECT),
    "POST /task/t1/complete": lambda service: service.complete_review(TaskReference("t1", PROJECT, 0.0)),
    "POST /task/t1/discard": lambda service: service.discard_task(TaskReference("t1", PROJECT, 0.0)),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_end_point_is_called_as_it_is_printed_where_the_prefix_is_empty(
    server: ScriptedServer, open_other: Callable[..., Service], call: str
) -> None:
    method, path = call.split()
    identifier = "t1" if "/task/" in path else "u1"
    server.on(method, path, document({"payload": {"id": identifier, "status": "PROCESSING"}}))
    CALLS[call](uploads(open_other(ServiceType.SENDAI, server.url, path_prefix="/")))
    assert server.seen(method, path)[-1].headers["authorization"].startswith("Bearer ")


# --- permissions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "call"),
    [
        ("upload.create", "POST /upload"),
        ("upload.read", "GET /upload/u1"),
        ("upload.edit", "PUT /upload/u1/move"),
        ("task.read", "GET /task/t1"),
        ("task.edit", "POST /task/t1/complete"),
    ],
)
def test_a_permission_the_key_lacks_is_named_and_a_matter_of_set_up(stack: ExitStack, scope: str, call: str) -> None:
    scopes = tuple(each for each in SCOPES if each != scope)
    harness = SendaiHarness(stack, replace(SENDAI, scopes=scopes))
    with pytest.raises(SetupRefused, match=scope):
        CALLS[call](uploads(harness.service))
    assert harness.made() == 0


# --- its advice ------------------------------------------------------------------------------------------------------


def test_a_failed_file_is_sent_again_alone_and_not_the_whole_upload(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, batch="folder"))
    service = MemoryUploadService(bench.clock, project_ids=(BENCH_PROJECT,))
    bench.service = service
    bench.start()
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        bench.drop(f"Q1 Invoices/{name}")
    bench.submit()
    failed = service.tasks_of("upload-0001")["b.pdf"]
    service.end(failed.id, ServiceTaskState.FAILED, message="unreadable")
    bench.run()
    operations = Operations(
        bench.settings,
        ledger=bench.parts.ledger,
        clock=bench.process_clock,
        file_away=bench.parts.file_away,
        files_in_hand=bench.parts.files_in_hand,
    )
    assert operations.retry(targets=[failed.id])["ok"]
    bench.run()
    sent = [[part.upload.file_name for part in each.parts] for each in service.uploads()]
    assert sent == [["a.pdf", "b.pdf", "c.pdf"], ["b.pdf"]]
    exported = [task for task in bench.ledger.find_tasks() if task.state is TaskState.EXPORTED]
    assert len(exported) == 3
