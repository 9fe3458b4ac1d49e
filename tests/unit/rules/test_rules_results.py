"""Results as files: names, order, quoting, and values nobody would expect."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import FileSource, Result, ResultField
from agent.rules.results import result_files

if TYPE_CHECKING:
    from collections.abc import Sequence

BOTH = ("json", "csv")
ROW = (ResultField("item", "Paper"), ResultField("price", "3.20"))


def names(result: Result, formats: Sequence[str] = BOTH, stem: str = "scan") -> list[str]:
    return [file.filename for file in result_files(stem, result, formats)]


def content(result: Result, name: str) -> str:
    return next(file.content for file in result_files("scan", result, BOTH) if file.filename == name)


def rows(result: Result, name: str = "scan.csv") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content(result, name), newline="")))


def fields(*values: ResultField) -> Result:
    return Result({}, values)


def test_the_json_comes_first_and_the_fields_last() -> None:
    result = Result({}, (), (ROW,), (ROW,))
    assert names(result) == ["scan.json", "scan-line-items.csv", "scan-vat-rates.csv", "scan.csv"]


def test_what_is_not_there_has_no_file_of_its_own() -> None:
    assert names(Result({})) == ["scan.json", "scan.csv"]


@pytest.mark.parametrize(("formats", "expected"), [(("json",), ["scan.json"]), (("csv",), ["scan.csv"]), ((), [])])
def test_only_the_formats_asked_for_are_made(formats: tuple[str, ...], expected: list[str]) -> None:
    assert names(Result({}), formats) == expected


def test_every_file_is_content_at_the_root_and_bears_the_stem() -> None:
    files = result_files("mail-2", Result({}), BOTH)
    assert {(file.folder, file.source, file.url) for file in files} == {("", FileSource.CONTENT, "")}
    assert [file.filename for file in files] == ["mail-2.json", "mail-2.csv"]


def test_fields_become_lines_under_the_header() -> None:
    result = fields(ResultField("total_amount", "$1,234.56", 0.98, 1), ResultField("date", "2024-03-25"))
    assert content(result, "scan.csv") == (
        'field,value,confidence,page\r\ntotal_amount,"$1,234.56",0.98,1\r\ndate,2024-03-25,,\r\n'
    )


def test_a_result_without_fields_is_the_header_alone() -> None:
    assert content(fields(), "scan.csv") == "field,value,confidence,page\r\n"


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(0.958, "0.958"), (1.0, "1"), (0.0, "0"), (0.123456789012, "0.123456789012"), (1e-07, "0.0000001"), (None, "")],
)
def test_a_confidence_has_all_its_digits(confidence: float | None, expected: str) -> None:
    assert rows(fields(ResultField("a", "b", confidence)))[1][2] == expected


@pytest.mark.parametrize("page", [0, 1, 12])
def test_a_page_stands_as_it_was_given(page: int) -> None:
    assert rows(fields(ResultField("a", "b", None, page)))[1][3] == str(page)


@pytest.mark.parametrize("value", ["=1+1", "+49 221", "-3", "@x", " padded ", "\t", ""])
def test_what_a_spreadsheet_would_calculate_is_not_altered(value: str) -> None:
    assert rows(fields(ResultField("a", value)))[1][1] == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_read_back_as_it_was(value: str) -> None:
    assert rows(fields(ResultField(value, value)))[1][:2] == [value, value]


def test_what_is_no_character_is_replaced_in_csv_and_kept_escaped_in_json() -> None:
    result = Result({"value": "a\ud800b"}, (ResultField("value", "a\ud800b"),))
    assert rows(result)[1][1] == "a\ufffdb"
    assert json.loads(content(result, "scan.json").encode()) == {"value": "a\ud800b"}


def test_line_items_are_rows_under_columns_of_first_appearance() -> None:
    second = (ResultField("price", "1.00"), ResultField("vat", "19"))
    assert rows(Result({}, (), (ROW, second)), "scan-line-items.csv") == [
        ["item", "price", "vat"],
        ["Paper", "3.20", ""],
        ["", "1.00", "19"],
    ]


def test_vat_rates_are_rows_too() -> None:
    rate = (ResultField("vat_rate_percentage", "19"), ResultField("vat_rate_net", "100.00"))
    assert rows(Result({}, (), (), (rate,)), "scan-vat-rates.csv")[1] == ["19", "100.00"]


def test_a_field_that_stands_twice_in_a_row_gives_its_first_value() -> None:
    row = (ResultField("item", "first"), ResultField("item", "second"))
    assert rows(Result({}, (), (row,)), "scan-line-items.csv") == [["item"], ["first"]]


def test_an_empty_cell_alone_in_its_row_is_a_row() -> None:
    assert content(Result({}, (), ((ResultField("item", ""),),)), "scan-line-items.csv") == 'item\r\n""\r\n'


def test_the_json_is_the_document_readable_and_in_its_order() -> None:
    document = {"zebra": [1, 2.5, True, None], "Köln": {"a": "ß"}}
    text = content(Result(document), "scan.json")
    assert text == ('{\n  "zebra": [\n    1,\n    2.5,\n    true,\n    null\n  ],\n  "Köln": {\n    "a": "ß"\n  }\n}\n')


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_number_json_does_not_know_is_null(number: Any) -> None:
    assert json.loads(content(Result({"a": [number]}), "scan.json")) == {"a": [None]}


def test_the_same_result_gives_the_same_bytes() -> None:
    result = Result({"b": 1, "a": 2}, (ResultField("x", "y", 0.5, 1),), (ROW,), (ROW,))
    assert result_files("scan", result, BOTH) == result_files("scan", result, BOTH)
