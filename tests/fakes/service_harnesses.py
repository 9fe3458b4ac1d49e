"""Services under test, real ones on a sandbox and those in memory, and what a test can do behind their backs."""

from __future__ import annotations

import io
import threading
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import AgentError, FileRefused, ServiceUnavailable, SetupRefused
from agent.model import (
    LaneReason,
    ServiceSettings,
    ServiceTaskState,
    ServiceType,
    Task,
    TaskReference,
    Upload,
)
from agent.runtime.clock import SystemClock
from agent.sandbox import samples
from agent.sandbox.aluma.settings import AlumaProject, AlumaSettings
from agent.sandbox.faults import Fault
from agent.sandbox.sendai.settings import Fate as SendaiFate
from agent.sandbox.sendai.settings import SendaiSettings, TaskStatus
from agent.sandbox.server import SandboxServer
from agent.sandbox.typless.settings import ExtractionStatus, TyplessSettings
from agent.sandbox.typless.settings import Fate as TyplessFate
from agent.services.opening import open_service
from fakes.driven_clock import DrivenClock
from fakes.memory_abilities import ASKED_BY_ID
from fakes.memory_service import MemoryService
from fakes.memory_uploads import MemoryUploadService

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from agent.ports import Clock, Service

PROJECT = "project-of-the-tests-1"
KEY = "key-of-the-tests"
DOCUMENT = (Path(samples.__file__).parent / "invoice.pdf").read_bytes()
ALUMA = AlumaSettings(projects=(AlumaProject(PROJECT, "Tests"),), queue_delay=0, processing_delay=0, finish_delay=0)
TYPLESS = TyplessSettings(api_key=KEY, document_types=(PROJECT,), extraction_delay=0)
SENDAI = SendaiSettings(api_key=KEY, projects=(PROJECT,), processing_delay=0, review_delay=0)


def upload(name: str = "scan.pdf", key: str = "key-1", size: int = len(DOCUMENT), **changes: Any) -> Upload:
    tags = {"file_path": r"C:\inbox & more", "file_created_time": "1711958908", "fsagent_key": key}
    meta = {"department": "Köln & more", "folder": "a/b", "fsagent_key": key}
    return replace(Upload(key, PROJECT, name, "application/pdf", size, name, tags, meta=meta), **changes)


def reference(task: Task) -> TaskReference:
    return TaskReference(task.id, task.project_id, 0.0)


class Harness(ABC):
    service: Service
    clock: Clock
    unknown_project: type[AgentError] = SetupRefused
    """What a submission to a project nobody has raises."""

    @abstractmethod
    def made(self) -> int:
        """Return how many submissions the service has taken."""

    @abstractmethod
    def pass_time(self, seconds: float) -> None:
        """Let time pass at the service."""

    @abstractmethod
    def refuse_credentials(self) -> None: ...

    @abstractmethod
    def ask_for_quiet(self, seconds: int) -> None:
        """Answer the next control call with 429 and that Retry-After."""

    def lists_tags(self) -> None:
        raise NotImplementedError

    def refuses_documents(self, name: str, message: str) -> None:
        """Let documents of that name fail from now on."""
        raise NotImplementedError

    def wants_review(self, name: str) -> None:
        """Let documents of that name wait for people from now on."""
        raise NotImplementedError

    def asks(self, task_id: str = "unknown") -> None:
        """Make a control call."""
        self.service.get_task(task_id, project_id=PROJECT)

    def submit(self, name: str = "scan.pdf", key: str = "key-1") -> Task:
        return self.service.submit(upload(name, key), io.BytesIO(DOCUMENT))

    def task(self, name: str = "scan.pdf", key: str = "key-1") -> Task:
        """Submit, and return the task it became."""
        return self.submit(name, key)

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
        return self.reaches(task, ServiceTaskState.PENDING_START)

    def reaches(self, task: Task, state: ServiceTaskState) -> Task:
        def reached() -> Task | None:
            now = self.service.get_task(task.id, project_id=task.project_id)
            return now if now.state is state else None

        return self.eventually(reached)


# --- in memory -------------------------------------------------------------------------------------------------------


class MemoryHarness(Harness):
    def __init__(self) -> None:
        self.driven = DrivenClock()
        self.clock = self.driven
        self.service = self.memory = self.open()

    def open(self) -> MemoryService:
        return MemoryService(self.driven, project_ids=(PROJECT,))

    def made(self) -> int:
        return len(self.memory.submissions)

    def pass_time(self, seconds: float) -> None:
        self.driven.advance(seconds)

    def refuse_credentials(self) -> None:
        self.memory.refuses_credentials = True

    def ask_for_quiet(self, seconds: int) -> None:
        trouble = ServiceUnavailable("429", reason=LaneReason.RATE_LIMITED, retry_after=seconds)
        self.memory.script("get_task", trouble)

    def lists_tags(self) -> None:
        self.memory.lists_tags = True


class MemoryByIdHarness(MemoryHarness):
    """As Typless."""

    def open(self) -> MemoryService:
        self._ends: dict[str, tuple[ServiceTaskState, str]] = {}
        return MemoryService(self.driven, project_ids=(PROJECT,), abilities=ASKED_BY_ID)

    def refuses_documents(self, name: str, message: str) -> None:
        self._ends[name] = (ServiceTaskState.FAILED, message)

    def submit(self, name: str = "scan.pdf", key: str = "key-1") -> Task:
        task = super().submit(name, key)
        if name in self._ends:
            state, message = self._ends[name]
            self.memory.end(task.id, state, message=message)
        return task


