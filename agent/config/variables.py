"""`${NAME}` and `${NAME:-default}` in values of the configuration; `$${` stands for a plain `${`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Windows has names such as ProgramFiles(x86).
_NAME = r"[A-Za-z_][A-Za-z0-9_()]*"
REFERENCE_PATTERN = rf"\$\{{{_NAME}(:-[^}}]*)?\}}"
_TOKEN = re.compile(rf"(?P<escape>\$\$\{{)|\$\{{(?P<name>{_NAME})(?::-(?P<default>[^}}]*))?\}}|(?P<broken>\$\{{)")


class VariableError(ValueError):
    """A reference that cannot be filled in; `missing` where only the environment lacks it."""

    def __init__(self, message: str, *, missing: bool) -> None:
        super().__init__(message)
        self.missing = missing


def has_reference(text: str) -> bool:
    """Tell whether a value names a variable, rightly or not."""
    return any(not match["escape"] for match in _TOKEN.finditer(text))


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return the text with every variable filled in. Raises VariableError naming every one that cannot be."""
    missing: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["escape"]:
            return "${"
        name, default = match["name"], match["default"]
        if match["broken"] or "${" in (default or ""):
            raise VariableError(
                "a variable is written ${NAME} or ${NAME:-default}, not nested; $${ stands for a plain ${",
                missing=False,
            )
        value = environment.get(name)
        if default is not None:
            return value or default
        if value is None:
            missing.append(name)
            return ""
        return value

    expanded = _TOKEN.sub(replace, text)
    if missing:
        names = ", ".join(f"${{{name}}}" for name in dict.fromkeys(missing))
        raise VariableError(f"the environment has no {names}; set it, or write ${{NAME:-default}}", missing=True)
    return expanded


def escape(text: str) -> str:
    """Return text that `expand` gives back as it was."""
    return text.replace("${", "$${")
