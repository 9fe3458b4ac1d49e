"""What a fault needs of the machine: root, a tracer, file systems of its own. What is missing skips loudly.

With `REQUIRE_FAULTS=1` a skip is a failure (conftest.py), so that nothing is left out where all must run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

PACKAGES: Final = {
    "faketime": "faketime",
    "gcc": "gcc libc6-dev",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mount": "mount",
    "fusermount": "fuse libfuse2",
    "nft": "nftables",
    "smbd": "samba",
    "smbclient": "smbclient",
    "openssl": "openssl",
    "strace": "strace",
}
"""Programs and the Debian package that brings each; `.ci/run` installs them."""
_SEARCH_PATH: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def program(name: str) -> str:
    """Return a program's path; skip the test where it is not installed."""
    found = shutil.which(name, path=_SEARCH_PATH)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {PACKAGES.get(name, name)}")
    return found


def root() -> None:
    """Skip the test where it does not run as root."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("needs root: it mounts file systems of its own")


def device(path: str) -> None:
    """Skip the test where a device of the kernel is missing."""
    if not Path(path).exists():
        pytest.skip(f"{path} is missing")


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program of the test's own to its end; a failure fails the test with what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    answer: subprocess.CompletedProcess[str] = done
    return answer