class MemoryUploadHarness(MemoryHarness):
    """As Send AI."""

    def open(self) -> MemoryService:
        self._ends: dict[str, ServiceTaskState] = {}
        self.uploads = MemoryUploadService(self.driven, project_ids=(PROJECT,))
        return self.uploads

    def refuses_documents(self, name: str, message: str) -> None:
        del message
        self._ends[name] = ServiceTaskState.FAILED

    def wants_review(self, name: str) -> None:
        self._ends[name] = ServiceTaskState.REVIEWING

    def task(self, name: str = "scan.pdf", key: str = "key-1") -> Task:
        task = self.uploads.tasks_of(self.submit(name, key).id)[name]
        state = self._ends.get(name)
        if state is ServiceTaskState.REVIEWING:
            self.uploads.show(task.id, state)
        elif state is not None:
            self.uploads.end(task.id, state)
        return task


# --- on a sandbox ----------------------------------------------------------------------------------------------------


class AlumaHarness(Harness):
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.clock = SystemClock()
        self.start(ALUMA)

    def start(self, settings: AlumaSettings) -> None:
        self.server = self._stack.enter_context(SandboxServer(settings))
        self.service = self._open(settings.client_secret)
        self._stack.callback(self.service.close)

    def _open(self, secret: str) -> Service:
        settings = ServiceSettings(ServiceType.ALUMA, self.server.url, "sandbox", secret, timeout=10)
        return open_service(settings, self.clock)

    def made(self) -> int:
        return len(self.server.sandbox.describe())

    def pass_time(self, seconds: float) -> None:
        self.server.sandbox.advance_clock(seconds)

    def refuse_credentials(self) -> None:
        self.service.close()
        self.service = self._open("wrong")

    def ask_for_quiet(self, seconds: int) -> None:
        fault = Fault(429, method="GET", path="/tasks*", headers={"Retry-After": str(seconds)})
        self.server.sandbox.faults.add(fault)

    def lists_tags(self) -> None:
        self.start(replace(ALUMA, list_tags=True))


class TyplessHarness(Harness):
    unknown_project = FileRefused  # it answers 400, as to any bad request

    def __init__(
        self, stack: ExitStack, settings: TyplessSettings = TYPLESS, *, base: str = "/api", **changes: Any
    ) -> None:
        self._stack = stack
        self._base = base
        self._changes = changes
        self.clock = SystemClock()
        self.server = stack.enter_context(SandboxServer(settings))
        self.service = self._open(f"Token {KEY}")

    def _open(self, key: str) -> Service:
        settings = ServiceSettings(ServiceType.TYPLESS, self.server.url + self._base, api_key=key, timeout=10)
        service = open_service(replace(settings, **self._changes), self.clock)
        self._stack.callback(service.close)
        return service

    def made(self) -> int:
        return len(self.server.sandbox.describe())

    def pass_time(self, seconds: float) -> None:
        self.server.sandbox.advance_clock(seconds)

    def refuse_credentials(self) -> None:
        self.service.close()
        self.service = self._open("wrong")

    def ask_for_quiet(self, seconds: int) -> None:
        fault = Fault(429, method="GET", path="/api/*", headers={"Retry-After": str(seconds)})
        self.server.sandbox.faults.add(fault)

    def refuses_documents(self, name: str, message: str) -> None:
        self.server.sandbox.add_fate(TyplessFate(name, ExtractionStatus.ERROR, message=message))


class SendaiHarness(Harness):
    def __init__(self, stack: ExitStack, settings: SendaiSettings = SENDAI, **changes: Any) -> None:
        self._stack = stack
        self._changes = changes
        self.clock = SystemClock()
        self.server = stack.enter_context(SandboxServer(settings))
        self.service = self._open(KEY)

    def _open(self, key: str) -> Service:
        team = self.server.sandbox.settings.team_id
        settings = ServiceSettings(ServiceType.SENDAI, self.server.url, api_key=key, team_id=team, timeout=10)
        service = open_service(replace(settings, **self._changes), self.clock)
        self._stack.callback(service.close)
        return service

    def made(self) -> int:
        return len(self.server.sandbox.describe())

    def pass_time(self, seconds: float) -> None:
        self.server.sandbox.advance_clock(seconds)

    def refuse_credentials(self) -> None:
        self.service.close()
        self.service = self._open("wrong")

    def ask_for_quiet(self, seconds: int) -> None:
        fault = Fault(429, method="GET", path="*/task/*", headers={"Retry-After": str(seconds)})
        self.server.sandbox.faults.add(fault)

    def refuses_documents(self, name: str, message: str) -> None:
        del message
        self.server.sandbox.add_fate(SendaiFate(name, TaskStatus.FAILED))

    def wants_review(self, name: str) -> None:
        self.server.sandbox.add_fate(SendaiFate(name, TaskStatus.REVIEWING))

    def task(self, name: str = "scan.pdf", key: str = "key-1") -> Task:
        upload_id = self.submit(name, key).id
        found = next(one for one in self.server.sandbox.describe() if one["upload_id"] == upload_id)
        return self.service.get_task(found["id"], project_id=PROJECT)


def open_harness(name: str, stack: ExitStack) -> Harness:
    """Return the harness of one of these names."""
    harnesses: dict[str, Callable[[], Harness]] = {
        "memory": MemoryHarness,
        "aluma": lambda: AlumaHarness(stack),
        "memory by id": MemoryByIdHarness,
        "typless": lambda: TyplessHarness(stack),
        "memory uploads": MemoryUploadHarness,
        "sendai": lambda: SendaiHarness(stack),
    }
    return harnesses[name]()
