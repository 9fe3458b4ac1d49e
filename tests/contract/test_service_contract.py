"""One suite for every `ports.Service`: the fakes in memory, and the three clients on real sandboxes.

What holds for all comes first, then what holds where the service lists and leases tasks; what holds where it does
neither is in `test_service_contract_by_id`.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.service_harnesses import DOCUMENT, PROJECT, Harness, open_harness, upload

from agent.errors import (
    CredentialsRefused,
    FileBusy,
    FileRefused,
    ServiceUnavailable,
    TaskFatal,
    TaskMoved,
    TaskTransient,
)
from agent.model import (
    ExportFile,
    FileSource,
    Lookup,
    ServiceTaskState,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVERY = ["memory", "aluma", "memory by id", "typless", "memory uploads", "sendai"]


@pytest.fixture(params=EVERY)
def every(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with ExitStack() as stack:
        yield open_harness(request.param, stack)


@pytest.fixture(params=["memory", "aluma"])
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Return a service that lists tasks and has leases."""
    with ExitStack() as stack:
        yield open_harness(request.param, stack)


# --- every service ---------------------------------------------------------------------------------------------------


def test_good_credentials_pass(every: Harness) -> None:
    every.service.check_credentials()


def test_wrong_credentials_are_refused(every: Harness) -> None:
    every.refuse_credentials()
    with pytest.raises(CredentialsRefused):
        every.service.check_credentials()


def test_a_submitted_file_becomes_a_task_of_its_name_and_project(every: Harness) -> None:
    task = every.submit("Rechnung Köln & Söhne = 50%.pdf")
    assert (task.name, task.project_id) == ("Rechnung Köln & Söhne = 50%.pdf", PROJECT)
    assert every.made() == 1


def test_a_body_longer_than_announced_makes_no_task(every: Harness) -> None:
    with pytest.raises(FileBusy):
        every.service.submit(upload(), io.BytesIO(DOCUMENT + b"more"))
    assert every.made() == 0


def test_a_body_shorter_than_announced_makes_no_task(every: Harness) -> None:
    with pytest.raises(FileBusy):
        every.service.submit(upload(), io.BytesIO(DOCUMENT[:-1]))
    assert every.made() == 0


def test_an_error_of_the_body_is_raised_as_it_is(every: Harness) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        every.service.submit(upload(), Broken())


def test_an_unknown_project_is_a_matter_of_set_up(every: Harness) -> None:
    with pytest.raises(every.unknown_project):
        every.service.submit(replace(upload(), project_id="unknown"), io.BytesIO(DOCUMENT))


def test_an_unknown_task_is_gone(every: Harness) -> None:
    with pytest.raises(TaskMoved) as raised:
        every.asks("AAAAAAAAAAAAAAAAAAAAAA")
    assert raised.value.gone


def test_quiet_the_service_asks_for_binds_every_call(every: Harness) -> None:
    every.service.check_credentials()
    every.ask_for_quiet(30)
    with pytest.raises(ServiceUnavailable):
        every.asks()
    with pytest.raises(ServiceUnavailable) as raised:
        every.submit()
    assert raised.value.retry_after is not None
    assert 20 < raised.value.retry_after <= 30


def test_a_closed_service_takes_no_more_calls(every: Harness) -> None:
    every.service.close()
    with pytest.raises(ServiceUnavailable):
        every.asks()


# --- where tasks are listed and leased -----------------------------------------------------------------------------


def lookup(harness: Harness, name: str = "scan.pdf", key: str = "key-1") -> Lookup:
    now = harness.clock.now()
    return Lookup(key, PROJECT, name, now - 1, now)


def test_a_submission_is_found_again_by_name_project_and_time(harness: Harness) -> None:
    task = harness.submit()
    harness.submit("other.pdf", "key-2")
    found = harness.service.find_submission(lookup(harness))
    assert found is not None
    assert [one.id for one in found] == [task.id]


def test_a_submission_of_another_time_is_not_found(harness: Harness) -> None:
    harness.submit()
    past = replace(lookup(harness), sent_from=harness.clock.now() - 900, sent_until=harness.clock.now() - 600)
    found = harness.service.find_submission(past)
    assert found is not None
    assert not list(found)


def test_a_submission_is_found_by_its_key_alone_where_tags_are_listed(harness: Harness) -> None:
    harness.lists_tags()
    harness.submit("scan.pdf", "key-1")
    task = harness.submit("scan.pdf", "key-2")
    found = harness.service.find_submission(lookup(harness, key="key-2"))
    assert found is not None
    assert [one.id for one in found] == [task.id]


