"""Scripted faults: what tests ask of a sandbox beyond behaving well.

Owns the kinds and which request meets which; `playing` carries them out. Three kinds concern one request: an answer in
place of the sandbox's own (`Fault`), no answer (`Dropped`), the own answer spoiled on its way (`Spoiled`). The others
concern tasks: a specification of a test's own, and a listing that lags.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Ending(StrEnum):
    """How a connection ends that a fault has taken over."""

    CLOSE = "close"
    RESET = "reset"
    SILENCE = "silence"
    """Not at all: nothing more is said until the other side goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which requests meet a fault: shell patterns of method, path and query; `times`: how often, None for ever."""

    method: str = "*"
    path: str = "*"
    query: str = "*"
    times: int | None = 1

    def concerns(self, method: str, path: str, query: str) -> bool:
        """Tell whether this request is meant."""
        wanted = ((method, self.method), (path, self.path), (query, self.query))
        return all(fnmatchcase(said, pattern) for said, pattern in wanted)


@dataclass(frozen=True, slots=True)
class Fault(Asked):
    """An answer in place of the sandbox's own.

    `body`: text as it is, anything else as JSON, None a problem document. `applied`: the request takes effect all the
    same; `late`: so many seconds of the sandbox's clock after its answer, else before.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    applied: bool = False
    late: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped(Asked):
    """No answer: the connection ends as `ends` says.

    `after`: bytes of the body, at least, that are read before that; None: all of it, and then the request may take
    effect as `applied` and `late` say of a Fault. After a body read in part nothing takes effect, and where the end is
    silence, what else comes of it is read and forgotten.
    """

    after: int | None = None
    ends: Ending = Ending.CLOSE
    applied: bool = False
    late: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled(Asked):
    """The sandbox's own answer, taken for what it says, spoiled on its way; the connection ends with it.

    `sends`: bytes of its body that leave, None all; `declares`: its Content-Length, None the true one; `chunked`: in
    chunks in place of a length, the last one missing where not all of the body leaves; `pace`: bytes per second, None
    at once; `endless`: filler follows the body until the other side goes; `ends`: how the connection ends.
    """

    sends: int | None = None
    declares: int | None = None
    chunked: bool = False
    pace: float | None = None
    endless: bool = False
    ends: Ending = Ending.CLOSE


AnyFault = Fault | Dropped | Spoiled


class FaultBook:
    """Faults in the order they were added; the first that matches and is not used up is taken. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[tuple[AnyFault, int | None]] = []
        self._specifications: list[tuple[str, Any]] = []
        self._listing_lag = 0.0

    def add(self, fault: AnyFault) -> None:
        """Add one fault behind the others."""
        with self._lock:
            self._faults.append((fault, fault.times))

    def clear(self) -> None:
        """Forget every fault and specification, and let the listing be up to date."""
        with self._lock:
            self._faults.clear()
            self._specifications.clear()
            self._listing_lag = 0.0

    def take(self, method: str, path: str, query: str = "") -> AnyFault | None:
        """Return the fault this request meets and count it as used."""
        with self._lock:
            for index, (fault, left) in enumerate(self._faults):
                if not fault.concerns(method, path, query):
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

    @property
    def listing_lag(self) -> float:
        """Seconds of the sandbox's clock from a task's creation until List Tasks shows it."""
        with self._lock:
            return self._listing_lag

    def lag_listing(self, seconds: float) -> None:
        """Let List Tasks show tasks only so many seconds of the sandbox's clock after their creation."""
        with self._lock:
            self._listing_lag = seconds

    def waiting(self) -> Sequence[tuple[AnyFault, int | None]]:
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
