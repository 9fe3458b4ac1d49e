"""The canary: no secret and no token in anything a whole test run writes.

With `FSAGENT_TEST_CANARY=1` every site of the tests logs at debug level, what commands say is looked through at once,
and at the end of the run everything below its temporary folder is: logs, ledgers byte by byte, notes, status, exports.
One find fails the run. It knows the sandbox's own secret, and its tokens by their prefix.

    FSAGENT_TEST_CANARY=1 pytest tests/system
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.aluma.tokens import TOKEN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _pytest.terminal import TerminalReporter

NEEDLES: Final = (AlumaSettings().client_secret.encode(), TOKEN_PREFIX.encode())
IS_ON: Final = os.environ.get("FSAGENT_TEST_CANARY") == "1"
_TOLD: Final = frozenset({".yaml", ".yml"})
"""Configurations hold the secret: that is where it comes from."""
_SANDBOX_SAYS: Final = "sandbox.out"
"""What `fsagent sandbox` writes: the credentials to put into a configuration."""
_BLOCK: Final = 4 * 1024 * 1024
_FOUND = pytest.StashKey[list[str]]()


def at_debug_level(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration that logs all it can, where the canary is on."""
    return {**settings, "logging": {**settings.get("logging", {}), "level": "debug"}} if IS_ON else settings


def look_at(*texts: str, what: object) -> None:
    """Fail where the canary is on and a text holds a secret."""
    if IS_ON:
        assert not any(needle.decode() in text for needle in NEEDLES for text in texts), f"{what} shows a secret"


def leaks(folder: Path, needles: Iterable[bytes] = NEEDLES) -> list[str]:
    """Return every file below a folder that holds one of the needles."""
    wanted = [needle for needle in needles if needle]
    return [f"{path}: {needle.decode(errors='replace')}" for path in _files(folder) for needle in _held(path, wanted)]


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        # Each test's folder has a link to its newest one beside it: once is enough.
        folders[:] = [name for name in folders if not Path(place, name).is_symlink()]
        for name in names:
            path = Path(place, name)
            if path.suffix not in _TOLD and name != _SANDBOX_SAYS and path.is_file() and not path.is_symlink():
                yield path


def _held(path: Path, needles: list[bytes]) -> list[bytes]:
    found = set()
    longest = max(map(len, needles), default=0)
    before = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found |= {needle for needle in needles if needle in before + block}
            before = block[-longest:]
    return [needle for needle in needles if needle in found]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look through everything the run wrote; workers leave that to whoever started them."""
    if not IS_ON or hasattr(session.config, "workerinput"):
        return
    found = leaks(session.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
    session.config.stash[_FOUND] = found
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Say what was found."""
    if IS_ON and not hasattr(config, "workerinput"):
        found = config.stash.get(_FOUND, [])
        terminalreporter.section("secrets and tokens")
        terminalreporter.write_line(f"canary: {len(found)} files hold a secret or a token")
        for line in found:
            terminalreporter.write_line(line)