def test_tasks_that_wait_for_export_are_listed_oldest_first(harness: Harness) -> None:
    tasks = [harness.submit(f"{number}.pdf", f"key-{number}") for number in range(3)]
    for task in tasks:
        harness.ready(task)
    assert [task.id for task in harness.service.find_ready()] == [task.id for task in tasks]


def test_starting_an_export_gives_its_specification(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    specification = harness.service.start_export(task)
    assert {file.source for file in specification.files} == {FileSource.CONTENT, FileSource.URL}


def test_a_started_export_is_not_ready_and_not_started_twice(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    with pytest.raises(TaskMoved):
        harness.service.start_export(task)
    assert not list(harness.service.find_ready())


def test_the_files_of_a_specification_can_be_fetched(harness: Harness) -> None:
    specification = harness.service.start_export(harness.ready(harness.submit()))
    contents = []
    for file in specification.files:
        if file.source is FileSource.URL:
            with harness.service.download(file) as blocks:
                contents.append(b"".join(blocks))
    assert DOCUMENT in contents


def test_a_file_that_is_not_there_is_a_transient_error_of_its_task(harness: Harness) -> None:
    missing = ExportFile("", "x.pdf", FileSource.URL, url="/file_collections/none/files/none")
    with pytest.raises(TaskTransient), harness.service.download(missing):
        pass


def test_a_file_of_another_origin_fails_its_task(harness: Harness) -> None:
    foreign = ExportFile("", "x.pdf", FileSource.URL, url="http://other.invalid/x.pdf")
    with pytest.raises(TaskFatal), harness.service.download(foreign):
        pass


def test_a_completed_export_completes_the_task(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.service.complete_export(task.id)
    harness.reaches(task, ServiceTaskState.COMPLETED)


def test_completing_again_says_the_task_moved_on(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.service.complete_export(task.id)
    with pytest.raises(TaskMoved):
        harness.service.complete_export(task.id)


def test_a_canceled_export_is_ready_again_at_once(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.service.cancel_export(task.id)
    assert [one.id for one in harness.service.find_ready()] == [task.id]


def test_a_failed_export_ends_the_task_as_failed(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.service.fail_export(task.id, "no such place")
    harness.reaches(task, ServiceTaskState.FAILED)
    assert [one.id for one in harness.service.find_ended(completed=False)] == [task.id]


def test_a_lost_lease_puts_the_task_back_and_is_not_completed(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.pass_time(1800)
    with pytest.raises(TaskMoved):
        harness.service.complete_export(task.id)
    assert [one.id for one in harness.service.find_ready()] == [task.id]


def test_completed_tasks_are_listed_only_when_asked_for(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.service.complete_export(task.id)
    harness.reaches(task, ServiceTaskState.COMPLETED)
    assert not list(harness.service.find_ended(completed=False))
    assert [one.id for one in harness.service.find_ended(completed=True)] == [task.id]


def test_canceling_a_task_ends_it_and_may_be_repeated(harness: Harness) -> None:
    task = harness.submit()
    harness.service.cancel_task(task.id)
    harness.service.cancel_task(task.id)
    assert harness.service.get_task(task.id).state is ServiceTaskState.CANCELED


def test_a_completed_task_cannot_be_canceled(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.service.complete_export(task.id)
    harness.reaches(task, ServiceTaskState.COMPLETED)
    with pytest.raises(TaskMoved):
        harness.service.cancel_task(task.id)


def test_the_projects_of_the_account_are_listed(harness: Harness) -> None:
    assert [project.id for project in harness.service.projects()] == [PROJECT]


def test_an_uploaded_project_is_listed(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "Invoices 2024.alproj"
    path.write_bytes(b"project")
    project = harness.service.upload_project(path)
    assert project.name == "Invoices 2024"
    assert project.id in {one.id for one in harness.service.projects()}


def test_an_empty_project_file_is_refused(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "empty.alproj"
    path.write_bytes(b"")
    with pytest.raises(FileRefused):
        harness.service.upload_project(path)


def test_this_service_has_a_lease_lists_and_cancels(harness: Harness) -> None:
    abilities = harness.service.abilities
    assert abilities.server_side_lease
    assert abilities.finds_lost_submissions
    assert abilities.cancels_tasks
