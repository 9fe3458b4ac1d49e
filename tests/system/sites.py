"""A site: one installation of the agent in a folder of its own, with real folders, real processes and a sandbox.

Starts and stops `fsagent` processes, drops documents, waits for conditions, and looks at everything from outside: the
folders, the sandbox's state and the ledger.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import unicodedata
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from faults import canary

import agent
from agent.config.loading import load
from agent.runtime.control import STATUS_NOTE
from agent.runtime.looking import reading_ledger
from agent.sandbox.aluma.settings import DEMO_PROJECT_ID, AlumaSettings
from agent.sandbox.samples import DELIVERY_NOTE, LETTER, read_sample
from agent.sandbox.sendai.settings import SendaiSettings
from agent.sandbox.typless.settings import TyplessSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from agent.model import FileRecord, TaskRecord
    from agent.sandbox.kinds import AnySandbox, AnySettings
    from agent.sandbox.server import SandboxServer

REPOSITORY = Path(agent.__file__).parents[1]
PATIENCE = 30.0
"""Seconds a test waits for what takes a fraction of one, so that a busy machine fails nothing."""
STOP_PATIENCE = 25.0
"""Seconds an agent may take to stop: requests under way have 20."""

QUICK_SANDBOX = {"queue_delay": 0.02, "processing_delay": 0.03, "finish_delay": 0.02}
T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | Literal[False] | None], *, seconds: float = PATIENCE, what: object = ""
) -> T:
    """Return the first true value of a condition; fail with `what` (asked again, where it can be called)."""
    never = threading.Event()
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"did not happen within {seconds:g} s: {what() if callable(what) else what}")
        never.wait(0.04)
    return found


def unused_port() -> int:
    """Return a port nobody listens on, and none a system gives away by itself: it stays free until the test needs it.

    Whoever asks for any port gets one from 32768 on by Linux, from 49152 on elsewhere.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("all ports are in use")


def pdf(mark: str, *, size: int = 0) -> bytes:
    """Return a whole PDF with bytes of its own, at least `size` long: comments may follow the end."""
    lead = read_sample(LETTER)
    comment = f"% {mark} ".encode()
    return lead + comment + b"." * max(0, min(size - len(lead) - len(comment), 900)) + b"\n"


def tiff(mark: str, *, size: int = 0) -> bytes:
    """Return a whole TIFF with bytes of its own, at least `size` long: what no directory names is not looked at."""
    lead = read_sample(DELIVERY_NOTE)
    return lead + mark.encode() + b"." * max(0, size - len(lead) - len(mark.encode()))


def document_for(name: str) -> bytes:
    """Return a document of the type its extension says, with bytes that no other name gives."""
    make = tiff if name.lower().endswith((".tif", ".tiff")) else pdf
    return make(name, size=len(name) * 17 % 800)


def sha256(data: bytes) -> str:
    """Return the digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


MARKER = ".fsagent"


def is_marked(root: Path) -> bool:
    """Tell whether a root carries its marker."""
    return (root / MARKER).exists()


def tree(root: Path) -> dict[str, Path]:
    """Return every file below a folder by its relative path, root markers left out."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if name != MARKER:
                found[path.relative_to(root).as_posix()] = path
    return found


