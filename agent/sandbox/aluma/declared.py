"""Reading a document as it was declared: what this service processes at all (seed 001)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.sandbox.aluma.records import MEDIA_TYPES
from agent.sandbox.contents import glance_at
from agent.sandbox.documents import UnreadableDocument, read_document

if TYPE_CHECKING:
    from pathlib import Path

    from agent.sandbox.documents import DocumentContents

_KIND_OF_TYPE: Final = {media_type: kind for kind, media_type in MEDIA_TYPES.items()}


def read_declared(path: Path, content_type: str, *, whole: bool) -> DocumentContents:
    """Return what a document holds; `whole` False: by the first bytes alone.

    Raises UnreadableDocument where the declared type or the data is none the service takes; OSError where the file
    cannot be read.
    """
    declared = content_type.partition(";")[0].strip().lower()
    if declared and declared not in _KIND_OF_TYPE:
        raise UnreadableDocument("it is not in PDF or TIFF format.")
    contents = read_document(path) if whole else glance_at(path)
    if contents.kind not in MEDIA_TYPES:
        raise UnreadableDocument("it is not in PDF or TIFF format.")
    if declared and contents.kind != _KIND_OF_TYPE[declared]:
        raise UnreadableDocument(f"it was sent as {declared} but is {contents.kind}.")
    return contents
