"""What a file is by its content, and whether it is whole by its structure (design.md §3 point 3).

Works on a seekable binary file object handed in and its size; reads its head, its tail and its directories, never all
of it. Owns no opinion about which types are welcome or when to give up. What cannot be decided counts as whole. Raises
nothing but what reading the file raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Final

from agent.model import DocumentType
from agent.rules import tiff

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_SIZE: Final = 4096
"""Bytes looked at to tell the type; so many zeros mean that nothing was written there yet."""
PDF_HEAD_SIZE: Final = 1024
PDF_TAIL_SIZE: Final = 2048
PADDING_LIMIT: Final = 1024 * 1024
"""NUL and white space at the end that is not counted; scanners and mainframes fill up their last block."""

CONTENT_TYPES: Final[Mapping[DocumentType, str]] = MappingProxyType(
    {
        DocumentType.PDF: "application/pdf",
        DocumentType.TIFF: "image/tiff",
        DocumentType.JPEG: "image/jpeg",
        DocumentType.PNG: "image/png",
        # These two stand for many formats each; the service tells them apart by the content.
        DocumentType.OFFICE: "application/octet-stream",
        DocumentType.EMAIL: "application/octet-stream",
        DocumentType.TEXT: "text/plain",
        DocumentType.ZIP: "application/zip",
    }
)
"""The Content-Type a document of each type is sent with (apis.md 1.4)."""

_PADDING: Final = b"\0\t\n\f\r "
_ENDLESS_PADDING: Final = "it ends in more than 1 MiB of zeros or white space"
_BLOCK: Final = 64 * 1024

_PDF: Final = b"%PDF-"
_PDF_END: Final = b"%%EOF"
_PDF_OBJECT: Final = re.compile(rb"\d\s+\d+\s+obj\b")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_MAX_CHUNKS: Final = 4096
_JPEG: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # ends a scan; the others occur inside one
_ZIP: Final = b"PK\3\4"
_ZIP_DIRECTORY_END: Final = b"PK\5\6"
_ZIP_TAIL_SIZE: Final = 22 + 65_535  # the end record with the longest comment
_ZIP_NAME_AT: Final = 30
_COMPOUND: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # doc, xls, ppt, msg
_OUTLOOK_STREAM: Final = "__properties_version1.0".encode("utf-16-le")

_SIGNATURES: Final = (*tiff.SIGNATURES, _PDF, _PNG, _JPEG, _ZIP, _COMPOUND)

_TEXT_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_HEADER_LINE: Final = re.compile(rb"[!-9;-~]+:[ \t]")
_MAIL_HEADERS: Final = re.compile(
    rb"^(?:from|to|cc|subject|date|received|message-id|mime-version|return-path|delivered-to):",
    re.IGNORECASE | re.MULTILINE,
)


class Wholeness(StrEnum):
    """Whether anything of a file is known to be missing."""

    WHOLE = "whole"
    NOT_WHOLE = "not whole"


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found; `kind` None: of no known type if whole, else so little is there that the type cannot be told."""

    kind: DocumentType | None
    wholeness: Wholeness
    detail: str = ""  # what is missing, as a clause without a full stop; empty where nothing is

    @property
    def whole(self) -> bool:
        """Return whether nothing is known to be missing."""
        return self.wholeness is Wholeness.WHOLE


def examine(file: BinaryIO, size: int) -> Examination:
    """Return what a file of `size` bytes is and whether it is whole; leaves the position anywhere."""
    if missing := _find_missing_head(file, size):
        return Examination(None, Wholeness.NOT_WHOLE, missing)
    kind = identify(file, size)
    if kind is None:
        return Examination(None, Wholeness.WHOLE)
    return check_whole(file, size, kind)


def identify(file: BinaryIO, size: int) -> DocumentType | None:
    """Return the type by content, None for no known one; only meaningful once the head is written (`examine`)."""
    head = _read_at(file, 0, min(size, HEAD_SIZE))
    if head[:4] in tiff.SIGNATURES:
        return DocumentType.TIFF
    if head.startswith(_JPEG):
        return DocumentType.JPEG
    if head.startswith(_PNG):
        return DocumentType.PNG
    if head.startswith((_ZIP, _ZIP_DIRECTORY_END)):
        return DocumentType.OFFICE if _is_office_archive(head) else DocumentType.ZIP
    if head.startswith(_COMPOUND):
        return DocumentType.EMAIL if _is_outlook_message(file, size, head) else DocumentType.OFFICE
    if _PDF in head[:PDF_HEAD_SIZE]:
        return DocumentType.PDF
    if not head or not (head.startswith(_TEXT_MARKS) or _CONTROLS.search(head) is None):
        return None
    return DocumentType.EMAIL if _is_mail(head) else DocumentType.TEXT


def check_whole(file: BinaryIO, size: int, kind: DocumentType) -> Examination:
    """Return whether a file of that type is whole, and what is missing where it is not."""
    match kind:
        case DocumentType.PDF:
            missing = _find_missing_in_pdf(file, size)
        case DocumentType.TIFF:
            missing = _find_missing_in_tiff(file, size)
        case DocumentType.JPEG:
            missing = _find_missing_in_jpeg(file, size)
        case DocumentType.PNG:
            missing = _find_missing_in_png(file, size)
        case DocumentType.ZIP | DocumentType.OFFICE:
            missing = _find_missing_in_archive(file, size)
        case DocumentType.EMAIL | DocumentType.TEXT:
            missing = ""  # they may end anywhere
    return Examination(kind, Wholeness.NOT_WHOLE if missing else Wholeness.WHOLE, missing)


