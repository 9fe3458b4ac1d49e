"""Connections: how many uploads are under way at once (`service.connections`).

A place is held from the intent until the answer is durable: a kill leaves no more unknown outcomes than connections.
An upload whose own inbox does not answer keeps no place from the others: it holds a socket, but nothing moves.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Connections:
    """Places for uploads; for any thread."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._changed = threading.Condition()
        self._held: list[str] = []
        self._silent: frozenset[str] = frozenset()

    @contextmanager
    def hold(self, watch_folder: str) -> Iterator[None]:
        """Wait for a place and hold it."""
        with self._changed:
            self._changed.wait_for(self._has_room)
            self._held.append(watch_folder)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(watch_folder)
                self._changed.notify()

    def disregard(self, watch_folders: frozenset[str]) -> None:
        """Count no places held by these watch folders: their inboxes do not answer."""
        with self._changed:
            if self._silent != watch_folders:
                self._silent = watch_folders
                self._changed.notify_all()

    def _has_room(self) -> bool:
        return sum(1 for holder in self._held if holder not in self._silent) < self._limit
