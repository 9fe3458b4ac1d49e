"""The sandbox over the wire: what apis.md section 1 says about requests, answers, errors and tokens."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

import agent.sandbox
from agent.errors import UserError
from agent.sandbox.aluma.settings import DEMO_PROJECT_ID, DEMO_PROJECT_NAME, AlumaSettings
from agent.sandbox.server import SandboxServer, serve_forever

if TYPE_CHECKING:
    from collections.abc import Iterator

CREDENTIALS = {"client_id": "sandbox", "client_secret": "sandbox-secret"}
INVOICE = (Path(agent.sandbox.__file__).parent / "samples" / "invoice.pdf").read_bytes()
PDF = b"%PDF-1.4\n%%EOF\n"
EXPORT = {"action": "export"}
WAITING = {"state": "pending:start_client_action", "client_action": "export"}


class Client:
    """A session with a token, and the few requests every test makes."""

    def __init__(self, server: SandboxServer) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.trust_env = False
        self.token = "Bearer " + server.sandbox.issue_token(*CREDENTIALS.values())
        self.session.headers["Authorization"] = self.token

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.server.url + path, timeout=30, **options)

    def create(self, *, body: bytes = PDF, tags: str = "task_name=one", **headers: str) -> requests.Response:
        headers = {"Content-Type": "application/pdf", "X-Aluma-Tags": tags, **headers}
        return self.request("POST", "/tasks", params={"project_id": DEMO_PROJECT_ID}, data=body, headers=headers)

    def act(self, task_id: str, action: str, **options: Any) -> requests.Response:
        return self.request("PUT", f"/tasks/{task_id}/{action}_client_action", params=EXPORT, **options)

    def started(self, **options: Any) -> tuple[str, list[dict[str, Any]]]:
        task_id = self.create(**options).json()["id"]
        assert self.server.sandbox.wait_until_read(30)
        return task_id, self.act(task_id, "start").json()["documents"][0]["files"]


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    at_once: dict[str, Any] = {"queue_delay": 0, "processing_delay": 0, "finish_delay": 0}
    with SandboxServer(AlumaSettings(**at_once, read_documents=False, max_body=2_500_000, control=True)) as running:
        yield running


@pytest.fixture
def client(server: SandboxServer) -> Iterator[Client]:
    made = Client(server)
    yield made
    made.session.close()
    server.sandbox.faults.clear()


def assert_problem(response: requests.Response, status: int) -> None:
    problem = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "instance"}
    assert problem["status"] == status


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_is_given_for_json(client: Client) -> None:
    answer = client.request("POST", "/oauth/token", json=CREDENTIALS)
    assert (answer.status_code, set(answer.json())) == (200, {"access_token", "expires_in"})
    assert answer.json()["expires_in"] == 86_400


def test_a_token_is_given_for_the_legacy_form(client: Client) -> None:
    answer = client.request("POST", "/oauth/token", data=CREDENTIALS)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "Bearer")


def test_wrong_credentials_are_answered_with_the_legacy_body(client: Client) -> None:
    answer = client.request("POST", "/oauth/token", json={**CREDENTIALS, "client_secret": "wrong"})
    assert (answer.status_code, set(answer.json())) == (401, {"message"})


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"[]", "application/json"),
        (b'{"client_id": "sandbox"}', "application/json"),
        (b'{"client_id": 1, "client_secret": null}', "application/json"),
        (b"client_id=sandbox", "application/x-www-form-urlencoded"),
        (b"client_id=%ff&client_secret=x", "application/x-www-form-urlencoded"),
        (b"\xff=1", "application/x-www-form-urlencoded"),
        (b"hello", "text/plain"),
        (b"{}", ""),
    ],
)
def test_a_senseless_token_request_is_refused(client: Client, body: bytes, content_type: str) -> None:
    answer = client.request("POST", "/oauth/token", data=body, headers={"Content-Type": content_type})
    assert answer.status_code in {400, 413}
    assert "message" in answer.json() or answer.status_code == 413


ENDPOINTS = [
    ("GET", "/tasks"),
    ("POST", "/tasks"),
    ("GET", "/tasks/x"),
    ("PUT", "/tasks/x/cancel"),
    *(("PUT", f"/tasks/x/{action}_client_action") for action in ("start", "complete", "cancel", "fail")),
    ("GET", "/file_collections/x/files/y"),
    ("GET", "/projects"),
    ("POST", "/projects"),
]


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic c2FuZGJveA=="])
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_every_end_point_asks_for_a_token(client: Client, method: str, path: str, authorization: str | None) -> None:
    assert_problem(client.request(method, path, headers={"Authorization": authorization}), 401)


# --- paths and methods ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/tasks/", "/tasks/a/b", "/%00", "/%ff", "/tasks//cancel", "/token"])
def test_an_unknown_path_is_404(client: Client, path: str) -> None:
    assert_problem(client.request("GET", path), 404)


def test_a_wrong_method_is_405_and_names_the_right_ones(client: Client) -> None:
    answer = client.request("DELETE", "/tasks")
    assert_problem(answer, 405)
    assert {"GET", "POST"} <= {method.strip() for method in answer.headers["allow"].split(",")}


def test_headers_beyond_the_limit_are_431(client: Client) -> None:
    assert_problem(client.create(tags="task_name=" + "x" * 70_000), 431)


def test_every_answer_carries_the_date(client: Client) -> None:
    assert client.request("GET", "/projects").headers["date"].endswith(" GMT")


# --- create -----------------------------------------------------------------------------------------------------------


def test_create_answers_202_with_a_queued_task(client: Client) -> None:
    answer = client.create(tags="task_name=AB3947853&file_name=1.pdf&file_path=C:\\in&file_created_time=1711958908")
    task = answer.json()
    assert answer.status_code == 202
    assert (task["name"], task["state"], task["project_id"]) == ("AB3947853", "queued", DEMO_PROJECT_ID)
    assert task["project_name"] == DEMO_PROJECT_NAME


def test_tags_are_decoded(client: Client) -> None:
    assert client.create(tags="task_name=a%26b%3D%25%2B%C3%BC%F0%9F%98%80 c").json()["name"] == "a&b=%+ü😀 c"


@pytest.mark.parametrize(
    "tags",
    [
        "",
        "file_name=a.pdf",
        "task_name=",
        "task_name",
        "task_name=a&",
        "task_name=a&b",
        "task_name=a&=b",
        "task_name=a&task_name=b",
        "task_name=%",
        "task_name=%zz",
        "task_name=%ff",
        "task_name=%ed%a0%80",
        "task_name=a&file_created_time=yesterday",
    ],
)
def test_senseless_tags_are_refused(client: Client, tags: str) -> None:
    assert_problem(client.create(tags=tags), 400)


def test_tags_that_are_not_ascii_are_refused(client: Client) -> None:
    assert_problem(client.create(tags="task_name=\xfc"), 400)


def test_the_tags_header_is_required(client: Client) -> None:
    answer = client.request("POST", "/tasks", params={"project_id": DEMO_PROJECT_ID}, data=PDF)
    assert_problem(answer, 400)


def test_an_unknown_project_is_404(client: Client) -> None:
    headers = {"X-Aluma-Tags": "task_name=a"}
    assert_problem(client.request("POST", "/tasks", params={"project_id": "no"}, data=PDF, headers=headers), 404)


@pytest.mark.parametrize("query", ["", "?project_id=", "?project_id=a&project_id=b"])
def test_the_project_must_be_named_once(client: Client, query: str) -> None:
    answer = client.request("POST", "/tasks" + query, data=PDF, headers={"X-Aluma-Tags": "task_name=a"})
    assert_problem(answer, 400)


def test_a_body_beyond_the_limit_is_413(client: Client) -> None:
    assert_problem(client.create(body=bytes(2_500_001)), 413)


def test_a_body_in_chunks_is_taken(client: Client) -> None:
    _, files = client.started(body=iter([PDF[:4], PDF[4:], b"\n" * 10]))
    assert client.request("GET", files[-1]["url"]).content == PDF + b"\n" * 10


def test_a_refused_upload_still_gets_its_answer(client: Client) -> None:
    assert_problem(client.create(body=bytes(8_000_000), tags="none"), 400)


def test_a_connection_that_ends_in_the_body_leaves_no_task(client: Client) -> None:
    before = len(client.server.sandbox.list_tasks())
    with socket.create_connection(("127.0.0.1", client.server.port), timeout=10) as connection:
        connection.sendall(
            f"POST /tasks?project_id={DEMO_PROJECT_ID} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            f"Authorization: {client.token}\r\n"
            "X-Aluma-Tags: task_name=cut\r\n\r\nhalf".encode()
        )
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1024):
            pass
    assert len(client.server.sandbox.list_tasks()) == before


# --- list and get -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colon", [":", "%3A"])
def test_the_list_of_waiting_tasks_holds_a_new_task(client: Client, colon: str) -> None:
    task_id = client.create().json()["id"]
    answer = client.request("GET", f"/tasks?state=pending{colon}start_client_action&client_action=export")
    assert answer.status_code == 200
    assert task_id in {task["id"] for task in answer.json()["tasks"]}


@pytest.mark.parametrize("query", ["state=done", "state=", "client_action=import", "state=failed&state=queued"])
def test_a_filter_that_means_nothing_is_refused(client: Client, query: str) -> None:
    assert_problem(client.request("GET", "/tasks?" + query), 400)


def test_get_answers_the_same_object_as_the_list(client: Client) -> None:
    task_id = client.create().json()["id"]
    listed = client.request("GET", "/tasks", params=WAITING).json()["tasks"]
    assert client.request("GET", f"/tasks/{task_id}").json() in listed


def test_an_unknown_task_is_404(client: Client) -> None:
    assert_problem(client.request("GET", "/tasks/" + "x" * 22), 404)


def test_a_document_that_cannot_be_read_fails(client: Client) -> None:
    task_id = client.create(body=b"GIF89a", **{"Content-Type": "image/gif"}).json()["id"]
    assert client.request("GET", f"/tasks/{task_id}").json()["state"] == "failed"


# --- client actions ---------------------------------------------------------------------------------------------------


def test_the_export_holds_what_was_read() -> None:
    with SandboxServer(AlumaSettings(queue_delay=0, processing_delay=0)) as server:
        client = Client(server)
        _, files = client.started(body=INVOICE, tags="task_name=one&file_name=in.pdf")
        client.session.close()
    data = json.loads(files[1]["content"])
    assert (data["pages"], data["invoice_number"]) == (2, "INV-2024-0042")
    assert files[0]["content"].splitlines()[1].startswith("in.pdf,pdf,2,")


def test_the_document_comes_back_as_it_was_sent(client: Client) -> None:
    _, files = client.started(body=INVOICE)
    answer = client.request("GET", files[-1]["url"])
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/pdf", INVOICE)


def test_a_large_document_comes_back_whole(client: Client) -> None:
    body = PDF + bytes(2_400_000) + PDF
    _, files = client.started(body=body)
    answer = client.request("GET", files[-1]["url"])
    assert (answer.headers["content-length"], answer.content == body) == (str(len(body)), True)


def test_complete_ends_the_task_and_its_data(client: Client) -> None:
    task_id, files = client.started()
    answer = client.act(task_id, "complete")
    assert (answer.status_code, answer.content) == (202, b"")
    assert client.request("GET", f"/tasks/{task_id}").json()["state"] == "completed"
    assert_problem(client.request("GET", files[-1]["url"]), 404)


def test_cancel_makes_the_task_wait_again(client: Client) -> None:
    task_id, _ = client.started()
    assert client.act(task_id, "cancel").status_code == 202
    assert client.request("GET", f"/tasks/{task_id}").json()["state"] == "pending:start_client_action"


@pytest.mark.parametrize("body", [{}, {"json": {"message": "bad name ü"}}])
def test_fail_ends_the_task_with_or_without_a_message(client: Client, body: dict[str, Any]) -> None:
    task_id, _ = client.started()
    assert client.act(task_id, "fail", **body).status_code == 202
    assert client.request("GET", f"/tasks/{task_id}").json()["state"] == "failed"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"\xff", "application/json"),
        (b"[1]", "application/json"),
        (b'{"message": 1}', "application/json"),
        (b'{"message": "x"}', "text/plain"),
    ],
)
def test_fail_refuses_a_body_that_is_no_message(client: Client, body: bytes, content_type: str) -> None:
    task_id, _ = client.started()
    assert_problem(client.act(task_id, "fail", data=body, headers={"Content-Type": content_type}), 400)


@pytest.mark.parametrize("action", ["start", "complete", "cancel", "fail"])
@pytest.mark.parametrize("query", ["", "?action=", "?action=import", "?action=export&action=export"])
def test_an_action_must_be_named_and_known(client: Client, action: str, query: str) -> None:
    task_id = client.create().json()["id"]
    assert_problem(client.request("PUT", f"/tasks/{task_id}/{action}_client_action{query}"), 400)


@pytest.mark.parametrize("action", ["complete", "cancel", "fail"])
def test_an_action_in_the_wrong_state_is_409(client: Client, action: str) -> None:
    assert_problem(client.act(client.create().json()["id"], action), 409)


def test_a_start_for_validation_is_409(client: Client) -> None:
    task_id = client.create().json()["id"]
    path = f"/tasks/{task_id}/start_client_action"
    assert_problem(client.request("PUT", path, params={"action": "validation"}), 409)


@pytest.mark.parametrize("action", ["start", "complete", "cancel", "fail"])
def test_an_action_on_an_unknown_task_is_404(client: Client, action: str) -> None:
    assert_problem(client.act("x" * 22, action), 404)


def test_of_many_that_start_one_task_one_wins(client: Client) -> None:
    task_id = client.create().json()["id"]
    client.request("GET", f"/tasks/{task_id}")
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(client.act(task_id, "start").status_code)) for _ in "123"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202, 409, 409]


def test_a_task_is_canceled_once(client: Client) -> None:
    task_id = client.create().json()["id"]
    path = f"/tasks/{task_id}/cancel"
    assert client.request("PUT", path).status_code == 202
    assert client.request("GET", f"/tasks/{task_id}").json()["state"] == "canceled"
    assert_problem(client.request("PUT", path), 409)


# --- projects ---------------------------------------------------------------------------------------------------------


def test_projects_are_listed(client: Client) -> None:
    projects = client.request("GET", "/projects").json()["projects"]
    assert projects[0] == {"id": DEMO_PROJECT_ID, "name": DEMO_PROJECT_NAME}


def test_an_uploaded_project_takes_tasks(client: Client) -> None:
    uploaded = client.request("POST", "/projects", params={"name": "Letters.alproj"}, data=b"project")
    project = uploaded.json()
    assert (uploaded.status_code, project["name"]) == (201, "Letters")
    headers = {"X-Aluma-Tags": "task_name=a"}
    created = client.request("POST", "/tasks", params={"project_id": project["id"]}, data=PDF, headers=headers)
    assert created.json()["project_name"] == "Letters"


@pytest.mark.parametrize(("query", "body"), [("", b"x"), ("?name=", b"x"), ("?name=a", b""), ("?name=.alproj", b"x")])
def test_a_project_needs_a_name_and_content(client: Client, query: str, body: bytes) -> None:
    assert_problem(client.request("POST", "/projects" + query, data=body), 400)


# --- control ----------------------------------------------------------------------------------------------------------


def test_a_scripted_fault_is_met_as_often_as_asked(client: Client) -> None:
    fault = {"method": "GET", "path": "/projects", "status": 429, "headers": {"Retry-After": "7"}, "times": 2}
    assert client.request("POST", "/control/faults", json=fault).status_code == 201
    answers = [client.request("GET", "/projects") for _ in range(3)]
    assert [(answer.status_code, answer.headers.get("retry-after")) for answer in answers] == [
        (429, "7"),
        (429, "7"),
        (200, None),
    ]


def test_a_fault_may_replace_the_answer_of_a_request_that_took_effect(client: Client) -> None:
    before = len(client.server.sandbox.list_tasks())
    fault = {"method": "POST", "path": "/tasks", "status": 502, "body": "<html>", "applied": True}
    client.request("POST", "/control/faults", json=fault)
    answer = client.create()
    assert (answer.status_code, answer.text) == (502, "<html>")
    assert len(client.server.sandbox.list_tasks()) == before + 1


def test_faults_can_be_cleared(client: Client) -> None:
    client.request("POST", "/control/faults", json={"status": 500, "times": None})
    client.request("DELETE", "/control/faults")
    assert client.request("GET", "/projects").status_code == 200


@pytest.mark.parametrize(
    "fault",
    [{}, [], {"status": "500"}, {"status": 99}, {"status": 500, "pathh": "/"}, {"status": 500, "headers": {"a": 1}}],
)
def test_a_senseless_fault_is_refused(client: Client, fault: object) -> None:
    assert_problem(client.request("POST", "/control/faults", json=fault), 400)


def test_the_state_shows_what_was_sent_and_done(client: Client) -> None:
    task_id, _ = client.started(body=INVOICE, tags="task_name=one&fsagent_key=k%C3%BC")
    client.act(task_id, "complete")
    state = client.request("GET", "/control/state").json()
    (task,) = (task for task in state["tasks"] if task["id"] == task_id)
    assert task["sha256"] == hashlib.sha256(INVOICE).hexdigest()
    assert (task["tags"]["fsagent_key"], task["content_type"]) == ("kü", "application/pdf")
    assert task["calls"] == {"start": 1, "complete": 1}
    assert state["requests"]["PUT /tasks/{id}/complete_client_action 202"] >= 1


def test_revoked_tokens_are_401(client: Client) -> None:
    client.request("DELETE", "/control/tokens")
    assert_problem(client.request("GET", "/projects"), 401)


def test_the_clock_moves_on_request() -> None:
    options = AlumaSettings(queue_delay=3600, read_documents=False, control=True, token_lifetime=1e6)
    with SandboxServer(options) as server:
        client = Client(server)
        task_id = client.create().json()["id"]
        before = client.request("GET", f"/tasks/{task_id}").json()["state"]
        client.request("POST", "/control/clock", json={"advance": 3700})
        after = client.request("GET", f"/tasks/{task_id}").json()["state"]
        client.session.close()
    assert (before, after) == ("queued", "pending:start_client_action")


@pytest.mark.parametrize("advance", [-1, "1", None, True])
def test_the_clock_moves_by_seconds_forward_only(client: Client, advance: object) -> None:
    assert_problem(client.request("POST", "/control/clock", json={"advance": advance}), 400)


# --- the server -------------------------------------------------------------------------------------------------------


def test_without_control_there_is_no_control() -> None:
    with SandboxServer() as server:
        client = Client(server)
        answers = [
            client.request("GET", "/control/state"),
            client.request("POST", "/control/faults", json={"status": 500}),
            client.request("POST", "/control/clock", json={"advance": 1}),
            client.request("DELETE", "/control/tokens"),
        ]
        client.session.close()
    assert [answer.status_code for answer in answers] == [404] * 4


def test_a_stopped_server_leaves_no_thread_and_no_data() -> None:
    before = set(threading.enumerate())
    server = SandboxServer()
    server.start()
    client = Client(server)
    client.create()
    with server.sandbox.receive() as incoming:
        folder = incoming._path.parent
    client.session.close()
    server.stop()
    server.stop()
    assert not folder.exists()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_serving_and_its_handler_is_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    ports: list[int] = []

    def ready(server: SandboxServer) -> None:
        ports.append(server.port)
        signal.raise_signal(number)

    serve_forever(AlumaSettings(), host="127.0.0.1", port=0, ready=ready)

    assert signal.getsignal(number) is before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]), timeout=10)


def test_a_port_that_is_taken_is_the_users_error() -> None:
    with SandboxServer() as server, pytest.raises(UserError, match="cannot listen"):
        SandboxServer(port=server.port)


def test_two_servers_get_ports_of_their_own() -> None:
    with SandboxServer() as first, SandboxServer() as second:
        assert first.url != second.url
