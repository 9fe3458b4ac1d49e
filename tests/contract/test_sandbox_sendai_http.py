"""The Send AI sandbox over the wire: what apis.md section 2 says about requests, answers and errors."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from fakes.driven_clock import DrivenClock
from system.sites import wait_until

from agent.sandbox.faults import Fault
from agent.sandbox.samples import DELIVERY_NOTE, INVOICE, LETTER, read_sample
from agent.sandbox.sendai.settings import Fate, SendaiSettings, TaskListing, TaskStatus
from agent.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.sandbox.sendai.core import SendaiSandbox

    MakeClient = Callable[..., "Client"]

PREFIX = "/v2/team_sandbox/project/proj_sandbox"
PDF = b"%PDF-1.4\n%%EOF\n"
ISSUES = [{"label": "Poor Document Quality", "value": "poor_quality"}]
HEAD = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n'


class Client:
    """A session with the key, and the few requests every test makes; its sandbox's clock stands still."""

    def __init__(self, **options: Any) -> None:
        self.clock = DrivenClock()
        settings = SendaiSettings(**{"read_documents": False, "control": True, "read_patience": 30, **options})
        self.server: SandboxServer[SendaiSandbox] = SandboxServer(settings, clock=self.clock)
        self.server.start()
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = "Bearer sandbox-key"

    def request(self, method: str, path: str, *, prefix: str = PREFIX, **options: Any) -> requests.Response:
        return self.session.request(method, self.server.url + prefix + path, timeout=60, **options)

    def create(self, *names: str, content: bytes = PDF, **fields: str) -> requests.Response:
        files = [("file", (name, content, "application/pdf")) for name in names or ("a.pdf",)]
        return self.request("POST", "/upload", files=files, data=fields)

    def send(self, body: bytes, content_type: str = "multipart/form-data; boundary=edge") -> requests.Response:
        return self.request("POST", "/upload", data=body, headers={"Content-Type": content_type})

    def upload(self, upload_id: str) -> dict[str, Any]:
        payload: dict[str, Any] = self.request("GET", f"/upload/{upload_id}").json()["payload"]
        return payload

    def processed(self, *names: str, **options: Any) -> list[dict[str, Any]]:
        upload_id = self.create(*names, **options).json()["id"]
        self.clock.advance(10)
        tasks: list[dict[str, Any]] = self.upload(upload_id)["tasks"]
        return tasks

    def act(self, task_id: str, action: str, **options: Any) -> requests.Response:
        return self.request("POST", f"/task/{task_id}/{action}", **options)

    def control(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.request(method, f"/control/{path}", prefix="", **options)

    def close(self) -> None:
        self.session.close()
        self.server.stop()


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    made: list[Client] = []

    def make(**options: Any) -> Client:
        made.append(Client(**options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Client]:
    client = Client(size_limit=200_000, fates=(Fate("*review*", TaskStatus.REVIEWING),))
    yield client
    client.close()


@pytest.fixture
def client(running: Client) -> Client:
    running.server.sandbox.faults.clear()
    return running


def assert_refused(response: requests.Response, status: int) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    assert response.json().keys() == {"message", "error"}


# --- who may ----------------------------------------------------------------------------------------------------------


ENDPOINTS = [
    ("POST", "/upload"),
    ("GET", "/upload/x"),
    ("POST", "/upload/x/move/y"),
    ("GET", "/task/x"),
    *(("POST", f"/task/x/{action}") for action in ("complete", "discard", "report", "unlock")),
]


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Token sandbox-key", "sandbox-key", "Bearer "])
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_every_end_point_asks_for_the_key(client: Client, method: str, path: str, authorization: str | None) -> None:
    assert_refused(client.request(method, path, headers={"Authorization": authorization}), 401)


@pytest.mark.parametrize("prefix", ["/v2/team_other/project/proj_sandbox", "/v2/team_sandbox/project/proj_other"])
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_a_project_of_others_is_forbidden(client: Client, method: str, path: str, prefix: str) -> None:
    assert_refused(client.request(method, path, prefix=prefix), 403)


def test_a_key_without_its_scopes_is_forbidden(make_client: MakeClient) -> None:
    client = make_client(scopes=("task.read", "upload.read"))
    assert [client.request(method, path).status_code for method, path in ENDPOINTS] == [
        404 if method == "GET" else 403 for method, _ in ENDPOINTS
    ]


# --- create -----------------------------------------------------------------------------------------------------------


def test_create_answers_bare_and_in_camel_case(client: Client) -> None:
    answer = client.create("a.pdf", name="Important Document")
    document = answer.json()
    assert answer.status_code == 201
    assert document.keys() == {"id", "name", "projectId", "status", "fileType", "fileSize", "createdAt", "updatedAt"}
    assert (document["name"], document["projectId"]) == ("Important Document", "proj_sandbox")
    assert (document["status"], document["fileType"], document["fileSize"]) == ("processing", "pdf", len(PDF))


def test_create_may_answer_as_every_other_operation(make_client: MakeClient) -> None:
    answer = make_client(create_payload=True, create_status=202).create()
    assert (answer.status_code, answer.json()["payload"]["status"]) == (202, "PROCESSING")


def test_what_was_received_is_described(client: Client) -> None:
    meta = [{"name": "category", "value": "invoice"}, {"name": "fsagent_key", "value": "ü"}]
    client.create('a "ü".pdf', content=PDF + b"x", name="n", meta=json.dumps(meta), projectId="proj_sandbox")
    described = client.server.sandbox.describe()[-1]
    assert described["sha256"] == hashlib.sha256(PDF + b"x").hexdigest()
    assert described["tags"] == {"file_name": 'a "ü".pdf', "category": "invoice", "fsagent_key": "ü"}
    assert (described["upload_name"], described["content_type"]) == ("n", "application/pdf")


def test_meta_comes_back(client: Client) -> None:
    meta = [{"name": "reference", "value": "INV-2023-001"}]
    upload_id = client.create(meta=json.dumps(meta)).json()["id"]
    assert client.upload(upload_id)["meta"] == meta


def test_an_upload_takes_a_hundred_files_and_no_more(client: Client) -> None:
    names = [f"{number}.pdf" for number in range(101)]
    assert client.create(*names[:100]).status_code == 201
    assert_refused(client.create(*names), 400)


def test_a_file_may_be_as_large_as_the_limit_and_no_larger(client: Client) -> None:
    assert client.create(content=PDF.ljust(200_000)).status_code == 201
    assert_refused(client.create("small.pdf", "large.pdf", content=PDF.ljust(200_001)), 413)


def test_nothing_stays_of_an_upload_that_was_refused(make_client: MakeClient) -> None:
    client = make_client(size_limit=1_000)
    body = HEAD % b"a.pdf" + PDF + b"\r\n" + HEAD % b"b.pdf" + b"x" * 2_000
    assert_refused(client.send(body), 413)
    assert client.server.sandbox.describe() == []
    assert not list(Path(client.server.sandbox._storage._root).iterdir())


@pytest.mark.parametrize(
    "fields",
    [
        {"meta": "{"},
        {"meta": "{}"},
        {"meta": '{"name": "a", "value": "b"}'},
        {"meta": '["a"]'},
        {"meta": '[{"name": "a"}]'},
        {"meta": '[{"name": "a", "value": 1}]'},
        {"meta": '[{"name": "", "value": "b"}]'},
        {"meta": "[" * 100_000},
        {"projectId": "proj_other"},
        {"name": "x" * 1_100_000},
    ],
)
def test_senseless_fields_are_refused(client: Client, fields: dict[str, Any]) -> None:
    answer = client.create(**fields)
    assert_refused(answer, 413 if "name" in fields else 400)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--edge--",
        b"--edge\r\n",
        HEAD % b"a.pdf" + PDF,
        HEAD % b"" + PDF + b"\r\n--edge--",
        HEAD % b"a/b.pdf" + PDF + b"\r\n--edge--",
        b'--edge\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--edge--',
        b'--edge\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--edge--',
        2 * b'--edge\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n' + HEAD % b"a" + b"x\r\n--edge--",
        b'--edge\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xff\r\n' + HEAD % b"a" + b"x\r\n--edge--",
    ],
)
def test_a_senseless_form_is_refused(client: Client, body: bytes) -> None:
    assert_refused(client.send(body), 400)


