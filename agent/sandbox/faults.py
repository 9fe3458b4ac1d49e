"""Scripted faults and a count of requests: what tests ask of a sandbox beyond behaving well.

Owns matching and counting; `gate` applies a fault to a request.
"""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IDENTIFIER = re.compile(r"(?<=^/tasks/)[^/]+|(?<=^/file_collections/)[^/]+|(?<=/files/)[^/]+")
_KINDS_LIMIT = 1_000
_RECENT_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer in place of the sandbox's own.

    `method` and `path` are patterns of the shell kind, without the query. `body`: text as it is, anything else as
    JSON, None a problem document. `times`: how often, None for ever. `applied`: the request takes effect before its
    answer is replaced, as when the answer is lost on its way.
    """

    status: int
    method: str = "*"
    path: str = "*"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    times: int | None = 1
    applied: bool = False


class FaultBook:
    """Faults in the order they were added; the first that matches and is not used up is taken. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, int | None]] = []
        self._specifications: list[tuple[str, Any]] = []

    def add(self, fault: Fault) -> None:
        """Add one fault behind the others."""
        with self._lock:
            self._faults.append((fault, fault.times))

    def clear(self) -> None:
        """Forget every fault and specification."""
        with self._lock:
            self._faults.clear()
            self._specifications.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault this request meets and count it as used."""
        with self._lock:
            for index, (fault, left) in enumerate(self._faults):
                if not (fnmatchcase(method, fault.method) and fnmatchcase(path, fault.path)):
                    continue
                if left is not None:
                    self._faults[index : index + 1] = [(fault, left - 1)] if left > 1 else []
                return fault
        return None

    def specify(self, file_name: str, specification: Any) -> None:
        """Let the tasks of these files answer Start with this JSON in place of their Export Specification.

        `file_name` is a pattern of the shell kind; of several the last one added counts. `{document}` in a text under
        a key `url` becomes the path of the task's own document.
        """
        with self._lock:
            self._specifications.append((file_name, specification))

    def specification(self, file_name: str, *, document: str) -> Any:
        """Return what a test wants a task of this file to answer; None: nothing of the kind."""
        with self._lock:
            asked = [wanted for pattern, wanted in self._specifications if fnmatchcase(file_name, pattern)]
        return _with_document(asked[-1], document) if asked else None

    def waiting(self) -> Sequence[tuple[Fault, int | None]]:
        """Return the faults not used up, each with how often it is left."""
        with self._lock:
            return tuple(self._faults)


def _with_document(part: Any, document: str, *, is_url: bool = False) -> Any:
    """Return a part of a specification with the document's path put in where a `url` asks for it."""
    if isinstance(part, dict):
        return {key: _with_document(value, document, is_url=key == "url") for key, value in part.items()}
    if isinstance(part, list):
        return [_with_document(each, document) for each in part]
    return part.replace("{document}", document) if is_url and isinstance(part, str) else part


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that was answered; `at` is the sandbox's time, `target` the path with its query."""

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
