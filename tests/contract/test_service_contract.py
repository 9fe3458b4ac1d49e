"""One suite for every `ports.Service`: the in-memory fake, and the client of the Tasks API on a real sandbox."""

from __future__ import annotations

import io
import threading
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.driven_clock import DrivenClock
from fakes.memory_service import MemoryService

from agent.errors import (
    CredentialsRefused,
    FileBusy,
    FileRefused,
    ServiceUnavailable,
    SetupRefused,
    TaskFatal,
    TaskMoved,
    TaskTransient,
)
from agent.model import (
    ExportFile,
    FileSource,
    LaneReason,
    Lookup,
    ServiceSettings,
    ServiceTaskState,
    ServiceType,
    Task,
    Upload,
)
from agent.runtime.clock import SystemClock
from agent.sandbox import samples
from agent.sandbox.faults import Fault
from agent.sandbox.server import SandboxServer
from agent.sandbox.settings import SandboxProject, SandboxSettings
from agent.services.opening import open_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.ports import Clock, Service

PROJECT = "project-of-the-tests-1"
DOCUMENT = (Path(samples.__file__).parent / "invoice.pdf").read_bytes()
SETTINGS = SandboxSettings(
    projects=(SandboxProject(PROJECT, "Tests"),), queue_delay=0, processing_delay=0, finish_delay=0
)


class Harness(ABC):
    """A service under test, and what a test can do behind its back."""

    service: Service
    clock: Clock

    @abstractmethod
    def pass_lease(self) -> None: ...

    @abstractmethod
    def refuse_credentials(self) -> None: ...

    @abstractmethod
    def ask_for_quiet(self, seconds: int) -> None:
        """Answer the next list with 429 and that Retry-After."""

    @abstractmethod
    def lists_tags(self) -> None: ...

    def submit(self, name: str = "scan.pdf", key: str = "key-1") -> Task:
        return self.service.submit(upload(name, key), io.BytesIO(DOCUMENT))

    def eventually(self, condition: Callable[[], Task | None]) -> Task:
        """Wait for what the service does in its own time."""
        for _ in range(2000):
            found = condition()
            if found is not None:
                return found
            threading.Event().wait(0.01)
        pytest.fail("did not happen")

    def ready(self, task: Task) -> Task:
        """Wait until the task waits for export."""
        return self.eventually(lambda: next((t for t in self.service.find_ready([]) if t.id == task.id), None))

    def reaches(self, task: Task, state: ServiceTaskState) -> Task:
        def reached() -> Task | None:
            now = self.service.get_task(task.id)
            return now if now.state is state else None

        return self.eventually(reached)


class MemoryHarness(Harness):
    def __init__(self) -> None:
        self.driven = DrivenClock()
        self.clock = self.driven
        self.memory = MemoryService(self.driven, project_ids=(PROJECT,))
        self.service = self.memory

    def pass_lease(self) -> None:
        self.driven.advance(self.memory.lease)

    def refuse_credentials(self) -> None:
        self.memory.refuses_credentials = True

    def ask_for_quiet(self, seconds: int) -> None:
        trouble = ServiceUnavailable("429", reason=LaneReason.RATE_LIMITED, retry_after=seconds)
        self.memory.script("find_ready", trouble)

    def lists_tags(self) -> None:
        self.memory.lists_tags = True


class AlumaHarness(Harness):
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.clock = SystemClock()
        self.start(SETTINGS)

    def start(self, settings: SandboxSettings) -> None:
        self.server = self._stack.enter_context(SandboxServer(settings))
        self.service = self._open(settings.client_secret)
        self._stack.callback(self.service.close)

    def _open(self, secret: str) -> Service:
        settings = ServiceSettings(ServiceType.ALUMA, self.server.url, "sandbox", secret, timeout=10)
        return open_service(settings, self.clock)

    def pass_lease(self) -> None:
        self.server.sandbox.advance_clock(1800)

    def refuse_credentials(self) -> None:
        self.service.close()
        self.service = self._open("wrong")

    def ask_for_quiet(self, seconds: int) -> None:
        fault = Fault(429, method="GET", path="/tasks", headers={"Retry-After": str(seconds)})
        self.server.sandbox.faults.add(fault)

    def lists_tags(self) -> None:
        self.start(replace(SETTINGS, list_tags=True))