class Process:
    """A command of fsagent that runs."""

    def __init__(self, *arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log
        self._output = log.with_suffix(".out")
        with log.open("wb") as errors, self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent", *arguments],
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONUTF8": "1", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def log(self) -> str:
        """What stands on standard error so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def output(self) -> str:
        """What stands on standard output so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit status once it ended."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Ask for an orderly end and return the exit status; where nothing can be asked, end it."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(STOP_PATIENCE)

    def kill(self) -> None:
        """End it at once, wherever it stands."""
        self.process.kill()
        self.process.wait(STOP_PATIENCE)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing running."""
        if error is not None:
            print(f"--- log of {self.process.args!r}\n{self.log}")  # noqa: T201 -- pytest shows it beside the failure
        if self.process.poll() is None:
            self.kill()


def completed(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of fsagent to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "agent", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUTF8": "1", **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=PATIENCE,
        check=False,
    )
    canary.look_at(*arguments, done.stdout, done.stderr, what=arguments)
    return done


class SandboxProcess:
    """`fsagent sandbox` as a process of its own, looked into through its control interface."""

    def __init__(self, folder: Path) -> None:
        self._process = Process("sandbox", "--port", "0", "--delay", "60ms", "--control", log=folder / "sandbox.log")
        try:
            wait_until(lambda: "project_id" in self._process.output)
        except BaseException:
            self._process.kill()
            raise
        answers = self._process.output
        self.url = next(line.removeprefix("url: ") for line in answers.splitlines() if line.startswith("url: "))

    def describe(self) -> list[dict[str, Any]]:
        """Return every task the sandbox has, as `SandboxServer.sandbox.describe` does."""
        with urllib.request.urlopen(f"{self.url}/control/state", timeout=PATIENCE) as answer:
            tasks: list[dict[str, Any]] = json.loads(answer.read())["tasks"]
        return tasks

    def stop(self) -> None:
        """Stop it."""
        with self._process:
            self._process.stop()


def sections_for(settings: AnySettings, *, url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `service` for such a sandbox, and where a watch folder's documents go there; None: not that key."""
    if isinstance(settings, TyplessSettings):
        service = {"type": "typless", "url": f"{url}/api", "api_key": settings.api_key}
        return service, {"project_id": None, "document_type_name": settings.document_types[0]}
    if isinstance(settings, SendaiSettings):
        service = {"type": "sendai", "url": url, "api_key": settings.api_key, "team_id": settings.team_id}
        return {**service, "path_prefix": settings.path_prefix}, {"project_id": settings.projects[0]}
    service = {"url": url, "client_id": settings.client_id, "client_secret": settings.client_secret}
    return service, {"project_id": DEMO_PROJECT_ID}


class Site:
    """A configuration with one watch folder `scans`, its folders, and the agents that run on it."""

    def __init__(self, root: Path, *, url: str, describe: Callable[[], list[dict[str, Any]]]) -> None:
        self.root = root
        self.inbox = root / "inbox"
        self.output = root / "output"
        self.archive = self.inbox / "archive"
        self.error = self.inbox / "error"
        self.state_dir = root / "state"
        self.config = root / "config.yaml"
        self.describe = describe
        self._runs = 0
        self._running: list[Process] = []
        for folder in (self.inbox, self.output):
            folder.mkdir(parents=True)
        self.settings: dict[str, Any] = {
            "service": {
                "url": url,
                "client_id": AlumaSettings().client_id,
                "client_secret": AlumaSettings().client_secret,
            },
            "state_dir": "state",
            "retry": {"first": "100ms", "max": "400ms", "unknown_wait": "1s"},
            "watch_folders": [self.watch_folder("scans")],
        }
        self.configure()

    @classmethod
    def of(cls, root: Path, server: SandboxServer) -> Site:
        """Return a site that talks to a sandbox of this process."""
        return cls(root, url=server.url, describe=lambda: list(server.sandbox.describe()))

    @classmethod
    def of_kind(cls, root: Path, server: SandboxServer[AnySandbox]) -> Site:
        """Return a site that talks to a sandbox of any service, as `of` does for Aluma's."""
        site = cls(root, url=server.url, describe=lambda: list(server.sandbox.describe()))
        site.settings["service"], destination = sections_for(server.sandbox.settings, url=server.url)
        site.configure(**destination)
        return site

    @staticmethod
    def watch_folder(name: str, **changes: Any) -> dict[str, Any]:
        """Return a watch folder's section with waits short enough for a test."""
        return {
            "name": name,
            "project_id": DEMO_PROJECT_ID,
            "inbox": "inbox",
            "output": "output",
            "settle": "100ms",
            "poll_interval": "200ms",
            "rescan": "1s",
            "stalled_after": "300ms",
            "give_up_after": "600ms",
            "export": {"poll_min": "100ms", "poll_max": "300ms", "retry_delay": "200ms"},
            **changes,
        }

    def configure(
        self,
        *,
        export: Mapping[str, Any] | None = None,
        service: Mapping[str, Any] | None = None,
        retry: Mapping[str, Any] | None = None,
        **folder: Any,
    ) -> None:
        """Write the configuration with changes to the first watch folder (None takes a key out) and to sections."""
        section = self.settings["watch_folders"][0]
        section.update(folder)
        for key in [key for key, value in section.items() if value is None]:
            del section[key]
        section["export"].update(export or {})
        self.settings["service"].update(service or {})
        self.settings["retry"].update(retry or {})
        # Every JSON document is a YAML document.
        document = canary.at_debug_level(self.settings)
        self.config.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
        if os.name == "posix":
            self.config.chmod(0o600)

    # --- processes --------------------------------------------------------------------------------------------------

    def run(self, *arguments: str) -> Process:
        """Start `fsagent run`; a context manager that leaves nothing running."""
        self._runs += 1
        process = Process("-c", str(self.config), "run", *arguments, log=self.root / f"run-{self._runs}.log")
        self._running = [process]
        return process

    def run_once(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `fsagent run --once` to its end."""
        return self.command("run", "--once", "--wait", "20s", *arguments)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command with this site's configuration."""
        return completed("-c", str(self.config), *arguments)

    # --- files ------------------------------------------------------------------------------------------------------

    def drop(self, relative_path: str, data: bytes | None = None) -> bytes:
        """Put a document into the inbox as a person would, and return its bytes."""
        content = document_for(relative_path) if data is None else data
        target = self.inbox.joinpath(*relative_path.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return content

    def inbox_files(self) -> set[str]:
        """Return what lies in the inbox, archive/ and error/ left out."""
        return {name for name in tree(self.inbox) if not name.startswith(("archive/", "error/"))}

    def note(self, relative_path: str) -> dict[str, str]:
        """Return the fields of the note beside a file in error/."""
        text = self.error.joinpath(*f"{relative_path}.error.txt".split("/")).read_text(encoding="utf-8")
        return dict(line.split(": ", 1) for line in text.splitlines())

    def exported(self, *names: str) -> bool:
        """Tell whether all of these exist below the output."""
        return all(self.output.joinpath(*name.split("/")).exists() for name in names)

    def all_files(self) -> set[str]:
        """Return every file of inbox, archive, error and output, hidden ones too."""
        return {f"inbox/{name}" for name in tree(self.inbox)} | {f"output/{name}" for name in tree(self.output)}

    # --- what is known ----------------------------------------------------------------------------------------------

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Return the sandbox's tasks by file_name tag; fails where two have the same."""
        tasks = self.describe()
        by_name = {task["tags"]["file_name"]: task for task in tasks}
        assert len(by_name) == len(tasks), f"twice: {sorted(task['tags']['file_name'] for task in tasks)}"
        return by_name

    @contextmanager
    def _ledger(self) -> Iterator[Any]:
        with reading_ledger(load(self.config, environment=os.environ).settings) as ledger:
            yield ledger

    def files(self) -> dict[str, FileRecord]:
        """Return the ledger's newest row of each path."""
        with self._ledger() as ledger:
            if ledger is None:
                return {}
            return {record.relative_path: record for record in ledger.find_files(limit=10_000)}

    def records(self) -> list[FileRecord]:
        """Return all of the ledger's files."""
        with self._ledger() as ledger:
            return list(ledger.find_files(limit=10_000)) if ledger is not None else []

    def task_records(self) -> list[TaskRecord]:
        """Return all of the ledger's tasks."""
        with self._ledger() as ledger:
            return list(ledger.find_tasks(limit=10_000)) if ledger is not None else []

    def complaints(self) -> list[str]:
        """Return what the ledger's integrity check says."""
        with self._ledger() as ledger:
            return list(ledger.check())

    def _status(self) -> Mapping[str, Any]:
        """Return what the running agent notes about itself."""
        with self._ledger() as ledger:
            return (ledger.note(STATUS_NOTE) or {}) if ledger is not None else {}

    def status(self) -> dict[str, Any]:
        """Return what `fsagent status --json` says."""
        done = self.command("status", "--json")
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def lanes(self) -> dict[str, dict[str, Any]]:
        """Return the lanes that wait, by name."""
        return {lane["lane"]: lane for lane in self._status().get("lanes", [])}

    def wait_scanned(self) -> None:
        """Wait until the running agent knows its roots and has seen what lies in the inbox."""
        self._wait(lambda: self._status().get("inboxes", {}).get("scans", {}).get("scans"), what=self._status)
        self._wait(lambda: is_marked(self.output), what=self._status)

    def _wait(
        self, condition: Callable[[], T | Literal[False] | None], *, seconds: float = PATIENCE, what: object
    ) -> T:
        """Wait for what a running agent does; its end is the end of waiting."""

        def watched() -> T | Literal[False] | None:
            for process in self._running:
                assert process.process.poll() is None, f"the agent ended: {process.log}"
            return condition()

        return wait_until(watched, seconds=seconds, what=what)

    def waits_for(self, lane: str, reason: str) -> dict[str, Any]:
        """Return a lane's state once it waits for that reason."""
        return self._wait(
            lambda: found if (found := self.lanes().get(lane)) and found["reason"] == reason else None,
            what=lambda: f"{lane}: {reason}, but {self.lanes()}",
        )

    def is_done(self) -> bool:
        """Tell whether every task ended and nothing of the ledger's is under way."""
        open_files = {"waiting", "sending", "unknown", "submitted"}
        if any(record.state.value in open_files or self._is_moving(record) for record in self.records()):
            return False
        return all(record.ended_at is not None for record in self.task_records())

    @staticmethod
    def _is_moving(record: FileRecord) -> bool:
        return bool(record.filing) and record.filed_at is None

    def wait_done(self, *, tasks: int, seconds: float = PATIENCE) -> None:
        """Wait until that many tasks exist and all of them ended, here and at the service."""
        self._wait(
            lambda: len(self.describe()) >= tasks and len(self.task_records()) >= tasks and self.is_done(),
            seconds=seconds,
            what=lambda: (
                [(record.relative_path, record.state.value, record.filing, record.detail) for record in self.records()]
                + [(record.name, record.state.value, record.detail) for record in self.task_records()]
            ),
        )

    # --- the whole state --------------------------------------------------------------------------------------------

    def assert_each_once(self, dropped: Mapping[str, bytes]) -> None:
        """Assert that each dropped file is one task, archived, exported, completed once, and nothing else is there.

        Base names are unique, and so are stems within a folder.
        """
        by_sha256 = {task["sha256"]: task for task in self.describe()}
        assert len(self.describe()) == len(by_sha256), "a file was sent twice"
        assert sorted(by_sha256) == sorted(sha256(data) for data in dropped.values())
        expected = set()
        for relative_path, data in dropped.items():
            task = by_sha256[sha256(data)]
            assert task["calls"]["complete"] == 1, relative_path
            assert task["tags"]["file_name"] == relative_path.rpartition("/")[2]
            stem = relative_path.rpartition(".")[0]
            expected |= {f"inbox/archive/{relative_path}"}
            expected |= {f"output/{name}" for name in (relative_path, f"{stem}.csv", f"{stem}.json")}
            assert sha256(self.archive.joinpath(*relative_path.split("/")).read_bytes()) == sha256(data)
            assert sha256(self.output.joinpath(*relative_path.split("/")).read_bytes()) == sha256(data)
        assert self.all_files() == expected
        assert self.complaints() == []


def twins(name: str) -> tuple[str, str]:
    """Return a name composed and decomposed: the same to the eye, two to most file systems."""
    return unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)
