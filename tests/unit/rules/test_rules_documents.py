from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import DocumentType
from agent.rules.documents import CONTENT_TYPES, Examination, Wholeness, check_whole, examine, identify
from agent.sandbox.samples import SAMPLES, read_sample

MIB = 1024 * 1024

WHOLE_SAMPLES = [name for name in SAMPLES if name != "broken.pdf"]

PDF = b"%PDF-1.4\n1 0 obj\n<< >>\nendobj\nstartxref\n9\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x05tEXthello????" + b"\0\0\0\0IEND\xaeB`\x82"
JPEG = b"\xff\xd8\xff\xe0\0\4ab\xff\xda\0\4cd" + b"12\xff\x00" * 30 + b"\xff\xd9"
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(22) + struct.pack("<H", 9) + bytes(16) + struct.pack("<I", 0)
MAIL = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: bill\r\n\r\nhello"


def look(data: bytes) -> Examination:
    return examine(io.BytesIO(data), len(data))


# --- the type ---------------------------------------------------------------------------------------------------------


def archive(*names: str, first: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, first)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PDF, DocumentType.PDF),
        (b"junk of a mail gateway\r\n" + PDF, DocumentType.PDF),
        (bytes(1000) + PDF, DocumentType.PDF),
        (b"II*\0 and more", DocumentType.TIFF),
        (b"MM\0* and more", DocumentType.TIFF),
        (b"II+\0 and more", DocumentType.TIFF),
        (b"MM\0+ and more", DocumentType.TIFF),
        (JPEG, DocumentType.JPEG),
        (PNG, DocumentType.PNG),
        (archive("a.txt", "b.txt"), DocumentType.ZIP),
        (archive(), DocumentType.ZIP),
        (archive("[Content_Types].xml", "word/document.xml"), DocumentType.OFFICE),
        (archive("_rels/.rels", "xl/workbook.xml"), DocumentType.OFFICE),
        (archive("mimetype", first=b"application/vnd.oasis.opendocument.text"), DocumentType.OFFICE),
        (archive("mimetype", first=b"application/epub+zip"), DocumentType.ZIP),
        (COMPOUND.ljust(2048, b"\1"), DocumentType.OFFICE),
        (COMPOUND.ljust(512, b"\1") + "__properties_version1.0".encode("utf-16-le"), DocumentType.EMAIL),
        (MAIL, DocumentType.EMAIL),
        (b"From someone Mon Mar 25\n" + MAIL, DocumentType.EMAIL),
        (b"name;amount\nM\xfcller;12\n", DocumentType.TEXT),
        (b"Note: a colon makes no mail\nof a text", DocumentType.TEXT),
        (b"{\\rtf1 text}", DocumentType.TEXT),
        ("umlaut ü".encode("utf-16"), DocumentType.TEXT),
    ],
)
def test_the_content_decides_what_a_file_is(data: bytes, kind: DocumentType) -> None:
    assert identify(io.BytesIO(data), len(data)) is kind


@pytest.mark.parametrize(
    "data", [b"\x7fELF\2\1\1\0", b"MZ\x90\0\3", b"\x1f\x8b\x08\0", b"text\0with\1binary", bytes(1100) + PDF]
)
def test_content_of_no_known_type_is_whole_and_has_no_kind(data: bytes) -> None:
    assert look(data) == Examination(None, Wholeness.WHOLE)


@pytest.mark.parametrize(
    "data", [b"", bytes(1), bytes(4095), bytes(4096), bytes(4096) + PDF, b"%PD", b"II", b"II*", b"\x89PN", b"PK"]
)
def test_a_head_that_is_not_written_yet_is_not_whole_and_of_no_wrong_type(data: bytes) -> None:
    found = look(data)
    assert (found.kind, found.whole) == (None, False)
    assert found.detail


def test_every_type_has_a_content_type() -> None:
    assert set(CONTENT_TYPES) == set(DocumentType)
    assert (CONTENT_TYPES[DocumentType.PDF], CONTENT_TYPES[DocumentType.TIFF]) == ("application/pdf", "image/tiff")


# --- our samples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE_SAMPLES)
def test_a_whole_sample_is_whole(name: str) -> None:
    assert look(read_sample(name)).whole


