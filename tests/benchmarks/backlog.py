"""How fast a backlog of small files is submitted, against a loop of `requests.Session.post`.

`python tests/benchmarks/backlog.py [--files 2000] [--size 50000] [--connections 4] [--pairs 5]`

Collected by no test command; needs `pip install -e .`. Agent and peer take turns in one run, each a process of its own
with the same files on the same disk against the same sink; only their ratio counts. The agent is
`fsagent run --once --submit-only` as installed, with everything on but the rest time: ledger, checks, filing in
archive/, log to a file. Two times are taken of each: the whole command, and from the first upload's end to the last
one's as the sink saw them, which leaves the start out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
HEADROOM = 5.0
"""What the sink must take more than what is measured, or it would be measured itself."""
CONFIGURATION = """\
service:
  type: aluma
  url: http://127.0.0.1:{port}
  client_id: benchmark
  client_secret: benchmark
  connections: {connections}
state_dir: {site}/state
watch_folders:
  - name: backlog
    project_id: p
    inbox: {site}/inbox
    settle: 0s
logging: {{file: {site}/log/agent.log}}
"""


@dataclass(frozen=True)
class Round:
    """One run of one side: files a second of the whole command, and between its first and last upload."""

    whole: float
    uploads: float

    def __str__(self) -> str:
        return f"{self.whole:,.0f} whole, {self.uploads:,.0f} uploads only"


class Bench:
    """The sink, the files and how each side is run."""

    def __init__(self, arguments: argparse.Namespace, place: Path, port: int) -> None:
        self._files: int = arguments.files
        self._size: int = arguments.size
        self._connections: int = arguments.connections
        self._place = place
        self._port = port

    def agent_command(self, site: Path) -> list[str]:
        return [_fsagent(), "-c", str(site / "config.yaml"), "run", "--once", "--submit-only"]

    def peer_command(self, site: Path) -> list[str]:
        address = f"http://127.0.0.1:{self._port}/tasks?project_id=p"
        return [sys.executable, str(HERE / "requests_loop.py"), str(site / "inbox"), address, str(self._connections)]

    def measure_agent(self) -> Round:
        with self._site() as site:
            configuration = CONFIGURATION.format(port=self._port, connections=self._connections, site=site)
            (site / "config.yaml").write_text(configuration, encoding="utf-8")
            (site / "log").mkdir()
            measured = self._measure(self.agent_command(site))
            filed = sum(1 for _ in (site / "inbox" / "archive").iterdir())
            if filed != self._files:
                raise SystemExit(f"the agent filed {filed} of {self._files} files")
            return measured

    def measure_peer(self) -> Round:
        with self._site() as site:
            return self._measure(self.peer_command(site))

    def measure_sink(self) -> float:
        """Return the uploads a second that two raw clients get through."""
        self._uploads()
        count = str(self._files)
        clients = [
            subprocess.Popen([sys.executable, str(HERE / "raw_client.py"), str(self._port), count, str(self._size)])
            for _ in range(2)
        ]
        if any(client.wait() for client in clients):
            raise SystemExit("a raw client failed")
        seen = self._uploads()
        rate: float = (seen["count"] - 1) / (seen["last"] - seen["first"])
        return rate

    @contextmanager
    def _site(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._place) as folder:
            inbox = Path(folder) / "inbox"
            inbox.mkdir()
            for number in range(self._files):
                mark = f"%PDF-1.4\n% document {number}\n".encode()
                content = mark + b"%" * (self._size - len(mark) - 7) + b"\n%%EOF\n"
                (inbox / f"document-{number:05}.pdf").write_bytes(content)
            subprocess.run(["sync", "-f", folder], check=False)
            yield Path(folder)

    def _measure(self, command: Sequence[str]) -> Round:
        self._uploads()
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        took = time.monotonic() - began
        seen = self._uploads()
        if done.returncode or seen["count"] != self._files or seen["bytes"] != self._files * self._size:
            raise SystemExit(f"{' '.join(command)} failed: {seen}\n{done.stdout}{done.stderr}")
        return Round(self._files / took, (self._files - 1) / (seen["last"] - seen["first"]))

    def _uploads(self) -> dict[str, Any]:
        """Return what the sink saw since the last time."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/reset") as answer:
            seen: dict[str, Any] = json.load(answer)
        return seen


def _fsagent() -> str:
    found = shutil.which("fsagent", path=str(Path(sys.executable).parent)) or shutil.which("fsagent")
    if found is None:
        raise SystemExit("fsagent is not installed: pip install -e .")
    return found


@contextmanager
def _sink() -> Iterator[int]:
    command = [sys.executable, str(HERE / "sink.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _print_machine() -> None:
    with tempfile.TemporaryDirectory() as folder:
        system = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False)
    packages = ", ".join(f"{name} {version(name)}" for name in ("fsagent", "requests", "urllib3"))
    print(f"machine: {os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}")
    print(f"file system: {system.stdout.strip() or 'unknown'}; packages: {packages}")


def _print_result(agents: Sequence[Round], peers: Sequence[Round]) -> None:
    """Print medians with the least and the most of each."""
    for what in ("whole", "uploads"):
        ours = [getattr(each, what) for each in agents]
        theirs = [getattr(each, what) for each in peers]
        for name, values in (("agent", ours), ("peer", theirs)):
            middle = statistics.median(values)
            print(f"{name}, {what}: {middle:,.0f} files/s ({min(values):,.0f} to {max(values):,.0f})")
        ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
        print(f"ratio, {what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def _print_sink(capacity: float, fastest: float) -> None:
    verdict = "enough" if capacity >= HEADROOM * fastest else f"NOT the {HEADROOM:g} times that are asked for"
    print(f"the sink takes {capacity:,.0f} uploads/s, {capacity / fastest:.1f} times the fastest run: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--size", type=int, default=50_000, help="bytes of each")
    parser.add_argument("--connections", type=int, default=4, help="of the agent; threads of the peer")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--place", type=Path, default=None, help="a folder on the disk to measure on")
    arguments = parser.parse_args()
    _print_machine()
    with _sink() as port, tempfile.TemporaryDirectory(dir=arguments.place) as place:
        bench = Bench(arguments, Path(place), port)
        print("agent:", " ".join(bench.agent_command(Path("SITE"))))
        print("peer:", " ".join(bench.peer_command(Path("SITE"))))
        print(f"{arguments.files} files of {arguments.size} bytes, {arguments.connections} connections; files/s:")
        agents: list[Round] = []
        peers: list[Round] = []
        for number in range(arguments.pairs):
            agents.append(bench.measure_agent())
            peers.append(bench.measure_peer())
            print(f"pair {number + 1}: agent {agents[-1]}, peer {peers[-1]}", flush=True)
        capacity = bench.measure_sink()
    _print_result(agents, peers)
    _print_sink(capacity, max(each.uploads for each in [*agents, *peers]))


if __name__ == "__main__":
    main()
