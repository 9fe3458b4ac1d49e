"""Bodies of uploads made of files while they are sent: multipart forms, and files in base64 within a document.

Their length is known before the first byte is read, and memory does not grow with a file: an `UploadBody` reads them
block by block. Files are read as long as they were said to be; one that changed stops the body before its end.
"""

from __future__ import annotations

import binascii
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.errors import FileBusy
from agent.rules.form_names import as_utf8, file_name_in_form
from agent.services.exchange import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

_TRIPLES = BLOCK // 4 * 3
"""Bytes of a file encoded at once; a multiple of three, so that no padding stands within."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file of exactly `size` bytes, at its start; `encoded`: sent in base64 without line breaks."""

    name: str
    source: BinaryIO
    size: int
    encoded: bool = False

    @property
    def length(self) -> int:
        """Return the bytes it takes in the body."""
        return (self.size + 2) // 3 * 4 if self.encoded else self.size


Segment = bytes | FilePart


class StreamedBody:
    """Text and files one after the other, as a file of `size` bytes that can be read once and again from its start."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = tuple(segments)
        self.size = sum(len(one) if isinstance(one, bytes) else one.length for one in self._segments)
        self._blocks = self._read_all()
        self._pending = b""

    def seek(self, position: int, _whence: int = 0) -> int:
        """Go back to the start, and nowhere else."""
        if position:
            raise ValueError("a body is sent again from its start only")
        for segment in self._segments:
            if isinstance(segment, FilePart):
                segment.source.seek(0)
        self._blocks = self._read_all()
        self._pending = b""
        return 0

    def read(self, amount: int = BLOCK) -> bytes:
        """Return the next bytes, `amount` of them but at the end. Raises FileBusy, and what reading a file raises."""
        gathered = bytearray(self._pending)
        while len(gathered) < amount and (block := next(self._blocks, b"")):
            gathered += block
        self._pending = bytes(memoryview(gathered)[amount:])
        del gathered[amount:]
        return bytes(gathered)

    def _read_all(self) -> Iterator[bytes]:
        for segment in self._segments:
            if isinstance(segment, bytes):
                if segment:
                    yield segment
            elif segment.encoded:
                yield from _encoded(_exactly(segment))
            else:
                yield from _exactly(segment)


def _exactly(part: FilePart) -> Iterator[bytes]:
    """Yield a file's bytes in full blocks. Raises FileBusy before the last of them where its length is another."""
    left = part.size
    while left:
        block = _full_block(part.source, min(_TRIPLES, left))
        left -= len(block)
        if not block or (left and len(block) < _TRIPLES):
            raise _changed(part)
        if not left and part.source.read(1):
            raise _changed(part)
        yield block
    if not part.size and part.source.read(1):
        raise _changed(part)


def _full_block(source: BinaryIO, amount: int) -> bytes:
    """Return that many bytes, fewer only at the end: an unbuffered file may give less than it has."""
    block = source.read(amount)
    if len(block) == amount or not block:
        return block
    gathered = bytearray(block)
    while len(gathered) < amount and (more := source.read(amount - len(gathered))):
        gathered += more
    return bytes(gathered)


def _changed(part: FilePart) -> FileBusy:
    return FileBusy(f"{part.name} changed while it was sent: its length is no longer what it was")


def _encoded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield binascii.b2a_base64(block, newline=False)


# --- multipart forms (RFC 7578) ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FormFile:
    """One file of a form."""

    field: str
    file_name: str
    content_type: str
    source: BinaryIO
    size: int


def form(fields: Sequence[tuple[str, str]], files: Sequence[FormFile]) -> tuple[str, StreamedBody]:
    """Return the content type and the body of a form: text first, so that a server knows all before the files come."""
    boundary = f"fsagent-{secrets.token_hex(20)}"
    segments: list[Segment] = []
    for name, value in fields:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        segments.append(head.encode() + as_utf8(value).encode() + b"\r\n")
    for file in files:
        disposition = f'form-data; name="{file.field}"; filename="{file_name_in_form(file.file_name)}"'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {file.content_type}\r\n\r\n"
        segments += [head.encode(), FilePart(file.file_name, file.source, file.size), b"\r\n"]
    segments.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", StreamedBody(segments)


# --- a file within a JSON document -----------------------------------------------------------------------------------


def document_with_file(members: Mapping[str, Any], *, member: str, file: FilePart) -> StreamedBody:
    """Return a JSON object of `members`, pure ASCII, with the file as a further member in base64 at its end."""
    head = json.dumps({name: as_utf8(value) if isinstance(value, str) else value for name, value in members.items()})
    opening = head[:-1] + (", " if members else "")
    return StreamedBody([f'{opening}"{member}": "'.encode("ascii"), file, b'"}'])
