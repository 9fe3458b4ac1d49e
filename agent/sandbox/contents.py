"""What the sandboxes of Send AI and Typless read from a document: its contents, and the values found in them.

Owns no wire: `Found` says what was read, each service writes it its own way. Unlike Aluma's, these two services take
images and mails too, and for those there is only little to read.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from agent.model import DocumentType
from agent.rules.documents import examine, identify
from agent.sandbox.documents import DocumentContents, UnreadableDocument, read_document

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN: Final = (DocumentType.JPEG, DocumentType.PNG)
_TEXTS: Final = (DocumentType.EMAIL, DocumentType.TEXT)
_TEXT_LIMIT: Final = 200_000
_LINE_LIMIT: Final = 200
_ITEM: Final = re.compile(r"^ *(\d+) {2,}(\S.*?) {2,}(\d+\.\d\d) {2,}(\d+\.\d\d)$", re.MULTILINE)
_TAX: Final = re.compile(
    r"^ *(?:tax|vat|mwst\.?|ust\.?) *(\d+(?:\.\d+)?) ?% +(\d+\.\d\d)$", re.MULTILINE | re.IGNORECASE
)
_DATE: Final = re.compile(r"\b(\d{4}-\d\d-\d\d)\b")
_TOTAL: Final = re.compile(r"^ *total[^\n\d]*(\d+\.\d\d)", re.MULTILINE | re.IGNORECASE)
_INVOICE_NUMBER: Final = re.compile(
    r"(?:invoice|rechnung|facture)\s*(?:no|number|nr|nummer|#)?\s*[.:#]*\s*([A-Z0-9][A-Z0-9/-]*[0-9])", re.IGNORECASE
)
_SURE: Final = 0.98
_UNSURE: Final = 0.724
ITEM_FIELDS: Final = ("quantity", "description", "unit_price", "amount")


@dataclass(frozen=True, slots=True)
class Value:
    """One thing read: `kind` is Typless's data_type; `value` None: it is not in the document; `page` from 1."""

    name: str
    kind: str
    value: str | None
    confidence: float
    page: int


@dataclass(frozen=True, slots=True)
class Found:
    """Everything read from one document."""

    fields: tuple[Value, ...]
    line_items: tuple[tuple[Value, ...], ...]
    vat_rates: tuple[tuple[Value, ...], ...]


def read_contents(data: Path) -> DocumentContents:
    """Return what a document holds. Raises UnreadableDocument; OSError where the file cannot be read."""
    with data.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        examination = examine(file, size)
        if not examination.whole:
            raise UnreadableDocument(f"the document is not whole: {examination.detail}")
        kind = examination.kind
        if kind not in (DocumentType.PDF, DocumentType.TIFF):
            return _plain_contents(file, kind)
    return read_document(data)


def glance_at(data: Path) -> DocumentContents:
    """Return contents without text, by the first bytes alone. Raises as `read_contents` does."""
    with data.open("rb") as file:
        kind = identify(file, file.seek(0, io.SEEK_END))
    if kind not in (DocumentType.PDF, DocumentType.TIFF, *_PLAIN, *_TEXTS):
        raise UnreadableDocument(f"the content is {kind or 'of no known type'}")
    return DocumentContents(kind.value, 1, "")


def _plain_contents(file: BinaryIO, kind: DocumentType | None) -> DocumentContents:
    if kind in _PLAIN:
        return DocumentContents(kind.value, 1, "")
    if kind in _TEXTS:
        file.seek(0)
        text = file.read(_TEXT_LIMIT).decode("utf-8", "replace").replace("\r\n", "\n")
        return DocumentContents(kind.value, 1, printable(text))
    raise UnreadableDocument(f"the content is {kind or 'of no known type'}, only documents and images are processed")


def find_values(file_name: str, contents: DocumentContents) -> Found:
    """Return what can be found; every field is there, with None where the document says nothing of it."""
    text = contents.text
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    date, total = _DATE.search(text), _TOTAL.search(text)
    return Found(
        fields=(
            Value("file_name", "STRING", file_name, 1.0, -1),
            Value("document_kind", "STRING", contents.kind, 1.0, -1),
            Value("page_count", "NUMBER", str(contents.pages), 1.0, -1),
            Value("word_count", "NUMBER", str(len(text.split())), 1.0, -1),
            Value("supplier_name", "AUTHOR", printable(first[:_LINE_LIMIT]) or None, _UNSURE, 1),
            Value("invoice_number", "STRING", invoice_number_in(text) or None, _SURE, 1),
            Value("issue_date", "DATE", date.group(1) if date else None, _SURE, 1),
            Value("total_amount", "NUMBER", total.group(1) if total else None, _SURE, contents.pages),
        ),
        line_items=tuple(
            tuple(
                Value(name, "STRING" if name == "description" else "NUMBER", value, _SURE, 1)
                for name, value in zip(ITEM_FIELDS, row.groups(), strict=True)
            )
            for row in _ITEM.finditer(text)
        ),
        vat_rates=tuple(
            (
                Value("vat_rate_percentage", "NUMBER", rate.group(1), _SURE, contents.pages),
                Value("vat_rate_amount", "NUMBER", rate.group(2), _SURE, contents.pages),
            )
            for rate in _TAX.finditer(text)
        ),
    )


def invoice_number_in(text: str) -> str:
    """Return the invoice number a text names; empty where it names none."""
    invoice = _INVOICE_NUMBER.search(text)
    return invoice.group(1) if invoice else ""


def printable(text: str) -> str:
    """Return text that can be written as UTF-8 and holds no control characters but tab and newline."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character in "\t\n" or character.isprintable() else " " for character in whole)
