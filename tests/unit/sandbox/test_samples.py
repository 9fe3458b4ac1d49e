from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pypdf import PdfWriter

from agent.sandbox.documents import DocumentContents, UnreadableDocument, read_document
from agent.sandbox.samples import SAMPLES, read_sample, sample_path

if TYPE_CHECKING:
    from types import ModuleType

GENERATOR = Path(__file__).parents[3] / "packaging" / "make_samples.py"


def generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_samples", GENERATOR)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_samples_are_what_the_generator_makes() -> None:
    assert {name: read_sample(name) for name in SAMPLES} == generator().make_samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_small(name: str) -> None:
    assert 0 < sample_path(name).stat().st_size < 10_000


def test_a_name_that_is_no_sample_is_refused() -> None:
    with pytest.raises(KeyError):
        read_sample("../documents.py")


def test_the_invoice_has_two_pages_of_text() -> None:
    contents = read_document(read_sample("invoice.pdf"))
    assert (contents.kind, contents.pages) == ("pdf", 2)
    assert "Invoice number: INV-2024-0042" in contents.text
    assert "Total amount: 480.00 EUR" in contents.text


def test_the_letter_has_one_page_of_text() -> None:
    contents = read_document(sample_path("letter.pdf"))
    assert (contents.kind, contents.pages) == ("pdf", 1)
    assert "Dear Sir or Madam," in contents.text


def test_the_delivery_note_has_three_pages() -> None:
    assert read_document(read_sample("delivery-note.tiff")) == DocumentContents("tiff", 3, "")


def test_the_broken_pdf_is_refused_with_what_is_missing() -> None:
    with pytest.raises(UnreadableDocument, match="%%EOF is missing"):
        read_document(read_sample("broken.pdf"))


@pytest.mark.parametrize("data", [b"", b"just a text", b"PK\5\6" + bytes(18), b"\x7fELF\1\2\0"])
def test_what_is_neither_pdf_nor_tiff_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableDocument):
        read_document(data)


@pytest.mark.parametrize(
    "body", [b"", b"1 0 obj\n<< /Type /Catalog /Pages 1 0 R >>\nendobj\ntrailer << /Root 1 0 R >>\nstartxref\n0\n"]
)
def test_a_pdf_of_the_right_outline_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableDocument):
        read_document(b"%PDF-1.4\n" + body + b"%%EOF\n")


def test_a_pdf_that_needs_a_password_is_refused() -> None:
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)
    with pytest.raises(UnreadableDocument, match="decrypted"):
        read_document(file.getvalue())