def test_the_broken_sample_is_a_pdf_that_is_not_whole() -> None:
    assert look(read_sample("broken.pdf")) == Examination(
        DocumentType.PDF, Wholeness.NOT_WHOLE, "%%EOF is missing at its end"
    )


@pytest.mark.parametrize("name", WHOLE_SAMPLES)
def test_no_proper_prefix_of_a_sample_that_loses_anything_is_whole(name: str) -> None:
    data = read_sample(name)
    needed = len(data.rstrip(b"\n")) if name.endswith(".pdf") else len(data)
    assert [length for length in range(needed) if _passes(data[:length])] == []


def _passes(data: bytes) -> bool:
    """Return whether it would be sent: whole, and of a type that is accepted by default."""
    found = look(data)
    return found.whole and found.kind in {DocumentType.PDF, DocumentType.TIFF}


@pytest.mark.parametrize("name", WHOLE_SAMPLES)
@given(padding=st.text("\0\t\n\f\r ", max_size=5000))
@settings(deadline=None, max_examples=30)
def test_padding_behind_a_sample_does_no_harm(name: str, padding: str) -> None:
    assert look(read_sample(name) + padding.encode()).whole


# --- PDF --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [b"\0" * MIB, b" " * MIB, b"\r\n" * (MIB // 2 - 1)])
def test_up_to_a_mebibyte_of_padding_is_not_counted(padding: bytes) -> None:
    assert look(PDF.rstrip() + padding).whole


def test_more_padding_than_that_is_space_still_to_be_filled() -> None:
    assert not look(PDF.rstrip() + bytes(MIB + 1)).whole


def test_the_end_mark_may_have_two_kibibytes_behind_its_beginning() -> None:
    body = PDF.rstrip()
    assert look(body + b"\n" + b"j" * 2042).whole
    assert not look(body + b"\n" + b"j" * 2043).whole


def test_an_update_whose_own_end_mark_is_missing_is_not_whole() -> None:
    assert not look(PDF + b"2 0 obj\n<< /Type /Pa").whole


def test_a_finished_update_is_whole() -> None:
    assert look(PDF + b"2 0 obj\n<< >>\nendobj\nstartxref\n9\n%%EOF").whole


# --- the other types --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "whole",
    [JPEG, PNG, archive("a.txt"), archive("[Content_Types].xml", "word/x")],
    ids=["jpeg", "png", "zip", "office"],
)
def test_every_prefix_of_an_image_or_archive_whose_type_can_be_told_is_not_whole(whole: bytes) -> None:
    kind = look(whole).kind
    end = whole.find(b"PK\5\6") + 4 if b"PK\5\6" in whole else len(whole)
    assert look(whole).whole
    assert [length for length in range(end) if look(whole[:length]) == Examination(kind, Wholeness.WHOLE)] == []


def test_a_photo_with_data_of_the_camera_behind_it_is_whole() -> None:
    assert look(JPEG + bytes(range(255, -1, -1)) * 1000).whole


def test_a_large_photo_cut_inside_its_scan_is_not_whole() -> None:
    assert not look(JPEG[:-2] + b"12\xff\x00" * 50_000).whole


def test_a_png_with_something_behind_it_is_whole() -> None:
    assert look(PNG + b"something").whole


@pytest.mark.parametrize("data", [MAIL, MAIL[:60], b"some text", COMPOUND.ljust(2000, b"\1")])
def test_what_may_end_anywhere_is_whole(data: bytes) -> None:
    assert look(data).whole


def test_check_whole_trusts_the_type_it_is_told() -> None:
    assert check_whole(io.BytesIO(MAIL), len(MAIL), DocumentType.PDF).wholeness is Wholeness.NOT_WHOLE


@given(
    head=st.sampled_from(
        [b"", b"%PDF-", b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", PNG[:8], JPEG[:4], b"PK\3\4", COMPOUND]
    ),
    rest=st.binary(max_size=400),
)
@settings(deadline=None, max_examples=300)
def test_garbage_never_raises(head: bytes, rest: bytes) -> None:
    assert look(head + rest).wholeness in set(Wholeness)
