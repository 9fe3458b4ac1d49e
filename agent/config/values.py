"""Durations, sizes and file modes as people write them, to numbers; knows no file and no key."""

from __future__ import annotations

import re

NEVER = "never"
INHERIT = "inherit"

DURATION_PATTERN = r"[0-9]{1,15}(\.[0-9]{1,9})?(ms|s|m|h|d)"
SIZE_PATTERN = r"[0-9]{1,19}(\.[0-9]{1,9})?([kKmMgGtT][iI]?)?[bB]?"
MODE_PATTERN = r"(0o|0)?[0-7]{3,4}"

DURATION_EXPECTED = "expected a duration such as 500ms, 2s, 5m, 1h or 30d"
SIZE_EXPECTED = "expected a size such as 500KB, 10MB or 2GiB"
MODE_EXPECTED = f"expected {INHERIT} or an octal mode such as 0640"

LONGEST_DURATION = 36_500 * 86_400.0
"""Seconds; a century is longer than any wait and short enough for every timer of the platform."""
LARGEST_SIZE = 2**63 - 1

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY_BYTES = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_MOST_PERMISSIONS = 0o7777


def parse_duration(text: str) -> float:
    """Return seconds; 0 needs no unit. Raises ValueError with what is expected."""
    if text == "0":
        return 0.0
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(DURATION_EXPECTED)
    unit = text.lstrip("0123456789.")
    number = text.removesuffix(unit)
    seconds = int(number) / 1000 if unit == "ms" and number.isdigit() else float(number) * _SECONDS[unit]
    if seconds > LONGEST_DURATION:
        raise ValueError("expected a duration of at most 36500d")
    return seconds


def parse_size(text: str) -> int:
    """Return bytes; KB is 1000 of them, KiB 1024, a bare number bytes. Raises ValueError with what is expected."""
    if not re.fullmatch(SIZE_PATTERN, text):
        raise ValueError(SIZE_EXPECTED)
    unit = text.lstrip("0123456789.").lower().removesuffix("b")
    number = text[: re.match(r"[0-9.]+", text).end()]  # type: ignore[union-attr]  # the pattern begins with a digit
    scale = _BINARY_BYTES[unit[0]] if unit.endswith("i") else _BYTES[unit]
    size = int(number) * scale if number.isdigit() else round(float(number) * scale)
    if size > LARGEST_SIZE:
        raise ValueError("expected a size below 8000000TiB")
    return size


def parse_mode(text: str) -> int | None:
    """Return permission bits, None for `inherit`; digits are octal with or without 0 or 0o before them."""
    if text == INHERIT:
        return None
    if not re.fullmatch(MODE_PATTERN, text):
        raise ValueError(MODE_EXPECTED)
    mode = int(text.removeprefix("0o"), 8)
    if mode > _MOST_PERMISSIONS:
        raise ValueError(MODE_EXPECTED)
    return mode
