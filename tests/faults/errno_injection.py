"""Lets calls of an agent's process fail: builds the library beside this file, arms its rules, counts what they met.

`Injection.run` starts an agent with the library; rules may be armed and disarmed while it runs. Paths are patterns of
fnmatch(3) in which `*` matches `/` too. The names of the calls are those in `errno_injection.c`.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from system.sites import Process, wait_until

from faults import means

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from system.sites import Site

SOURCE: Final = Path(__file__).with_suffix(".c")
RULES: Final = 64
WITHOUT_END: Final = 0


class _Slot(ctypes.Structure):
    """`struct rule` of the library."""

    _fields_ = (
        ("armed", ctypes.c_uint32),
        ("error", ctypes.c_int32),
        ("first", ctypes.c_uint32),
        ("times", ctypes.c_uint32),
        ("seen", ctypes.c_uint32),
        ("failed", ctypes.c_uint32),
        ("answer", ctypes.c_int64),
        ("call", ctypes.c_char * 16),
        ("path", ctypes.c_char * 488),
        ("target", ctypes.c_char * 480),
    )
    armed: int
    error: int
    first: int
    times: int
    seen: int
    failed: int
    answer: int
    call: bytes
    path: bytes
    target: bytes


class Rule:
    """One armed rule; `seen`: calls that matched, `failed`: those it met."""

    def __init__(self, slot: _Slot) -> None:
        self._slot = slot

    @property
    def seen(self) -> int:
        """Calls that matched so far."""
        return self._slot.seen

    @property
    def failed(self) -> int:
        """Calls that failed so far."""
        return self._slot.failed

    def wait_reached(self, times: int = 1) -> None:
        """Wait until the fault happened."""
        wait_until(
            lambda: self.failed >= times, what=lambda: f"{self._slot.call!r} at {self._slot.path!r} never failed"
        )

    def disarm(self) -> None:
        """Let calls through again."""
        self._slot.armed = 0


class Injection:
    """The library built into a folder, and its rules; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "errno_injection.so"
        self._file = folder / "rules"
        means.run(means.program("gcc"), "-shared", "-fPIC", "-O1", "-o", self._library, SOURCE, "-ldl")
        self._file.write_bytes(bytes(RULES * ctypes.sizeof(_Slot)))
        with self._file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._slots = (_Slot * RULES).from_buffer(self._map)
        self._next = -1

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let every call through again."""
        self.disarm()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be met by the rules."""
        return {"LD_PRELOAD": str(self._library), "FAULTS_RULES": str(self._file)}

    def arm(
        self,
        call: str,
        path: str,
        *,
        error: int | str = 0,
        target: str = "",
        first: int = 1,
        times: int = WITHOUT_END,
        answer: int = 0,
    ) -> Rule:
        """Let calls on a path fail with an errno, from the `first` match on, `times` of them; error 0: only count."""
        slot = next(slot for slot in self._in_turn() if not slot.armed)
        ctypes.memset(ctypes.addressof(slot), 0, ctypes.sizeof(slot))
        slot.error = getattr(errno, error) if isinstance(error, str) else error
        slot.first, slot.times, slot.answer = first, times, answer
        slot.call, slot.path, slot.target = call.encode(), path.encode(), target.encode()
        slot.armed = 1
        return Rule(slot)

    @contextmanager
    def armed(self, *rules: tuple[str, str, str], first: int = 1, times: int = WITHOUT_END) -> Iterator[list[Rule]]:
        """Arm rules of call, path and errno for as long as the block lasts."""
        armed = [self.arm(call, path, error=error, first=first, times=times) for call, path, error in rules]
        try:
            yield armed
        finally:
            for rule in armed:
                rule.disarm()

    def disarm(self) -> None:
        """Let every call through again."""
        for slot in self._slots:
            slot.armed = 0

    def _in_turn(self) -> Iterator[_Slot]:
        """Yield every slot once, so that what a rule has counted can be read long after it was disarmed."""
        for _ in range(RULES):
            self._next = (self._next + 1) % RULES
            yield self._slots[self._next]

    def run(self, site: Site, *arguments: str) -> Process:
        """Start `fsagent run` under the library; a context manager that leaves nothing running."""
        return run_with(site, self.environment, *arguments)


def run_with(site: Site, environment: dict[str, str], *arguments: str) -> Process:
    """Start `fsagent run` with more in its environment, as `Site.run` does without."""
    site._runs += 1
    log = site.root / f"run-{site._runs}.log"
    process = Process("-c", str(site.config), "run", *arguments, log=log, environment=environment)
    site._running = [process]
    return process
