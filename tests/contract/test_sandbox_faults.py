"""Faults of the sandbox over the wire: each does exactly what a test asked for, and only to what it asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from agent.sandbox.server import SandboxServer
from agent.sandbox.settings import DEMO_PROJECT_ID, SandboxSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

PDF = b"%PDF-1.4\n%%EOF\n"
AT_ONCE: dict[str, Any] = {"queue_delay": 0, "processing_delay": 0, "finish_delay": 0}


class Client:
    """A session with a token that speaks to one sandbox."""

    def __init__(self, server: SandboxServer) -> None:
        self.server = server
        self.sandbox = server.sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = "Bearer " + server.sandbox.issue_token("sandbox", "sandbox-secret")

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.server.url + path, timeout=30, **options)

    def create(self, name: str = "one.pdf", body: bytes = PDF) -> requests.Response:
        headers = {"Content-Type": "application/pdf", "X-Aluma-Tags": f"task_name={name}&file_name={name}"}
        return self.request("POST", "/tasks", params={"project_id": DEMO_PROJECT_ID}, data=body, headers=headers)

    def pending(self, name: str = "one.pdf") -> str:
        task_id = self.create(name).json()["id"]
        assert self.sandbox.wait_until_read(30)
        return str(task_id)

    def act(self, task_id: str, action: str) -> requests.Response:
        return self.request("PUT", f"/tasks/{task_id}/{action}_client_action", params={"action": "export"})


@pytest.fixture
def client() -> Iterator[Client]:
    settings = SandboxSettings(**AT_ONCE, read_documents=False, control=True)
    with SandboxServer(settings) as server:
        made = Client(server)
        yield made
        made.session.close()


# --- specifications ---------------------------------------------------------------------------------------------------


def own_specification(*, url: str = "{document}") -> dict[str, Any]:
    files = [
        {"folder": "../x", "filename": "CON.pdf", "source": "url", "content": None, "url": url},
        {"folder": "{document}", "filename": "a:b", "source": "content", "content": "text", "url": None},
    ]
    return {"documents": [{"files": files}]}


def test_a_task_of_a_named_file_answers_the_specification_a_test_made(client: Client) -> None:
    client.sandbox.faults.specify("one*", own_specification())

    answered = client.act(client.pending(), "start")

    files = answered.json()["documents"][0]["files"]
    assert answered.status_code == 202
    assert [(file["folder"], file["filename"]) for file in files] == [("../x", "CON.pdf"), ("{document}", "a:b")]
    assert client.request("GET", files[0]["url"]).content == PDF
    assert [file["filename"] for file in client.sandbox.describe()[0]["exports"]] == ["CON.pdf", "a:b"]


def test_other_files_keep_the_specification_of_their_own(client: Client) -> None:
    client.sandbox.faults.specify("two*", own_specification())

    files = client.act(client.pending(), "start").json()["documents"][0]["files"]

    assert [file["filename"] for file in files] == ["one.csv", "one.json", "one.pdf"]


@pytest.mark.parametrize("shape", [{}, [], "text", {"documents": 7}, {"documents": [{"files": [1, {}]}, None]}])
def test_a_specification_may_have_any_shape(client: Client, shape: Any) -> None:
    client.sandbox.faults.specify("*", shape)

    assert client.act(client.pending(), "start").json() == shape
    assert client.sandbox.describe()[0]["state"] == "pending:complete_client_action"


def test_specifications_are_given_and_forgotten_over_the_wire(client: Client) -> None:
    given = {"file_name": "*", "specification": {"documents": []}}
    assert client.request("POST", "/control/specifications", json=given).status_code == 201
    assert client.act(client.pending(), "start").json() == {"documents": []}

    client.request("DELETE", "/control/faults")

    assert client.act(client.pending("two.pdf"), "start").json()["documents"] != []


@pytest.mark.parametrize("wrong", [{}, {"file_name": 1, "specification": {}}, {"file_name": "*", "other": {}}])
def test_what_names_no_specification_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    assert client.request("POST", "/control/specifications", json=wrong).status_code == 400
