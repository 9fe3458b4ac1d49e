"""Answers to polls that brought a result, kept until it is exported: one poll for each finished extraction.

Bounded in number and bytes; what does not fit is polled for again. Nothing here outlives the process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.services.answers import Answer

LARGEST = 1024 * 1024
"""Bytes of one answer that is kept."""


class Polled:
    """The newest answers, as they came; safe for any thread."""

    def __init__(self, *, answers: int = 1_000, size: int = 16 * 1024 * 1024) -> None:
        self._answers = answers
        self._limit = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._size = 0

    def keep(self, extraction_id: str, answer: Answer) -> None:
        """Keep an answer; the oldest ones give way."""
        with self._lock:
            self._drop(extraction_id)
            if len(answer.body) > LARGEST:
                return
            self._kept[extraction_id] = answer
            self._size += len(answer.body)
            while len(self._kept) > self._answers or self._size > self._limit:
                self._drop(next(iter(self._kept)))

    def find(self, extraction_id: str) -> Answer | None:
        """Return the answer of an extraction, if it is kept."""
        with self._lock:
            return self._kept.get(extraction_id)

    def forget(self, extraction_id: str) -> None:
        """Give up an answer that nobody needs any more."""
        with self._lock:
            self._drop(extraction_id)

    def _drop(self, extraction_id: str) -> None:
        answer = self._kept.pop(extraction_id, None)
        if answer is not None:
            self._size -= len(answer.body)
