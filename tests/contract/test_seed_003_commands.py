"""Seed 003 at the desk: uploads are shown and moved, tasks completed, discarded and reported by commands."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from fakes.office import Office, run
from fakes.service_harnesses import DOCUMENT, KEY, PROJECT, SENDAI, SendaiHarness, upload

from agent.config.sample import sample_text
from agent.model import ServiceTaskState, ServiceType, Task
from agent.sandbox.sendai.settings import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.office import Result


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


class Desk:
    """A configuration for a sandbox of Send AI, and an upload of two files, of which people look at one."""

    def __init__(self, base: Path, stack: ExitStack) -> None:
        self.harness = SendaiHarness(stack, SENDAI)
        self.harness.wants_review("b.pdf")
        for folder in ("inbox", "output"):
            (base / folder).mkdir()
        self.config = base / "config.yaml"
        text = sample_text(
            service_url=self.harness.server.url,
            project_id=PROJECT,
            inbox="inbox",
            output="output",
            state_dir="state",
            service=ServiceType.SENDAI,
            credentials={"team_id": SENDAI.team_id, "api_key": KEY},
        )
        self.config.write_text(text, encoding="utf-8")
        if sys.platform != "win32":
            self.config.chmod(0o600)
        parts = [(upload(name), io.BytesIO(DOCUMENT)) for name in ("a.pdf", "b.pdf")]
        self.upload = self.harness.service.submit_together("Contract Batch #5", parts)  # type: ignore[attr-defined]  # Send AI has it
        self.finished, self.reviewed = self._tasks()

    def _tasks(self) -> tuple[str, str]:
        identifiers = [one["id"] for one in self.harness.server.sandbox.describe()]
        for identifier, state in zip(
            identifiers, (ServiceTaskState.PENDING_START, ServiceTaskState.REVIEWING), strict=True
        ):
            self.harness.reaches(Task(identifier, "", PROJECT, ServiceTaskState.RUNNING), state)
        return identifiers[0], identifiers[1]

    def run(self, *arguments: str) -> Result:
        return run("-c", self.config, *arguments)


@pytest.fixture
def desk(tmp_path: Path, stack: ExitStack) -> Desk:
    return Desk(tmp_path, stack)


def test_an_upload_is_shown_with_its_state_and_the_tasks_that_need_attention(desk: Desk) -> None:
    shown = desk.run("uploads", "show", desk.upload.id, "--json").document
    assert (shown["name"], shown["state"]) == ("Contract Batch #5", "reviewing")
    assert {task["name"]: task["state"] for task in shown["tasks"]} == {
        "a.pdf": "completed",
        "b.pdf": "reviewing",
    }
    text = desk.run("uploads", "show", desk.upload.id).out
    assert "Contract Batch #5" in text.splitlines()[0]
    assert "reviewing" in text.splitlines()[0]


def test_an_upload_is_moved_to_another_folder(desk: Desk) -> None:
    result = desk.run("uploads", "move", desk.upload.id, "folder_7")
    assert result.status == 0, result.err
    assert desk.harness.server.sandbox.describe_uploads()[0]["folder_id"] == "folder_7"


def test_a_reviewed_task_is_completed_and_goes_on(desk: Desk) -> None:
    result = desk.run("tasks", "complete", desk.reviewed, "--json")
    assert (result.status, result.document["done"], result.document["state"]) == (0, True, "processing")
    desk.harness.reaches(Task(desk.reviewed, "", PROJECT, ServiceTaskState.RUNNING), ServiceTaskState.PENDING_START)


def test_a_reviewed_task_is_discarded(desk: Desk) -> None:
    assert desk.run("tasks", "discard", desk.reviewed).status == 0
    assert [one["state"] for one in desk.harness.server.sandbox.describe()] == ["COMPLETED", "DISCARDED"]


def test_a_reviewed_task_is_reported(desk: Desk) -> None:
    assert desk.run("tasks", "report", desk.reviewed, "--issue", "Poor Document Quality").status == 0
    (issue,) = desk.harness.server.sandbox.describe()[1]["issues"]
    assert issue["label"] == "Poor Document Quality"


def test_a_task_the_service_left_as_it_was_is_said_to_be_so(desk: Desk) -> None:
    result = desk.run("tasks", "discard", desk.finished, "--json")
    assert (result.status, result.document["done"]) == (1, False)
    assert result.document["state"] == "completed"


def test_a_task_that_was_put_aside_cannot_be_completed_and_that_is_said(desk: Desk) -> None:
    desk.run("tasks", "discard", desk.reviewed)
    result = desk.run("tasks", "complete", desk.reviewed, "--json")
    assert (result.status, result.document["done"], result.document["state"]) == (1, False, "discarded")


def test_an_upload_of_mixed_results_is_shown_as_partial(desk: Desk) -> None:
    desk.harness.server.sandbox.set_status(desk.reviewed, TaskStatus.FAILED)
    shown = desk.run("uploads", "show", desk.upload.id, "--json").document
    assert (shown["state"], [task["state"] for task in shown["tasks"]]) == ("partial", ["completed", "failed"])


def test_what_the_service_does_not_know_ends_without_a_traceback(desk: Desk) -> None:
    for arguments in (("uploads", "show", "upl_nobody"), ("tasks", "complete", "task_nobody")):
        result = desk.run(*arguments)
        assert result.status == 1
        assert "Traceback" not in result.err


def test_a_service_without_uploads_says_so(tmp_path: Path) -> None:
    result = Office(tmp_path).run("uploads", "show", "upl_1")
    assert result.status == 1
    assert "sendai" in result.err
