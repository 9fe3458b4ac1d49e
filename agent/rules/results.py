"""The files made of a result, where the service names none itself (design.md §4, apis.md 2.5 and 3.2).

Pure: values to text. Names are made safe where the export is planned.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from agent.model import ExportFile, FileSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import Result, ResultField


def result_files(stem: str, result: Result, formats: Sequence[str]) -> tuple[ExportFile, ...]:
    """Return the files of a result in the order they become visible: JSON first, the CSV of its fields last."""
    files = []
    if "json" in formats:
        text = json.dumps(result.document, ensure_ascii=False, indent=2) + "\n"
        files.append(_file(f"{stem}.json", text))
    if "csv" in formats:
        for name, rows in (("line-items", result.line_items), ("vat-rates", result.vat_rates)):
            if rows:
                files.append(_file(f"{stem}-{name}.csv", _table(rows)))
        files.append(_file(f"{stem}.csv", _fields(result.fields)))
    return tuple(files)


def _file(name: str, text: str) -> ExportFile:
    return ExportFile("", name, FileSource.CONTENT, content=text)


class _Lines(list[str]):
    """Takes what a CSV writer writes."""

    def write(self, line: str) -> None:
        """Take one line."""
        self.append(line)


def _fields(fields: Sequence[ResultField]) -> str:
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("field", "value", "confidence", "page"))
    for field in fields:
        confidence = "" if field.confidence is None else f"{field.confidence:g}"
        writer.writerow((field.name, field.value, confidence, "" if field.page is None else field.page))
    return "".join(lines)


def _table(rows: Sequence[Sequence[ResultField]]) -> str:
    """Return one line for each row, a column for each field in the order they first appear."""
    names = list(dict.fromkeys(field.name for row in rows for field in row))
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = {field.name: field.value for field in row}
        writer.writerow([values.get(name, "") for name in names])
    return "".join(lines)
