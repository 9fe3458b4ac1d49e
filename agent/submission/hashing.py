"""Hashing a file while it is handed out: no byte is read twice for its digest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

BLOCK = 256 * 1024


class HashingReader:
    """Hands an open file to the service in blocks and hashes what it hands out, so no byte is read twice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._hashed_to = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next block."""
        position = self._file.tell()
        block = self._file.read(size)
        known = self._hashed_to - position  # a replay after a renewed token reads again what is hashed already
        if 0 <= known < len(block):
            self._hash.update(memoryview(block)[known:])
            self._hashed_to += len(block) - known
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the offset."""
        return self._file.tell()

    @property
    def sha256(self) -> str:
        """The digest of everything handed out."""
        return self._hash.hexdigest()


def digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a whole file and go back to its start."""
    reader = HashingReader(file)
    while reader.read(BLOCK):
        pass
    file.seek(0)
    return reader.sha256
