"""How often what was asked of a sandbox, and the last requests; `gate` notes each."""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_IDENTIFIER = re.compile(
    r"(?<=^/tasks/)[^/]+|(?<=^/file_collections/)[^/]+|(?<=/files/)[^/]+|(?<=/upload/)[^/]+"
    r"|(?<=/task/)[^/]+|(?<=/move/)[^/]+"
)
_KINDS_LIMIT = 1_000
_RECENT_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that is over.

    `at` is the sandbox's time as its answer began (or, without one, as it ended), `target` the path with its query,
    `status` 0: no answer.
    """

    at: float
    method: str
    target: str
    status: int


class RequestLog:
    """How often what was asked and answered; never headers or bodies. For any thread, memory bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._recent: deque[Seen] = deque(maxlen=_RECENT_LIMIT)

    def record(self, seen: Seen) -> None:
        """Count one answered request; ids of the service are counted as `{id}`."""
        path = _IDENTIFIER.sub("{id}", seen.target.partition("?")[0])
        kind = f"{seen.method} {path} {seen.status}"
        with self._lock:
            if kind not in self._counts and len(self._counts) >= _KINDS_LIMIT:
                kind = "other"
            self._counts[kind] += 1
            self._recent.append(seen)

    def counts(self) -> dict[str, int]:
        """Return how often each `METHOD /path status` was answered."""
        with self._lock:
            return dict(self._counts)

    def recent(self) -> Sequence[Seen]:
        """Return the last requests, oldest first."""
        with self._lock:
            return tuple(self._recent)
