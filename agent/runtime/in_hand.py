"""Which rows workers of this process hold now; in memory only, a crash lets go of all of them."""

from __future__ import annotations

import threading
from collections import Counter


class InHand:
    """Keys of rows held by workers of this process; what is not in hand and looks busy was left by a crash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: Counter[str] = Counter()

    def take(self, key: str) -> bool:
        """Take a key; return False where somebody has it."""
        with self._lock:
            if key in self._holders:
                return False
            self._holders[key] = 1
            return True

    def hold(self, key: str) -> None:
        """Hold a key the ledger has given: whoever had it before may not have let go of it yet."""
        with self._lock:
            self._holders[key] += 1

    def release(self, key: str) -> None:
        """Give a key back; it stays in hand while another holds it too."""
        with self._lock:
            self._holders[key] -= 1
            if self._holders[key] <= 0:
                del self._holders[key]

    def __contains__(self, key: str) -> bool:
        """Return whether somebody has the key."""
        with self._lock:
            return key in self._holders

    def __len__(self) -> int:
        """Return how many are in hand."""
        with self._lock:
            return len(self._holders)