# --- the type ---------------------------------------------------------------------------------------------------------


def _find_missing_head(file: BinaryIO, size: int) -> str:
    head = _read_at(file, 0, min(size, HEAD_SIZE))
    if not head:
        return "the file is empty"
    if not head.strip(b"\0"):
        return f"its first {len(head)} bytes are all zero"
    if any(len(head) < len(signature) and signature.startswith(head) for signature in _SIGNATURES):
        return f"it has only {len(head)} bytes so far"
    return ""


def _is_office_archive(head: bytes) -> bool:
    """Tell OOXML and OpenDocument from other archives by their first entry, which their writers fix."""
    name = head[_ZIP_NAME_AT : _ZIP_NAME_AT + int.from_bytes(head[26:28], "little")]
    if name == b"mimetype":
        return b"application/vnd.oasis.opendocument." in head
    return name == b"[Content_Types].xml" or name.startswith((b"_rels/", b"docProps/", b"word/", b"xl/", b"ppt/"))


def _is_outlook_message(file: BinaryIO, size: int, head: bytes) -> bool:
    """Look for the stream every message has in the first directory sector ([MS-CFB] 2.2, [MS-OXMSG] 2.4)."""
    sector_size = 1 << min(int.from_bytes(head[30:32], "little"), 12)
    directory_at = (int.from_bytes(head[48:52], "little") + 1) * sector_size
    return directory_at < size and _OUTLOOK_STREAM in _read_at(file, directory_at, min(4096, size - directory_at))


def _is_mail(head: bytes) -> bool:
    headers = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    if not (headers.startswith(b"From ") or _HEADER_LINE.match(headers)):
        return False
    return len({name.lower() for name in _MAIL_HEADERS.findall(headers)}) >= 2  # noqa: PLR2004 -- one occurs in any text


# --- whole or not -----------------------------------------------------------------------------------------------------


def _find_missing_in_pdf(file: BinaryIO, size: int) -> str:
    end = _find_end(file, size)
    if end is None:
        return _ENDLESS_PADDING
    begin = max(0, end - PDF_TAIL_SIZE)
    _, mark, rest = _read_at(file, begin, end - begin).rpartition(_PDF_END)
    if not mark:
        return "%%EOF is missing at its end"
    # An updated file has one %%EOF for each version, a linearized one has its first near the beginning; objects
    # behind the last one lack theirs.
    return "%%EOF is missing behind its last objects" if _PDF_OBJECT.search(rest) else ""


def _find_missing_in_tiff(file: BinaryIO, size: int) -> str:
    try:
        tiff.TiffFile(file, size).check()
    except tiff.BeyondEnd as error:
        return str(error)
    return ""


def _find_missing_in_jpeg(file: BinaryIO, size: int) -> str:
    """Look for the end marker near the end; cameras append data, so its absence alone does not decide."""
    end = _find_end(file, size)
    if end is None:
        return _ENDLESS_PADDING
    begin = max(0, end - _BLOCK)
    tail = _read_at(file, begin, end - begin)
    if _JPEG_END in tail:
        return ""
    is_inside_scan = b"\xff\0" in tail and _JPEG_MARKER.search(tail) is None
    return "the end of the image is missing" if begin == 0 or is_inside_scan else ""


def _find_missing_in_png(file: BinaryIO, size: int) -> str:
    position = len(_PNG)
    tail_at = max(0, size - len(_PNG_END))
    if _read_at(file, tail_at, size - tail_at) == _PNG_END:
        return ""
    for _ in range(_PNG_MAX_CHUNKS):
        if position + 12 > size:
            return "its last chunk is missing"
        header = _read_at(file, position, 8)
        if not header.strip(b"\0"):
            return f"the chunk at {position} has not been written yet"
        position += 12 + int.from_bytes(header[:4], "big")
        if position > size:
            return f"the chunk that ends at {position} ends beyond the file"
        if header[4:] == b"IEND":
            return ""
    return ""


def _find_missing_in_archive(file: BinaryIO, size: int) -> str:
    if _read_at(file, 0, min(size, len(_COMPOUND))) == _COMPOUND:
        return ""  # sectors may lie anywhere
    end = _find_end(file, size)
    if end is None:
        return _ENDLESS_PADDING
    begin = max(0, end - _ZIP_TAIL_SIZE)
    return "" if _ZIP_DIRECTORY_END in _read_at(file, begin, end - begin) else "the directory at its end is missing"


# --- reading ----------------------------------------------------------------------------------------------------------


def _find_end(file: BinaryIO, size: int) -> int | None:
    """Return where the content ends and padding begins; None where there is more padding than PADDING_LIMIT."""
    end = size
    while end > 0 and size - end <= PADDING_LIMIT:
        begin = max(0, end - _BLOCK)
        block = _read_at(file, begin, end - begin)
        if content := block.rstrip(_PADDING):
            end = begin + len(content)
            return end if size - end <= PADDING_LIMIT else None
        end = begin
    return None


def _read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Read up to that many bytes; fewer where the file has shrunk."""
    file.seek(offset)
    return file.read(length)
