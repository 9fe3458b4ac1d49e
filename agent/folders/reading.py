"""Opens a source for as long as it is checked and sent: one handle, so what was checked is what is sent.

Follows no link, never blocks, and turns what goes wrong while reading into the errors the lanes know. Moves nothing.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from agent.errors import NotRegular
from agent.folders.system import descriptor_beneath, sighting_of
from agent.folders.trouble import source_trouble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import WriteableBuffer

    from agent.model import Sighting


class OpenedSource:
    """A source held open; `file` stands at its start, `sighting` is what the handle said when it was opened."""

    def __init__(self, file: BinaryIO, path: Path, relative_path: str) -> None:
        self.file = file
        self._path = path
        self._relative_path = relative_path
        self.sighting = self.sight_again()

    def sight_again(self) -> Sighting:
        """Return what the handle says now: another size or time means that the file changed under the reader.

        A file renamed over this one is not seen here (it is another file); filing looks for that. Raises FileBusy and
        LocalTrouble.
        """
        try:
            sighting = sighting_of(os.fstat(self.file.fileno()), self._relative_path)
        except OSError as error:
            raise source_trouble(error, "look at", self._path) from error
        if sighting is None or sighting.irregular is not None:
            raise NotRegular(f"{self._path} is not a plain file")
        return sighting


@contextmanager
def open_source(root: Path, relative_path: str) -> Iterator[OpenedSource]:
    """Open a plain file beneath a root for reading.

    Raises NotRegular (a link anywhere on the way, FIFO, device, folder), FileBusy (locked, unreadable, or `gone`) and
    LocalTrouble; reading `file` raises the last two instead of OSError.
    """
    path = root / relative_path
    with _SourceReader(descriptor_beneath(root, relative_path), path) as raw, io.BufferedReader(raw) as file:
        yield OpenedSource(file, path, relative_path)


class _SourceReader(io.FileIO):
    """A file for reading that says whose fault an error is, whoever reads it."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(descriptor, "rb")
        self._path = path

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read into a buffer; a lock on a part of the file (Windows) is FileBusy, a share that went is LocalTrouble."""
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise source_trouble(error, "read", self._path) from error

    def readall(self) -> bytes:
        """Read to the end; raises as `readinto`."""
        try:
            return super().readall()
        except OSError as error:
            raise source_trouble(error, "read", self._path) from error
