"""The Typless sandbox over the wire: what apis.md section 3 says about requests, answers, errors and webhooks."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import queue
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests
from fakes.driven_clock import DrivenClock

from agent.sandbox.faults import Fault
from agent.sandbox.samples import INVOICE, read_sample
from agent.sandbox.server import SandboxServer
from agent.sandbox.typless.settings import DEMO_DOCUMENT_TYPE, ExtractionStatus, TyplessSettings
from agent.sandbox.typless.settings import Fate as Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.sandbox.typless.core import TyplessSandbox

    MakeClient = Callable[..., "Client"]

PDF = b"%PDF-1.4\n%%EOF\n"


class Client:
    """A session with the key, and the few requests every test makes; its sandbox's clock stands still."""

    def __init__(self, **options: Any) -> None:
        self.clock = DrivenClock()
        settings = TyplessSettings(**{"read_documents": False, "control": True, "read_patience": 30, **options})
        self.server: SandboxServer[TyplessSandbox] = SandboxServer(settings, clock=self.clock)
        self.server.start()
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = "Token sandbox-key"

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.server.url + path, timeout=60, **options)

    def extract(self, *, content: bytes = PDF, prefix: str = "/api", **changes: Any) -> requests.Response:
        body = {
            "file": base64.b64encode(content).decode(),
            "file_name": "a.pdf",
            "document_type_name": DEMO_DOCUMENT_TYPE,
            **changes,
        }
        return self.request("POST", f"{prefix}/extract-data-async", json=body)

    def poll(self, extraction_id: str, *, prefix: str = "/api", **query: str) -> requests.Response:
        return self.request("GET", f"{prefix}/get-extraction-data", params={"extraction_id": extraction_id, **query})

    def finished(self, **options: Any) -> str:
        extraction_id = str(self.extract(**options).json()["extraction_id"])
        self.clock.advance(10)
        return extraction_id

    def control(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.request(method, f"/control/{path}", **options)

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
    client = Client(size_limit=200_000)
    yield client
    client.close()


@pytest.fixture
def client(running: Client) -> Client:
    running.server.sandbox.faults.clear()
    return running


class Receiver:
    """A server that is told things."""

    def __init__(self, status: int) -> None:
        self.told: queue.Queue[tuple[str, Any]] = queue.Queue()
        told = self.told

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.put((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/typless/secret?a=b"


@contextmanager
def receiving(status: int = 200) -> Iterator[Receiver]:
    receiver = Receiver(status)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


def assert_refused(response: requests.Response, status: int) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    assert response.json().keys() == {"code", "message", "details"}


# --- the key ----------------------------------------------------------------------------------------------------------


ENDPOINTS = [
    (method, prefix + path)
    for prefix in ("/api", "/api/v1")
    for method, path in (("POST", "/extract-data-async"), ("GET", "/get-extraction-data"), ("GET", "/awaiting-poll"))
]


@pytest.mark.parametrize("authorization", [None, "Token wrong", "Bearer sandbox-key", "sandbox-key", "Token "])
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_every_end_point_asks_for_the_key(client: Client, method: str, path: str, authorization: str | None) -> None:
    assert_refused(client.request(method, path, headers={"Authorization": authorization}), 401)


# --- extract ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/api", "/api/v1"])
def test_extract_answers_202_with_an_id(client: Client, prefix: str) -> None:
    answer = client.extract(prefix=prefix)
    assert (answer.status_code, answer.json().keys()) == (202, {"extraction_id"})


def test_what_was_received_is_described(client: Client) -> None:
    client.extract(content=PDF + b"x", file_name="ü.pdf", customer="c", parse_text_blocks=True, further="key")
    described = client.server.sandbox.describe()[-1]
    assert described["sha256"] == hashlib.sha256(PDF + b"x").hexdigest()
    assert (described["file_name"], described["customer"]) == ("ü.pdf", "c")
    assert described["document_type_name"] == DEMO_DOCUMENT_TYPE


@pytest.mark.parametrize("customer", [{}, {"customer": None}])
def test_the_customer_may_be_left_out_or_null(client: Client, customer: dict[str, None]) -> None:
    assert client.poll(client.finished(**customer)).json()["result"]["customer"] is None


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"file": None}, "file"),
        ({"file": ""}, "file"),
        ({"file_name": 1}, "file_name"),
        ({"document_type_name": ""}, "document_type_name"),
        ({"customer": 1}, "customer"),
        ({"parse_text_blocks": "yes"}, "parse_text_blocks"),
    ],
)
def test_a_field_that_does_not_fit_is_422_and_named(client: Client, changes: dict[str, Any], place: str) -> None:
    answer = client.extract(**changes)
    assert (answer.status_code, [each["loc"] for each in answer.json()["detail"]]) == (422, [["body", place]])