def test_another_content_type_is_refused(client: Client) -> None:
    assert_refused(client.send(PDF, "application/pdf"), 400)


def test_the_project_may_have_to_be_in_the_form_too(make_client: MakeClient) -> None:
    client = make_client(require_project_field=True)
    assert_refused(client.create(), 400)
    assert client.create(projectId="proj_sandbox").status_code == 201


def test_the_project_may_stand_in_the_form_alone(make_client: MakeClient) -> None:
    client = make_client(path_prefix="/v2/{team_id}")
    files = {"file": ("a.pdf", PDF)}
    right = client.request(
        "POST", "/upload", prefix="/v2/team_sandbox", files=files, data={"projectId": "proj_sandbox"}
    )
    other = client.request("POST", "/upload", prefix="/v2/team_sandbox", files=files, data={"projectId": "proj_other"})
    none = client.request("POST", "/upload", prefix="/v2/team_sandbox", files=files)
    assert [answer.status_code for answer in (right, other, none)] == [201, 403, 400]


def test_forty_megabytes_do_not_pass_through_memory(make_client: MakeClient) -> None:
    client = make_client()
    blocks = [HEAD % b"a.pdf", PDF, *[b"x" * 1_000_000] * 39, b"\r\n--edge--"]
    tracemalloc.start()
    try:
        answer = client.request(
            "POST", "/upload", data=iter(blocks), headers={"Content-Type": "multipart/form-data; boundary=edge"}
        )
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 201
    assert most < 12_000_000


