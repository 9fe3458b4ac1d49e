"""How extractions of the Typless sandbox end (apis.md 3.2), with a driven clock and without HTTP."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from fakes.driven_clock import DrivenClock

from agent.sandbox.refusals import Refusal
from agent.sandbox.samples import INVOICE, read_sample
from agent.sandbox.typless.core import TyplessSandbox
from agent.sandbox.typless.settings import DEMO_DOCUMENT_TYPE, ExtractionStatus, Fate, TyplessSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakeSandbox = Callable[..., "DrivenSandbox"]

HOUR = 3_600
PDF = b"%PDF-1.4\n%%EOF\n"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"


class DrivenSandbox:
    """A sandbox whose clock stands still until told otherwise, and that reads by first bytes where not told to."""

    def __init__(self, settings: TyplessSettings) -> None:
        self.clock = DrivenClock()
        self.core = TyplessSandbox(settings, clock=self.clock)

    def extract(self, name: str = "a.pdf", *, content: bytes = PDF, customer: str | None = None) -> str:
        with self.core.receive() as incoming:
            incoming.write(content)
            document = incoming.finish()
        return self.core.extract(document, file_name=name, document_type_name=DEMO_DOCUMENT_TYPE, customer=customer)

    def read(self) -> None:
        while self.core.read_next():
            pass

    def finished(self, name: str = "a.pdf", **options: Any) -> str:
        extraction_id = self.extract(name, **options)
        self.read()
        self.clock.advance(10)
        return extraction_id

    def poll(self, extraction_id: str, *, is_v1: bool = False) -> dict[str, Any]:
        return self.core.poll(extraction_id, is_v1=is_v1)

    def status(self, extraction_id: str) -> str:
        return str(self.poll(extraction_id)["status"])


@pytest.fixture
def make_sandbox() -> Iterator[MakeSandbox]:
    made: list[DrivenSandbox] = []

    def make(**options: Any) -> DrivenSandbox:
        settings = TyplessSettings(**{"extraction_delay": 10, "read_documents": False, **options})
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


# --- states -----------------------------------------------------------------------------------------------------------


def test_an_extraction_ends_when_its_time_is_over(sandbox: DrivenSandbox) -> None:
    extraction_id = sandbox.extract()
    sandbox.read()
    seen = [sandbox.status(extraction_id)]
    for seconds in (9.9, 0.2):
        sandbox.clock.advance(seconds)
        seen.append(sandbox.status(extraction_id))
    assert seen == ["IN_PROGRESS", "IN_PROGRESS", "SUCCESS"]


def test_an_extraction_ends_no_sooner_than_its_document_is_read(sandbox: DrivenSandbox) -> None:
    extraction_id = sandbox.extract()
    sandbox.clock.advance(1000)
    before = sandbox.status(extraction_id)
    sandbox.read()
    assert (before, sandbox.status(extraction_id)) == ("IN_PROGRESS", "SUCCESS")


def test_what_is_in_progress_has_neither_error_nor_result(sandbox: DrivenSandbox) -> None:
    assert sandbox.poll(sandbox.extract()) == {"error": {}, "result": {}, "status": "IN_PROGRESS"}


def test_a_result_expires_48_hours_after_the_end(sandbox: DrivenSandbox) -> None:
    extraction_id = sandbox.finished()
    sandbox.clock.advance(48 * HOUR - 1)
    before = sandbox.status(extraction_id)
    sandbox.clock.advance(1)
    assert before == "SUCCESS"
    assert sandbox.poll(extraction_id) == {"error": {}, "result": {}, "status": "EXPIRED"}


def test_the_48_hours_begin_at_the_end_and_not_at_the_submission(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(extraction_delay=100 * HOUR)
    extraction_id = sandbox.extract()
    sandbox.read()
    sandbox.clock.advance(147 * HOUR)
    assert sandbox.status(extraction_id) == "SUCCESS"


def test_an_error_says_code_message_and_details(make_sandbox: MakeSandbox) -> None:
    fate = Fate("*.pdf", ExtractionStatus.ERROR, code=17, message="No text", details="page 1")
    answer = make_sandbox(fates=(fate,))
    assert answer.poll(answer.finished()) == {
        "error": {"code": 17, "message": "No text", "details": "page 1"},
        "result": {},
        "status": "ERROR",
    }


def test_an_error_expires_too(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(fates=(Fate("*", ExtractionStatus.ERROR),))
    extraction_id = sandbox.finished()
    sandbox.clock.advance(48 * HOUR)
    assert sandbox.poll(extraction_id) == {"error": {}, "result": {}, "status": "EXPIRED"}


def test_the_fate_added_last_counts(sandbox: DrivenSandbox) -> None:
    sandbox.core.add_fate(Fate("*", ExtractionStatus.ERROR))
    sandbox.core.add_fate(Fate("a*", ExtractionStatus.EXPIRED))
    assert (sandbox.status(sandbox.finished("a.pdf")), sandbox.status(sandbox.finished("b.pdf"))) == (
        "EXPIRED",
        "ERROR",
    )


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (PDF, "SUCCESS"),
        (b"II*\x00\x08\x00\x00\x00", "SUCCESS"),
        (JPEG, "SUCCESS"),
        (b"text", "ERROR"),
        (b"\0", "ERROR"),
    ],
)
def test_the_content_decides_what_is_processed(sandbox: DrivenSandbox, content: bytes, status: str) -> None:
    assert sandbox.status(sandbox.finished(content=content)) == status


def test_an_unreadable_file_is_an_error_though_its_name_is_to_succeed(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(fates=(Fate("*", ExtractionStatus.SUCCESS),))
    assert sandbox.status(sandbox.finished(content=b"\x00")) == "ERROR"


@pytest.mark.parametrize("status", [400, 404])
def test_an_unknown_id_is_refused_as_is_set(make_sandbox: MakeSandbox, status: int) -> None:
    sandbox = make_sandbox(unknown_status=status)
    assert status_of(lambda: sandbox.poll("nobody's")) == status


# --- results ----------------------------------------------------------------------------------------------------------


def values_of(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {field["name"]: field["values"][0]["value"] for field in fields}


def test_a_result_has_fields_line_items_and_vat_rates_of_the_document(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(read_documents=True)
    result = sandbox.poll(sandbox.finished(content=read_sample(INVOICE)))["result"]
    assert values_of(result["extracted_fields"])["invoice_number"] == "INV-2024-0042"
    assert [values_of(row)["amount"] for row in result["line_items"]] == ["185.00", "88.00", "94.90", "19.50"]
    assert [values_of(row) for row in result["vat_rates"]] == [
        {"vat_rate_percentage": "20", "vat_rate_amount": "80.00"}
    ]


def test_a_field_that_is_not_in_the_document_has_the_value_null(sandbox: DrivenSandbox) -> None:
    result = sandbox.poll(sandbox.finished())["result"]
    assert values_of(result["extracted_fields"])["invoice_number"] is None


@pytest.mark.parametrize(("as_text", "kind"), [(False, float), (True, str)])
def test_confidence_is_a_number_or_text(make_sandbox: MakeSandbox, as_text: bool, kind: type) -> None:
    sandbox = make_sandbox(confidence_as_text=as_text)
    fields = sandbox.poll(sandbox.finished())["result"]["extracted_fields"]
    assert {type(value["confidence_score"]) for field in fields for value in field["values"]} == {kind}


def test_the_first_version_adds_what_its_schema_has(sandbox: DrivenSandbox) -> None:
    extraction_id = sandbox.finished()
    result = sandbox.poll(extraction_id, is_v1=True)["result"]
    plain = sandbox.poll(extraction_id)["result"]
    assert result.keys() - plain.keys() == {"adjusted_s3_url"}
    assert result["extracted_fields"][0].keys() - plain["extracted_fields"][0].keys() == {"multiple_values"}


@pytest.mark.parametrize("customer", [None, "Müller & Co"])
def test_the_customer_comes_back(sandbox: DrivenSandbox, customer: str | None) -> None:
    assert sandbox.poll(sandbox.finished(customer=customer))["result"]["customer"] == customer


def test_a_test_may_put_its_own_result_in_place(sandbox: DrivenSandbox) -> None:
    sandbox.core.faults.specify("a*", {"extracted_fields": None})
    assert sandbox.poll(sandbox.finished())["result"] == {"extracted_fields": None}


# --- what waits -------------------------------------------------------------------------------------------------------


def test_what_waits_is_listed_oldest_first(sandbox: DrivenSandbox) -> None:
    ids = [sandbox.extract(), sandbox.finished(), sandbox.extract()]
    assert sandbox.core.waiting(customer=None) == ids


def test_what_waits_is_listed_for_one_customer(sandbox: DrivenSandbox) -> None:
    sandbox.extract(customer="b")
    wanted = sandbox.extract(customer="a")
    sandbox.extract()
    assert sandbox.core.waiting(customer="a") == [wanted]


def test_what_is_expired_waits_no_longer(sandbox: DrivenSandbox) -> None:
    sandbox.finished()
    sandbox.clock.advance(48 * HOUR)
    assert sandbox.core.waiting(customer=None) == []


def test_what_was_polled_after_its_end_may_wait_no_longer(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(waiting_drops_polled=True)
    polled, other = sandbox.finished(), sandbox.finished()
    sandbox.poll(polled)
    assert sandbox.core.waiting(customer=None) == [other]


# --- webhooks ---------------------------------------------------------------------------------------------------------


def test_the_end_of_an_extraction_is_to_be_told_once(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(webhook_url="http://127.0.0.1:9/")
    extraction_id = sandbox.finished()
    notice = sandbox.core.next_notice()
    assert notice is not None
    assert (notice.body["type"], notice.body["data"]["id"]) == ("extraction.finished", extraction_id)
    assert not notice.body["event_time"].endswith(("Z", "+00:00"))
    assert sandbox.core._notices == type(sandbox.core._notices)()


@pytest.mark.parametrize(("on_error", "told"), [(False, 0), (True, 1)])
def test_an_error_is_told_where_that_is_set(make_sandbox: MakeSandbox, on_error: bool, told: int) -> None:
    fates = (Fate("*", ExtractionStatus.ERROR),)
    sandbox = make_sandbox(webhook_url="http://127.0.0.1:9/", webhook_on_error=on_error, fates=fates)
    sandbox.finished()
    sandbox.core.describe()
    assert len(sandbox.core._notices) == told


def test_webhooks_that_are_cut_off_are_lost(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(webhook_url="http://127.0.0.1:9/")
    sandbox.core.cut_webhooks_off(cut_off=True)
    sandbox.finished()
    described = sandbox.core.describe()
    sandbox.core.cut_webhooks_off(cut_off=False)
    assert (described[0]["webhook"], len(sandbox.core._notices)) == ("cut off", 0)


def test_who_waits_for_a_webhook_is_let_go_at_the_end(sandbox: DrivenSandbox) -> None:
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(sandbox.core.next_notice()))
    waiting.start()
    sandbox.core.release()
    waiting.join(30)
    assert got == [None]


# --- for tests --------------------------------------------------------------------------------------------------------


def test_describes_what_was_received_what_is_to_be_exported_and_how_often_it_was_polled(sandbox: DrivenSandbox) -> None:
    extraction_id = sandbox.extract(customer="c")
    sandbox.poll(extraction_id)
    sandbox.read()
    sandbox.clock.advance(10)
    result = sandbox.poll(extraction_id)["result"]
    (described,) = sandbox.core.describe()
    assert (described["id"], described["state"], described["customer"]) == (extraction_id, "SUCCESS", "c")
    assert (described["result"], described["calls"]) == (result, {"IN_PROGRESS": 1, "SUCCESS": 1})
