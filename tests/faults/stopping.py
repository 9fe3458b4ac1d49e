"""Stops an agent dead before the N-th step that changes or syncs a file system, by a library loaded into it.

Owns the library, built by the C compiler where the tests run. All threads are counted together, so that N = 1, 2, 3 …
walks over every gap between two steps; the whole process stands still there until it is killed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from system.sites import PATIENCE, REPOSITORY, wait_until

from faults import means

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

CARELESS: Final = Path(__file__).with_name("careless_agents.py")
"""Agents whose care is taken away, for tests of the tests."""

_SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static long done;

/* Counted and reported in one: nobody stops at a step while an earlier one is still to be written down. */
static void step(const char *what) {
    const char *wanted = getenv("STOP_AT_STEP"), *report = getenv("STEPS_REPORT");
    char line[128];
    pthread_mutex_lock(&counting);
    long number = ++done;
    if (report) {
        int length = snprintf(line, sizeof line, "%ld %s\n", number, what);
        int file = open(report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (file < 0 || write(file, line, length) != length) abort();
        close(file);
    }
    if (wanted && number >= atol(wanted)) {
        for (;;) raise(SIGSTOP);
    }
    pthread_mutex_unlock(&counting);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int file) { step("fsync"); return NEXT(fsync)(file); }
int fdatasync(int file) { step("fdatasync"); return NEXT(fdatasync)(file); }
int rename(const char *a, const char *b) { step("rename"); return NEXT(rename)(a, b); }
int renameat(int x, const char *a, int y, const char *b) { step("renameat"); return NEXT(renameat)(x, a, y, b); }
int renameat2(int x, const char *a, int y, const char *b, unsigned flags) {
    step("renameat2");
    return NEXT(renameat2)(x, a, y, b, flags);
}
int link(const char *a, const char *b) { step("link"); return NEXT(link)(a, b); }
int linkat(int x, const char *a, int y, const char *b, int flags) {
    step("linkat");
    return NEXT(linkat)(x, a, y, b, flags);
}
int unlink(const char *a) { step("unlink"); return NEXT(unlink)(a); }
int unlinkat(int x, const char *a, int flags) { step("unlinkat"); return NEXT(unlinkat)(x, a, flags); }
int mkdir(const char *a, mode_t mode) { step("mkdir"); return NEXT(mkdir)(a, mode); }
int mkdirat(int x, const char *a, mode_t mode) { step("mkdirat"); return NEXT(mkdirat)(x, a, mode); }
int ftruncate64(int file, off64_t size) { step("ftruncate"); return NEXT(ftruncate64)(file, size); }
"""


def library(folder: Path) -> Path:
    """Build the library below a folder and return its path."""
    built = folder / "stopping.so"
    if not built.exists():
        source = folder / "stopping.c"
        source.write_text(_SOURCE, encoding="ascii")
        compiler = means.program("gcc")
        means.run(compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", built, source, "-ldl")
    return built


class Stopping:
    """An agent on its way to a step at which it stands still; a context manager that leaves nothing running."""

    def __init__(
        self, config: Path, *arguments: str, library: Path, folder: Path, step: int, careless: str = ""
    ) -> None:
        self._report = folder / "steps.txt"
        self._report.unlink(missing_ok=True)
        self._log = folder / "stopping.log"
        program: Sequence[str | Path] = (CARELESS, careless) if careless else ("-m", "agent")
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "STOP_AT_STEP": str(step),
            "STEPS_REPORT": str(self._report),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUTF8": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # a step on a file system that is not the test's
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *program, "-c", config, *arguments],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def reaches(self) -> bool:
        """Wait and tell whether it stands still at its step; False: it ended before."""

        def state() -> str:
            changed = os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if changed is None:
                return ""
            return "stopped" if changed.si_code == os.CLD_STOPPED else "ended"

        return wait_until(state, seconds=2 * PATIENCE, what=lambda: self.log) == "stopped"

    @property
    def steps(self) -> list[str]:
        """The steps it came to, in order; where it stands still, the last one is not done."""
        lines = self._report.read_text(encoding="ascii").splitlines() if self._report.exists() else []
        return [line.split(" ", 1)[1] for line in sorted(lines, key=lambda line: int(line.split(" ", 1)[0]))]

    @property
    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it where it stands."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing running."""
        self.kill()
