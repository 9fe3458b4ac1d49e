"""Reading members of documents that come bare or in an envelope, in camelCase or snake_case (apis.md 2.2, 3.2).

Pure functions over parsed JSON; everything in it is untrusted.
"""

from __future__ import annotations

import json
import logging
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

DEEPEST = 200
"""Levels a result may be nested; what is deeper could not be written down as a document again."""
_LONGEST_ID = 512
_LONGEST_TIME = 64
_KNOWN_ONCE = 1_000
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def unwrapped(document: Any) -> dict[str, Any] | None:
    """Return the object within the envelope `payload`, or the bare one; None where there is none."""
    if not isinstance(document, dict):
        return None
    payload = document.get("payload")
    return payload if isinstance(payload, dict) else document


def member(document: Any, name: str) -> Any:
    """Return the member of that snake_case name, else the one that says the same in camelCase; None: neither."""
    if not isinstance(document, dict):
        return None
    value = document.get(name)
    if value is None and "_" in name:
        first, *others = name.split("_")
        value = document.get(first + "".join(word.title() for word in others))
    return value


def text_of(document: Any, name: str) -> str:
    """Return a text member; empty where it is none."""
    value = member(document, name)
    return value if isinstance(value, str) else ""


def id_of(document: Any, name: str = "id") -> str | None:
    """Return a member that can be used as an id in a path; None where there is none."""
    value = member(document, name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if is_id(value) else None


def is_id(value: Any) -> bool:
    """Tell whether a value can stand in a path as an id."""
    # Dots alone would be a path, whatever is quoted.
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST_ID and bool(value.strip(". "))


def status_of(document: Any) -> str:
    """Return the member `status` in capitals, words joined by `_`; empty where it says nothing."""
    value = text_of(document, "status").strip()
    return _CAPITAL.sub(r"_\1", value).replace("-", "_").replace(" ", "_").upper()


def time_of(document: Any, name: str) -> float | None:
    """Return UTC unix seconds of an ISO time member; None for what is none."""
    return read_time(text_of(document, name))


def read_time(value: Any) -> float | None:
    """Return UTC unix seconds of an ISO time; None for what is none (seed 002 shows "16:38:66Z")."""
    if not isinstance(value, str) or len(value) > _LONGEST_TIME:
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def objects_of(document: Any, name: str) -> Sequence[dict[str, Any]]:
    """Return the objects of a list member, leaving out what is none."""
    value = member(document, name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def number_of(value: Any) -> float | None:
    """Return a number that may be written as text; None for what is none, and for what is not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def value_text(value: Any) -> str | None:
    """Return a value as text: texts as they are, anything else as JSON; None for null."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def is_too_deep(document: Any) -> bool:
    """Tell whether a document is nested deeper than `DEEPEST` levels."""
    level = [document]
    for _ in range(DEEPEST):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


class Once:
    """Logs each surprise of a kind once: it comes again with every poll."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._seen: set[str] = set()

    def say(self, about: str) -> None:
        """Log the message about this, unless it was said before; what comes after a thousand is not said at all."""
        if about not in self._seen and len(self._seen) < _KNOWN_ONCE:
            self._seen.add(about)
            log.warning(self._message, about)
