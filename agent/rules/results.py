"""The files made of a result, where the service names none itself (design.md §4, apis.md 2.5 and 3.2).

Pure: values to text. Names are made safe where the export is planned; newlines and encoding are the export's settings.
Values stand in the CSV as the service gave them: what a spreadsheet would take for a formula is not altered.
"""

from __future__ import annotations

import csv
import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agent.model import ExportFile, FileSource
from agent.rules.form_names import as_utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.model import Result, ResultField

HEADER = ("field", "value", "confidence", "page")

_SURROGATE = re.compile("[\ud800-\udfff]")


def result_files(stem: str, result: Result, formats: Sequence[str]) -> tuple[ExportFile, ...]:
    """Return the files of a result in the order they become visible: JSON first, the CSV of its fields last.

    Line items and VAT rates have a file of their own where there are any.
    """
    files = []
    if "json" in formats:
        files.append(_file(f"{stem}.json", _json(result.document)))
    if "csv" in formats:
        for name, rows in (("line-items", result.line_items), ("vat-rates", result.vat_rates)):
            if rows:
                files.append(_file(f"{stem}-{name}.csv", _table(rows)))
        files.append(_file(f"{stem}.csv", _fields(result.fields)))
    return tuple(files)


def _file(name: str, text: str) -> ExportFile:
    return ExportFile("", name, FileSource.CONTENT, content=text)


def _json(document: Any) -> str:
    """Return a document as JSON any reader takes: half a surrogate pair stays escaped, as it came."""
    text = json.dumps(_finite(document), ensure_ascii=False, indent=2, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def _finite(document: Any) -> Any:
    """Return a document without the numbers JSON does not know (1e999 is read as infinite): they become null."""
    if isinstance(document, dict):
        return {name: _finite(value) for name, value in document.items()}
    if isinstance(document, list):
        return [_finite(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document


def _fields(fields: Sequence[ResultField]) -> str:
    rows = (
        (
            field.name,
            field.value,
            "" if field.confidence is None else _number(field.confidence),
            "" if field.page is None else str(field.page),
        )
        for field in fields
    )
    return _csv([HEADER, *rows])


def _number(value: float) -> str:
    """Return a number with all its digits and without an exponent."""
    return str(int(value)) if value == int(value) else format(Decimal(repr(value)), "f")


def _table(rows: Sequence[Sequence[ResultField]]) -> str:
    """Return one line for each row, a column for each field in the order they first appear.

    A field that stands twice in a row gives its first value; a line of nothing is a line all the same.
    """
    names = tuple(dict.fromkeys(field.name for row in rows for field in row))
    lines = [names]
    for row in rows:
        values: dict[str, str] = {}
        for field in row:
            values.setdefault(field.name, field.value)
        lines.append(tuple(values.get(name, "") for name in names))
    return _csv(lines)


class _Lines(list[str]):
    """Takes what a CSV writer writes."""

    def write(self, line: str) -> None:
        """Take one line."""
        self.append(line)


def _csv(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as RFC 4180 has them; the export's `newline` decides how lines end in the file.

    With another line end the writer would leave a lone carriage return without quotes.
    """
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerows([[as_utf8(value) for value in row] for row in rows])
    return "".join(lines)