def upload(name: str = "scan.pdf", key: str = "key-1", size: int = len(DOCUMENT)) -> Upload:
    tags = {"file_path": r"C:\inbox & more", "file_created_time": "1711958908", "fsagent_key": key}
    return Upload(key, PROJECT, name, "application/pdf", size, name, tags)


@pytest.fixture(params=["memory", "aluma"])
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    if request.param == "memory":
        yield MemoryHarness()
        return
    with ExitStack() as stack:
        yield AlumaHarness(stack)


def test_good_credentials_pass(harness: Harness) -> None:
    harness.service.check_credentials()


def test_wrong_credentials_are_refused(harness: Harness) -> None:
    harness.refuse_credentials()
    with pytest.raises(CredentialsRefused):
        harness.service.check_credentials()


def test_a_submitted_file_becomes_a_task_of_its_name_and_project(harness: Harness) -> None:
    task = harness.submit("Rechnung Köln & Söhne = 50%.pdf")
    assert (task.name, task.project_id) == ("Rechnung Köln & Söhne = 50%.pdf", PROJECT)


def test_a_body_longer_than_announced_makes_no_task(harness: Harness) -> None:
    with pytest.raises(FileBusy):
        harness.service.submit(upload(), io.BytesIO(DOCUMENT + b"more"))
    assert not list(harness.service.find_ready([]))


def test_a_body_shorter_than_announced_makes_no_task(harness: Harness) -> None:
    with pytest.raises(FileBusy):
        harness.service.submit(upload(), io.BytesIO(DOCUMENT[:-1]))
    assert not list(harness.service.find_ready([]))


def test_an_error_of_the_body_is_raised_as_it_is(harness: Harness) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        harness.service.submit(upload(), Broken())


def test_an_unknown_project_is_a_matter_of_set_up(harness: Harness) -> None:
    with pytest.raises(SetupRefused):
        harness.service.submit(replace(upload(), project_id="unknown"), io.BytesIO(DOCUMENT))


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
    assert [task.id for task in harness.service.find_ready([])] == [task.id for task in tasks]


def test_starting_an_export_gives_its_specification(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    specification = harness.service.start_export(task)
    assert {file.source for file in specification.files} == {FileSource.CONTENT, FileSource.URL}


def test_a_started_export_is_not_ready_and_not_started_twice(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    with pytest.raises(TaskMoved):
        harness.service.start_export(task)
    assert not list(harness.service.find_ready([]))


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
    assert [one.id for one in harness.service.find_ready([])] == [task.id]


def test_a_failed_export_ends_the_task_as_failed(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.service.fail_export(task.id, "no such place")
    harness.reaches(task, ServiceTaskState.FAILED)
    assert [one.id for one in harness.service.find_ended([], completed=False)] == [task.id]


def test_a_lost_lease_puts_the_task_back_and_is_not_completed(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.pass_lease()
    with pytest.raises(TaskMoved):
        harness.service.complete_export(task.id)
    assert [one.id for one in harness.service.find_ready([])] == [task.id]


def test_completed_tasks_are_listed_only_when_asked_for(harness: Harness) -> None:
    task = harness.ready(harness.submit())
    harness.service.start_export(task)
    harness.service.complete_export(task.id)
    harness.reaches(task, ServiceTaskState.COMPLETED)
    assert not list(harness.service.find_ended([], completed=False))
    assert [one.id for one in harness.service.find_ended([], completed=True)] == [task.id]


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


def test_an_unknown_task_is_gone(harness: Harness) -> None:
    with pytest.raises(TaskMoved) as raised:
        harness.service.get_task("AAAAAAAAAAAAAAAAAAAAAA")
    assert raised.value.gone


def test_quiet_the_service_asks_for_binds_every_call(harness: Harness) -> None:
    harness.service.check_credentials()
    harness.ask_for_quiet(30)
    with pytest.raises(ServiceUnavailable):
        harness.service.find_ready([])
    with pytest.raises(ServiceUnavailable) as raised:
        harness.submit()
    assert raised.value.retry_after is not None
    assert 20 < raised.value.retry_after <= 30


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


def test_a_closed_service_takes_no_more_calls(harness: Harness) -> None:
    harness.service.close()
    with pytest.raises(ServiceUnavailable):
        harness.service.find_ready([])


def test_this_service_has_a_lease_lists_and_cancels(harness: Harness) -> None:
    abilities = harness.service.abilities
    assert abilities.server_side_lease
    assert abilities.finds_lost_submissions
    assert abilities.cancels_tasks
