"""Typless' documents read into our records: tolerant of envelopes, key styles and what is new (apis.md 3.2).

Pure functions over parsed JSON; no request is made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.errors import TaskFatal, TaskTransient
from agent.model import Result, ResultField, ServiceTaskState
from agent.services import typless_assumptions as assumed
from agent.services.answers import shown
from agent.services.reading import (
    DEEPEST,
    Once,
    id_of,
    is_id,
    is_too_deep,
    member,
    number_of,
    objects_of,
    status_of,
    text_of,
    unwrapped,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_unknown_status = Once("Typless shows an extraction in the state %s, which is not known: taken for in progress")


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll said."""

    state: ServiceTaskState
    file_name: str = ""
    message: str = ""


def extraction_id_of(document: Any) -> str | None:
    """Return the id of an accepted extraction; None where there is none that could be used."""
    return id_of(unwrapped(document), "extraction_id")


def read_ids(document: Any) -> tuple[str, ...] | None:
    """Return the ids of a list of extractions, each once; None where it is none."""
    listed = member(unwrapped(document), "extraction_ids")
    return tuple(dict.fromkeys(item for item in listed if is_id(item))) if isinstance(listed, list) else None


def read_poll(document: Any) -> Poll | None:
    """Return what a poll says; None where it is no answer to a poll."""
    answer = unwrapped(document)
    if answer is None:
        return None
    status = status_of(answer)
    state = assumed.STATES.get(status)
    if state is None:
        _unknown_status.say(shown(repr(status)))
    message = _error_text(member(answer, "error")) if state is ServiceTaskState.FAILED else ""
    return Poll(state or ServiceTaskState.RUNNING, text_of(member(answer, "result"), "file_name"), message)


def _error_text(error: Any) -> str:
    """Return code, message and details verbatim, on one line (apis.md 3.4)."""
    parts = [value_text(member(error, name)) for name in ("code", "message", "details")]
    if not any(parts):
        parts = [value_text(error)] if error else []
    said = ": ".join(part for part in parts if part and part not in ("{}", "[]"))
    return shown(said, longest=assumed.ERROR_LIMIT)


def read_result(document: Any) -> Result:
    """Return the result of a poll that said SUCCESS.

    Raises TaskTransient where there is none, TaskFatal where it cannot be written down.
    """
    result = member(unwrapped(document), "result")
    if not isinstance(result, dict) or not result:
        raise TaskTransient("Typless says SUCCESS, and gives no result")
    if is_too_deep(result):
        raise TaskFatal(f"the result is nested deeper than {DEEPEST} levels")
    return Result(
        result,
        tuple(_fields(member(result, "extracted_fields"))),
        tuple(_rows(result, "line_items")),
        tuple(_rows(result, "vat_rates")),
    )


def _fields(fields: Any) -> Iterator[ResultField]:
    """Yield the first candidate of each field; what is not on the page (null) is left out."""
    for field in fields if isinstance(fields, list) else ():
        candidates = objects_of(field, "values")
        value = value_text(member(candidates[0], "value")) if candidates else None
        if value is not None:
            yield ResultField(
                value_text(member(field, "name")) or "",
                value,
                number_of(member(candidates[0], "confidence_score")),
                _page(candidates[0]),
            )


def _page(candidate: Mapping[str, Any]) -> int | None:
    page = number_of(member(candidate, "page_number"))
    return int(page) if page is not None and page >= 0 else None


def _rows(result: Mapping[str, Any], name: str) -> Iterator[tuple[ResultField, ...]]:
    rows = member(result, name)
    for row in rows if isinstance(rows, list) else ():
        fields = tuple(_fields(member(row, "extracted_fields") if isinstance(row, dict) else row))
        if fields:
            yield fields
