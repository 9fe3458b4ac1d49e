"""Documents of Typless in every style that was seen, and in some that were not."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import TaskFatal, TaskTransient
from agent.model import ResultField, ServiceTaskState
from agent.services.answers import Answer
from agent.services.typless_assumptions import awaiting_poll_path, own_customer
from agent.services.typless_cache import LARGEST, Polled
from agent.services.typless_wire import (
    extraction_id_of,
    read_ids,
    read_poll,
    read_result,
)

SEED = {
    "error": {},
    "result": {
        "customer": "customer-id",
        "extracted_fields": [
            {
                "data_type": "AUTHOR",
                "name": "supplier_name",
                "values": [
                    {
                        "confidence_score": 0.958,
                        "height": -1,
                        "page_number": -1,
                        "value": "ScaleGrid",
                        "width": -1,
                        "x": -1,
                        "y": -1,
                    }
                ],
            }
        ],
        "file_name": "invoice.pdf",
        "line_items": [],
        "object_id": "0d143385c4fb3ec7b73256be40c4ce02b01bf097",
        "vat_rates": [],
    },
    "status": "SUCCESS",
}
"""The sample of seed 004."""


def field(name: str, *values: Any) -> dict[str, Any]:
    return {"name": name, "values": [{"value": value} for value in values]}


def success(**result: Any) -> dict[str, Any]:
    return {"status": "SUCCESS", "error": {}, "result": {"object_id": "o", **result}}


# --- ids and states --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"extraction_id": "0d14"}, "0d14"),
        ({"extractionId": "0d14"}, "0d14"),
        ({"payload": {"extraction_id": "0d14"}}, "0d14"),
        ({"extraction_id": 14}, "14"),
        ({"extraction_id": ""}, None),
        ({"extraction_id": ".."}, None),
        ({"extraction_id": None}, None),
        ({"extraction_id": "a\x00b"}, None),
        ([], None),
        (None, None),
    ],
)
def test_an_extraction_id_is_read_where_it_can_be_used(document: Any, expected: str | None) -> None:
    assert extraction_id_of(document) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("IN_PROGRESS", ServiceTaskState.RUNNING),
        ("in progress", ServiceTaskState.RUNNING),
        ("SUCCESS", ServiceTaskState.PENDING_START),
        ("success", ServiceTaskState.PENDING_START),
        ("ERROR", ServiceTaskState.FAILED),
        ("EXPIRED", ServiceTaskState.EXPIRED),
        ("WHATEVER", ServiceTaskState.RUNNING),
        (None, ServiceTaskState.RUNNING),
    ],
)
def test_every_status_is_known(status: Any, expected: ServiceTaskState) -> None:
    poll = read_poll({"status": status, "error": {}, "result": {}})
    assert poll is not None
    assert poll.state is expected


def test_an_unknown_status_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        read_poll({"status": "UNHEARD_OF"})
    assert caplog.text.count("UNHEARD_OF") == 1


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_what_is_no_object_is_no_answer_to_a_poll(document: Any) -> None:
    assert read_poll(document) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "invalid_file", "message": "Not a PDF.", "details": "page 0"}, "invalid_file: Not a PDF.: page 0"),
        ({"code": 17, "message": "Bad", "details": {"page": 0}}, '17: Bad: {"page":0}'),
        ({"code": "x", "message": "y", "details": {}}, "x: y"),
        ({"code": "x", "message": None, "details": ["a", "b"]}, 'x: ["a","b"]'),
        ({"reason": "other"}, '{"reason":"other"}'),
        ("plain words", "plain words"),
        ({}, ""),
        (None, ""),
    ],
)
def test_an_error_is_passed_on_with_code_message_and_details(error: Any, expected: str) -> None:
    poll = read_poll({"status": "ERROR", "error": error, "result": {}})
    assert poll is not None
    assert poll.message == expected


def test_a_long_error_is_passed_on_whole_and_on_one_line() -> None:
    poll = read_poll({"status": "ERROR", "error": {"code": "x", "message": "a\n\x1b[31m" + "word " * 300}})
    assert poll is not None
    assert poll.message.count("word") == 300
    assert poll.message.isprintable()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"extraction_ids": ["a", "b", "a", 5, ".."]}, ("a", "b")),
        ({"extractionIds": []}, ()),
        ({"extraction_ids": None}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_list_of_extractions_is_read_or_is_none(document: Any, expected: Any) -> None:
    assert read_ids(document) == expected


# --- results ---------------------------------------------------------------------------------------------------------


def test_the_sample_of_the_seed_is_read() -> None:
    result = read_result(SEED)
    assert result.fields == (ResultField("supplier_name", "ScaleGrid", 0.958, None),)
    assert result.document == SEED["result"]
    assert (result.line_items, result.vat_rates) == ((), ())


def test_the_first_candidate_counts_and_null_is_nothing() -> None:
    fields = [field("a", "first", "second"), field("b", None, "second"), field("c"), {"name": "d"}, field("e", "")]
    assert [(one.name, one.value) for one in read_result(success(extracted_fields=fields)).fields] == [
        ("a", "first"),
        ("e", ""),
    ]


@pytest.mark.parametrize(
    ("score", "expected"), [("0.968", 0.968), (1, 1.0), (None, None), ("n/a", None), (True, None), (1e999, None)]
)
def test_a_confidence_is_a_number_or_a_text_that_is_one(score: Any, expected: float | None) -> None:
    fields = [{"name": "a", "values": [{"value": "x", "confidence_score": score}]}]
    assert read_result(success(extracted_fields=fields)).fields[0].confidence == expected


@pytest.mark.parametrize(("page", "expected"), [(-1, None), (0, 0), (3, 3), ("2", 2), (None, None), ("x", None)])
def test_a_page_is_passed_on_where_there_is_one(page: Any, expected: int | None) -> None:
    fields = [{"name": "a", "values": [{"value": "x", "page_number": page}]}]
    assert read_result(success(extracted_fields=fields)).fields[0].page == expected


def test_line_items_and_vat_rates_are_rows_of_fields() -> None:
    rows = [[field("item", "Paper"), field("price", "3.20")], [field("item", "Ink")]]
    result = read_result(success(line_items=rows, vat_rates=[{"extracted_fields": [field("vat_rate_net", "100")]}]))
    assert [[one.value for one in row] for row in result.line_items] == [["Paper", "3.20"], ["Ink"]]
    assert [[one.name for one in row] for row in result.vat_rates] == [["vat_rate_net"]]


@pytest.mark.parametrize("rows", [None, {}, "x", [None, 5, "x", [], [[]], [None]], [[field("a", None)]]])
def test_rows_of_nothing_are_none(rows: Any) -> None:
    assert read_result(success(line_items=rows)).line_items == ()


@pytest.mark.parametrize("fields", [None, {}, "x", [None, 5, {"values": "x"}, {"values": ["x"]}]])
def test_fields_of_another_shape_are_left_out(fields: Any) -> None:
    assert read_result(success(extracted_fields=fields)).fields == ()


@pytest.mark.parametrize("result", [{}, None, [], "x"])
def test_a_success_without_a_result_is_tried_again(result: Any) -> None:
    with pytest.raises(TaskTransient):
        read_result({"status": "SUCCESS", "result": result})


def test_a_result_nested_beyond_reason_is_the_tasks_fault() -> None:
    deep: Any = {}
    for _ in range(500):
        deep = {"a": deep}
    with pytest.raises(TaskFatal):
        read_result(success(extra=deep))


# --- addresses, customers, and what is kept --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://x.example/api", "/v1/awaiting-poll"),
        ("https://x.example/api/", "/v1/awaiting-poll"),
        ("https://x.example/api/v1", "/awaiting-poll"),
        ("https://x.example/api/v1/", "/awaiting-poll"),
    ],
)
def test_awaiting_poll_is_looked_for_below_its_version(url: str, expected: str) -> None:
    assert awaiting_poll_path(url) == expected


def test_each_submission_has_a_customer_of_its_own_that_begins_with_the_configured_one() -> None:
    assert own_customer("acme", "k1").startswith("acme")
    assert len({own_customer("acme", "k1"), own_customer("acme", "k2"), own_customer("", "k1")}) == 3


def answer(size: int) -> Answer:
    return Answer(200, {}, b"x" * size)


def test_kept_answers_are_bounded_in_number() -> None:
    kept = Polled(answers=3)
    for number in range(5):
        kept.keep(str(number), answer(1))
    assert [number for number in range(5) if kept.find(str(number))] == [2, 3, 4]


def test_kept_answers_are_bounded_in_bytes() -> None:
    kept = Polled(size=100)
    for number in range(5):
        kept.keep(str(number), answer(40))
    assert [number for number in range(5) if kept.find(str(number))] == [3, 4]


def test_an_answer_kept_again_counts_once() -> None:
    kept = Polled(size=100)
    for _ in range(5):
        kept.keep("a", answer(40))
    kept.keep("b", answer(40))
    assert kept.find("a")


def test_a_huge_answer_is_not_kept() -> None:
    kept = Polled()
    kept.keep("a", answer(LARGEST + 1))
    assert kept.find("a") is None
