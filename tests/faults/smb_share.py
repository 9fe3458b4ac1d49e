"""A real SMB server on loopback that shares a test's folders, and clients that put, rename and read there.

Owns smbd, its configuration and everything it writes, in a temporary folder of its own; leaves no process behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from system.sites import PATIENCE, wait_until

from faults import means

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

BLOCK: Final = 65536
"""Bytes a client gathers before it sends them; by default megabytes."""

_SERVER: Final = """
[global]
server role = standalone server
interfaces = lo
bind interfaces only = yes
smb ports = {port}
server min protocol = SMB2
smb2 max write = {block}
map to guest = Bad User
guest account = root
load printers = no
disable spoolss = yes
passdb backend = tdbsam:{own}/passdb.tdb
private dir = {own}
lock directory = {own}
state directory = {own}
cache directory = {own}
pid directory = {own}
ncalrpc dir = {own}/ncalrpc
log file = {own}/log
"""
_SHARE: Final = """
[{name}]
path = {path}
guest ok = yes
guest only = yes
read only = no
"""
_ATTEMPTS: Final = 5
"""Others take ports too: one that was free a moment ago may be taken."""


class Server:
    """A running smbd; every folder it shares has a name."""

    def __init__(self, own: Path, shares: Mapping[str, Path]) -> None:
        self._configuration = own / "smb.conf"
        self._port = _free_port()
        text = _SERVER.format(port=self._port, block=BLOCK, own=own)
        text += "".join(_SHARE.format(name=name, path=path) for name, path in shares.items())
        self._configuration.write_text(text, encoding="utf-8")
        self._said = own / "smbd.out"
        with self._said.open("wb") as output:
            self._process = subprocess.Popen(
                [means.program("smbd"), "-F", "--no-process-group", "--debug-stdout", "-s", self._configuration],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # each client has a process of its own there: all of them end with their group
            )

    def answers(self) -> bool:
        """Wait until clients are served; False: it ended instead."""
        wait_until(lambda: self._process.poll() is not None or self._is_listening(), what=self._log)
        return self._process.poll() is None

    def _is_listening(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self._port)) == 0

    def _log(self) -> str:
        return self._said.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """End it with all its clients' processes."""
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def _command(self, share: str, commands: str) -> list[str | Path]:
        address = f"//127.0.0.1/{share}"
        options: list[str | Path] = ["-N", "-b", str(BLOCK), "-p", str(self._port), "-s", self._configuration]
        return [means.program("smbclient"), address, *options, "-c", commands]

    def client(self, share: str, *commands: str) -> str:
        """Let a client do something to its end and return what it said; fails where it could not."""
        return means.run(*self._command(share, "; ".join(commands)), timeout=PATIENCE).stdout

    def upload(self, share: str, name: str) -> Upload:
        """Begin to put a file under a name; what it holds comes bit by bit."""
        return Upload(lambda source: self._command(share, f'put {source} "{name}"'))


class Upload:
    """A client that puts one file as slowly as the test likes; a context manager that leaves nothing running."""

    def __init__(self, command: Callable[[Path], list[str | Path]]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fsagent-put-"))
        source = self._folder / "source"
        os.mkfifo(source)
        self._process = subprocess.Popen(
            command(source), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._source = source.open("wb", buffering=0)

    def write(self, content: bytes) -> None:
        """Give the client bytes; returns once it has taken all but what a pipe holds."""
        view = memoryview(content)
        while view:
            view = view[self._source.write(view) :]

    def stop(self) -> None:
        """Let the client stand still, its connection open."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def finish(self) -> None:
        """End the file and wait until the client has closed it."""
        self._source.close()
        said, _ = self._process.communicate(timeout=PATIENCE)
        assert self._process.returncode == 0, said

    def kill(self) -> None:
        """End the client where it stands."""
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing running."""
        self.kill()
        self._source.close()
        shutil.rmtree(self._folder)


@contextmanager
def sharing(shares: Mapping[str, Path]) -> Iterator[Server]:
    """Share folders by name."""
    means.root()
    own = Path(tempfile.mkdtemp(prefix="fsagent-smbd-"))  # short: sockets lie in it
    try:
        with _answering(own, shares) as server:
            yield server
    finally:
        shutil.rmtree(own)


@contextmanager
def _answering(own: Path, shares: Mapping[str, Path]) -> Iterator[Server]:
    for _ in range(_ATTEMPTS):
        server = Server(own, shares)
        try:
            if server.answers():
                yield server
                return
        finally:
            server.end()
    raise AssertionError(f"smbd does not start: {server._log()}")


def _free_port() -> int:
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        port: int = attempt.getsockname()[1]
        return port
