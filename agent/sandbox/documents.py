"""Reads what the sandbox was sent: pages and text of PDF, pages of TIFF.

Owns the only use of pypdf. Knows no task and no HTTP; a document it cannot read fails its task elsewhere.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pypdf import PdfReader

from agent.model import DocumentType
from agent.rules.documents import examine
from agent.rules.tiff import TiffFile

if TYPE_CHECKING:
    from pathlib import Path


class UnreadableDocument(ValueError):
    """The document cannot be processed; the message is one clause for the person who sent it."""


@dataclass(frozen=True, slots=True)
class DocumentContents:
    """What was read: `kind` is pdf or tiff; `text` holds the pages' text joined by newlines, empty for images."""

    kind: str
    pages: int
    text: str


def read_document(data: bytes | Path) -> DocumentContents:
    """Return what a document holds. Raises UnreadableDocument; OSError where the file cannot be read."""
    with ExitStack() as stack:
        file: BinaryIO = io.BytesIO(data) if isinstance(data, bytes) else stack.enter_context(data.open("rb"))
        size = file.seek(0, io.SEEK_END)
        examination = examine(file, size)
        if not examination.whole:
            raise UnreadableDocument(f"the document is not whole: {examination.detail}")
        match examination.kind:
            case DocumentType.PDF:
                return _read_pdf(file)
            case DocumentType.TIFF:
                return _read_tiff(file, size)
            case _:
                found = examination.kind or "of no known type"
                raise UnreadableDocument(f"the content is {found}, only pdf and tiff are processed")


def _read_pdf(file: BinaryIO) -> DocumentContents:
    try:
        texts = [page.extract_text() for page in PdfReader(file).pages]
    except OSError:
        raise
    except Exception as error:  # damaged documents make pypdf raise nearly anything, RecursionError too
        raise UnreadableDocument(f"the PDF cannot be read: {error or type(error).__name__}") from error
    if not texts:
        raise UnreadableDocument("the PDF has no pages")
    return DocumentContents(DocumentType.PDF.value, len(texts), "\n".join(texts))


def _read_tiff(file: BinaryIO, size: int) -> DocumentContents:
    pages = TiffFile(file, size).count_pages()
    if pages == 0:
        raise UnreadableDocument("the TIFF has no pages")
    return DocumentContents(DocumentType.TIFF.value, pages, "")
