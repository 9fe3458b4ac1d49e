"""How uploads and tasks of the Send AI sandbox move (apis.md 2.3), with a driven clock and without HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.driven_clock import DrivenClock

from agent.sandbox.refusals import Refusal
from agent.sandbox.samples import DELIVERY_NOTE, INVOICE, read_sample
from agent.sandbox.sendai.core import SendaiSandbox
from agent.sandbox.sendai.mails import attachments_of
from agent.sandbox.sendai.records import SentFile
from agent.sandbox.sendai.settings import DEMO_PROJECT, Fate, SendaiSettings, TaskListing, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakeSandbox = Callable[..., "DrivenSandbox"]

REVIEWED = Fate("*review*", TaskStatus.REVIEWING)
MAIL = b"""\
From: sender@example.org
Subject: Two attachments
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=edge

--edge
Content-Type: text/plain

Two documents for you.
--edge
Content-Type: application/pdf
Content-Disposition: attachment; filename="first.pdf"

%PDF-1.4
%%EOF

--edge
Content-Type: image/png
Content-Disposition: attachment; filename="second.png"
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--edge--
"""


class DrivenSandbox:
    """A sandbox whose clock stands still until told otherwise, and that reads by first bytes where not told to."""

    def __init__(self, settings: SendaiSettings) -> None:
        self.clock = DrivenClock()
        self.core = SendaiSandbox(settings, clock=self.clock)

    def store(self, name: str, content: bytes) -> SentFile:
        with self.core.receive() as incoming:
            incoming.write(content)
            document = incoming.finish()
        return SentFile(name, "", document, attachments_of(name, document, self.core.receive))

    def upload(self, *names: str, content: bytes = b"%PDF-1.4\n%%EOF\n") -> str:
        files = [self.store(name, content) for name in names]
        return str(self.core.create_upload(DEMO_PROJECT, name="", meta=[], files=files)["id"])

    def read(self) -> None:
        while self.core.read_next():
            pass

    def processed(self, *names: str, **options: Any) -> str:
        upload_id = self.upload(*names, **options)
        self.read()
        self.clock.advance(10)
        return upload_id

    def one(self, name: str, **options: Any) -> str:
        """Return the id of the one task of a file that was processed."""
        self.processed(name, **options)
        return str(self.core.describe()[-1]["id"])

    def tasks(self, upload_id: str) -> list[dict[str, str]]:
        tasks: list[dict[str, str]] = self.core.get_upload(upload_id)["tasks"]
        return tasks

    def state(self, task_id: str) -> str:
        return str(self.core.get_task(task_id)["status"])


@pytest.fixture
def make_sandbox() -> Iterator[MakeSandbox]:
    made: list[DrivenSandbox] = []

    def make(**options: Any) -> DrivenSandbox:
        settings = SendaiSettings(
            **{"processing_delay": 10, "review_delay": 2, "read_documents": False, "fates": (REVIEWED,), **options}
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


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_each_file_becomes_a_task_of_its_name_in_order(sandbox: DrivenSandbox) -> None:
    tasks = sandbox.tasks(sandbox.upload("b.pdf", "a.pdf"))
    assert [task["name"] for task in tasks] == ["b.pdf", "a.pdf"]
    assert [task["id"] for task in tasks] == sorted(task["id"] for task in tasks)


def test_a_task_is_processed_when_its_time_is_over(sandbox: DrivenSandbox) -> None:
    upload_id = sandbox.upload("a.pdf")
    sandbox.read()
    sandbox.clock.advance(9.9)
    before = sandbox.tasks(upload_id)[0]["status"]
    sandbox.clock.advance(0.2)
    assert (before, sandbox.tasks(upload_id)[0]["status"]) == ("PROCESSING", "COMPLETED")


def test_a_task_is_processed_no_sooner_than_its_document_is_read(sandbox: DrivenSandbox) -> None:
    upload_id = sandbox.upload("a.pdf")
    sandbox.clock.advance(1000)
    before = sandbox.tasks(upload_id)[0]["status"]
    sandbox.read()
    assert (before, sandbox.tasks(upload_id)[0]["status"]) == ("PROCESSING", "COMPLETED")


def test_tasks_are_shown_once_the_upload_was_split(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(split_delay=5)
    upload_id = sandbox.upload("a.pdf")
    before = sandbox.core.get_upload(upload_id)
    sandbox.clock.advance(5)
    assert (before["tasks"], before["status"]) == ([], "PROCESSING")
    assert len(sandbox.tasks(upload_id)) == 1


@pytest.mark.parametrize("status", list(TaskStatus))
def test_every_state_is_reached_by_the_name_of_the_file(make_sandbox: MakeSandbox, status: TaskStatus) -> None:
    sandbox = make_sandbox(fates=(Fate("x*.pdf", status),))
    assert sandbox.state(sandbox.one("x1.pdf")) == status
    assert sandbox.state(sandbox.one("y.pdf")) == "COMPLETED"


def test_the_fate_added_last_counts(sandbox: DrivenSandbox) -> None:
    sandbox.core.add_fate(Fate("*", TaskStatus.FAILED))
    sandbox.core.add_fate(Fate("a*", TaskStatus.DISCARDED))
    assert sandbox.state(sandbox.one("a.pdf")) == "DISCARDED"


def test_a_document_that_cannot_be_read_fails(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.one("a.pdf", content=b"\x00\x01\x02")
    assert sandbox.state(task_id) == "FAILED"
    assert "cannot be processed" in sandbox.core.describe()[0]["message"]


def test_a_mail_becomes_a_task_for_its_body_and_one_for_each_attachment(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(read_documents=True)
    tasks = sandbox.tasks(sandbox.processed("a.eml", content=MAIL))
    assert [task["name"] for task in tasks] == ["a.eml", "first.pdf", "second.png"]


def test_tasks_of_a_mail_are_told_apart_and_belong_to_the_one_file(sandbox: DrivenSandbox) -> None:
    sandbox.upload("a.eml", content=MAIL)
    described = sandbox.core.describe()
    assert [task["part"] for task in described] == [1, 2, 3]
    assert {(task["file_name"], task["size"]) for task in described} == {("a.eml", len(MAIL))}


def test_what_the_document_says_is_annotated_on_its_pages(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(read_documents=True)
    pages = sandbox.core.get_task(sandbox.one("a.pdf", content=read_sample(INVOICE)))["pages"]
    read = [{note["entity_id"]: note["content"] for note in page["annotations"]} for page in pages]
    assert (read[0]["invoice_number"], read[1]["total_amount"]) == ("INV-2024-0042", "480.00")


def test_a_document_without_text_still_has_its_pages(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(read_documents=True)
    task = sandbox.core.get_task(sandbox.one("a.tif", content=read_sample(DELIVERY_NOTE)))
    assert len(task["pages"]) == 3


def test_a_test_may_put_its_own_payload_in_place_of_a_task(sandbox: DrivenSandbox) -> None:
    sandbox.core.faults.specify("a*", {"pages": "none"})
    assert sandbox.core.get_task(sandbox.one("a.pdf")) == {"pages": "none"}


# --- review -----------------------------------------------------------------------------------------------------------


def test_a_task_waits_for_review_as_long_as_it_takes(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.one("review.pdf")
    sandbox.clock.advance(30 * 86_400)
    assert sandbox.state(task_id) == "REVIEWING"


def test_complete_lets_a_task_be_processed_again(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.one("review.pdf")
    payload, goes = sandbox.core.complete_task(task_id)
    sandbox.clock.advance(2)
    assert (payload["status"], goes, sandbox.state(task_id)) == ("PROCESSING", True, "COMPLETED")


def test_what_was_not_valid_comes_back_for_review(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(fates=(Fate("*", TaskStatus.REVIEWING, after_review=TaskStatus.REVIEWING),))
    task_id = sandbox.one("a.pdf")
    sandbox.core.complete_task(task_id)
    sandbox.clock.advance(2)
    assert sandbox.state(task_id) == "REVIEWING"


def test_discard_puts_a_reviewed_task_aside(sandbox: DrivenSandbox) -> None:
    assert sandbox.core.discard_task(sandbox.one("review.pdf"))["status"] == "DISCARDED"


@pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.REVIEWING])
def test_complete_and_discard_are_ignored_in_any_other_state(make_sandbox: MakeSandbox, status: TaskStatus) -> None:
    sandbox = make_sandbox(fates=(Fate("*", status),))
    task_id = sandbox.one("a.pdf")
    completed, goes = sandbox.core.complete_task(task_id)
    assert (completed["status"], goes, sandbox.core.discard_task(task_id)["status"]) == (status, False, status)
    assert sandbox.core.describe()[0]["calls"] == {}


def test_a_report_changes_nothing_but_is_noted(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.one("review.pdf")
    issue = {"label": "Poor Document Quality", "value": "poor_quality"}
    reported = sandbox.core.report_task(task_id, issues=[issue], message="blurred")
    assert reported["status"] == "REVIEWING"
    assert (sandbox.core.describe()[0]["issues"], sandbox.core.describe()[0]["message"]) == ([issue], "blurred")


@pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.DISCARDED, TaskStatus.FILTERED])
def test_unlock_gives_a_task_back_while_its_upload_is_not_done(make_sandbox: MakeSandbox, status: TaskStatus) -> None:
    sandbox = make_sandbox(fates=(REVIEWED, Fate("a*", status)))
    task_id = sandbox.tasks(sandbox.processed("a.pdf", "review.pdf"))[0]["id"]
    assert sandbox.core.unlock_task(task_id)["status"] == "REVIEWING"


@pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.REVIEWING])
def test_unlock_is_ignored_where_it_does_not_apply(make_sandbox: MakeSandbox, status: TaskStatus) -> None:
    sandbox = make_sandbox(fates=(Fate("a*", status),))
    task_id = sandbox.tasks(sandbox.processed("a.pdf", "b.pdf"))[0]["id"]
    assert sandbox.core.unlock_task(task_id)["status"] == status


def test_somebody_may_act_at_the_screen_of_the_service(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.one("review.pdf")
    sandbox.core.set_status(task_id, TaskStatus.COMPLETED)
    task = sandbox.core.get_task(task_id)
    assert (task["status"], task["last_opened_at"] is None) == ("COMPLETED", False)


# --- uploads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["COMPLETED", "COMPLETED"], "COMPLETED"),
        (["COMPLETED", "PROCESSING"], "PROCESSING"),
        (["REVIEWING", "PROCESSING"], "PROCESSING"),
        (["REVIEWING", "FAILED"], "REVIEWING"),
        (["COMPLETED", "FAILED"], "PARTIAL"),
        (["DISCARDED", "FAILED"], "PARTIAL"),
        (["FAILED", "FAILED"], "FAILED"),
        (["DISCARDED", "FILTERED"], "COMPLETED"),
    ],
)
def test_an_upload_is_what_its_tasks_come_to(make_sandbox: MakeSandbox, statuses: list[str], expected: str) -> None:
    sandbox = make_sandbox(fates=tuple(Fate(f"{n}.pdf", TaskStatus(status)) for n, status in enumerate(statuses)))
    upload_id = sandbox.processed("0.pdf", "1.pdf")
    assert sandbox.core.get_upload(upload_id)["status"] == expected


def test_an_upload_for_review_may_be_called_as_its_page_prints_it(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(review_word="IN_REVIEW")
    assert sandbox.core.get_upload(sandbox.processed("review.pdf"))["status"] == "IN_REVIEW"


def test_an_upload_without_a_name_has_that_of_its_first_file(sandbox: DrivenSandbox) -> None:
    assert sandbox.core.get_upload(sandbox.upload("b.pdf", "a.pdf"))["name"] == "b.pdf"


def test_an_upload_moves_to_another_folder(sandbox: DrivenSandbox) -> None:
    upload_id = sandbox.upload("a.pdf")
    assert sandbox.core.move_upload(upload_id, "folder_2")["folder_id"] == "folder_2"
    assert sandbox.core.get_upload(upload_id)["folder_id"] == "folder_2"


@pytest.mark.parametrize(
    ("listing", "key"),
    [(TaskListing.TASKS, "tasks"), (TaskListing.TASK_IDS, "task_ids"), (TaskListing.FILES_BY_TASK, "files")],
)
def test_tasks_are_listed_in_the_way_that_is_set(make_sandbox: MakeSandbox, listing: TaskListing, key: str) -> None:
    sandbox = make_sandbox(listing=listing)
    shown = sandbox.core.get_upload(sandbox.upload("a.pdf", "b.pdf"))
    ids = [task["id"] for task in sandbox.core.describe()]
    assert [task["id"] if isinstance(task, dict) else task for task in shown[key]] == ids


def test_tasks_are_listed_by_the_name_of_their_file(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(listing=TaskListing.FILES_BY_NAME)
    shown = sandbox.core.get_upload(sandbox.upload("a.pdf", "b.eml", content=MAIL))
    ids = [task["id"] for task in sandbox.core.describe()]
    assert shown["files"] == {"a.pdf": ids[0], "b.eml": ids[1:]}


def test_tasks_may_not_be_listed_at_all(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(listing=TaskListing.NONE)
    shown = sandbox.core.get_upload(sandbox.upload("a.pdf"))
    assert (shown["files"], "tasks" in shown, "task_ids" in shown) == ({}, False, False)


# --- what nobody knows ------------------------------------------------------------------------------------------------


def test_what_is_unknown_is_404(sandbox: DrivenSandbox) -> None:
    core = sandbox.core
    assert status_of(lambda: core.get_upload("upl_1")) == 404
    assert status_of(lambda: core.move_upload("upl_1", "folder_2")) == 404
    assert status_of(lambda: core.get_task("task_1")) == 404
    assert status_of(lambda: core.complete_task("task_1")) == 404
    assert status_of(lambda: core.discard_task("task_1")) == 404
    assert status_of(lambda: core.report_task("task_1", issues=[], message="")) == 404
    assert status_of(lambda: core.unlock_task("task_1")) == 404


# --- for tests --------------------------------------------------------------------------------------------------------


def test_describes_what_was_received_and_what_is_to_be_exported(sandbox: DrivenSandbox) -> None:
    task_id = sandbox.one("a.pdf")
    (task,) = sandbox.core.describe()
    assert (task["id"], task["state"], task["size"]) == (task_id, "COMPLETED", 15)
    assert task["result"]["id"] == task_id
    assert sandbox.core.describe_uploads()[0]["files"][0]["sha256"] == task["sha256"]


def test_nothing_is_to_be_exported_of_a_task_that_is_not_completed(sandbox: DrivenSandbox) -> None:
    sandbox.one("review.pdf")
    assert sandbox.core.describe()[0]["result"] is None


def test_keeps_no_document_that_was_read(sandbox: DrivenSandbox) -> None:
    with sandbox.core.receive() as incoming:
        incoming.write(b"%PDF-1.4\n")
        document = incoming.finish()
    sandbox.core.create_upload(DEMO_PROJECT, name="", meta=[], files=[SentFile("a.pdf", "", document)])
    sandbox.read()
    assert not document.path.exists()