# --- uploads and tasks ------------------------------------------------------------------------------------------------


def test_get_upload_shows_its_tasks(client: Client) -> None:
    upload_id = client.create("a.pdf", "b.pdf").json()["id"]
    upload = client.upload(upload_id)
    assert (upload["status"], upload["files"], upload["folder_id"]) == ("PROCESSING", {}, "folder_inbox")
    assert [(task["name"], task["status"]) for task in upload["tasks"]] == [
        ("a.pdf", "PROCESSING"),
        ("b.pdf", "PROCESSING"),
    ]


@pytest.mark.parametrize("listing", list(TaskListing))
def test_every_listing_is_served(make_client: MakeClient, listing: TaskListing) -> None:
    client = make_client(listing=listing)
    shown = client.upload(client.create().json()["id"])
    (task,) = client.server.sandbox.describe()
    assert (task["id"] in json.dumps(shown)) is (listing is not TaskListing.NONE)


def test_get_task_shows_what_was_read(make_client: MakeClient) -> None:
    client = make_client(read_documents=True)
    (task,) = client.processed("a.pdf", content=read_sample(INVOICE))
    payload = client.request("GET", f"/task/{task['id']}").json()["payload"]
    values = {note["entity_id"]: note["content"] for page in payload["pages"] for note in page["annotations"]}
    assert (payload["status"], payload["step_type"], payload["exported_at"]) == ("COMPLETED", "EXTRACT", None)
    assert (values["invoice_number"], values["page_count"]) == ("INV-2024-0042", "2")
    assert client.server.sandbox.describe()[0]["result"] == payload


def test_a_mail_with_attachments_gives_several_tasks(make_client: MakeClient) -> None:
    client = make_client(read_documents=True)
    mail = EmailMessage()
    mail.set_content("Two documents for you.")
    mail.add_attachment(read_sample(LETTER), maintype="application", subtype="pdf", filename="letter.pdf")
    mail.add_attachment(read_sample(DELIVERY_NOTE), maintype="image", subtype="tiff", filename="note.tiff")
    tasks = client.processed("a.eml", content=mail.as_bytes())
    assert [(task["name"], task["status"]) for task in tasks] == [
        ("a.eml", "COMPLETED"),
        ("letter.pdf", "COMPLETED"),
        ("note.tiff", "COMPLETED"),
    ]


def test_an_upload_moves_to_a_folder(client: Client) -> None:
    upload_id = client.create().json()["id"]
    answer = client.request("POST", f"/upload/{upload_id}/move/folder_9")
    assert (answer.status_code, answer.json()["payload"]["folder_id"]) == (200, "folder_9")


def test_an_upload_may_move_as_the_overview_says(make_client: MakeClient) -> None:
    client = make_client(move_method="PUT")
    upload_id = client.create().json()["id"]
    by_path = client.request("PUT", f"/upload/{upload_id}/move/folder_9")
    by_body = client.request("PUT", f"/upload/{upload_id}/move", json={"folder_id": "folder_8"})
    assert [answer.json()["payload"]["folder_id"] for answer in (by_path, by_body)] == ["folder_9", "folder_8"]
    assert_refused(client.request("POST", f"/upload/{upload_id}/move/folder_9"), 405)


def test_complete_starts_the_processing_of_a_reviewed_task(client: Client) -> None:
    (task,) = client.processed("review.pdf")
    answer = client.act(task["id"], "complete")
    client.clock.advance(1)
    after = client.request("GET", f"/task/{task['id']}").json()["payload"]["status"]
    assert (answer.status_code, answer.json()["message"]) == (200, "Task processing started")
    assert (answer.json()["payload"]["status"], after) == ("PROCESSING", "COMPLETED")


@pytest.mark.parametrize("action", ["complete", "discard"])
def test_what_is_not_for_review_is_ignored_and_no_error(client: Client, action: str) -> None:
    (task,) = client.processed("a.pdf")
    answer = client.act(task["id"], action)
    assert (answer.status_code, answer.json()["payload"]["status"]) == (200, "COMPLETED")
    assert "message" not in answer.json()


