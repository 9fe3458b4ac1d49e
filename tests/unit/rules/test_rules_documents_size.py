from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest

from agent.rules.documents import Examination, examine
from agent.rules.tiff import BUDGET
from agent.sandbox.samples import read_sample

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MIB = 1024 * 1024
TIB = 1024**4


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


@pytest.mark.parametrize("name", ["invoice.pdf", "delivery-note.tiff"])
def test_a_file_that_shrinks_meanwhile_is_not_whole(name: str) -> None:
    data = read_sample(name)
    assert not examine(io.BytesIO(data[:-100]), len(data)).whole


@pytest.mark.parametrize(
    ("pieces", "is_whole"),
    [
        ({}, False),
        ({0: b"%PDF-1.7\n"}, False),
        ({0: b"%PDF-1.7\n", TIB - 8: b"%%EOF\r\n\0"}, True),
        ({0: b"II*\0" + struct.pack("<I", 2**32 - 5)}, False),
        ({0: b"II+\0" + struct.pack("<HHQ", 8, 0, TIB // 2)}, False),
        ({0: b"II+\0" + struct.pack("<HHQ", 8, 0, 16), 16: struct.pack("<Q", 2**30)}, True),
        ({0: b"\xff\xd8\xff\xe0\0\4ab\xff\xda\0\4cd and a scan"}, False),
        ({0: b"\x89PNG\r\n\x1a\n\0\0\0\5tEXt"}, False),
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
