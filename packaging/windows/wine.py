r"""Runs the Windows half of the project on Linux: Wine, a Windows CPython and the dependencies as win_amd64 wheels.

    python packaging/windows/wine.py setup                     everything below .wine/; quick when it is there already
    python packaging/windows/wine.py test [PYTEST ARGUMENTS]   unit and contract tests on the Windows Python
    python packaging/windows/wine.py run -- ARGUMENTS          becomes the Windows Python, e.g. for `-m agent run …`
    python packaging/windows/wine.py where                     prints the Linux path of C:\; status 69 before `setup`
    python packaging/windows/wine.py stop                      ends every Windows process of this prefix

Everything is kept in `.wine/` of the repository or in $FSAGENT_WINE_DIR, with a Wine prefix and a home of its own.
Root rights are used for one thing only, apt-get install of Debian's wine64; where that is there, none are needed.
Exit status: that of the Windows program modulo 256; 69 if something cannot be had, 124 if the time was up.

`test` then runs tests/system/test_windows_system.py on Linux, which drives the Windows agent through `run`:

- the process id is that of the Windows process: SIGINT is its Ctrl+C; SIGTERM and SIGKILL end it at once and without
  a handler, like TerminateProcess;
- stdout and stderr may be anything, stdin is passed on unless it is a regular file;
- the repository is importable in any working folder, and loopback is shared with Linux;
- what `where` prints, plus `/some/folder`, is `C:\some\folder`.

What Wine does differently from Windows (creation times, symlinks, long paths, case-only renames) tests probe for.
"""

from __future__ import annotations

import argparse
import os
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from wine_prefix import (
    DRIVE_C,
    REPOSITORY,
    TIMED_OUT,
    CannotBeHadError,
    ServerDiedError,
    require_setup,
    run_piped,
    start_server,
    stop,
    windows_environment,
    windows_python,
)
from wine_setup import setup

if TYPE_CHECKING:
    from collections.abc import Sequence

TESTS = ("tests/unit", "tests/contract")
LINUX_DRIVEN_TESTS = "tests/system/test_windows_system.py"
TEST_SECONDS = 1200.0
ATTEMPTS = 3
UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h


def main(arguments: Sequence[str]) -> int:
    """Return the exit status of one command."""
    parser = argparse.ArgumentParser(description="The Windows half, tested on Linux; the file's first lines say more.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install and prepare what is missing")
    commands.add_parser("test", help="run tests on the Windows Python", add_help=False)
    commands.add_parser("run", help="become the Windows Python", add_help=False)
    commands.add_parser("where", help="print the Linux path of drive C")
    commands.add_parser("stop", help="end every Windows process of this prefix")
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in {"test", "run"}:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        match options.command:
            case "setup":
                setup()
            case "test":
                return test(rest)
            case "run":
                run(rest)
            case "where":
                require_setup()
                print(DRIVE_C)
            case "stop":
                stop()
    except CannotBeHadError as error:
        print(f"wine.py: {error}", file=sys.stderr)
        return UNAVAILABLE
    return 0


def test(arguments: Sequence[str]) -> int:
    """Run the tests on the Windows Python and return pytest's exit status; paths in `arguments` replace TESTS."""
    setup()
    deadline = time.monotonic() + TEST_SECONDS
    names_paths = any((REPOSITORY / argument.split("::")[0]).exists() for argument in arguments)
    tests = () if names_paths else TESTS
    # A cache in the repository would carry Windows paths to the Linux runs.
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "-n2", *tests, *arguments]
    try:
        status = windows_tests(command, deadline)
        if status != 0 or names_paths or not (REPOSITORY / LINUX_DRIVEN_TESTS).exists():
            return status
        return linux_driven(deadline - time.monotonic())
    finally:
        stop()


def windows_tests(command: Sequence[str], deadline: float) -> int:
    """Run pytest on the Windows Python and return its exit status; raises CannotBeHadError if Wine crashes each time.

    Wine 8's server now and then fails an assertion of its own (`sock_poll_event`) when a socket is closed in use.
    """
    for _ in range(ATTEMPTS):
        start_server()
        try:
            return run_piped(windows_python(command), seconds=max(deadline - time.monotonic(), 1), echo=True)[0]
        except ServerDiedError:
            print(
                "\nwine.py: Wine's server crashed; that says nothing of the tests, all of them start anew", flush=True
            )
            stop()
    raise CannotBeHadError(f"Wine's server crashed {ATTEMPTS} times")


def linux_driven(seconds: float) -> int:
    """Run the tests that drive the Windows agent from Linux, and return pytest's exit status."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", LINUX_DRIVEN_TESTS]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, timeout=max(seconds, 1), check=False)
    except subprocess.TimeoutExpired:
        print(f"wine.py: {LINUX_DRIVEN_TESTS} took too long", file=sys.stderr)
        return TIMED_OUT
    return done.returncode


def run(arguments: Sequence[str]) -> NoReturn:
    """Become the Windows Python: process id, working folder and exit status are its own; raises CannotBeHadError."""
    require_setup()
    start_server()
    if not is_usable(0):
        replace_stream(0, os.open(os.devnull, os.O_RDONLY))
    for stream in (1, 2):
        if not is_usable(stream):
            put_pipe_before(stream)
    command = windows_python(arguments[1:] if arguments[:1] == ["--"] else arguments)
    os.execve(command[0], command, windows_environment())  # noqa: S606  # a shell would stand between it and signals


def is_usable(stream: int) -> bool:
    """Return whether the Windows Python can take this as a standard stream: it ends itself over a regular file."""
    try:
        return not stat.S_ISREG(os.fstat(stream).st_mode)
    except OSError:
        return False


def put_pipe_before(stream: int) -> None:
    """Put a `cat` between a stream and the regular file that it is; a closed stream leads nowhere."""
    try:
        file = os.dup(stream)
    except OSError:
        replace_stream(stream, os.open(os.devnull, os.O_WRONLY))
        return
    readable, writable = os.pipe()
    # In a session of its own, so that ^C leaves it there for the last lines.
    subprocess.Popen(["cat"], stdin=readable, stdout=file, stderr=subprocess.DEVNULL, start_new_session=True)
    os.close(readable)
    os.close(file)
    replace_stream(stream, writable)


def replace_stream(stream: int, descriptor: int) -> None:
    """Make the standard stream the descriptor, inherited by the next program."""
    if descriptor != stream:
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.set_inheritable(stream, True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` stops the server
    raise SystemExit(main(sys.argv[1:]))
