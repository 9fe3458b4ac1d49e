"""Runs the Windows half of the project on Linux: Wine, a Windows CPython, and the project's dependencies as win_amd64 wheels.

    python packaging/windows/wine.py setup                      everything below .wine/; quick when it is there already
    python packaging/windows/wine.py test [PYTEST ARGUMENTS]    unit and contract tests on the Windows Python
    python packaging/windows/wine.py run -- ARGUMENTS           becomes the Windows Python, e.g. `-m agent run --config C:\\a.yaml`
    python packaging/windows/wine.py where                      prints the Linux path of C:\\; status 69 before `setup`
    python packaging/windows/wine.py stop                       ends every Windows process of this prefix

Everything is kept in `.wine/` of the repository or in $FSAGENT_WINE_DIR, with a Wine prefix and a home of its own.
Root rights are used for one thing only, apt-get install of Debian's wine64; where that is there already, none are needed.
Exit status: that of the Windows program modulo 256; 69 if something cannot be had, 124 if the time was up.

For tests that run on Linux and drive the Windows agent (`run`): the process id is that of the Windows process, so
SIGINT is its Ctrl+C and SIGTERM or SIGKILL ends it at once without a handler, like TerminateProcess. The repository is
importable there, loopback is shared with Linux, `where` + `/some/folder` is `C:\\some\\folder`. After such tests: `stop`.
What Wine does differently from Windows (creation times, symlinks, long paths, case-only renames) tests must probe for.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LAB = Path(os.environ.get("FSAGENT_WINE_DIR") or REPOSITORY / ".wine").resolve()
PREFIX = LAB / "prefix"
DRIVE_C = PREFIX / "drive_c"
PYTHON = LAB / "python"
PYTHON_PINS = HERE / "requirements-python.txt"
WHEEL_PINS = HERE / "requirements.txt"

RECIPE = "1"  # raised when the steps below change, so that what an older version made is made anew
PYTHON_VERSION = "3.13"
DEBIAN_PACKAGES = ("wine", "wine64")
WINE_FOLDERS = "/usr/lib/wine"  # Debian keeps wine64 off the PATH

TESTS = ("tests/unit", "tests/contract")
LINUX_DRIVEN_TESTS = "tests/system/test_windows_system.py"
TEST_SECONDS = 300.0
STEP_SECONDS = 300.0
SERVER_IDLE_SECONDS = 120  # the server goes by itself if nobody calls `stop`
UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
TIMED_OUT = 124  # as of timeout(1)

# Left by a virtual environment or CI, they would lead the Windows Python to Linux paths or Wine to a display.
FOREIGN_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "TMPDIR", "TMP", "TEMP", "VIRTUAL_ENV", "WINELOADER", "WINESERVER")
FOREIGN_PREFIXES = ("PYTHON", "PYTEST_", "COV_", "XDG_")


class CannotBeHadError(Exception):
    """Something that the Windows tests need is missing here; the text says what and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status of one command."""
    parser = argparse.ArgumentParser(
        description="The Windows half, tested on Linux.", epilog="See the file's first lines."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install and prepare what is missing")
    commands.add_parser("test", help="run tests on the Windows Python", add_help=False)
    commands.add_parser("run", help="become the Windows Python", add_help=False)
    commands.add_parser("where", help="print the Linux path of drive C")
    commands.add_parser("stop", help="end every Windows process of this prefix")
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in {"test", "run"}:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    rest = rest[1:] if rest[:1] == ["--"] else rest
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


# --- setup ------------------------------------------------------------------------------------------------------------


def setup() -> None:
    """Make everything that is not there yet or was made from other pins; raises CannotBeHadError."""
    started = time.monotonic()
    check_pins()
    LAB.mkdir(parents=True, exist_ok=True)
    with one_at_a_time():
        if find_program("wine64") is None:
            install_wine()
        make_python()
        make_prefix()
    print(f"wine.py: ready in {LAB} after {time.monotonic() - started:.1f} s", flush=True)


def check_pins() -> None:
    """Raise CannotBeHadError if a dependency of pyproject.toml has no pin for Windows."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {distribution_name(line) for line in project["dependencies"]}
    pinned = {distribution_name(line) for line in WHEEL_PINS.read_text("utf-8").splitlines() if line[:1].isalnum()}
    if missing := sorted(wanted - pinned):
        raise CannotBeHadError(f"{WHEEL_PINS.name} lacks what pyproject.toml names: {', '.join(missing)}")


