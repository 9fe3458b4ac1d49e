"""Prove the promise under faults, on Debian as root: `python3 packaging/fault_tests.py setup`, then `… test`.

`setup` installs the Debian packages the tests name (`tests/faults/means.py`) and makes `.venv` with everything else.
`test` runs all of `tests/faults`, nothing skipped, then the system tests at debug level to search all they wrote for
secrets; further arguments go to pytest. It mounts file systems of its own,
starts file servers on loopback and kills many agents: on a machine that holds nothing of worth.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FAULTS = REPOSITORY / "tests" / "faults"
ENVIRONMENT = REPOSITORY / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
WORKERS = "4"  # more than cores: many tests wait for others


def debian_packages() -> list[str]:
    """Return what `means.PACKAGES` names, read without importing the tests and their libraries."""
    module = ast.parse((FAULTS / "means.py").read_text(encoding="utf-8"))
    for node in module.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "PACKAGES":
            assert node.value is not None
            packages: dict[str, str] = ast.literal_eval(node.value)
            return sorted({name for names in packages.values() for name in names.split()})
    raise SystemExit("tests/faults/means.py names no PACKAGES")


def setup() -> None:
    """Install everything; what is there already is left alone."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
    install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends"]
    subprocess.run([*install, *debian_packages()], env=quiet, check=True, stdout=subprocess.DEVNULL)
    if not PYTHON.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-q", "-e", ".[dev,faults]"], cwd=REPOSITORY, check=True)


def test(arguments: list[str]) -> int:
    """Run the tests, then the canary: the system tests at debug level, all they wrote searched for secrets."""
    command = [str(PYTHON), "-m", "pytest", "-n", WORKERS, "--dist", "worksteal", *arguments]
    for folder, switch in ((FAULTS, "REQUIRE_FAULTS"), (FAULTS.parent / "system", "FSAGENT_TEST_CANARY")):
        done = subprocess.run([*command, str(folder)], cwd=REPOSITORY, env={**os.environ, switch: "1"}, check=False)
        if done.returncode:
            return done.returncode
    return 0


def main() -> int:
    """Do what the first argument says."""
    match sys.argv[1:]:
        case ["setup"]:
            setup()
            return 0
        case ["test", *arguments]:
            return test(arguments)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
