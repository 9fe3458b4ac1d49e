"""The suite for services that are asked by id, have no lease and name no files; and for those with uploads and people.

In memory, and the clients of Typless and Send AI on real sandboxes.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from fakes.service_harnesses import (
    DOCUMENT,
    PROJECT,
    SENDAI,
    TYPLESS,
    Harness,
    SendaiHarness,
    TyplessHarness,
    open_harness,
    reference,
    upload,
)

from agent.errors import SetupRefused, TaskFatal, TaskMoved, UserError
from agent.model import (
    ExportFile,
    FileSource,
    Lookup,
    ServiceTaskState,
    Task,
    TaskReference,
    UploadProgress,
)
from agent.sandbox.sendai.settings import TaskListing, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.ports import UploadService


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(params=["memory by id", "typless", "memory uploads", "sendai"])
def harness(request: pytest.FixtureRequest, stack: ExitStack) -> Harness:
    return open_harness(request.param, stack)


@pytest.fixture(params=["memory uploads", "sendai"])
def reviewed(request: pytest.FixtureRequest, stack: ExitStack) -> Harness:
    return open_harness(request.param, stack)


@pytest.fixture(params=["typless", "sendai"])
def real(request: pytest.FixtureRequest, stack: ExitStack) -> Harness:
    return open_harness(request.param, stack)


def people(harness: Harness) -> UploadService:
    return cast("UploadService", harness.service)


# --- tasks and results -----------------------------------------------------------------------------------------------


def test_a_task_becomes_ready_by_itself_and_has_a_result(harness: Harness) -> None:
    specification = harness.service.start_export(harness.ready(harness.task()))
    assert specification.result is not None
    assert specification.result.fields
    assert not specification.files


def test_a_started_export_can_be_started_again_and_gives_the_same(harness: Harness) -> None:
    task = harness.ready(harness.task())
    assert harness.service.start_export(task) == harness.service.start_export(task)


def test_an_export_needs_no_more_of_the_task_than_the_ledger_knows(harness: Harness) -> None:
    task = harness.ready(harness.task())
    known = Task(task.id, "anything", PROJECT, ServiceTaskState.PENDING_START)
    assert harness.service.start_export(known) == harness.service.start_export(task)


def test_ending_an_export_changes_nothing_at_the_service(harness: Harness) -> None:
    task = harness.ready(harness.task())
    harness.service.start_export(task)
    harness.service.cancel_export(task.id)
    harness.service.complete_export(task.id)
    harness.service.complete_export(task.id)
    harness.service.fail_export(task.id, "no such place")
    assert harness.service.get_task(task.id, project_id=PROJECT).state is ServiceTaskState.PENDING_START


def test_a_document_that_cannot_be_processed_fails_its_task(harness: Harness) -> None:
    harness.refuses_documents("bad.pdf", "not a document")
    task = harness.task("bad.pdf")
    harness.reaches(task, ServiceTaskState.FAILED)
    with pytest.raises(TaskMoved):
        harness.service.start_export(task)


def test_a_service_without_a_list_names_no_tasks(harness: Harness) -> None:
    harness.refuses_documents("bad.pdf", "not a document")
    harness.ready(harness.task())
    harness.reaches(harness.task("bad.pdf", "key-2"), ServiceTaskState.FAILED)
    assert not harness.service.find_ready()
    assert not harness.service.find_ended(completed=True)


def test_tasks_cannot_be_canceled(harness: Harness) -> None:
    task = harness.task()
    with pytest.raises(TaskMoved):
        harness.service.cancel_task(task.id)


def test_a_lost_submission_cannot_be_looked_up(harness: Harness) -> None:
    harness.submit()
    now = harness.clock.now()
    assert harness.service.find_submission(Lookup("key-1", PROJECT, "scan.pdf", now - 60, now)) is None


def test_these_services_are_asked_by_id_and_name_no_files(harness: Harness) -> None:
    abilities = harness.service.abilities
    names = ("server_side_lease", "lists_tasks", "names_outputs", "cancels_tasks", "finds_lost_submissions")
    assert not [name for name in names if getattr(abilities, name)]


def test_files_of_a_specification_are_none_of_theirs(real: Harness) -> None:
    with pytest.raises(TaskFatal):
        real.service.download(ExportFile("", "x.pdf", FileSource.URL, url="/x.pdf"))


def test_projects_are_said_to_be_none_of_theirs(real: Harness, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not list"):
        real.service.projects()
    with pytest.raises(UserError, match="takes no project files"):
        real.service.upload_project(tmp_path / "x.alproj")


# --- Typless ---------------------------------------------------------------------------------------------------------


def test_the_error_of_an_extraction_is_told_with_code_message_and_details(stack: ExitStack) -> None:
    harness = TyplessHarness(stack)
    harness.refuses_documents("bad.pdf", "The file is not valid.")
    task = harness.reaches(harness.submit("bad.pdf"), ServiceTaskState.FAILED)
    assert task.message.startswith("invalid_file: The file is not valid.")


@pytest.mark.parametrize("name", ["memory by id", "typless"])
def test_a_result_that_was_not_fetched_in_time_has_expired(stack: ExitStack, name: str) -> None:
    harness = open_harness(name, stack)
    task = harness.submit()
    harness.pass_time(1.0)
    if isinstance(harness, TyplessHarness):
        harness.eventually(lambda: task if harness.server.sandbox.describe()[0]["finished"] else None)
    life = harness.service.abilities.result_lifetime
    assert life is not None
    harness.pass_time(life + 1)
    harness.reaches(task, ServiceTaskState.EXPIRED)


def test_a_result_that_expired_before_its_export_has_moved(stack: ExitStack) -> None:
    harness = TyplessHarness(stack, replace(TYPLESS, lifetime=10))
    task = harness.ready(harness.submit())
    harness.service.complete_export(task.id)  # nothing is kept any more, as after a restart
    harness.pass_time(11)
    with pytest.raises(TaskMoved):
        harness.service.start_export(task)


def test_one_finished_extraction_costs_one_poll(stack: ExitStack) -> None:
    harness = TyplessHarness(stack)
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.service.start_export(task)
    harness.service.get_task(task.id)
    assert harness.server.sandbox.describe()[0]["calls"]["SUCCESS"] == 1


@pytest.mark.parametrize("base", ["/api", "/api/", "/api/v1"])
def test_a_lost_submission_is_found_by_its_own_customer(stack: ExitStack, base: str) -> None:
    harness = TyplessHarness(stack, base=base, lookup_by_customer=True)
    assert harness.service.abilities.finds_lost_submissions
    tasks = {
        key: harness.service.submit(replace(upload("scan.pdf", key), customer="Köln & Söhne"), io.BytesIO(DOCUMENT))
        for key in ("key-1", "key-2")
    }
    found = harness.service.find_submission(Lookup("key-2", PROJECT, "scan.pdf", 0.0, 1.0, "Köln & Söhne"))
    assert [task.id for task in found or ()] == [tasks["key-2"].id]
    none = harness.service.find_submission(Lookup("key-3", PROJECT, "scan.pdf", 0.0, 1.0, "Köln & Söhne"))
    assert none is not None
    assert not list(none)


def test_a_customer_is_reported_as_configured(stack: ExitStack) -> None:
    harness = TyplessHarness(stack)
    harness.service.submit(replace(upload(), customer="Ärzte"), io.BytesIO(DOCUMENT))
    assert harness.server.sandbox.describe()[0]["customer"] == "Ärzte"


@pytest.mark.parametrize("status", [404, 400])
def test_an_extraction_nobody_knows_is_gone_and_the_key_is_good(stack: ExitStack, status: int) -> None:
    harness = TyplessHarness(stack, replace(TYPLESS, unknown_status=status))
    harness.service.check_credentials()
    with pytest.raises(TaskMoved) as raised:
        harness.asks("0" * 40)
    assert raised.value.gone


# --- uploads ---------------------------------------------------------------------------------------------------------


def progress(harness: Harness, upload_task: Task) -> UploadProgress:
    """Wait until an upload shows its tasks."""
    found: list[UploadProgress] = []

    def shown() -> Task | None:
        now = people(harness).find_tasks_of(reference(upload_task))
        found.append(now)
        return upload_task if now.tasks and not now.may_grow else None

    harness.eventually(shown)
    return found[-1]


def together(harness: Harness, names: list[str]) -> Task:
    parts = [(upload(name, f"key-{number}"), io.BytesIO(DOCUMENT)) for number, name in enumerate(names)]
    return people(harness).submit_together("March 2024", parts)


def test_files_sent_together_become_tasks_named_after_them(reviewed: Harness) -> None:
    names = ["a.pdf", "Rechnung Köln.pdf", "50% & more.pdf"]
    sent = together(reviewed, names)
    shown = progress(reviewed, sent)
    assert sent.name == shown.name == "March 2024"
    assert sorted(task.name for task in shown.tasks) == sorted(names)
    assert len({task.id for task in shown.tasks}) == 3


def test_an_upload_of_one_file_becomes_a_task(reviewed: Harness) -> None:
    assert [task.name for task in progress(reviewed, reviewed.submit()).tasks] == ["scan.pdf"]


def test_an_unknown_upload_is_gone(reviewed: Harness) -> None:
    with pytest.raises(TaskMoved) as raised:
        people(reviewed).find_tasks_of(TaskReference("upl_nobody", PROJECT, 0.0))
    assert raised.value.gone


def test_people_complete_a_task_and_it_becomes_ready(reviewed: Harness) -> None:
    reviewed.wants_review("scan.pdf")
    task = reviewed.reaches(reviewed.task(), ServiceTaskState.REVIEWING)
    assert people(reviewed).complete_review(reference(task)).state is ServiceTaskState.RUNNING
    reviewed.ready(task)


def test_people_put_a_task_aside(reviewed: Harness) -> None:
    reviewed.wants_review("scan.pdf")
    task = reviewed.reaches(reviewed.task(), ServiceTaskState.REVIEWING)
    assert people(reviewed).discard_task(reference(task)).state is ServiceTaskState.DISCARDED
    assert reviewed.service.get_task(task.id, project_id=PROJECT).state is ServiceTaskState.DISCARDED


def test_the_state_that_comes_back_is_believed_where_nothing_was_done(reviewed: Harness) -> None:
    task = reviewed.ready(reviewed.task())
    assert people(reviewed).discard_task(reference(task)).state is ServiceTaskState.PENDING_START
    assert people(reviewed).complete_review(reference(task)).state is ServiceTaskState.PENDING_START


def test_people_report_a_task(reviewed: Harness) -> None:
    reviewed.wants_review("scan.pdf")
    task = reviewed.reaches(reviewed.task(), ServiceTaskState.REVIEWING)
    reported = people(reviewed).report_task(reference(task), issues=["Poor Document Quality"], message="unreadable")
    assert reported.state is ServiceTaskState.REVIEWING


def test_a_task_people_look_at_cannot_be_exported(reviewed: Harness) -> None:
    reviewed.wants_review("scan.pdf")
    task = reviewed.reaches(reviewed.task(), ServiceTaskState.REVIEWING)
    with pytest.raises(TaskMoved):
        reviewed.service.start_export(task)


def test_nobody_can_act_on_an_unknown_task(reviewed: Harness) -> None:
    with pytest.raises(TaskMoved) as raised:
        people(reviewed).complete_review(TaskReference("task_nobody", PROJECT, 0.0))
    assert raised.value.gone


def test_an_upload_is_moved(reviewed: Harness) -> None:
    sent = reviewed.submit()
    assert people(reviewed).move_upload(reference(sent), "folder 7 & more").name == "scan.pdf"


# --- Send AI ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listing", [one for one in TaskListing if one is not TaskListing.NONE])
def test_tasks_are_found_however_an_upload_lists_them(stack: ExitStack, listing: TaskListing) -> None:
    harness = SendaiHarness(stack, replace(SENDAI, listing=listing))
    shown = progress(harness, together(harness, ["a.pdf", "b.pdf"]))
    assert {(task.name, task.project_id) for task in shown.tasks} == {("a.pdf", PROJECT), ("b.pdf", PROJECT)}


def test_an_upload_that_lists_no_tasks_is_not_taken_for_done_while_it_works(
    stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    harness = SendaiHarness(stack, replace(SENDAI, listing=TaskListing.NONE, processing_delay=60))
    sent = harness.submit()
    assert people(harness).find_tasks_of(reference(sent)).may_grow
    harness.pass_time(61)
    harness.eventually(lambda: None if people(harness).find_tasks_of(reference(sent)).may_grow else sent)
    assert sent.id in caplog.text


@pytest.mark.parametrize("changes", [{"create_payload": True, "create_status": 200}, {"review_word": "IN_REVIEW"}])
def test_either_documented_style_is_understood(stack: ExitStack, changes: dict[str, object]) -> None:
    harness = SendaiHarness(stack, replace(SENDAI, **changes))  # type: ignore[arg-type]  # values of several types
    harness.wants_review("scan.pdf")
    shown = progress(harness, harness.submit())
    assert shown.state is ServiceTaskState.REVIEWING


@pytest.mark.parametrize(("method", "report"), [("POST", 207), ("PUT", 200)])
def test_an_upload_is_moved_in_either_way(stack: ExitStack, method: str, report: int) -> None:
    harness = SendaiHarness(stack, replace(SENDAI, move_method=method, report_status=report))
    people(harness).move_upload(reference(harness.submit()), "folder_7")
    assert harness.server.sandbox.describe_uploads()[0]["folder_id"] == "folder_7"


def test_what_people_filtered_out_ends_without_failure(stack: ExitStack) -> None:
    harness = SendaiHarness(stack)
    task = harness.task()
    harness.server.sandbox.set_status(task.id, TaskStatus.FILTERED)
    assert harness.service.get_task(task.id, project_id=PROJECT).state is ServiceTaskState.DISCARDED


def test_a_task_taken_back_by_people_is_not_exported(stack: ExitStack) -> None:
    harness = SendaiHarness(stack)
    task = harness.ready(harness.task())
    harness.server.sandbox.set_status(task.id, TaskStatus.REVIEWING)
    with pytest.raises(TaskMoved):
        harness.service.start_export(task)


def test_what_is_told_of_all_files_arrives_as_meta_each_pair_once(stack: ExitStack) -> None:
    harness = SendaiHarness(stack)
    together(harness, ["a.pdf", "b.pdf"])
    meta = harness.server.sandbox.describe()[0]["meta"]
    assert meta == [
        {"name": "department", "value": "Köln & more"},
        {"name": "folder", "value": "a/b"},
        {"name": "fsagent_key", "value": "key-0"},
        {"name": "fsagent_key", "value": "key-1"},
    ]


def test_another_path_prefix_is_used_as_configured(stack: ExitStack) -> None:
    prefix = "/api/v2/{team_id}"
    settings = replace(SENDAI, path_prefix=prefix, require_project_field=True)
    harness = SendaiHarness(stack, settings, path_prefix=prefix)
    assert progress(harness, harness.submit()).tasks


def test_a_project_the_key_has_no_part_in_is_a_matter_of_set_up(stack: ExitStack) -> None:
    harness = SendaiHarness(stack, team_id="team / other")
    with pytest.raises(SetupRefused):
        harness.submit()
