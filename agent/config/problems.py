"""What pydantic found wrong, in words for people: what was found, what is allowed, and never a secret.

The library's own messages are not used: they repeat values and speak of Python.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from agent.config.document import dotted
from agent.config.schema import (
    Configuration,
    ExportSection,
    LoggingSection,
    RetrySection,
    ServiceSection,
    WatchFolderSection,
    WebSection,
)
from agent.errors import ConfigurationProblem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from agent.config.document import Path
    from agent.config.reading import Reading
    from agent.config.schema import Section

LONGEST_SHOWN = 60

_SECTIONS: dict[str, type[Section]] = {
    "": Configuration,
    "service": ServiceSection,
    "watch_folders[]": WatchFolderSection,
    "watch_folders[].export": ExportSection,
    "retry": RetrySection,
    "web": WebSection,
    "logging": LoggingSection,
}
_HOLDS_SECRETS = ("service",)
"""A secret may stand right behind the section's name, where a line break or an indent went astray."""
_SECRET_KEY = re.compile(r"secret|token|passw|credential|api_?key", re.IGNORECASE)
_SECRET_IN_TEXT = re.compile(r"(secret|token|passw\w*|credential\w*|api_?key)[\w.-]*\s*[:=]\s*\S", re.IGNORECASE)

_EXPECTED = {
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "int_parsing_size": "expected a smaller number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a number",
    "greater_than_equal": "expected 0 or more",
    "string_type": "expected text",
    "string_unicode": "expected text",
    "list_type": "expected a list such as [a, b]",
    "tuple_type": "expected a list such as [a, b]",
    "dict_type": "expected keys and values",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
}


def problem_at(reading: Reading, path: Path, message: str, *, at_key: bool = False) -> ConfigurationProblem:
    """Return a problem of the value (or its key) at a path, or of the nearest thing around it that the file has."""
    place = reading.place(path)
    line, column = (place.key_line, place.key_column) if at_key else (place.line, place.column)
    return ConfigurationProblem(line, column, dotted((*path[:-1], shown_key(path[-1])) if path else path), message)


def explain(error: ErrorDetails, reading: Reading) -> tuple[Path, ConfigurationProblem]:
    """Return where an error of pydantic is and what it means."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    of_key = len(path) < len(error["loc"])
    match error["type"]:
        case "missing":
            return path, problem_at(reading, path, "is missing; it is required")
        case "extra_forbidden":
            return path, problem_at(reading, path, _unknown(path), at_key=True)
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", error["ctx"]["expected"])
            message = f"expected {_either(allowed)}"
            message += _did_you_mean(reading.place(path).written or "", allowed)
        case "value_error":
            message = str(error["ctx"]["error"])
        case kind:
            # A kind that no field of ours produces still gets its place and key.
            message = _EXPECTED.get(kind, "not a valid value")
    if message.startswith("expected"):
        first, semicolon, rest = message.partition("; did you mean")
        message = f"{first}, found {found(reading, path)}{semicolon}{rest}"
    return path, problem_at(reading, path, message, at_key=of_key)


def found(reading: Reading, path: Path) -> str:
    """Return what stands at a path, as written: variables not filled in, secrets not shown."""
    if path == _HOLDS_SECRETS or any(
        isinstance(part, str) and _SECRET_KEY.search(part) and not part.endswith("_file") for part in path
    ):
        return "a value that is not shown here"
    place = reading.places.get(path)
    value = _value_at(reading.data, path)
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if place is None or place.written is None:
        return "nothing"
    return f"'{shown(place.written)}'"


def shown(text: str) -> str:
    """Return text of the file fit for a message: short, one line, without what may be a secret."""
    if _SECRET_IN_TEXT.search(text):
        return "…"
    # What stands before an @ in an address is a user and often a password.
    text = re.sub(r"^(\w+://)?.*@", r"\1…@", text, flags=re.DOTALL)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def shown_key(part: str | int) -> str | int:
    """Return a key fit for a message; `client_secret:abc` without its space is a key with a secret in it."""
    if not isinstance(part, str):
        return part
    hidden = _SECRET_IN_TEXT.search(part)
    return shown(re.split(r"[:=]", part)[0] if hidden else part)


def _unknown(path: Path) -> str:
    name = str(path[-1])
    if _SECRET_IN_TEXT.search(name):
        return "unknown key; is a space missing after the `:`?"
    here = re.sub(r"\[\d+\]", "[]", dotted(path[:-1]))
    known = list(_SECTIONS[here].model_fields)
    elsewhere = [section for section, model in _SECTIONS.items() if section != here and name in model.model_fields]
    if suggestion := _did_you_mean(name, known):
        return f"unknown key{suggestion}"
    if elsewhere:
        places = " or ".join(f"`{section}`" if section else "the top level" for section in elsewhere)
        return f"unknown key here; it belongs to {places}"
    return f"unknown key; allowed here: {', '.join(known)}"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=1, cutoff=0.7)
    return f"; did you mean `{close[0]}`?" if close else ""


def _either(allowed: list[str]) -> str:
    return allowed[0] if len(allowed) == 1 else f"{', '.join(allowed[:-1])} or {allowed[-1]}"


def _value_at(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data