def test_every_missing_field_is_named(client: Client) -> None:
    answer = client.request("POST", "/api/extract-data-async", json={})
    assert [each["loc"][1] for each in answer.json()["detail"]] == ["file", "file_name", "document_type_name"]


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "data:application/pdf;base64,JVBERi0xLjQK"},
        {"file": "JVBE\nRi0x"},
        {"file": "JVBERi0xLj\r\nQK"},
        {"file": "JVBER"},
        {"file": "JVBE Ri0x"},
        {"file": "JV_-"},
        {"file": "é==="},
        {"file": "===="},
        {"file_name": "invoice"},
        {"file_name": "invoice."},
        {"file_name": ".pdf"},
        {"file_name": "folder/invoice.pdf"},
        {"file_name": "C:\\invoice.pdf"},
        {"document_type_name": "unknown"},
    ],
)
def test_a_senseless_value_is_refused(client: Client, changes: dict[str, Any]) -> None:
    before = len(client.server.sandbox.describe())
    assert_refused(client.extract(**changes), 400)
    assert len(client.server.sandbox.describe()) == before


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(client: Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert_refused(client.request("POST", "/api/extract-data-async", data=body, headers=headers), 400)


def test_a_body_that_is_no_object_does_not_fit(client: Client) -> None:
    assert client.request("POST", "/api/extract-data-async", json=["file"]).status_code == 422


def test_another_content_type_is_refused(client: Client) -> None:
    assert_refused(client.request("POST", "/api/extract-data-async", data={"file": "JVBE"}), 400)


def test_a_file_may_be_as_large_as_the_limit_and_no_larger(client: Client) -> None:
    assert client.extract(content=PDF.ljust(200_000)).status_code == 202
    assert_refused(client.extract(content=PDF.ljust(200_001)), 400)
    assert_refused(client.extract(content=PDF.ljust(2_000_000)), 400)


# --- poll -------------------------------------------------------------------------------------------------------------


def test_a_poll_always_has_the_same_three_properties(client: Client) -> None:
    extraction_id = client.extract().json()["extraction_id"]
    answers = [client.poll(extraction_id)]
    for seconds in (10, 48 * 3_600):
        client.clock.advance(seconds)
        answers.append(client.poll(extraction_id))
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["status"] for answer in answers] == ["IN_PROGRESS", "SUCCESS", "EXPIRED"]
    assert all(answer.json().keys() == {"error", "result", "status"} for answer in answers)


def test_a_result_is_what_was_read(make_client: MakeClient) -> None:
    client = make_client(read_documents=True)
    answer = client.poll(client.finished(content=read_sample(INVOICE), customer="c")).json()
    values = {field["name"]: field["values"][0]["value"] for field in answer["result"]["extracted_fields"]}
    assert (values["invoice_number"], values["total_amount"]) == ("INV-2024-0042", "480.00")
    assert (len(answer["result"]["line_items"]), len(answer["result"]["vat_rates"])) == (4, 1)
    assert client.server.sandbox.describe()[0]["result"] == answer["result"]


def test_a_file_that_is_not_valid_is_an_error_of_the_result(client: Client) -> None:
    answer = client.poll(client.finished(content=b"\x00\x01"))
    assert (answer.status_code, answer.json()["status"], answer.json()["result"]) == (200, "ERROR", {})
    assert answer.json()["error"].keys() == {"code", "message", "details"}


def test_confidence_may_be_text(make_client: MakeClient) -> None:
    client = make_client(confidence_as_text=True)
    field = client.poll(client.finished()).json()["result"]["extracted_fields"][0]
    assert field["values"][0]["confidence_score"] == "1.0"


def test_the_first_version_adds_its_own(client: Client) -> None:
    result = client.poll(client.finished(), prefix="/api/v1").json()["result"]
    assert (result["adjusted_s3_url"], result["extracted_fields"][0]["multiple_values"]) == ("", False)


@pytest.mark.parametrize("status", [404, 400])
def test_an_unknown_id_is_refused(make_client: MakeClient, status: int) -> None:
    assert_refused(make_client(unknown_status=status).poll("nobody's"), status)


@pytest.mark.parametrize(
    "query", ["", "extraction_id=", "extraction_id=a&extraction_id=b", "extraction_id=a&text_blocks=1"]
)
def test_a_senseless_poll_does_not_fit(client: Client, query: str) -> None:
    answer = client.request("GET", f"/api/get-extraction-data?{query}")
    assert (answer.status_code, answer.json()["detail"][0]["loc"][0]) == (422, "query")


