"""Where Wine, its prefix and the Windows Python are, and how a Windows process is started and ended there.

Makes nothing: that is `wine_setup`. Every function that needs Wine raises CannotBeHadError where there is none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
LAB = Path(os.environ.get("FSAGENT_WINE_DIR") or REPOSITORY / ".wine").resolve()
PREFIX = LAB / "prefix"
DRIVE_C = PREFIX / "drive_c"
HOME = LAB / "home"  # Wine and its programs write nothing into the user's own
PYTHON = LAB / "python"
STAMP = ".stamp"
MARK = "FSAGENT_WINE_PROCESS"  # in the environment of our processes only; somebody's shell may have a WINEPREFIX too

WINE_FOLDERS = "/usr/lib/wine"  # Debian keeps wine64 off the PATH
STEP_SECONDS = 300.0
STOP_SECONDS = 30.0
SERVER_IDLE_SECONDS = 120  # the server goes by itself if nobody calls `stop`
TIMED_OUT = 124  # as of timeout(1)

# Left by a virtual environment or CI, they would lead the Windows Python to Linux paths or Wine to a display.
FOREIGN_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "TMPDIR", "TMP", "TEMP", "VIRTUAL_ENV", "WINELOADER", "WINESERVER")
FOREIGN_PREFIXES = ("PYTHON", "PYTEST_", "COV_", "XDG_")


class CannotBeHadError(Exception):
    """Something that the Windows tests need is missing here; the text says what and what to do."""


class ServerDiedError(Exception):
    """Wine's server crashed: every Windows process hangs from then on, and nothing can be said of what ran."""


def find_program(name: str) -> str | None:
    """Return the path of one of Wine's programs."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{WINE_FOLDERS}")


def program(name: str) -> str:
    """Return the path of one of Wine's programs; raises CannotBeHadError."""
    if (found := find_program(name)) is None:
        raise CannotBeHadError(f"there is no {name} here; run `python packaging/windows/wine.py setup`")
    return found


def require_setup() -> None:
    """Raise CannotBeHadError unless `setup` was finished."""
    if find_program("wine64") is None or not (PYTHON / STAMP).is_file() or not (PREFIX / STAMP).is_file():
        raise CannotBeHadError(f"not set up in {LAB}; run `python packaging/windows/wine.py setup`")


def windows_environment() -> dict[str, str]:
    """Return the environment of every Windows process."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in FOREIGN_VARIABLES and not name.startswith(FOREIGN_PREFIXES)
    }
    return {
        **kept,
        "HOME": str(HOME),
        "LC_ALL": "C.UTF-8",  # otherwise names outside ASCII have no Linux counterpart
        "WINEPREFIX": str(PREFIX),
        MARK: str(PREFIX),
        "WINEARCH": "win64",
        "WINEDEBUG": os.environ.get("WINEDEBUG", "-all"),
        # no question for Mono or Gecko, no menu entries, no debugger of what crashed
        "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=;winedbg.exe=",
        "PYTHONPATH": "Z:" + str(REPOSITORY).replace("/", "\\"),
        "PYTHONUTF8": "1",
    }


def windows_python(arguments: Sequence[str]) -> list[str]:
    """Return the command line of the Windows Python."""
    return [program("wine64"), str(PYTHON / "python.exe"), *arguments]


def step(command: Sequence[str], *, environment: Mapping[str, str], advice: str) -> None:
    """Run one program of a preparation to its end, its output in sight; raises CannotBeHadError with the advice."""
    try:
        subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, timeout=STEP_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotBeHadError(f"{error}; {advice}") from error


def silent_step(command: Sequence[str], *, advice: str) -> None:
    """Run one of Wine's programs to its end with no stream of ours; raises CannotBeHadError with the advice."""
    nowhere = subprocess.DEVNULL
    environment = windows_environment()
    try:
        subprocess.run(
            command, env=environment, stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=STEP_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotBeHadError(f"{error}; {advice}") from error


def start_server() -> None:
    """Start the server and its services away from our streams: they inherit those of the first Windows process.

    Without it a reader of our output would wait for them for ever. The server stays for SERVER_IDLE_SECONDS after the
    last process, which makes each start of Python three times as quick.
    """
    subprocess.run(
        [program("wineserver"), f"-p{SERVER_IDLE_SECONDS}"],
        env=windows_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the ^C of a terminal is for the Windows program only
        timeout=STEP_SECONDS,
        check=False,  # it fails when one runs, which is the wanted state
    )
    silent_step([program("wine64"), "cmd", "/c", "exit"], advice="try `python packaging/windows/wine.py stop`")


def stop() -> None:
    """End every process of this prefix, and the server; other prefixes are not touched."""
    server = find_program("wineserver")
    if server is None or not PREFIX.is_dir():
        return
    for argument in ("-k", "-w"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [server, argument],
                env=windows_environment(),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=STOP_SECONDS,
                check=False,  # -k fails when none runs, which is the wanted state
            )
    for process in orphans():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def orphans() -> set[int]:
    """Return the processes of this prefix; without a server these are what a crash of it left behind, hanging."""
    mark = f"{MARK}={PREFIX}".encode()
    found = set()
    for environment in Path("/proc").glob("[0-9]*/task/[0-9]*/environ"):  # the first thread is often gone
        with contextlib.suppress(OSError):
            if mark in environment.read_bytes().split(b"\0"):
                found.add(int(environment.parts[2]))
    return found - {os.getpid()}


def run_piped(command: Sequence[str], *, seconds: float, echo: bool = False) -> tuple[int, str]:
    """Run a Windows program with its output on a pipe, print it too with `echo`; return exit status and output.

    The server must run (`start_server`); raises ServerDiedError if it ends before the program does.
    """
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=windows_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines: list[str] = []

    def copy() -> None:
        for line in process.stdout or ():
            lines.append(line.decode("utf-8", "replace").replace("\r\n", "\n"))
            if echo:
                print(lines[-1], end="", flush=True)

    reader = threading.Thread(target=copy, daemon=True)
    reader.start()
    status = wait_beside_server(process, seconds)
    reader.join(10)  # a Windows process left behind may hold the pipe open for ever
    return status, "".join(lines)


def wait_beside_server(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Return the exit status of a Windows program, TIMED_OUT if it takes too long; raises ServerDiedError."""
    nowhere = subprocess.DEVNULL
    server = subprocess.Popen(
        [program("wineserver"), "-w"], env=windows_environment(), stdin=nowhere, stdout=nowhere, stderr=nowhere
    )
    deadline = time.monotonic() + seconds
    try:
        while process.poll() is None and server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
        if server.poll() is not None:
            raise ServerDiedError
        if process.poll() is not None:
            return process.returncode
        print(f"wine.py: stopped after {seconds:.0f} s", file=sys.stderr)
        return TIMED_OUT
    finally:
        server.kill()
        server.wait()
        if process.poll() is None:
            stop()
            process.kill()
            process.wait()
