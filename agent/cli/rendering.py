"""How times, sizes, ages, tables and JSON look on every command's output; decides nothing.

What comes from outside (names, messages of the service) goes through `for_display` before it is shown.
"""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from agent.rules.naming import for_display

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import TextIO

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_SIZES = ("bytes", "kB", "MB", "GB", "TB")
_STEP = 1000
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Marks:
    """The signs a line may begin with or contain; those of ASCII where the console has no others."""

    good: str = "✓"
    warning: str = "⚠"
    bad: str = "✗"


ASCII_MARKS = Marks("ok", "!", "x")


def marks_for(stream: TextIO | None = None) -> Marks:
    """Return the signs a stream (standard output unless told otherwise) can encode."""
    marks = Marks()
    encoding = getattr(stream if stream is not None else sys.stdout, "encoding", None) or "ascii"
    try:
        f"{marks.good}{marks.warning}{marks.bad}".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII_MARKS
    return marks


def moment(at: float | None) -> str:
    """Return UTC unix seconds in local time with offset; "" for None, `@<seconds>` for a year no calendar here has."""
    if at is None:
        return ""
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().isoformat(sep=" ", timespec="seconds")
    except (OverflowError, OSError, ValueError):  # file systems keep such times; Windows has no local time before 1970
        return f"@{at:.0f}"


def span(seconds: float) -> str:
    """Return a duration in one or two units: `12s`, `3m`, `2h 5m`, `3d 4h`."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        return _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "m")
    return _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _two(many: int, unit: str, rest: int, smaller: str) -> str:
    return f"{many}{unit} {rest}{smaller}" if rest else f"{many}{unit}"


def since(at: float | None, *, now: float) -> str:
    """Return `since <local time> (<age>)`; "" for None."""
    return "" if at is None else f"since {moment(at)} ({span(now - at)})"


def size(count: int) -> str:
    """Return bytes in a unit people read."""
    if count < _STEP:
        return f"{count} byte{'' if count == 1 else 's'}"
    amount = float(count)
    unit = 0
    while amount >= _STEP and unit < len(_SIZES) - 1:
        amount /= _STEP
        unit += 1
    return f"{amount:.1f} {_SIZES[unit]}"


def width(text: str) -> int:
    """Return the columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Return the lines of a table, columns as wide as their widest cell; those in `right` end at one edge.

    The columns move closer where the terminal is too narrow.
    """
    lines = [heads, *rows]
    widths = [max(width(line[column]) for line in lines) for column in range(len(heads))]
    is_narrow = sum(widths) + len(_GAP) * (len(widths) - 1) > shutil.get_terminal_size().columns
    gap = " " if is_narrow else _GAP
    return [gap.join(_cells(line, widths, right)).rstrip() for line in lines]


def _cells(line: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    cells = []
    for column, (cell, room) in enumerate(zip(line, widths, strict=True)):
        space = " " * (room - width(cell))
        cells.append(space + cell if column in right else cell + space)
    return cells


def one_line(text: str) -> str:
    """Return text fit to be shown on one line; every space of a name stays, so that a path can be copied."""
    return for_display(text.strip("\r\n"))


def echo_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write one JSON document to standard output; in ASCII, so that no console and no name can break it."""
    click.echo(json.dumps(_valid(document), indent=2))


def _valid(value: Any) -> Any:
    """Return the value in milliseconds, and text that is no valid Unicode made visible: strict readers refuse it."""
    if isinstance(value, dict):
        return {_valid(key): _valid(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(each) for each in value]
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return for_display(value)
    return value
