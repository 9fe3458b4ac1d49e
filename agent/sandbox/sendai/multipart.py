"""Reading multipart/form-data as it arrives (RFC 7578), strictly; memory holds one block, whatever the parts' sizes.

Owns the format only. There may be nothing before the first boundary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADERS_LIMIT: Final = 16 * 1024
_BOUNDARY: Final = re.compile(
    r"multipart/form-data *;(?:.*;)? *boundary=(\"?)([A-Za-z0-9'()+_,./:=? -]{1,70})\1 *", re.IGNORECASE
)
_PARAMETER: Final = re.compile(r'; *([a-z]+\*?) *= *("[^"]*"|[^"; ]+) *')
_EXTENDED: Final = re.compile(r"utf-8'[^']*'(.*)", re.IGNORECASE)
_ESCAPED: Final = {"%22": '"', "%0D": "\r", "%0A": "\n"}


class BrokenForm(ValueError):
    """The body is no form; the message is one clause."""


@dataclass(frozen=True, slots=True)
class Part:
    """The head of one part; `file_name` None: a field."""

    name: str
    file_name: str | None
    content_type: str


class End:
    """The end of a part."""


END: Final = End()


class _Stage(Enum):
    DELIMITER = auto()
    HEADERS = auto()
    DATA = auto()
    OVER = auto()


def boundary_of(content_type: str) -> bytes:
    """Return the boundary a Content-Type names. Raises BrokenForm."""
    found = _BOUNDARY.fullmatch(content_type)
    if not found:
        raise BrokenForm("the Content-Type is not multipart/form-data with a boundary")
    return found.group(2).encode("ascii")


class MultipartReader:
    """Turns blocks of a body into heads, data and ends of parts."""

    def __init__(self, boundary: bytes) -> None:
        self._mark = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # so that the first boundary looks like every other
        self._stage = _Stage.DELIMITER

    @property
    def is_over(self) -> bool:
        """Whether the last boundary was read."""
        return self._stage is _Stage.OVER

    def feed(self, block: bytes) -> Iterator[Part | bytes | End]:
        """Yield what a block brings. Raises BrokenForm."""
        self._buffer += block
        while True:
            if self._stage is _Stage.DELIMITER:
                if not self._take_delimiter():
                    return
            elif self._stage is _Stage.HEADERS:
                part = self._take_headers()
                if part is None:
                    return
                yield part
            elif self._stage is _Stage.DATA:
                data, is_end = self._take_data()
                if data:
                    yield data
                if not is_end:
                    return
                yield END
            else:
                self._buffer.clear()
                return

    def _take_delimiter(self) -> bool:
        """Pass a boundary and what says whether it is the last; False: it is not all here."""
        needed = len(self._mark) + 2
        if not self._mark.startswith(self._buffer[: len(self._mark)]):
            raise BrokenForm("the body does not begin with its boundary")
        if len(self._buffer) < needed:
            return False
        ending = bytes(self._buffer[len(self._mark) : needed])
        if ending not in (b"\r\n", b"--"):
            raise BrokenForm("a boundary is followed by something else than a line end")
        del self._buffer[:needed]
        self._stage = _Stage.HEADERS if ending == b"\r\n" else _Stage.OVER
        return True

    def _take_headers(self) -> Part | None:
        end = self._buffer.find(b"\r\n\r\n", 0, _HEADERS_LIMIT)
        if end < 0:
            if len(self._buffer) >= _HEADERS_LIMIT:
                raise BrokenForm("the headers of a part have no end")
            return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._stage = _Stage.DATA
        return _read_head(head)

    def _take_data(self) -> tuple[bytes, bool]:
        """Return what is surely data, and whether the part ends with it."""
        end = self._buffer.find(self._mark)
        if end < 0:
            sure = max(0, len(self._buffer) - len(self._mark) + 1)
            data = bytes(self._buffer[:sure])
            del self._buffer[:sure]
            return data, False
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._stage = _Stage.DELIMITER
        return data, True


def _read_head(head: bytes) -> Part:
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise BrokenForm("the headers of a part are not UTF-8") from None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name.lower() in headers:
            raise BrokenForm("the headers of a part are malformed")
        headers[name.lower()] = value.strip(" \t")
    kind, semicolon, rest = headers.get("content-disposition", "").partition(";")
    if kind.strip().lower() != "form-data":
        raise BrokenForm("a part has no Content-Disposition of form-data")
    parameters = _read_parameters(semicolon + rest)
    if "name" not in parameters:
        raise BrokenForm("a part has no name")
    return Part(_unescape(parameters["name"]), _file_name(parameters), headers.get("content-type", ""))


def _read_parameters(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = _PARAMETER.match(text, position)
        if not found or found.group(1) in parameters:
            raise BrokenForm("a Content-Disposition is malformed")
        parameters[found.group(1)] = found.group(2).removeprefix('"').removesuffix('"')
        position = found.end()
    return parameters


def _file_name(parameters: dict[str, str]) -> str | None:
    extended = parameters.get("filename*")
    if extended is None:
        plain = parameters.get("filename")
        return None if plain is None else _unescape(plain)
    found = _EXTENDED.fullmatch(extended)
    if not found:
        raise BrokenForm("a filename* is not UTF-8")
    try:
        return unquote_to_bytes(found.group(1)).decode("utf-8")
    except UnicodeDecodeError:
        raise BrokenForm("a filename* is not UTF-8") from None


def _unescape(text: str) -> str:
    return re.sub("%(?:22|0D|0A)", lambda found: _ESCAPED[found.group()], text)
