"""Uploaded documents on disk: one temporary folder for each sandbox, gone when it closes.

Owns the files, not what they mean.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """An uploaded document on disk."""

    path: Path
    size: int
    sha256: str


class Storage:
    """The folder of documents."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fsagent-sandbox-", ignore_cleanup_errors=True)
        self._root = Path(self._folder.name)
        self._held: list[Path] = []

    def receive(self) -> Incoming:
        """Return a new file to write a body to."""
        return Incoming(self._root / secrets.token_hex(16))

    def delete(self, document: StoredDocument) -> None:
        """Delete one document; on Windows one that is being read goes with the next deletion, or at the end."""
        self._held.append(document.path)
        still_held = []
        for path in self._held:
            try:
                path.unlink(missing_ok=True)
            except PermissionError:
                still_held.append(path)
        self._held = still_held

    def close(self) -> None:
        """Delete everything."""
        self._folder.cleanup()


class Incoming:
    """A body on its way to the disk; without `finish` nothing of it stays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self._finished = False
        self.size = 0

    def write(self, block: bytes) -> None:
        """Append a block."""
        self._file.write(block)
        self._digest.update(block)
        self.size += len(block)

    def finish(self) -> StoredDocument:
        """Close the file and return what it became."""
        self._file.close()
        self._finished = True
        return StoredDocument(self._path, self.size, self._digest.hexdigest())

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete what was not finished."""
        if not self._finished:
            self._file.close()
            self._path.unlink(missing_ok=True)