def test_what_waits_is_listed_for_a_customer(client: Client) -> None:
    mine = [client.extract(customer="mine / 1").json()["extraction_id"] for _ in range(2)]
    everybody = client.request("GET", "/api/v1/awaiting-poll").json()["extraction_ids"]
    found = client.request("GET", "/api/v1/awaiting-poll", params={"customer": "mine / 1"}).json()
    assert (found, everybody[-2:]) == ({"extraction_ids": mine}, mine)


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v2/get-extraction-data", "/api/extract-data", "/extract-data-async"]
)
def test_an_unknown_path_is_404(client: Client, path: str) -> None:
    assert_refused(client.request("GET", path), 404)


def test_a_wrong_method_is_405(client: Client) -> None:
    assert_refused(client.request("GET", "/api/extract-data-async"), 405)


# --- webhooks ---------------------------------------------------------------------------------------------------------


def test_the_end_of_an_extraction_is_told_with_its_id(make_client: MakeClient) -> None:
    with receiving() as receiver:
        client = make_client(webhook_url=receiver.url)
        extraction_id = client.finished()
        path, body = receiver.told.get(timeout=30)
    assert path == "/webhooks/typless/secret?a=b"
    assert body.keys() == {"event_id", "event_time", "type", "data"}
    assert (body["type"], body["data"]["id"]) == ("extraction.finished", extraction_id)


def test_the_end_is_told_though_nobody_asks(make_client: MakeClient) -> None:
    with receiving() as receiver:
        client = make_client(webhook_url=receiver.url, extraction_delay=0)
        client.extract()
        assert receiver.told.get(timeout=30)


def test_nothing_is_told_twice_whatever_is_answered(make_client: MakeClient) -> None:
    with receiving(500) as receiver:
        client = make_client(webhook_url=receiver.url)
        ids = [client.finished() for _ in range(3)]
        told = [receiver.told.get(timeout=30)[1]["data"]["id"] for _ in ids]
        assert (told, receiver.told.empty()) == (ids, True)


def test_a_receiver_that_is_away_costs_only_its_own_webhook(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        away = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with receiving() as receiver:
        client = make_client(webhook_url=away)
        client.finished()
        seen = client.server.sandbox
        with seen._changed:
            assert seen._changed.wait_for(lambda: seen.describe()[0]["webhook"].startswith("failed"), timeout=30)
        client.control("POST", "webhooks", json={"url": receiver.url})
        extraction_id = client.finished()
        assert receiver.told.get(timeout=30)[1]["data"]["id"] == extraction_id


def test_webhooks_can_be_cut_off(make_client: MakeClient) -> None:
    with receiving() as receiver:
        client = make_client(webhook_url=receiver.url)
        client.control("POST", "webhooks", json={"cut_off": True})
        client.poll(client.finished())
        client.control("POST", "webhooks", json={"cut_off": False})
        extraction_id = client.finished()
        assert receiver.told.get(timeout=30)[1]["data"]["id"] == extraction_id


# --- what the sandboxes share -----------------------------------------------------------------------------------------


def test_a_scripted_answer_looks_like_one_of_this_service(client: Client) -> None:
    client.server.sandbox.faults.add(Fault(503, path="/api/extract-data-async"))
    assert_refused(client.extract(), 503)
    assert client.extract().status_code == 202


def test_the_control_interface_decides_how_files_end(client: Client) -> None:
    error = {"code": "E1", "message": "No text", "details": "page 1"}
    made = client.control("POST", "fates", json={"file_name": "odd*", "status": "ERROR", **error})
    answer = client.poll(client.finished(file_name="odd.pdf")).json()
    assert (made.status_code, answer["status"], answer["error"]) == (201, "ERROR", error)


def test_the_settings_decide_how_files_end(make_client: MakeClient) -> None:
    client = make_client(fates=(Ending("old*", ExtractionStatus.EXPIRED),))
    assert client.poll(client.finished(file_name="old.pdf")).json()["status"] == "EXPIRED"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("fates", {"status": "ERROR"}),
        ("fates", {"file_name": "*", "status": "GONE"}),
        ("fates", {"file_name": "*", "status": "ERROR", "code": []}),
        ("fates", {"file_name": "*", "status": "ERROR", "message": 1}),
        ("fates", {"file_name": "*", "status": "ERROR", "further": ""}),
        ("webhooks", {"url": 1}),
        ("webhooks", {"cut_off": "yes"}),
        ("webhooks", {"further": True}),
    ],
)
def test_a_senseless_control_request_is_refused(client: Client, path: str, body: dict[str, Any]) -> None:
    assert_refused(client.control("POST", path, json=body), 400)


def test_the_control_interface_shows_everything(client: Client) -> None:
    client.poll(client.finished())
    task = client.control("GET", "state").json()["tasks"][-1]
    assert (task["state"], task["calls"]) == ("SUCCESS", {"SUCCESS": 1})
