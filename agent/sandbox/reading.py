"""The thread that reads uploaded documents, one after the other, and decides what cannot be processed (seed 001)."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from agent.sandbox.aluma.records import MEDIA_TYPES
from agent.sandbox.documents import DocumentContents, read_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.sandbox.aluma.core import AlumaSandbox
    from agent.sandbox.aluma.records import TaskEntry

logger = logging.getLogger(__name__)

_KIND_OF_TYPE: Final = {media_type: kind for kind, media_type in MEDIA_TYPES.items()}
_TIFF_HEADS: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


class DocumentReader:
    """Owns the thread; it ends after the document under way when the sandbox is released."""

    def __init__(self, wait_for_unread: Callable[[], bool], read: Callable[[], object]) -> None:
        self._wait_for_unread = wait_for_unread
        self._read = read
        self.thread = threading.Thread(target=self._run, name="sandbox-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self.thread.start()

    def _run(self) -> None:
        while self._wait_for_unread():
            self._read()


def read_next(sandbox: AlumaSandbox) -> bool:
    """Read one document and record what it holds; False: there was none."""
    task = sandbox.next_unread()
    if task is None:
        return False
    try:
        contents = _read(task, whole=sandbox.settings.read_documents)
    except (ValueError, OSError) as error:
        sandbox.record_reading(task, contents=None, message=f"The file cannot be processed: {error}")
    except Exception as error:  # a parser met by a hostile file may raise anything; the task fails, the thread lives
        logger.exception("reading the document of task %s", task.id)
        sandbox.record_reading(task, contents=None, message=f"The file cannot be processed: {type(error).__name__}")
    else:
        sandbox.record_reading(task, contents=contents)
    return True


def _read(task: TaskEntry, *, whole: bool) -> DocumentContents:
    """Return the contents. Raises ValueError where the declared type or the data is none the service takes."""
    declared = task.content_type.partition(";")[0].strip().lower()
    if declared and declared not in _KIND_OF_TYPE:
        raise ValueError("it is not in PDF or TIFF format.")
    contents = read_document(task.document.path) if whole else _glance(task)
    if declared and contents.kind != _KIND_OF_TYPE[declared]:
        raise ValueError(f"it was sent as {declared} but is {contents.kind}.")
    return contents


def _glance(task: TaskEntry) -> DocumentContents:
    """Return contents without text by the first bytes alone."""
    with task.document.path.open("rb") as file:
        head = file.read(1024)
    if b"%PDF-" in head:
        return DocumentContents(kind="pdf", pages=1, text="")
    if head.startswith(_TIFF_HEADS):
        return DocumentContents(kind="tiff", pages=1, text="")
    raise ValueError("it is not in PDF or TIFF format.")
