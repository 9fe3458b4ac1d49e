"""Control calls against a server that answers as scripted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.driven_clock import DrivenClock
from fakes.scripted_server import Reply, document

from agent.errors import (
    AgentError,
    CredentialsRefused,
    FileRefused,
    ServiceUnavailable,
    SetupRefused,
    TaskFatal,
    TaskMoved,
)
from agent.model import Lookup, ServiceSettings, ServiceTaskState, ServiceType, Task
from agent.runtime.clock import SystemClock
from agent.services.opening import open_service as open_by_type

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.scripted_server import ScriptedServer

    from agent.services.aluma import AlumaService

READY = {
    "id": "t1",
    "name": "scan.pdf",
    "project_id": "p",
    "created_at": "2024-04-01T08:08:28Z",
    "state": "pending:start_client_action",
    "client_action": "export",
}
TASK = Task("t1", "scan.pdf", "p", ServiceTaskState.PENDING_START, "export")
NO_LISTS = [
    Reply(200, b"<html>Sign in</html>"),
    Reply(200),
    Reply(204),
    Reply(200, b'{"tasks": [{"id": "a"'),
    Reply(200, b'{"items": []}'),
    Reply(200, b"[]"),
    Reply(500),
    Reply(503),
    Reply(302, headers={"Location": "/login"}),
]


def ended(state: str) -> dict[str, str]:
    return {"id": state, "name": "n", "project_id": "p", "state": state}


def test_only_tasks_that_wait_for_export_are_ready_whatever_is_listed(
    server: ScriptedServer, service: AlumaService
) -> None:
    tasks = [{**READY, "client_action": "validation", "id": "t0"}, READY, {**READY, "state": "running", "id": "t2"}]
    server.on("GET", "/tasks", document({"tasks": tasks}))
    assert [task.id for task in service.find_ready()] == ["t1"]
    assert server.seen("GET", "/tasks")[0].target == "/tasks?state=pending:start_client_action&client_action=export"


@pytest.mark.parametrize("reply", NO_LISTS, ids=lambda reply: f"{reply.status}-{reply.body[:10]!r}")
@pytest.mark.parametrize("call", ["find_ready", "find_ended", "find_submission"])
def test_what_is_no_list_is_never_an_empty_one(
    server: ScriptedServer, service: AlumaService, reply: Reply, call: str
) -> None:
    server.on("GET", "/tasks", reply)
    arguments: dict[str, Callable[[], Any]] = {
        "find_ready": service.find_ready,
        "find_ended": lambda: service.find_ended(completed=False),
        "find_submission": lambda: service.find_submission(Lookup("k", "p", "scan.pdf", 0, 1)),
    }
    with pytest.raises(ServiceUnavailable):
        arguments[call]()


def test_each_final_state_is_asked_for_by_itself(server: ScriptedServer, service: AlumaService) -> None:
    states = ["failed", "timed-out", "canceled", "completed"]
    server.on("GET", "/tasks", *(document({"tasks": [ended(state)]}) for state in states))
    assert [task.state for task in service.find_ended(completed=True)] == states
    assert [request.target for request in server.seen("GET", "/tasks")] == [f"/tasks?state={state}" for state in states]


def test_completed_tasks_are_not_asked_for_unless_wanted(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", "/tasks", document({"tasks": [ended("completed")]}))
    assert service.find_ended(completed=False) == ()
    assert len(server.seen("GET", "/tasks")) == 3


def test_a_lost_submission_is_looked_for_by_the_clock_of_the_service(
    server: ScriptedServer, open_service: Callable[..., AlumaService]
) -> None:
    # Our clock is a day behind; the service's says so in its Date.
    clock = DrivenClock(now=1711958908.0 - 86400)
    listed = document({"tasks": [READY]}, headers={"Date": "Mon, 01 Apr 2024 08:08:30 GMT"})
    server.on("GET", "/tasks", listed)
    now = clock.now()
    lookup = Lookup("k", "p", "scan.pdf", now - 1, now)
    assert [task.id for task in open_service(server.url, clock=clock).find_submission(lookup)] == ["t1"]
    assert server.seen("GET", "/tasks")[0].target == "/tasks"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(404), TaskMoved),
        (Reply(409), TaskMoved),
        (Reply(400), TaskMoved),
        (Reply(422), TaskMoved),
        (Reply(403), SetupRefused),
        (Reply(405), SetupRefused),
        (Reply(429), ServiceUnavailable),
        (Reply(500), ServiceUnavailable),
        (Reply(503), ServiceUnavailable),
        (Reply(302), ServiceUnavailable),
        (Reply(401), CredentialsRefused),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else value.__name__,
)
@pytest.mark.parametrize("call", ["start", "complete", "cancel", "fail"])
def test_an_answer_to_an_action_means_what_the_table_says(
    server: ScriptedServer, service: AlumaService, reply: Reply, kind: type[AgentError], call: str
) -> None:
    server.on("PUT", f"/tasks/t1/{call}_client_action", reply)
    with pytest.raises(kind):
        act(service, call)


def act(service: AlumaService, call: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "start": lambda: service.start_export(TASK),
        "complete": lambda: service.complete_export("t1"),
        "cancel": lambda: service.cancel_export("t1"),
        "fail": lambda: service.fail_export("t1", "why"),
    }
    calls[call]()


@pytest.mark.parametrize("status", [404, 409])
def test_only_a_404_says_the_task_is_gone(server: ScriptedServer, service: AlumaService, status: int) -> None:
    server.on("PUT", "/tasks/t1/complete_client_action", Reply(status))
    with pytest.raises(TaskMoved) as raised:
        service.complete_export("t1")
    assert raised.value.gone is (status == 404)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_success_completes(server: ScriptedServer, service: AlumaService, status: int) -> None:
    server.on("PUT", "/tasks/t1/complete_client_action", Reply(status))
    service.complete_export("t1")
    request = server.seen("PUT", "/tasks/t1/complete_client_action")[0]
    assert request.target == "/tasks/t1/complete_client_action?action=export"
    assert request.headers["content-length"] == "0"


def test_a_task_is_failed_with_its_message_as_json(server: ScriptedServer, service: AlumaService) -> None:
    server.on("PUT", "/tasks/t1/fail_client_action", Reply(202))
    service.fail_export("t1", "bad\nname\x1b[31m ü")
    request = server.seen("PUT", "/tasks/t1/fail_client_action")[0]
    assert len(request.headers["content-length"]) > 1
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"message": "bad name [31m ü"}


def test_a_hostile_task_id_stays_one_part_of_the_path(server: ScriptedServer, service: AlumaService) -> None:
    with pytest.raises(TaskMoved):
        service.get_task("../projects?x=#y/z")
    assert server.requests[-1].target == "/tasks/..%2Fprojects%3Fx%3D%23y%2Fz"


def test_a_specification_without_documents_fails_the_task(server: ScriptedServer, service: AlumaService) -> None:
    server.on("PUT", "/tasks/t1/start_client_action", document({"documents": None}, status=202))
    with pytest.raises(TaskFatal):
        service.start_export(TASK)


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"documents": [{"fil'])
def test_a_garbled_specification_is_trouble_of_the_service(
    server: ScriptedServer, service: AlumaService, body: bytes
) -> None:
    server.on("PUT", "/tasks/t1/start_client_action", Reply(202, body))
    with pytest.raises(ServiceUnavailable):
        service.start_export(TASK)


def test_a_specification_beyond_all_measure_fails_the_task(
    server: ScriptedServer, service: AlumaService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.services.aluma_assumptions.SPECIFICATION_LIMIT", 1000)
    server.on("PUT", "/tasks/t1/start_client_action", Reply(202, b"[" + b" " * 5000 + b"]"))
    with pytest.raises(TaskFatal):
        service.start_export(TASK)


def test_reading_a_task_returns_it(server: ScriptedServer, service: AlumaService) -> None:
    server.on("GET", "/tasks/t1", document(READY))
    assert service.get_task("t1").state is ServiceTaskState.PENDING_START


@pytest.mark.parametrize("reply", [Reply(200, b"<html>"), document({"id": "another"}), document([])])
def test_an_answer_that_is_not_the_task_is_trouble_of_the_service(
    server: ScriptedServer, service: AlumaService, reply: Reply
) -> None:
    server.on("GET", "/tasks/t1", reply)
    with pytest.raises(ServiceUnavailable):
        service.get_task("t1")


def test_canceling_what_is_canceled_already_is_success(server: ScriptedServer, service: AlumaService) -> None:
    server.on("PUT", "/tasks/t1/cancel", Reply(409))
    server.on("GET", "/tasks/t1", document({**READY, "state": "canceled"}))
    service.cancel_task("t1")


@pytest.mark.parametrize("status", [404, 405, 409, 501])
def test_what_cannot_be_canceled_is_no_trouble_of_the_service(
    server: ScriptedServer, service: AlumaService, status: int
) -> None:
    server.on("PUT", "/tasks/t1/cancel", Reply(status))
    server.on("GET", "/tasks/t1", document({**READY, "state": "running"}))
    with pytest.raises(TaskMoved):
        service.cancel_task("t1")


def test_projects_are_uploaded_as_they_are_under_their_name(
    server: ScriptedServer, service: AlumaService, tmp_path: Path
) -> None:
    path = tmp_path / "Rechnungen & mehr.alproj"
    path.write_bytes(b"\x00project")
    server.on("POST", "/projects", document({"id": "p2", "name": "Rechnungen & mehr"}, status=201))
    assert service.upload_project(path).id == "p2"
    request = server.seen("POST", "/projects")[0]
    assert (request.target, request.body) == ("/projects?name=Rechnungen%20%26%20mehr", b"\x00project")


def test_a_refused_project_says_why(server: ScriptedServer, service: AlumaService, tmp_path: Path) -> None:
    path = tmp_path / "a.alproj"
    path.write_bytes(b"project")
    server.on("POST", "/projects", document({"title": "Not a project"}, status=422))
    with pytest.raises(FileRefused, match="Not a project"):
        service.upload_project(path)


def test_settings_do_not_show_the_secret() -> None:
    settings = ServiceSettings(ServiceType.ALUMA, "https://x.example", "client", "hunter2-the-secret")
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("kind", list(ServiceType))
def test_every_type_of_service_can_be_opened(kind: ServiceType) -> None:
    settings = ServiceSettings(kind, "https://x.example", "client", "secret", api_key="a-key")
    service = open_by_type(settings, SystemClock())
    service.close()
    assert kind.value in type(service).__name__.lower()


def test_the_log_never_holds_secret_or_token(
    server: ScriptedServer, service: AlumaService, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("GET", "/tasks", Reply(401), document({"tasks": []}))
    with caplog.at_level("DEBUG"):
        service.find_ready()
    assert "hunter2" not in caplog.text
    assert "token-1" not in caplog.text
