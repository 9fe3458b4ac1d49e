"""A fourth service is one file and one sandbox: the toy does the whole job, and no stage knows of it."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from fakes.service_harnesses import DOCUMENT, upload
from fakes.toy_sandbox import KEY, ToySandbox
from fakes.toy_service import ToyService
from fakes.workbench import Workbench, watch_folder

from agent.errors import CredentialsRefused, FileBusy, TaskMoved
from agent.model import ServiceSettings, ServiceTaskState, ServiceType, TaskState
from agent.runtime.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.ports import Service


@pytest.fixture
def sandbox() -> Iterator[ToySandbox]:
    with ToySandbox() as running:
        yield running


@contextmanager
def opened(sandbox: ToySandbox, *, key: str = KEY) -> Iterator[Service]:
    settings = ServiceSettings(ServiceType.TYPLESS, sandbox.url, api_key=key, timeout=5.0)
    service: Service = ToyService(settings, clock=SystemClock(), user_agent="fsagent/test")
    try:
        yield service
    finally:
        service.close()


def test_a_good_key_passes_and_a_wrong_one_is_refused(sandbox: ToySandbox) -> None:
    with opened(sandbox) as service:
        service.check_credentials()
    with opened(sandbox, key="wrong") as service, pytest.raises(CredentialsRefused):
        service.check_credentials()


def test_a_document_becomes_a_job(sandbox: ToySandbox) -> None:
    with opened(sandbox) as service:
        task = service.submit(upload(), io.BytesIO(DOCUMENT))
        assert service.get_task(task.id).state is ServiceTaskState.PENDING_START


def test_a_body_shorter_than_announced_makes_no_job(sandbox: ToySandbox) -> None:
    with opened(sandbox) as service, pytest.raises(FileBusy):
        service.submit(upload(), io.BytesIO(DOCUMENT[:-1]))
    assert sandbox.jobs == {}


def test_an_unknown_job_is_gone(sandbox: ToySandbox) -> None:
    with opened(sandbox) as service, pytest.raises(TaskMoved) as raised:
        service.get_task("nobody's")
    assert raised.value.gone


def test_from_the_drop_to_its_files_and_a_broken_one_to_error(tmp_path: Path, sandbox: ToySandbox) -> None:
    with opened(sandbox) as service:
        bench = Workbench(tmp_path, watch_folder(tmp_path, export={"poll_min": 0.1, "poll_max": 0.5}))
        bench.service = service  # type: ignore[assignment]  # a service on the wire in place of the one in memory
        bench.start()
        bench.drop("sub/a.pdf", DOCUMENT)
        bench.drop("b.pdf", b"%PDF-1.4\nno page at all\n%%EOF\n")
        bench.run()
    assert bench.names("archive") == ["sub/a.pdf"]
    assert bench.names("output") == ["sub/a.csv", "sub/a.json"]
    assert bench.names("error") == ["b.pdf", "b.pdf.error.txt"]
    assert sorted(task.state for task in bench.ledger.find_tasks()) == [TaskState.EXPORTED, TaskState.FAILED]
