"""How tasks of the sandbox move (apis.md 1.3), with a driven clock and without HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.sandbox.aluma.core import AlumaSandbox
from agent.sandbox.aluma.problems import TokenRefusal
from agent.sandbox.aluma.settings import DEMO_PROJECT_ID, AlumaSettings
from agent.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakeSandbox = Callable[..., "DrivenSandbox"]

PDF = b"%PDF-1.4\n%%EOF\n"
TIFF = b"II*\x00\x08\x00\x00\x00\x00\x00"
EXPORT = "export"


class DrivenClock:
    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time


class DrivenSandbox:
    """A sandbox that reads by first bytes only, when told to, and whose clock stands still."""

    def __init__(self, settings: AlumaSettings) -> None:
        self.clock = DrivenClock()
        self.core = AlumaSandbox(settings, clock=self.clock)

    def create(self, *, body: bytes = PDF, content_type: str = "application/pdf", **tags: str) -> str:
        with self.core.receive() as incoming:
            incoming.write(body)
            document = incoming.finish()
        task = self.core.create_task(
            self.core.project(DEMO_PROJECT_ID),
            tags={"task_name": "one", **tags},
            content_type=content_type,
            document=document,
        )
        return str(task["id"])

    def wait(self, seconds: float) -> None:
        self.clock.time += seconds

    def read(self) -> None:
        while self.core.read_next():
            pass

    def pending(self, **options: Any) -> str:
        task_id = self.create(**options)
        self.read()
        self.wait(15)
        assert self.state(task_id) == "pending:start_client_action"
        return task_id

    def started(self) -> str:
        task_id = self.pending()
        self.core.start(task_id, EXPORT)
        return task_id

    def state(self, task_id: str) -> str:
        return str(self.core.get_task(task_id)["state"])

    def files(self, task_id: str) -> list[dict[str, Any]]:
        documents = self.core.start(task_id, EXPORT)["documents"]
        return [file for document in documents for file in document["files"]]


@pytest.fixture
def make_sandbox() -> Iterator[MakeSandbox]:
    made: list[DrivenSandbox] = []

    def make(**options: Any) -> DrivenSandbox:
        settings = AlumaSettings(
            **{"queue_delay": 10, "processing_delay": 5, "finish_delay": 2, "read_documents": False, **options}
        )
        made.append(DrivenSandbox(settings))
        return made[-1]

    yield make
    for each in made:
        each.core.close()


@pytest.fixture
def sandbox(make_sandbox: MakeSandbox) -> DrivenSandbox:
    return make_sandbox()


def status_of(call: Callable[[], object]) -> int:
    with pytest.raises(Refusal) as refused:
        call()
    return refused.value.status


def test_a_task_is_queued_then_runs_then_waits_for_export(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.create()
    sandbox.read()
    seen = [sandbox.state(task_id)]
    for seconds in (9.9, 0.2, 4.8, 0.2):
        sandbox.wait(seconds)
        seen.append(sandbox.state(task_id))
    assert seen == ["queued", "queued", "running", "running", "pending:start_client_action"]


def test_a_task_runs_until_its_document_is_read(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.create()
    sandbox.wait(1000)
    assert sandbox.state(task_id) == "running"
    sandbox.read()
    assert sandbox.state(task_id) == "pending:start_client_action"


def test_pending_tasks_show_their_action_and_count(sandbox: DrivenSandbox) -> None:
    task = sandbox.core.get_task(sandbox.pending())
    assert (task["client_action"], task["documents_count"]) == ("export", 1)


def test_a_new_task_shows_exactly_the_documented_keys(sandbox: DrivenSandbox) -> None:
    task = sandbox.core.get_task(sandbox.create(fsagent_key="k"))
    assert set(task) == {"id", "name", "file_collection_id", "project_id", "project_name", "created_at", "state"}


def test_tags_are_shown_where_the_settings_ask_for_it(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(list_tags=True)
    assert sandbox.core.get_task(sandbox.create(fsagent_key="k"))["tags"] == {"task_name": "one", "fsagent_key": "k"}


def test_ids_have_22_url_safe_characters(sandbox: DrivenSandbox) -> None:
    assert {len(sandbox.create()) for _ in range(20)} == {22}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"hello", "application/pdf", id="no PDF at all"),
        pytest.param(PDF, "text/plain", id="a type that is not taken"),
        pytest.param(PDF, "image/tiff", id="PDF sent as TIFF"),
        pytest.param(TIFF, "application/pdf", id="TIFF sent as PDF"),
        pytest.param(b"", "application/pdf", id="empty"),
    ],
)
def test_what_is_not_pdf_or_tiff_is_accepted_and_fails(sandbox: DrivenSandbox, body: bytes, content_type: str) -> None:
    task_id = sandbox.create(body=body, content_type=content_type)
    sandbox.read()
    sandbox.wait(15)
    assert sandbox.state(task_id) == "failed"


def test_a_failed_task_says_why_where_the_settings_ask_for_it(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(show_message=True)
    task_id = sandbox.create(content_type="text/plain")
    sandbox.read()
    sandbox.wait(15)
    assert "not in PDF or TIFF format" in sandbox.core.get_task(task_id)["message"]


@pytest.mark.parametrize(("body", "content_type"), [(PDF, ""), (TIFF, ""), (TIFF, "image/tiff; x=y")])
def test_content_decides_where_the_type_says_nothing_else(
    sandbox: DrivenSandbox, body: bytes, content_type: str
) -> None:
    sandbox.pending(body=body, content_type=content_type)


def test_a_whole_document_is_read_where_the_settings_ask_for_it(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(read_documents=True)
    task_id = sandbox.create(body=b"%PDF-1.4\nonly a head\n%%EOF\n")
    sandbox.read()
    sandbox.wait(15)
    assert sandbox.state(task_id) == "failed"


def test_start_takes_the_lease(sandbox: DrivenSandbox) -> None:
    assert sandbox.state(sandbox.started()) == "pending:complete_client_action"


def test_start_gives_data_files_and_the_document(sandbox: DrivenSandbox) -> None:
    files = sandbox.files(sandbox.pending(file_name="00001.pdf"))
    assert [(file["folder"], file["filename"], file["source"]) for file in files] == [
        ("", "00001.csv", "content"),
        ("", "00001.json", "content"),
        ("", "00001.pdf", "url"),
    ]


def test_a_second_start_is_refused(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.started()
    assert status_of(lambda: sandbox.core.start(task_id, EXPORT)) == 409


def test_start_for_validation_is_refused_where_export_is_waited_for(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.pending()
    assert status_of(lambda: sandbox.core.start(task_id, "validation")) == 409


@pytest.mark.parametrize("action", ["complete", "cancel", "fail"])
def test_an_action_needs_a_start_before(sandbox: DrivenSandbox, action: str) -> None:
    task_id = sandbox.pending()
    arguments = (task_id, EXPORT, "text") if action == "fail" else (task_id, EXPORT)
    assert status_of(lambda: getattr(sandbox.core, action)(*arguments)) == 409


def test_complete_runs_on_to_completed(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.started()
    sandbox.core.complete(task_id, EXPORT)
    first = sandbox.state(task_id)
    sandbox.wait(2)
    assert (first, sandbox.state(task_id)) == ("running", "completed")


def test_a_second_complete_is_refused(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.started()
    sandbox.core.complete(task_id, EXPORT)
    sandbox.wait(2)
    assert status_of(lambda: sandbox.core.complete(task_id, EXPORT)) == 409


def test_fail_runs_on_to_failed(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.started()
    sandbox.core.fail(task_id, EXPORT, "bad name")
    first = sandbox.state(task_id)
    sandbox.wait(2)
    assert (first, sandbox.state(task_id)) == ("running", "failed")


def test_cancel_brings_the_task_back_at_once(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.started()
    sandbox.core.cancel(task_id, EXPORT)
    assert sandbox.state(task_id) == "pending:start_client_action"


def test_the_same_files_come_with_every_start(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.pending()
    first = sandbox.files(task_id)
    sandbox.core.cancel(task_id, EXPORT)
    assert sandbox.files(task_id) == first


def test_a_lease_that_ends_queues_the_export_again(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(lease=60)
    task_id = sandbox.started()
    sandbox.wait(59)
    before = sandbox.state(task_id)
    sandbox.wait(2)
    assert (before, sandbox.state(task_id)) == ("pending:complete_client_action", "pending:start_client_action")


def test_the_holder_of_a_lost_lease_cannot_complete(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(lease=60)
    task_id = sandbox.started()
    sandbox.wait(61)
    assert status_of(lambda: sandbox.core.complete(task_id, EXPORT)) == 409


def test_a_new_lease_is_not_cut_by_the_end_of_the_one_before(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(lease=60)
    task_id = sandbox.started()
    sandbox.wait(50)
    sandbox.core.cancel(task_id, EXPORT)
    sandbox.core.start(task_id, EXPORT)
    sandbox.wait(30)
    assert sandbox.state(task_id) == "pending:complete_client_action"


def test_a_final_task_is_forgotten_after_72_hours(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.started()
    sandbox.core.complete(task_id, EXPORT)
    sandbox.wait(2 + 72 * 3600 - 1)
    before = sandbox.state(task_id)
    sandbox.wait(1)
    assert (before, status_of(lambda: sandbox.core.get_task(task_id))) == ("completed", 404)


def test_a_task_that_is_not_final_is_kept_for_ever(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.pending()
    sandbox.wait(400 * 86_400)
    assert sandbox.state(task_id) == "pending:start_client_action"


def test_a_task_times_out_where_the_project_has_a_limit(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(task_timeout=3600)
    task_id = sandbox.pending()
    sandbox.wait(3600)
    assert sandbox.state(task_id) == "timed-out"


def test_a_completed_task_does_not_time_out(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(task_timeout=3600)
    task_id = sandbox.started()
    sandbox.core.complete(task_id, EXPORT)
    sandbox.wait(4000)
    assert sandbox.state(task_id) == "completed"


@pytest.mark.parametrize("seconds", [0, 12, 15])
def test_a_task_can_be_canceled_before_it_is_final(sandbox: DrivenSandbox, seconds: float) -> None:
    task_id = sandbox.create()
    sandbox.wait(seconds)
    sandbox.core.cancel_task(task_id)
    assert sandbox.state(task_id) == "canceled"


def test_a_final_task_cannot_be_canceled(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.create()
    sandbox.core.cancel_task(task_id)
    assert status_of(lambda: sandbox.core.cancel_task(task_id)) == 409


def test_a_document_read_too_late_changes_nothing(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.create()
    taken = sandbox.core.next_unread()
    assert taken is not None
    sandbox.core.cancel_task(task_id)
    sandbox.core.record_reading(taken, contents=None, message="late")
    assert sandbox.state(task_id) == "canceled"


def test_data_is_deleted_with_the_final_state(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.pending()
    collection_id, file_id = str(sandbox.files(task_id)[-1]["url"]).split("/")[2::2]
    path = sandbox.core.document(collection_id, file_id).document.path
    assert path.read_bytes() == PDF
    sandbox.core.complete(task_id, EXPORT)
    sandbox.wait(2)
    assert status_of(lambda: sandbox.core.document(collection_id, file_id)) == 404
    assert not path.exists()


def test_lists_come_oldest_first_whatever_happened_since(sandbox: DrivenSandbox) -> None:
    ids = [sandbox.pending() for _ in range(3)]
    for task_id in (ids[0], ids[1]):
        sandbox.core.start(task_id, EXPORT)
    sandbox.core.cancel(ids[1], EXPORT)
    sandbox.core.cancel(ids[0], EXPORT)
    listed = sandbox.core.list_tasks(state="pending:start_client_action", client_action=EXPORT)
    assert [task["id"] for task in listed] == ids


def test_a_list_without_filters_shows_every_state(sandbox: DrivenSandbox) -> None:
    sandbox.started()
    sandbox.create()
    sandbox.core.cancel_task(sandbox.create())
    assert [task["state"] for task in sandbox.core.list_tasks()] == [
        "pending:complete_client_action",
        "queued",
        "canceled",
    ]


def test_an_action_filter_alone_shows_both_pending_states(sandbox: DrivenSandbox) -> None:
    ids = [sandbox.started(), sandbox.pending()]
    sandbox.create()
    assert [task["id"] for task in sandbox.core.list_tasks(client_action=EXPORT)] == ids


def test_a_list_for_validation_is_empty(sandbox: DrivenSandbox) -> None:
    sandbox.pending()
    assert sandbox.core.list_tasks(client_action="validation") == []


@pytest.mark.parametrize(
    "wrong", [{"state": "cancelled"}, {"state": "reviewing"}, {"state": ""}, {"client_action": "import"}]
)
def test_a_filter_with_an_unknown_value_is_refused(sandbox: DrivenSandbox, wrong: dict[str, str]) -> None:
    assert status_of(lambda: sandbox.core.list_tasks(**wrong)) == 400


def test_an_unknown_task_is_404(sandbox: DrivenSandbox) -> None:
    assert status_of(lambda: sandbox.core.start("x" * 22, EXPORT)) == 404


def test_the_clock_can_be_moved_forward(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.create()
    sandbox.read()
    sandbox.core.advance_clock(15)
    assert sandbox.state(task_id) == "pending:start_client_action"


def test_calls_are_counted_for_each_task(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.started()
    sandbox.core.cancel(task_id, EXPORT)
    sandbox.core.start(task_id, EXPORT)
    sandbox.core.complete(task_id, EXPORT)
    (task,) = sandbox.core.describe()
    assert task["calls"] == {"start": 2, "cancel": 1, "complete": 1}


def test_a_token_is_valid_until_it_expires(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(token_lifetime=100)
    header = "Bearer " + sandbox.core.issue_token("sandbox", "sandbox-secret")
    sandbox.core.check_token(header)
    sandbox.wait(100)
    assert status_of(lambda: sandbox.core.check_token(header)) == 401


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Token abc", "Basic c2FuZGJveA=="])
def test_a_header_without_a_token_of_ours_is_refused(sandbox: DrivenSandbox, header: str | None) -> None:
    assert status_of(lambda: sandbox.core.check_token(header)) == 401


@pytest.mark.parametrize("pair", [("sandbox", "no"), ("no", "sandbox-secret"), ("", ""), ("\ud800", "ü")])
def test_wrong_credentials_give_no_token(sandbox: DrivenSandbox, pair: tuple[str, str]) -> None:
    with pytest.raises(TokenRefusal) as refused:
        sandbox.core.issue_token(*pair)
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ({}, ["one.csv", "one.json", "one.pdf"]),
        ({"file_name": "a.b.pdf"}, ["a.b.csv", "a.b.json", "a.b.pdf"]),
        ({"file_name": "../../etc/x.pdf"}, ["x.csv", "x.json", "x.pdf"]),
        ({"file_name": "C:\\in\\Änd&=%.PDF"}, ["Änd&=%.csv", "Änd&=%.json", "Änd&=%.PDF"]),
        ({"file_name": "data.csv"}, ["data.csv.csv", "data.csv.json", "data.csv.pdf"]),
        ({"file_name": "a:b?\n.pdf"}, ["a_b__.csv", "a_b__.json", "a_b__.pdf"]),
        ({"file_name": " .. "}, ["document.csv", "document.json", "document.pdf"]),
    ],
)
def test_exported_files_are_named_after_the_source(
    sandbox: DrivenSandbox, tags: dict[str, str], names: list[str]
) -> None:
    assert [file["filename"] for file in sandbox.files(sandbox.pending(**tags))] == names


def test_the_folder_of_the_export_is_filled_in(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(export_folder="invoices/{kind}/{stem}/{project_name}")
    files = sandbox.files(sandbox.pending(file_name="a/b.pdf"))
    assert {file["folder"] for file in files} == {"invoices/pdf/b/Demo project"}


def test_an_upload_that_is_not_finished_leaves_nothing(sandbox: DrivenSandbox) -> None:
    with sandbox.core.receive() as incoming:
        incoming.write(b"half")
        folder = incoming._path.parent
    assert list(folder.iterdir()) == []


def test_closing_deletes_the_data(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox()
    sandbox.create()
    task = sandbox.core.next_unread()
    assert task is not None
    sandbox.core.close()
    assert not task.document.path.parent.exists()
