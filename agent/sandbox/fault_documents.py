"""Faults as the control interface writes them: JSON objects read strictly, so that a test's slip is no silent pass."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final

from agent.sandbox.faults import Dropped, Ending, Fault, Spoiled
from agent.sandbox.refusals import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.sandbox.faults import AnyFault

_KINDS: Final[dict[str, type[AnyFault]]] = {"answer": Fault, "drop": Dropped, "spoil": Spoiled}
_FIRST_FINAL_STATUS: Final = 200
_LAST_STATUS: Final = 599


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_header_fields(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(text, str) and text.isascii() for item in value.items() for text in item
    )


_IS_VALID: Final[dict[str, Callable[[Any], bool]]] = {
    "method": lambda value: isinstance(value, str),
    "path": lambda value: isinstance(value, str),
    "query": lambda value: isinstance(value, str),
    "times": lambda value: value is None or (_is_count(value) and value > 0),
    "status": lambda value: _is_count(value) and _FIRST_FINAL_STATUS <= value <= _LAST_STATUS,
    "headers": _is_header_fields,
    "body": lambda _: True,
    "applied": lambda value: isinstance(value, bool),
    "late": _is_amount,
    "after": lambda value: value is None or _is_count(value),
    "ends": lambda value: value in list(Ending),
    "sends": lambda value: value is None or _is_count(value),
    "declares": lambda value: value is None or _is_count(value),
    "chunked": lambda value: isinstance(value, bool),
    "pace": lambda value: value is None or (_is_amount(value) and value > 0),
    "endless": lambda value: isinstance(value, bool),
}
"""What each field takes, whatever the kind."""


def read_fault(document: dict[str, Any]) -> AnyFault:
    """Return the fault a JSON object describes. Raises Refusal (400)."""
    values = dict(document)
    kind = _KINDS.get(str(values.pop("kind", "answer")))
    if kind is None:
        raise bad_request("control", f"A fault's kind is one of {', '.join(_KINDS)}.")
    known = {each.name for each in fields(kind)}
    wrong = [key for key, value in values.items() if key not in known or not _IS_VALID[key](value)]
    if kind is Fault and "status" not in values:
        wrong.append("status")
    if wrong:
        raise bad_request("control", f"A fault has wrong keys or values: {sorted(wrong)}.")
    if "ends" in values:
        values["ends"] = Ending(values["ends"])
    return kind(**values)


def write_fault(fault: AnyFault) -> dict[str, Any]:
    """Return a fault as a JSON object."""
    kind = next(name for name, known in _KINDS.items() if isinstance(fault, known))
    return {"kind": kind, **asdict(fault)}
