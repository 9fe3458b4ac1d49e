from __future__ import annotations

import io
import itertools
import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import DocumentType
from agent.rules.documents import Examination, Wholeness, examine


def look(data: bytes) -> Examination:
    return examine(io.BytesIO(data), len(data))


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


def directory_first(strip: bytes = b"pixels") -> bytes:
    """Return a TIFF whose directory comes before its only strip, as scanners write it."""
    tiff = Tiff()
    strip_at = 8 + 2 + 2 * 12 + 4
    tiff.chain(tiff.directory({273: tiff.array(strip_at), 279: tiff.array(len(strip))}))
    assert tiff.put(strip) == strip_at
    return bytes(tiff.data)


WHOLE = Examination(DocumentType.TIFF, Wholeness.WHOLE)
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
    assert [length for length in range(len(data)) if look(data[:length]) == WHOLE] == []


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
