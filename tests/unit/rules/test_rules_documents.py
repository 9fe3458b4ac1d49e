from __future__ import annotations

import io
import itertools
import struct
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import DocumentType
from agent.rules.documents import CONTENT_TYPES, Examination, Wholeness, check_whole, examine, identify, is_head_written
from agent.rules.tiff import BUDGET
from agent.sandbox.samples import SAMPLES, read_sample

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MIB = 1024 * 1024
TIB = 1024**4

WHOLE_SAMPLES = [name for name in SAMPLES if name != "broken.pdf"]

PDF = b"%PDF-1.4\n1 0 obj\n<< >>\nendobj\nstartxref\n9\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x05tEXthello????" + b"\0\0\0\0IEND\xaeB`\x82"
JPEG = b"\xff\xd8\xff\xe0\0\4ab\xff\xda\0\4cd" + b"12\xff\x00" * 30 + b"\xff\xd9"
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(22) + struct.pack("<H", 9) + bytes(16) + struct.pack("<I", 0)
MAIL = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: bill\r\n\r\nhello"


def look(data: bytes) -> Examination:
    return examine(io.BytesIO(data), len(data))


class SparseFile(io.RawIOBase):
    """A file of any size that holds a few pieces and zeros; counts what is read."""

    def __init__(self, size: int, pieces: dict[int, bytes]) -> None:
        self.size, self.pieces, self.position, self.bytes_read = size, pieces, 0, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0
        assert 0 <= offset <= self.size
        self.position = offset
        return offset

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        length = min(len(view), self.size - self.position)
        block = bytearray(length)
        for offset, piece in self.pieces.items():
            begin, end = max(offset, self.position), min(offset + len(piece), self.position + length)
            if begin < end:
                block[begin - self.position : end - self.position] = piece[begin - offset : end - offset]
        view[:length] = block
        self.position += length
        self.bytes_read += length
        return length

    def examine(self) -> Examination:
        return examine(self, self.size)  # type: ignore[arg-type]  # a raw file reads and seeks like any other


@dataclass
class Tiff:
    """Builds TIFFs; every value array of more than one number lies outside its directory."""

    order: str = "<"
    big: bool = False
    code: str = "I"
    data: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        mark = b"II" if self.order == "<" else b"MM"
        self.pointer = "Q" if self.big else "I"
        self.data += mark + struct.pack(
            self.order + ("HHHQ" if self.big else "HI"), *((43, 8, 0, 0) if self.big else (42, 0))
        )
        self.next_at = 8 if self.big else 4

    def put(self, data: bytes) -> int:
        self.data += data
        return len(self.data) - len(data)

    def array(self, *values: int) -> tuple[int, int, bytes]:
        """Return field type, count and the value field; an array that does not fit is put into the file."""
        field_type = {"H": 3, "I": 4, "Q": 16}[self.code]
        packed = struct.pack(f"{self.order}{len(values)}{self.code}", *values)
        room = 8 if self.big else 4
        if len(packed) > room:
            packed = struct.pack(self.order + self.pointer, self.put(packed))
        return field_type, len(values), packed.ljust(room, b"\0")

    def directory(self, entries: dict[int, tuple[int, int, bytes]], following: int = 0) -> int:
        packed = struct.pack(self.order + ("Q" if self.big else "H"), len(entries))
        for tag, (field_type, count, held) in sorted(entries.items()):
            packed += struct.pack(self.order + ("HHQ" if self.big else "HHI"), tag, field_type, count) + held
        return self.put(packed + struct.pack(self.order + self.pointer, following))

    def chain(self, directory_at: int) -> None:
        """Let the last pointer of the chain lead there."""
        struct.pack_into(self.order + self.pointer, self.data, self.next_at, directory_at)
        counter = "Q" if self.big else "H"
        (count,) = struct.unpack_from(self.order + counter, self.data, directory_at)
        self.next_at = directory_at + struct.calcsize(self.order + counter) + count * (20 if self.big else 12)

    def page(self, pieces: list[bytes], tags: tuple[int, int] = (273, 279)) -> None:
        """Append a page: its data, then its arrays, then its directory."""
        offsets = [self.put(piece) for piece in pieces]
        entries = {tags[0]: self.array(*offsets), tags[1]: self.array(*map(len, pieces))}
        self.chain(self.directory(entries))


def one_page(**options: str | bool) -> bytes:
    tiff = Tiff(**options)  # type: ignore[arg-type]
    tiff.page([b"strip one", b"strip two!"])
    return bytes(tiff.data)


