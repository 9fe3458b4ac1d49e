"""Which rows a worker of this process holds now; in memory only, a crash lets go of all of them."""

from __future__ import annotations

import threading


class InHand:
    """Keys of rows a worker of this process holds; what is not in hand and looks busy was left by a crash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[str] = set()

    def take(self, key: str) -> bool:
        """Take a key; return False where somebody has it."""
        with self._lock:
            if key in self._keys:
                return False
            self._keys.add(key)
            return True

    def release(self, key: str) -> None:
        """Give a key back."""
        with self._lock:
            self._keys.discard(key)

    def __contains__(self, key: str) -> bool:
        """Return whether somebody has the key."""
        with self._lock:
            return key in self._keys

    def __len__(self) -> int:
        """Return how many are in hand."""
        with self._lock:
            return len(self._keys)