def test_discard_and_unlock_answer_with_the_new_status(client: Client) -> None:
    first, _ = client.processed("review1.pdf", "review2.pdf")
    seen = [client.act(first["id"], action).json()["payload"]["status"] for action in ("discard", "unlock")]
    assert seen == ["DISCARDED", "REVIEWING"]


def test_a_report_answers_207_and_leaves_the_task_for_review(client: Client) -> None:
    (task,) = client.processed("review.pdf")
    answer = client.act(task["id"], "report", json={"issues": ISSUES, "message": "blurred"})
    assert (answer.status_code, answer.json()["payload"]["status"]) == (207, "REVIEWING")
    assert client.server.sandbox.describe()[-1]["issues"] == ISSUES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"issues": []}',
        b'{"issues": [{"label": "a"}]}',
        b'{"issues": [{"label": "a", "value": 1}]}',
        b'{"issues": [{"label": "a", "value": "b"}], "message": 1}',
        b"[" * 100_000,
    ],
)
def test_a_senseless_report_is_refused(client: Client, body: bytes) -> None:
    (task,) = client.processed("review.pdf")
    assert_refused(client.act(task["id"], "report", data=body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize(("method", "path"), [end_point for end_point in ENDPOINTS if end_point[1] != "/upload"])
def test_what_is_unknown_is_404(client: Client, method: str, path: str) -> None:
    options: dict[str, Any] = {"json": {"issues": ISSUES}} if path.endswith("report") else {}
    assert_refused(client.request(method, path, **options), 404)


@pytest.mark.parametrize("path", ["/", "/uploads", "/upload/", "/task", "/upload/a/b", "/%00"])
def test_an_unknown_path_is_404(client: Client, path: str) -> None:
    assert_refused(client.request("GET", path), 404)


def test_a_wrong_method_is_405(client: Client) -> None:
    assert_refused(client.request("DELETE", "/upload"), 405)


# --- what the sandboxes share -----------------------------------------------------------------------------------------


def test_a_scripted_answer_looks_like_one_of_this_service(client: Client) -> None:
    client.server.sandbox.faults.add(Fault(503, method="POST", path="*/upload", headers={"Retry-After": "1"}))
    answer = client.create()
    assert_refused(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert client.create().status_code == 201


def test_an_answer_may_be_lost_though_the_upload_was_taken(client: Client) -> None:
    before = len(client.server.sandbox.describe())
    client.control("POST", "faults", json={"kind": "drop", "path": "*/upload", "applied": True})
    with pytest.raises(requests.ConnectionError):
        client.create()
    assert len(client.server.sandbox.describe()) == before + 1


def test_the_control_interface_decides_what_becomes_of_files(client: Client) -> None:
    made = client.control("POST", "fates", json={"file_name": "odd*", "status": "FILTERED"})
    (task,) = client.processed("odd.pdf")
    assert (made.status_code, task["status"]) == (201, "FILTERED")


def test_the_control_interface_acts_as_somebody_at_the_screen(client: Client) -> None:
    (task,) = client.processed("review.pdf")
    client.control("POST", "tasks", json={"id": task["id"], "status": "COMPLETED"})
    assert client.request("GET", f"/task/{task['id']}").json()["payload"]["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("fates", {"status": "FAILED"}),
        ("fates", {"file_name": "*", "status": "GONE"}),
        ("tasks", {"id": "task_1", "status": None}),
        ("fates", []),
    ],
)
def test_a_senseless_control_request_is_refused(client: Client, path: str, body: Any) -> None:
    assert_refused(client.control("POST", path, json=body), 400)


def test_the_control_interface_moves_the_clock_and_shows_everything(client: Client) -> None:
    client.create("a.pdf")
    before = client.control("GET", "state").json()
    client.control("POST", "clock", json={"advance": 60})
    after = client.control("GET", "state").json()
    assert after["now"] - before["now"] == 60
    assert after["tasks"][-1]["file_name"] == "a.pdf"
    assert after["uploads"][-1]["tasks"] == [after["tasks"][-1]["id"]]


def test_requests_are_counted_without_their_ids(make_client: MakeClient) -> None:
    client = make_client()
    upload_id = client.create().json()["id"]
    client.upload(upload_id)
    client.request("POST", f"/upload/{upload_id}/move/folder_9")
    client.request("GET", "/task/task_1")
    expected = {
        f"POST {PREFIX}/upload 201": 1,
        f"GET {PREFIX}/upload/{{id}} 200": 1,
        f"POST {PREFIX}/upload/{{id}}/move/{{id}} 200": 1,
        f"GET {PREFIX}/task/{{id}} 404": 1,
    }
    counts = client.server.sandbox.requests.counts
    wait_until(lambda: counts() == expected, what=counts)  # a request is counted once its answer is out
