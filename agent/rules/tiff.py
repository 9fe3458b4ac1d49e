"""The directories of a TIFF file: where its pages lie, and whether all of it lies inside the file.

Reads classic TIFF and BigTIFF of both byte orders through a seekable binary file handed in. Never decodes an image,
never recurses, and reads no more than BUDGET bytes of directories, so that a hostile file costs neither time nor
memory. Sources: TIFF 6.0 sections 2 and 15, TIFF technical note 1 (SubIFDs), the BigTIFF design of libtiff.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNATURES: Final = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
"""The first four bytes, and the byte order and whether it is BigTIFF."""

BUDGET: Final = 8 * 1024 * 1024
"""Bytes of directories and arrays read at most; what lies beyond is not decided."""
MAX_DIRECTORIES: Final = 65_536
"""Directories looked at in one file at most; libtiff stops there too."""
MAX_ENTRIES: Final = 65_535
"""Entries of one directory: all that classic TIFF can say; a BigTIFF that says more is none that anyone reads."""

_BLOCK: Final = 64 * 1024
_BIGTIFF_HEADER: Final = (8, 0)  # bytes of an offset, always zero

_NEW_SUBFILE_TYPE: Final = 254
_WIDTH: Final = 256
_HEIGHT: Final = 257
_BITS_PER_SAMPLE: Final = 258
_COMPRESSION: Final = 259
_STRIP_OFFSETS: Final = 273
_SAMPLES_PER_PIXEL: Final = 277
_ROWS_PER_STRIP: Final = 278
_STRIP_BYTE_COUNTS: Final = 279
_PLANAR_CONFIGURATION: Final = 284
_TILE_OFFSETS: Final = 324
_TILE_BYTE_COUNTS: Final = 325
_SUB_DIRECTORIES: Final = 330

_REDUCED_OR_MASK: Final = 0b101  # bits of NewSubfileType: a smaller version of a page, a transparency mask

_TYPE_SIZES: Final = dict(zip(range(1, 14), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), strict=True)) | {
    16: 8,
    17: 8,
    18: 8,
}
_UNSIGNED: Final = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # SHORT, LONG, IFD, LONG8, IFD8


class BeyondEnd(ValueError):
    """Something the directories name lies beyond the end of the file, or was never written; the message says what."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag's values: their field type, how many, and where they begin in the file."""

    field_type: int
    count: int
    begins_at: int


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory; `is_sub` where it hangs below another one and is no page of its own."""

    offset: int
    entries: Mapping[int, Entry]
    is_sub: bool


class TiffFile:
    """The directories of one open file of `size` bytes. Every method raises BeyondEnd."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._left = BUDGET
        head = self._read(0, 8, "the header")
        self._order, self._big = SIGNATURES[head[:4]]
        self._inline = 8 if self._big else 4  # bytes of values that an entry holds itself; also of a pointer
        self._entry = struct.Struct(self._order + ("HHQ8s" if self._big else "HHI4s"))
        self._counter = struct.Struct(self._order + ("Q" if self._big else "H"))
        self._pointer = struct.Struct(self._order + ("Q" if self._big else "I"))
        self._decodable = not self._big or struct.unpack(self._order + "HH", head[4:]) == _BIGTIFF_HEADER

    def directories(self) -> Iterator[Directory]:
        """Yield the directories of the chain and those below them, each once; a loop in the chain ends it."""
        if not self._decodable:
            return
        pointer_at = 8 if self._big else 4
        (first,) = self._pointer.unpack(self._read(pointer_at, self._inline, "the header"))
        if first == 0:
            raise BeyondEnd("the first directory has not been written yet")
        pending = [(first, False)]
        seen: set[int] = set()
        while pending and len(seen) < MAX_DIRECTORIES and self._left > 0:
            offset, is_sub = pending.pop()
            if offset == 0 or offset in seen:
                continue
            seen.add(offset)
            entries, following = self._read_directory(offset)
            if not is_sub:
                pending.append((following, False))
            if below := entries.get(_SUB_DIRECTORIES):
                pending.extend((value, True) for value in self._values(below, limit=MAX_DIRECTORIES - len(pending)))
            yield Directory(offset, entries, is_sub)

    def count_pages(self) -> int:
        """Return how many pages the chain has; smaller versions of a page and masks are none."""
        return sum(self._is_page(directory) for directory in self.directories())

    def check(self) -> None:
        """Look at everything the directories name; returns where all of it lies inside the file."""
        for directory in self.directories():
            for tag, entry in directory.entries.items():
                self._check_values(directory, tag, entry)
            self._check_strips(directory)
            self._check_tiles(directory)

    def _read_directory(self, offset: int) -> tuple[dict[int, Entry], int]:
        what = f"the directory at {offset}"
        (count,) = self._counter.unpack(self._read(offset, self._counter.size, what))
        if count == 0:
            raise BeyondEnd(f"{what} has not been written yet")
        entries_at = offset + self._counter.size
        length = count * self._entry.size
        if entries_at + length + self._inline > self._size:
            raise BeyondEnd(f"{what} ends beyond the file")
        if count > MAX_ENTRIES or length > self._left:
            return {}, 0
        data = self._read(entries_at, length + self._inline, what)
        entries: dict[int, Entry] = {}
        for index, (tag, field_type, values, held) in enumerate(self._entry.iter_unpack(data[:length])):
            if values * _TYPE_SIZES.get(field_type, 0) > self._inline:
                (begins_at,) = self._pointer.unpack(held)
            else:
                begins_at = entries_at + (index + 1) * self._entry.size - self._inline
            entries.setdefault(tag, Entry(field_type, values, begins_at))
        (following,) = self._pointer.unpack(data[length:])
        return entries, following

    def _check_values(self, directory: Directory, tag: int, entry: Entry) -> None:
        if entry.begins_at + entry.count * _TYPE_SIZES.get(entry.field_type, 0) > self._size:
            raise BeyondEnd(f"the values of tag {tag} in the directory at {directory.offset} end beyond the file")

    def _check_strips(self, directory: Directory) -> None:
        """Check strips; of uncompressed ones no more is asked than their rows need.

        Writers that crop an image, or whose last strip has fewer rows, leave lengths behind that are too large.
        """
        rows = self._first(directory, _ROWS_PER_STRIP, default=0)
        height = self._first(directory, _HEIGHT, default=0)
        plain = (
            self._first(directory, _COMPRESSION, default=1)
            == self._first(directory, _PLANAR_CONFIGURATION, default=1)
            == 1
        )
        bits = self._first(directory, _BITS_PER_SAMPLE, default=1) * self._first(
            directory, _SAMPLES_PER_PIXEL, default=1
        )
        row_length = (self._first(directory, _WIDTH, default=0) * bits + 7) // 8 if plain else 0
        for index, (offset, length) in enumerate(self._pieces(directory, _STRIP_OFFSETS, _STRIP_BYTE_COUNTS)):
            needed = row_length * min(rows or height, height - index * rows)
            end = offset + (min(length, needed) if needed > 0 else length)
            if end > self._size:
                raise BeyondEnd(f"a strip at {offset} ends beyond the file")

    def _check_tiles(self, directory: Directory) -> None:
        for offset, length in self._pieces(directory, _TILE_OFFSETS, _TILE_BYTE_COUNTS):
            if offset + length > self._size:
                raise BeyondEnd(f"a tile at {offset} ends beyond the file")

    def _pieces(self, directory: Directory, offsets_tag: int, byte_counts_tag: int) -> Iterator[tuple[int, int]]:
        """Yield offset and length of each strip or tile; a sparse one, whose pixels were never written, has zeros."""
        offsets = directory.entries.get(offsets_tag)
        if offsets is None:
            return
        byte_counts = directory.entries.get(byte_counts_tag)
        if byte_counts is None:
            # Old writers leave the lengths out; that the first one has a first byte is still known.
            yield self._first(directory, offsets_tag, default=0), 1
            return
        for offset, length in zip(self._values(offsets), self._values(byte_counts), strict=False):
            yield (offset, length) if offset and length else (0, 0)

    def _first(self, directory: Directory, tag: int, *, default: int) -> int:
        """Return a tag's first value, what TIFF says where it is not there."""
        entry = directory.entries.get(tag)
        return next(self._values(entry, limit=1), default) if entry else default

    def _is_page(self, directory: Directory) -> bool:
        return not directory.is_sub and not self._first(directory, _NEW_SUBFILE_TYPE, default=0) & _REDUCED_OR_MASK

    def _values(self, entry: Entry, limit: int | None = None) -> Iterator[int]:
        """Yield an entry's unsigned numbers in blocks; none for another field type, no more than the budget allows."""
        code = _UNSIGNED.get(entry.field_type)
        if code is None:
            return
        width = _TYPE_SIZES[entry.field_type]
        left = entry.count if limit is None else min(entry.count, limit)
        position = entry.begins_at
        while left > 0 and self._left > 0:
            number = min(left, _BLOCK // width)
            data = self._read(position, number * width, f"the array at {entry.begins_at}")
            yield from struct.unpack(f"{self._order}{number}{code}", data)
            position += number * width
            left -= number

    def _read(self, offset: int, length: int, what: str) -> bytes:
        """Read exactly that; never seeks beyond the file, where platforms differ in what they raise."""
        if offset + length > self._size:
            raise BeyondEnd(f"{what} ends beyond the file")
        self._left -= length
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) < length:
            raise BeyondEnd(f"{what} ends beyond the file")
        return data