def directory_first(strip: bytes = b"pixels") -> bytes:
    """Return a TIFF whose directory comes before its only strip, as scanners write it."""
    tiff = Tiff()
    strip_at = 8 + 2 + 2 * 12 + 4
    tiff.chain(tiff.directory({273: tiff.array(strip_at), 279: tiff.array(len(strip))}))
    assert tiff.put(strip) == strip_at
    return bytes(tiff.data)


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
        (one_page(), DocumentType.TIFF),
        (one_page(order=">"), DocumentType.TIFF),
        (one_page(big=True), DocumentType.TIFF),
        (one_page(order=">", big=True), DocumentType.TIFF),
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
    assert not is_head_written(io.BytesIO(data), len(data))


def test_a_head_that_is_written_says_so() -> None:
    assert is_head_written(io.BytesIO(PDF), len(PDF))


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


# --- TIFF -------------------------------------------------------------------------------------------------------------

FORMS = [
    {"order": order, "big": big, "code": code}
    for order, big, code in itertools.product("<>", (False, True), "HIQ")
    if big or code != "Q"
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("tags", [(273, 279), (324, 325)], ids=["strips", "tiles"])
def test_three_pages_are_whole_and_every_prefix_of_them_is_not(
    form: dict[str, str | bool], tags: tuple[int, int]
) -> None:
    tiff = Tiff(**form)  # type: ignore[arg-type]
    for page in range(3):
        tiff.page([b"a" * 20, b"b" * 30, b"c" * page], tags)
    data = bytes(tiff.data)
    assert look(data).whole
    assert [length for length in range(len(data)) if _passes(data[:length])] == []


def test_a_strip_that_ends_beyond_the_file_is_named() -> None:
    data = directory_first()
    assert look(data).whole
    assert look(data[:-1]).detail == "a strip at 38 ends beyond the file"


def test_a_tile_that_ends_beyond_the_file_is_named() -> None:
    tiff = Tiff()
    tiff.chain(tiff.directory({324: tiff.array(8), 325: tiff.array(999)}))
    assert look(bytes(tiff.data)).detail == "a tile at 8 ends beyond the file"


def test_a_first_directory_that_is_not_written_yet_is_not_whole() -> None:
    assert look(b"II*\0" + bytes(100)).detail == "the first directory has not been written yet"


def test_a_directory_of_zeros_is_space_still_to_be_filled() -> None:
    assert (
        look(b"II*\0" + struct.pack("<I", 100) + bytes(100)).detail == "the directory at 100 has not been written yet"
    )


def test_a_strip_without_its_length_must_begin_inside() -> None:
    tiff = Tiff()
    tiff.chain(tiff.directory({273: tiff.array(8)}))
    assert look(bytes(tiff.data)).whole
    tiff = Tiff()
    tiff.chain(tiff.directory({273: tiff.array(5000)}))
    assert not look(bytes(tiff.data)).whole


def test_sparse_tiles_are_whole() -> None:
    tiff = Tiff()
    tiff.chain(tiff.directory({324: tiff.array(0, 0, 0), 325: tiff.array(0, 0, 0)}))
    assert look(bytes(tiff.data)).whole


def uncompressed(*, width: int, height: int, rows: int, strips: list[tuple[int, int]], behind: int) -> bytes:
    """Return a TIFF of one byte per pixel whose strips are told to lie there; `behind`: bytes behind the directory."""
    tiff = Tiff()
    tags = {256: width, 257: height, 258: 8, 259: 1, 278: rows}
    entries = {tag: tiff.array(value) for tag, value in tags.items()}
    entries |= {273: tiff.array(*(at for at, _ in strips)), 279: tiff.array(*(length for _, length in strips))}
    tiff.chain(tiff.directory(entries))
    tiff.put(bytes(behind))
    return bytes(tiff.data)


def test_an_uncompressed_last_strip_of_fewer_rows_may_claim_a_full_length() -> None:
    begin = len(uncompressed(width=10, height=15, rows=10, strips=[(0, 0), (0, 0)], behind=0))
    strips = [(begin, 100), (begin + 100, 100)]
    assert look(uncompressed(width=10, height=15, rows=10, strips=strips, behind=150)).whole
    assert not look(uncompressed(width=10, height=15, rows=10, strips=strips, behind=149)).whole


def test_values_outside_their_directory_must_lie_inside_the_file() -> None:
    tiff = Tiff()
    tiff.chain(tiff.directory({270: (2, 500, struct.pack("<I", 20))}))
    assert look(bytes(tiff.data)).detail == "the values of tag 270 in the directory at 8 end beyond the file"


def test_a_directory_below_another_one_must_lie_inside_too() -> None:
    tiff = Tiff()
    below = tiff.directory({273: tiff.array(8), 279: tiff.array(4)})
    broken = tiff.directory({273: tiff.array(8), 279: tiff.array(4000)})
    tiff.chain(tiff.directory({330: tiff.array(below, broken)}))
    assert look(bytes(tiff.data)).detail == "a strip at 8 ends beyond the file"


def test_a_loop_in_the_chain_ends_and_is_whole() -> None:
    tiff = Tiff()
    tiff.page([b"abc"])
    first = struct.unpack_from("<I", tiff.data, 4)[0]
    tiff.page([b"def"])
    struct.pack_into("<I", tiff.data, tiff.next_at, first)
    assert look(bytes(tiff.data)).whole


def test_directories_below_each_other_end() -> None:
    tiff = Tiff()
    at = len(tiff.data)
    tiff.chain(tiff.directory({330: tiff.array(at)}, following=at))
    assert look(bytes(tiff.data)).whole


def test_a_bigtiff_of_an_unknown_form_cannot_be_decided_and_is_whole() -> None:
    assert look(b"II+\0" + struct.pack("<HHQ", 4, 0, 0) + bytes(20)).whole


@given(data=st.data())
@settings(deadline=None, max_examples=200)
def test_a_changed_tiff_never_raises(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(FORMS))
    tiff = Tiff(**form)  # type: ignore[arg-type]
    for _ in range(3):
        tiff.page([b"ab", b"cde"])
    changes = st.tuples(st.integers(4, len(tiff.data) - 1), st.binary(min_size=1, max_size=8))
    for position, replacement in data.draw(st.lists(changes, min_size=1, max_size=6)):
        tiff.data[position : position + len(replacement)] = replacement
    assert look(bytes(tiff.data)).kind in set(DocumentType)


@given(
    head=st.sampled_from(
        [b"", b"%PDF-", b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", PNG[:8], JPEG[:4], b"PK\3\4", COMPOUND]
    ),
    rest=st.binary(max_size=400),
)
@settings(deadline=None, max_examples=300)
def test_garbage_never_raises(head: bytes, rest: bytes) -> None:
    assert look(head + rest).wholeness in set(Wholeness)


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


# --- size and time ----------------------------------------------------------------------------------------------------


def test_a_file_that_shrinks_meanwhile_is_not_whole() -> None:
    data = one_page()
    assert not examine(io.BytesIO(data[:-10]), len(data)).whole
    assert not examine(io.BytesIO(PDF[:20]), len(PDF)).whole


@pytest.mark.parametrize(
    ("pieces", "is_whole"),
    [
        ({}, False),
        ({0: b"%PDF-1.7\n"}, False),
        ({0: b"%PDF-1.7\n", TIB - 8: b"%%EOF\r\n\0"}, True),
        ({0: b"II*\0" + struct.pack("<I", 2**32 - 5)}, False),
        ({0: b"II+\0" + struct.pack("<HHQ", 8, 0, TIB // 2)}, False),
        ({0: b"II+\0" + struct.pack("<HHQ", 8, 0, 16), 16: struct.pack("<Q", 2**30)}, True),
        ({0: JPEG[:40]}, False),
        ({0: PNG[:20]}, False),
        ({0: b"PK\3\4 anything"}, False),
        ({0: b"\x7fELF"}, True),
    ],
    ids=[
        "zeros",
        "pdf head",
        "pdf",
        "tiff directory of zeros",
        "bigtiff of zeros",
        "absurd count",
        "jpeg",
        "png",
        "zip",
        "other",
    ],
)
def test_a_sparse_file_of_a_tebibyte_costs_a_few_reads(pieces: dict[int, bytes], is_whole: bool) -> None:
    file = SparseFile(TIB, pieces)
    assert file.examine().whole is is_whole
    assert file.bytes_read < 4 * MIB


def test_a_hostile_chain_reads_no_more_than_its_budget() -> None:
    # Each directory claims the same million strips, all inside; only the budget ends this.
    entry = struct.pack("<HHQQ", 273, 16, 1_000_000, 2**30) + struct.pack("<HHQQ", 279, 16, 1_000_000, 2**30)
    chain = b"".join(struct.pack("<Q", 2) + entry + struct.pack("<Q", 16 + 56 * number) for number in range(1, 2000))
    file = SparseFile(TIB, {0: b"II+\0" + struct.pack("<HHQ", 8, 0, 16), 16: chain})
    assert file.examine().whole
    assert file.bytes_read < BUDGET + MIB


def test_endless_directories_below_one_are_bounded() -> None:
    # An array of a billion directories, all pointing at one place of zeros but the first, which points at itself.
    entry = struct.pack("<HHQQ", 330, 16, 10**9, 4096)
    directory = struct.pack("<Q", 1) + entry + struct.pack("<Q", 0)
    file = SparseFile(TIB, {0: b"II+\0" + struct.pack("<HHQ", 8, 0, 16), 16: directory, 4096: struct.pack("<Q", 16)})
    assert file.examine().whole
    assert file.bytes_read < BUDGET + MIB


def test_check_whole_trusts_the_type_it_is_told() -> None:
    assert check_whole(io.BytesIO(MAIL), len(MAIL), DocumentType.PDF).wholeness is Wholeness.NOT_WHOLE
