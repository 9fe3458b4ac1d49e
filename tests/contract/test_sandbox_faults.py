"""Faults of the sandbox over the wire: each does exactly what a test asked for, and only to what it asked for."""

from __future__ import annotations

from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests
from system.sites import wait_until

from agent.sandbox.aluma.settings import DEMO_PROJECT_ID, AlumaSettings
from agent.sandbox.faults import Dropped, Ending, Fault, Spoiled
from agent.sandbox.server import SandboxServer
from agent.services.reading import read_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.sandbox.faults import AnyFault

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


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it stands for."""
    yield error
    for inner in (*error.args, getattr(error, "reason", None)):
        if isinstance(inner, BaseException):
            yield from causes(inner)


@pytest.fixture
def client() -> Iterator[Client]:
    settings = AlumaSettings(**AT_ONCE, read_documents=False, control=True)
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


# --- no answer --------------------------------------------------------------------------------------------------------

POST: dict[str, Any] = {"method": "POST", "path": "/tasks"}
GONE = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)


def test_dropped_after_its_body_a_request_has_no_effect(client: Client) -> None:
    client.sandbox.faults.add(Dropped(**POST))

    with pytest.raises(GONE):
        client.create()

    assert client.sandbox.describe() == []
    wait_until(lambda: client.sandbox.requests.counts() == {"POST /tasks 0": 1})
    assert client.create().status_code == 202


def test_dropped_after_it_took_effect_only_the_answer_is_lost(client: Client) -> None:
    client.sandbox.faults.add(Dropped(**POST, applied=True))

    with pytest.raises(GONE):
        client.create()

    assert [task["size"] for task in client.sandbox.describe()] == [len(PDF)]


def test_a_late_request_takes_effect_when_the_sandbox_says_so(client: Client) -> None:
    client.sandbox.faults.add(Dropped(**POST, applied=True, late=40))
    with pytest.raises(GONE):
        client.create()
    asked_at = client.sandbox.now()
    assert client.sandbox.describe() == []

    client.sandbox.advance_clock(41)

    (task,) = wait_until(client.sandbox.describe)
    assert (read_time(task["created_at"]) or 0.0) >= int(asked_at) + 40


@pytest.mark.parametrize("after", [0, 1_000_000])
def test_an_upload_is_reset_in_its_middle(client: Client, after: int) -> None:
    client.sandbox.faults.add(Dropped(**POST, after=after, ends=Ending.RESET))

    with pytest.raises(requests.exceptions.ConnectionError) as gone:
        client.create(body=PDF * 3_000_000)

    assert any(isinstance(cause, ConnectionResetError | BrokenPipeError) for cause in causes(gone.value))
    assert client.sandbox.describe() == []


def test_silence_lasts_until_the_client_goes(client: Client) -> None:
    client.sandbox.faults.add(Dropped(method="GET", path="/projects", ends=Ending.SILENCE))

    with pytest.raises(requests.exceptions.ReadTimeout):
        client.session.get(f"{client.server.url}/projects", timeout=0.3)

    wait_until(lambda: client.sandbox.requests.counts() == {"GET /projects 0": 1})
    assert client.request("GET", "/projects").status_code == 200


def test_a_completion_may_be_answered_with_500_and_take_effect_late(client: Client) -> None:
    task_id = client.pending()
    client.act(task_id, "start")
    client.sandbox.faults.add(Fault(500, method="PUT", applied=True, late=10))

    assert client.act(task_id, "complete").status_code == 500
    assert client.sandbox.describe()[0]["calls"] == {"start": 1}

    client.sandbox.advance_clock(11)
    wait_until(lambda: client.sandbox.describe()[0]["calls"] == {"start": 1, "complete": 1})


# --- spoiled answers --------------------------------------------------------------------------------------------------


def document_of(client: Client) -> str:
    files = client.act(client.pending(), "start").json()["documents"][0]["files"]
    url: str = files[-1]["url"]
    return url


@pytest.mark.parametrize(
    ("fault", "answered"),
    [
        (Spoiled(), PDF),
        (Spoiled(chunked=True), PDF),
        (Spoiled(declares=5), PDF[:5]),
        (Spoiled(sends=5, declares=5), PDF[:5]),
        (Spoiled(pace=200), PDF),
        (Spoiled(sends=5), None),
        (Spoiled(declares=500), None),
        (Spoiled(sends=5, chunked=True), None),
        (Spoiled(sends=5, ends=Ending.RESET), None),
    ],
)
def test_a_spoiled_download_is_what_was_asked_for(client: Client, fault: Spoiled, answered: bytes | None) -> None:
    url = document_of(client)
    client.sandbox.faults.add(replace(fault, method="GET", path="/file_collections/*"))

    if answered is None:
        with pytest.raises(GONE):
            client.request("GET", url)
    else:
        assert client.request("GET", url).content == answered
    client.session.close()  # or the next request may meet a connection that is about to end
    assert client.request("GET", url).content == PDF


@pytest.mark.parametrize("chunked", [False, True])
def test_an_endless_answer_ends_when_the_client_goes(client: Client, *, chunked: bool) -> None:
    url = document_of(client)
    client.sandbox.faults.add(Spoiled(path="/file_collections/*", endless=True, chunked=chunked, declares=10**12))

    with client.request("GET", url, stream=True) as response:
        blocks = response.iter_content(100_000)
        assert sum(len(next(blocks)) for _ in range(30)) > 1_000_000

    wait_until(lambda: client.sandbox.requests.counts().get("GET /file_collections/{id}/files/{id} 200") == 1)


def test_an_answer_then_says_no_more_but_stays_open(client: Client) -> None:
    client.sandbox.faults.add(Spoiled(path="/projects", sends=3, ends=Ending.SILENCE))

    with pytest.raises(requests.exceptions.ConnectionError, match="timed out"):
        client.session.get(f"{client.server.url}/projects", timeout=0.3)


def test_an_answer_is_noted_by_when_it_began_and_not_by_when_its_connection_ended(client: Client) -> None:
    began = client.sandbox.now()
    client.sandbox.faults.add(Spoiled(path="/projects", sends=3, ends=Ending.SILENCE))
    with client.session.get(f"{client.server.url}/projects", timeout=30, stream=True) as answer:
        assert answer.raw.read(3)
        client.sandbox.advance_clock(1000)

    (seen,) = wait_until(client.sandbox.requests.recent)
    assert began <= seen.at < began + 1000


def test_a_fault_meets_only_the_query_it_names(client: Client) -> None:
    url = document_of(client)
    client.sandbox.faults.add(Fault(404, path="/file_collections/*", query="n=3"))

    answers = [client.request("GET", f"{url}?n={number}").status_code for number in (1, 3, 3)]

    assert answers == [200, 404, 200]


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_a_lagging_list_shows_a_task_later_than_the_task_itself_does(client: Client) -> None:
    assert client.request("POST", "/control/listing", json={"lag": 60}).status_code == 204
    task_id = client.pending()

    assert client.request("GET", "/tasks").json() == {"tasks": []}
    assert client.request("GET", f"/tasks/{task_id}").status_code == 200
    assert client.act(task_id, "start").status_code == 202

    client.sandbox.advance_clock(61)
    assert [task["id"] for task in client.request("GET", "/tasks").json()["tasks"]] == [task_id]


def test_a_lease_that_is_ended_early_cannot_be_completed(client: Client) -> None:
    task_id = client.pending()
    client.act(task_id, "start")

    assert client.request("DELETE", "/control/leases").status_code == 204

    assert client.act(task_id, "complete").status_code == 409
    assert client.act(task_id, "start").status_code == 202


def test_answers_are_dated_by_the_clock_that_dates_tasks(client: Client) -> None:
    client.sandbox.advance_clock(80_000)
    task = client.create()

    for answered in (task, client.request("GET", "/tasks"), client.request("GET", "/nowhere")):
        date = parsedate_to_datetime(answered.headers["date"]).timestamp()
        assert 0 <= date - (read_time(task.json()["created_at"]) or 0) < 60


# --- over the wire ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"kind": "answer", "status": 503, "times": 2}, Fault(503, times=2)),
        ({"kind": "drop", "after": 7, "ends": "reset"}, Dropped(after=7, ends=Ending.RESET)),
        ({"kind": "drop", "applied": True, "late": 40, "times": None}, Dropped(applied=True, late=40, times=None)),
        (
            {"kind": "spoil", "path": "/x", "sends": 1, "declares": 2, "pace": 0.5, "endless": True},
            Spoiled(path="/x", sends=1, declares=2, pace=0.5, endless=True),
        ),
    ],
)
def test_every_kind_of_fault_can_be_given_over_the_wire(client: Client, document: Any, fault: AnyFault) -> None:
    assert client.request("POST", "/control/faults", json=document).status_code == 201

    assert client.sandbox.faults.waiting() == ((fault, fault.times),)
    (shown,) = client.request("GET", "/control/state").json()["faults"]
    assert shown.items() >= document.items()


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "other"},
        {"kind": ["drop"]},
        {"kind": "drop", "status": 500},
        {"kind": "drop", "ends": "slam"},
        {"kind": "drop", "after": -1},
        {"kind": "drop", "late": True},
        {"kind": "spoil", "pace": 0},
        {"kind": "spoil", "times": 0},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(client: Client, document: Any) -> None:
    assert client.request("POST", "/control/faults", json=document).status_code == 400
    assert client.sandbox.faults.waiting() == ()


@pytest.mark.parametrize("lag", [None, -1, "60", True])
def test_a_lag_that_is_no_time_is_refused(client: Client, lag: Any) -> None:
    assert client.request("POST", "/control/listing", json={"lag": lag}).status_code == 400


def test_cleared_faults_are_all_forgotten(client: Client) -> None:
    client.sandbox.faults.add(Dropped())
    client.sandbox.faults.lag_listing(60)

    client.request("DELETE", "/control/faults")

    assert client.pending() == client.request("GET", "/tasks").json()["tasks"][0]["id"]
