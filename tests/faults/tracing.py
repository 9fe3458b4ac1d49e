"""Agents that run under strace: which calls they make, and their end by SIGKILL at the very one that is asked for.

strace counts the calls of each thread for itself: the Nth `fsync` is the first that is the Nth of its thread.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from system.sites import PATIENCE, REPOSITORY

from faults import means

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

FOLDER_CALLS: Final = (
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat"),
    *("fsync", "write", "fchmod", "fchown", "utimensat", "fsetxattr", "copy_file_range", "sendfile"),
)
LEDGER_CALLS: Final = ("pwrite64", "fdatasync", "ftruncate", "unlink", "write")
SERVICE_CALLS: Final = ("connect", "sendto", "sendmsg", "recvfrom", "shutdown")
EFFECTS: Final = tuple(dict.fromkeys((*FOLDER_CALLS, *LEDGER_CALLS, *SERVICE_CALLS)))
"""Calls that touch folders, ledger or service: what lies between two of them leaves nothing behind."""

_CALL = re.compile(r"^\d+ +(\w+)\(", re.MULTILINE)
_CALL_OF_THREAD = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)
_PRELOADED = Path(__file__).with_name("preloaded.py")


@dataclass(frozen=True, slots=True)
class Point:
    """Where an agent is killed: before the Nth call of that name."""

    call: str
    number: int

    def __str__(self) -> str:
        """Return it as strace has it."""
        return f"{self.call}:when={self.number}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How an agent ended; `status` as subprocess has it."""

    status: int
    log: str
    trace: str

    @property
    def was_killed(self) -> bool:
        """Tell whether SIGKILL ended it; nobody but its tracer sends one."""
        return self.status == -signal.SIGKILL and "+++ killed by SIGKILL +++" in self.trace

    @property
    def last_call(self) -> str:
        """Return the call it made last, as it was traced."""
        return next((line for line in reversed(self.trace.splitlines()) if _CALL.match(line)), "")


class Agents:
    """Runs agents one after the other, traced where that is asked for; a context manager that leaves none running."""

    def __init__(self, folder: Path, *, script: Path | None = None, first: Sequence[str] = ()) -> None:
        """`script` runs in place of `-m agent`, with its `first` arguments before all others."""
        self._folder = folder
        self._script = script
        self._first = first
        self._strace = means.program("strace")
        self._child: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, str(_PRELOADED)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(self, *arguments: str) -> Ended:
        """Run an agent to its end."""
        self._begin(arguments, stopped=False)
        return self._end("")

    def calls_of(self, *arguments: str) -> tuple[Ended, dict[str, int]]:
        """Run an agent to its end and return how often the busiest thread made each call that has an effect."""
        ended = self._traced(arguments, [])
        counts = Counter(_CALL_OF_THREAD.findall(ended.trace))
        return ended, {
            call: max(times for (_, other), times in counts.items() if other == call)
            for call in EFFECTS
            if any(other == call for _, other in counts)
        }

    def killed_at(self, point: Point, *arguments: str) -> Ended:
        """Run an agent that is killed at a point, or ends by itself where it never gets there."""
        return self._traced(arguments, ["-e", f"inject={point.call}:signal=KILL:when={point.number}"])

    def _traced(self, arguments: Sequence[str], options: Sequence[str]) -> Ended:
        trace = self._folder / "trace"
        child = self._begin(arguments, stopped=True)
        calls = ",".join(f"?{call}" for call in EFFECTS)
        command = [self._strace, "-f", "-o", str(trace), "-e", f"trace={calls}", *options, "-p", str(child)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as tracer:
            assert tracer.stderr is not None
            said = tracer.stderr.readline()
            assert "attached" in said, f"strace: {said}{tracer.stderr.read()}"
            os.kill(child, signal.SIGCONT)
            try:
                tracer.communicate(timeout=4 * PATIENCE)
            except BaseException:
                os.kill(child, signal.SIGKILL)  # else the tracer is waited for without end
                raise
        return self._end(trace.read_text(encoding="utf-8", errors="replace"))

    def _begin(self, arguments: Sequence[str], *, stopped: bool) -> int:
        order: Mapping[str, object] = {
            "arguments": [*self._first, *arguments],
            "script": "" if self._script is None else str(self._script),
            "output": str(self._folder / "output"),
            "log": str(self._folder / "log"),
            "stopped": stopped,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._child = self._answer()
        return self._child

    def _end(self, trace: str) -> Ended:
        status = self._answer()
        self._child = None
        return Ended(status, (self._folder / "log").read_text(encoding="utf-8", errors="replace"), trace)

    def _answer(self) -> int:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the process that starts the agents has ended"
        return int(answer)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing running."""
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)
        with self._process as process:
            process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
