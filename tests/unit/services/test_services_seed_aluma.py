"""Seeds 000 to 002 (the Tasks API) in their own samples: states, Create Task, and each call of an export."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from fakes.scripted_server import document

from agent.model import ServiceTaskState, Task, Upload
from agent.services.aluma_wire import read_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.scripted_server import ScriptedServer

    from agent.services.aluma import AlumaService

PROJECT = "ZbfzIZorTFOV60GX58YUuQ"
TASK_ID = "SWdh86taQhKwwpY0HUKD7Q"
STATES = (
    "queued",
    "running",
    "pending:start_client_action",
    "pending:complete_client_action",
    "completed",
    "failed",
    "timed-out",
    "canceled",
)


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_task_is_known_by_its_own_word(state: str) -> None:
    task = read_task({"id": TASK_ID, "name": "00001.pdf", "project_id": PROJECT, "state": state})
    assert task is not None
    assert task.state.value == state


def test_the_sample_of_create_task_is_what_is_sent_and_read(server: ScriptedServer, service: AlumaService) -> None:
    answer = {
        "id": TASK_ID,
        "name": "AB3947853",
        "file_collection_id": "hZ7GkxSHSRmk9ibpio_yOQ",
        "project_id": PROJECT,
        "project_name": "ACME Medical Records",
        "created_at": "2024-03-25T16:37:08Z",
        "state": "queued",
    }
    server.on("POST", "/tasks", document(answer, status=202))
    content = b"%PDF-1.4 small %%EOF"
    tags = {"file_path": r"C:\inbox", "file_created_time": "1711958908"}
    upload = Upload("key-1", PROJECT, "00001.pdf", "application/pdf", len(content), "AB3947853", tags)
    task = service.submit(upload, io.BytesIO(content))
    request = server.seen("POST", "/tasks")[0]
    assert (request.target, request.body) == (f"/tasks?project_id={PROJECT}", content)
    assert request.headers["content-type"] == "application/pdf"
    assert request.headers["x-aluma-tags"] == (
        "task_name=AB3947853&file_name=00001.pdf&file_path=C:\\inbox&file_created_time=1711958908"
    )
    assert (task.id, task.name, task.project_id, task.state) == (
        TASK_ID,
        "AB3947853",
        PROJECT,
        ServiceTaskState.QUEUED,
    )


SPECIFICATION = {"documents": [{"files": [{"folder": "", "filename": "1.csv", "source": "content", "content": "a"}]}]}
READY = Task(TASK_ID, "00001.pdf", PROJECT, ServiceTaskState.PENDING_START, "export")
CALLS: dict[str, Callable[[AlumaService], Any]] = {
    "start": lambda service: service.start_export(READY),
    "complete": lambda service: service.complete_export(TASK_ID),
    "cancel": lambda service: service.cancel_export(TASK_ID),
    "fail": lambda service: service.fail_export(TASK_ID, "why"),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_client_action_is_a_put_that_names_the_export(
    server: ScriptedServer, service: AlumaService, call: str
) -> None:
    path = f"/tasks/{TASK_ID}/{call}_client_action"
    server.on("PUT", path, document(SPECIFICATION, status=202))
    CALLS[call](service)
    assert [request.target for request in server.seen("PUT", path)] == [f"{path}?action=export"]


def test_every_document_of_a_task_brings_all_its_files(server: ScriptedServer, service: AlumaService) -> None:
    two = {
        "documents": [
            {"files": [{"folder": "", "filename": name, "source": "content", "content": "a"} for name in names]}
            for names in (("1.csv", "1.json"), ("2.csv",))
        ]
    }
    server.on("PUT", f"/tasks/{TASK_ID}/start_client_action", document(two, status=202))
    assert [file.filename for file in service.start_export(READY).files] == ["1.csv", "1.json", "2.csv"]


def test_what_waits_for_validation_is_left_to_people(server: ScriptedServer, service: AlumaService) -> None:
    waiting = {"id": TASK_ID, "name": "n", "project_id": PROJECT, "state": "pending:start_client_action"}
    server.on("GET", "/tasks", document({"tasks": [{**waiting, "client_action": "validation"}]}))
    assert service.find_ready() == ()