def distribution_name(requirement: str) -> str:
    """Return the normalised name of a requirement line (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement.strip())[0]).lower()


def install_wine() -> None:
    """Install Debian's wine64; raises CannotBeHadError where that is impossible."""
    by_hand = f"install the packages {' and '.join(DEBIAN_PACKAGES)} by hand"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise CannotBeHadError(f"Wine runs Windows programs on x86_64 Linux only, this is {platform.platform()}")
    if shutil.which("apt-get") is None:
        raise CannotBeHadError(f"there is no wine64 and no apt-get here; {by_hand}")
    if os.geteuid() != 0:
        raise CannotBeHadError(f"there is no wine64 here, and only root may install it; {by_hand}")
    print("wine.py: installing Debian's wine64", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    step(["apt-get", "update", "-q"], environment=environment, advice=by_hand)
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *DEBIAN_PACKAGES]
    step(install, environment=environment, advice=by_hand)


def make_python() -> None:
    """Unpack the Windows Python and install the wheels into it."""
    wanted = fingerprint(PYTHON_PINS.read_bytes(), WHEEL_PINS.read_bytes())
    if is_stamped(PYTHON, wanted):
        return
    if importlib.util.find_spec("pip") is None:
        raise CannotBeHadError(f"{sys.executable} has no pip; run this with the project's virtual environment")
    print("wine.py: fetching the Windows Python and its wheels", flush=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    environment = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"}
    fresh = LAB / "python.new"
    archives = LAB / "archives"
    for leftover in (fresh, archives):
        shutil.rmtree(leftover, ignore_errors=True)
    download = [*pip, "download", "--no-deps", "--dest", str(archives), "--requirement", str(PYTHON_PINS)]
    step(download, environment=environment, advice="the package index must be reachable")
    unpack_python(next(archives.glob("*.tar.gz")), fresh)
    shutil.rmtree(archives)
    # platform.uname() asks _wmi, which in Wine 8 ends the process; without the module it takes another way.
    (fresh / "DLLs" / "_wmi.pyd").unlink(missing_ok=True)
    packages = fresh / "Lib" / "site-packages"
    shutil.rmtree(packages)  # build tools of another distribution; some load at every start
    install = [
        *pip,
        "install",
        "--no-deps",
        "--no-compile",
        "--target",
        str(packages),
        "--requirement",
        str(WHEEL_PINS),
    ]
    windows = ["--platform", "win_amd64", "--python-version", PYTHON_VERSION, "--implementation", "cp"]
    step(
        [*install, *windows, "--only-binary=:all:"],
        environment=environment,
        advice="are all pins on the package index?",
    )
    (fresh / ".stamp").write_text(wanted, "utf-8")
    shutil.rmtree(PYTHON, ignore_errors=True)
    fresh.rename(PYTHON)


def unpack_python(archive: Path, destination: Path) -> None:
    """Unpack `<name>/.../data.zip` of the source archive, and of that the folder cp313, to `destination`."""
    unpacked = destination.with_suffix(".zip")
    with tarfile.open(archive) as source:
        member = next(name for name in source.getnames() if name.endswith("/data.zip"))
        content = source.extractfile(member)
        if content is None:
            raise CannotBeHadError(f"{archive.name} carries no Python")
        with content, unpacked.open("wb") as target:
            shutil.copyfileobj(content, target)
    scratch = destination.with_suffix(".unpacked")
    shutil.rmtree(scratch, ignore_errors=True)
    with zipfile.ZipFile(unpacked) as package:
        package.extractall(scratch)
    next(scratch.glob("cp*")).rename(destination)
    shutil.rmtree(scratch)
    unpacked.unlink()


def make_prefix() -> None:
    """Create the Wine prefix, as Windows 10, and see that Python starts in it."""
    wine = program("wine64")
    version = subprocess.run([wine, "--version"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True)
    wanted = fingerprint(version.stdout)
    if is_stamped(PREFIX, wanted):
        return
    print("wine.py: creating the Wine prefix", flush=True)
    stop()
    shutil.rmtree(PREFIX, ignore_errors=True)
    home().mkdir(exist_ok=True)
    advice = "see WINEDEBUG=err+all"
    step([wine, "wineboot", "--init"], environment=wine_environment(), advice=advice, quiet=True)
    # Debian's Wine introduces itself as Windows 7, on which no Python of today runs.
    step([wine, "winecfg", "-v", "win10"], environment=wine_environment(), advice=advice, quiet=True)
    step([program("wineserver"), "-w"], environment=wine_environment(), advice=advice, quiet=True)
    start_server()
    hello = "import platform, sqlite3, ssl, ctypes.wintypes, watchdog.observers, pydantic; print(platform.platform())"
    status, output = piped([wine, str(PYTHON / "python.exe"), "-c", hello], seconds=STEP_SECONDS)
    if status != 0:
        raise CannotBeHadError(f"the Windows Python does not start under Wine (status {status}): {output}")
    print(f"wine.py: {output.strip()}", flush=True)
    (PREFIX / ".stamp").write_text(wanted, "utf-8")
    stop()


def fingerprint(*parts: bytes) -> str:
    """Return a hash of the recipe and of all parts."""
    return hashlib.sha256(b"\0".join((RECIPE.encode(), *parts))).hexdigest()


def is_stamped(folder: Path, wanted: str) -> bool:
    """Return whether the folder was finished, and from the wanted things."""
    stamp = folder / ".stamp"
    return stamp.is_file() and stamp.read_text("utf-8") == wanted


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other process sets up the same folder."""
    with (LAB / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def step(command: Sequence[str], *, environment: Mapping[str, str], advice: str, quiet: bool = False) -> None:
    """Run one program of the setup to its end; raises CannotBeHadError with the advice if it fails."""
    output = subprocess.DEVNULL if quiet else None
    try:
        subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=STEP_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotBeHadError(f"{error}; {advice}") from error


# --- running ----------------------------------------------------------------------------------------------------------


def test(arguments: Sequence[str]) -> int:
    """Run the tests on the Windows Python and return pytest's exit status; paths in `arguments` replace TESTS."""
    setup()
    deadline = time.monotonic() + TEST_SECONDS
    names_paths = any((REPOSITORY / argument.split("::")[0]).exists() for argument in arguments)
    tests = () if names_paths else TESTS
    # A cache in the repository would carry Windows paths to the Linux runs.
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", *tests, *arguments]
    try:
        start_server()
        status, _ = piped(windows_python(command), seconds=TEST_SECONDS, echo=True)
    finally:
        stop()
    if status != 0 or names_paths or not (REPOSITORY / LINUX_DRIVEN_TESTS).exists():
        return status
    try:
        return linux_driven(deadline - time.monotonic())
    finally:
        stop()


def linux_driven(seconds: float) -> int:
    """Run the tests that drive the Windows agent from Linux, through `run`; return pytest's exit status."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", LINUX_DRIVEN_TESTS]
    try:
        return subprocess.run(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, timeout=max(seconds, 1), check=False
        ).returncode
    except subprocess.TimeoutExpired:
        print(f"wine.py: {LINUX_DRIVEN_TESTS} took too long", file=sys.stderr)
        return TIMED_OUT


def run(arguments: Sequence[str]) -> NoReturn:
    """Become the Windows Python: process id, working folder and exit status are its own; raises CannotBeHadError."""
    require_setup()
    start_server()
    if not usable_as_stream(0):
        replace_stream(0, os.open(os.devnull, os.O_RDONLY))
    for stream in (1, 2):
        if not usable_as_stream(stream):
            through_pipe(stream)
    command = windows_python(arguments)
    os.execve(command[0], command, wine_environment())  # noqa: S606  # the shell would stand between it and signals


def usable_as_stream(number: int) -> bool:
    """Return whether Windows Python can take this descriptor as stdin or stdout: it ends itself over a regular file."""
    try:
        return not stat.S_ISREG(os.fstat(number).st_mode)
    except OSError:
        return False


def through_pipe(stream: int) -> None:
    """Put a `cat` between a stream and the regular file that it is; without a file the stream leads nowhere."""
    try:
        file = os.dup(stream)
    except OSError:
        replace_stream(stream, os.open(os.devnull, os.O_WRONLY))
        return
    readable, writable = os.pipe()
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


def windows_python(arguments: Sequence[str]) -> list[str]:
    """Return the command line of the Windows Python."""
    return [program("wine64"), str(PYTHON / "python.exe"), *arguments]


def piped(command: Sequence[str], *, seconds: float, echo: bool = False) -> tuple[int, str]:
    """Run a Windows program with its output on a pipe, print it too with `echo`; return exit status and output."""
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=wine_environment(),
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
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        print(f"wine.py: stopped after {seconds:.0f} s", file=sys.stderr)
        status = TIMED_OUT
        stop()
        process.kill()
        process.wait()
    except KeyboardInterrupt:
        stop()
        raise
    reader.join(10)  # a Windows process left behind may hold the pipe open for ever
    return status, "".join(lines)


def start_server() -> None:
    """Start the server and its services away from our streams: they inherit those of the first Windows process.

    Without it a reader of our output would wait for them for ever. The server stays for SERVER_IDLE_SECONDS after the
    last process, which makes each start of Python four times as quick.
    """
    where: dict[str, int] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = wine_environment()
    server = [program("wineserver"), f"-p{SERVER_IDLE_SECONDS}"]
    subprocess.run(server, env=environment, check=False, start_new_session=True, timeout=STEP_SECONDS, **where)
    step([program("wine64"), "cmd", "/c", "exit"], environment=environment, advice="run `wine.py stop`", quiet=True)


def stop() -> None:
    """End every process of this prefix, and the server; others' prefixes are not touched."""
    server = find_program("wineserver")
    if server is None or not PREFIX.is_dir():
        return
    for argument in ("-k", "-w"):  # -k fails when none runs, which is the wanted state
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [server, argument],
                env=wine_environment(),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=30,
                check=False,
            )


def require_setup() -> None:
    """Raise CannotBeHadError unless `setup` was finished."""
    if find_program("wine64") is None or not (PYTHON / ".stamp").exists() or not (PREFIX / ".stamp").exists():
        raise CannotBeHadError(f"not set up in {LAB}; run `python packaging/windows/wine.py setup`")


def find_program(name: str) -> str | None:
    """Return the path of one of Wine's programs."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{WINE_FOLDERS}")


def program(name: str) -> str:
    """Return the path of one of Wine's programs; raises CannotBeHadError."""
    if (found := find_program(name)) is None:
        raise CannotBeHadError(f"there is no {name} here; run `python packaging/windows/wine.py setup`")
    return found


def home() -> Path:
    """Return the home folder for Wine, so that nothing is written into the user's."""
    return LAB / "home"


def wine_environment() -> dict[str, str]:
    """Return the environment of every Windows process."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in FOREIGN_VARIABLES and not name.startswith(FOREIGN_PREFIXES)
    }
    return {
        **kept,
        "HOME": str(home()),
        "LC_ALL": "C.UTF-8",  # otherwise names outside ASCII have no Linux counterpart
        "WINEPREFIX": str(PREFIX),
        "WINEARCH": "win64",
        "WINEDEBUG": os.environ.get("WINEDEBUG", "-all"),
        "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=",  # no question for Mono or Gecko, no menu entries
        "PYTHONPATH": "Z:" + str(REPOSITORY).replace("/", "\\"),
        "PYTHONUTF8": "1",
    }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` stops the server
    raise SystemExit(main(sys.argv[1:]))
