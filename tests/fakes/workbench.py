"""A whole agent on a bench: its stages and loops over fakes and real folders, stepped by hand, without a thread.

`Workbench.start` begins a process over the same ledger, service and folders as the one before; its monotonic clock is
its own. A `Lifeline` kills such a process at any boundary it crosses: a change of the ledger, a call of the service, a
change in a folder. Dead is dead: no cleaning up on the way out reaches anything.
"""

from __future__ import annotations

import os
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import IOBase
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from agent.app import build_parts
from agent.folders import system
from agent.folders.roots import MARKER
from agent.model import (
    ExportSettings,
    FileRecord,
    FileState,
    RetrySettings,
    RootKind,
    ServiceSettings,
    ServiceType,
    Settings,
    TaskRecord,
    WatchFolder,
)
from agent.runtime.aftercare import Aftercare
from agent.runtime.asking import AskingLoop
from agent.runtime.exporting import ExportLoop
from agent.runtime.folder_care import FolderCare
from agent.runtime.recovery import recover, remove_left_behind
from agent.runtime.roots import RootGuard
from agent.runtime.sending import Sending
from agent.submission.detect import Detect
from agent.submission.inbox import Inbox
from fakes.driven_clock import DrivenClock
from fakes.memory_ledger import MemoryLedger
from fakes.memory_service import MemoryService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    import pytest

    from agent.model import ExportFile, Task, Upload
    from agent.ports import Ledger, Service
    from agent.runtime.parts import Parts

P = ParamSpec("P")
T = TypeVar("T")

PROJECT = "project-1"
SETTLED = 3.0
"""Seconds after which a file dropped on the bench has settled."""


def pdf(text: str = "a document") -> bytes:
    """Return a PDF that is whole by its structure."""
    return b"%PDF-1.4\n" + text.encode("utf-8", "surrogateescape") + b"\n%%EOF\n"


def watch_folder(
    base: Path, name: str = "invoices", *, export: dict[str, Any] | None = None, **values: Any
) -> WatchFolder:
    """Return a watch folder whose roots are made below `base`; `inbox=None` or `output=None` leave one out."""
    roots = {"inbox": base / name / "inbox", "output": base / name / "output"} | {
        root: values.pop(root) for root in ("inbox", "output") if root in values
    }
    inbox, output = roots["inbox"], roots["output"]
    places: dict[str, Any] = {
        "archive": inbox / "archive" if inbox else None,
        "error": inbox / "error" if inbox else None,
    } | {place: values.pop(place) for place in ("archive", "error") if place in values}
    for path in (*roots.values(), *places.values()):
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
    exports: dict[str, Any] = {"error": output / "error" if output else None, "newline": "lf"} | (export or {})
    values = {"project_id": PROJECT, **values}
    return WatchFolder(name, inbox=inbox, output=output, **places, export=ExportSettings(**exports), **values)


class ProcessClock(DrivenClock):
    """The clock of one process: the bench's wall clock, and a monotonic one that means nothing to another process."""

    def __init__(self, world: DrivenClock, began: float) -> None:
        super().__init__()
        self._world = world
        self._began = began

    def now(self) -> float:
        return self._world.now()

    def monotonic(self) -> float:
        return self._world.monotonic() - self._began

    def advance(self, seconds: float) -> None:
        self._world.advance(seconds)


class InlineExecutor(Executor):
    """Runs what it is handed at once, in the thread that hands it over."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Care:
    """All that finishes what was begun: the agent's own part, then each watch folder's."""

    def __init__(self, parts: Parts) -> None:
        self._aftercare = Aftercare(parts, made_ready=lambda: None)
        self._cares = [FolderCare(parts, folder) for folder in parts.settings.watch_folders]

    def step(self) -> None:
        """Let each do once what is due."""
        self._aftercare.recover_uploads()
        for care in self._cares:
            care.step()
        self._aftercare.step()

    def recover_uploads(self, *, at_start: bool = False) -> None:
        """Give back uploads nobody holds."""
        self._aftercare.recover_uploads(at_start=at_start)

    @property
    def follows_done(self) -> int:
        """Looks for ended tasks so far."""
        return self._aftercare.follows_done


class Workbench:
    """The world around an agent, and the process that works in it now."""

    def __init__(
        self,
        base: Path,
        *folders: WatchFolder,
        retry: RetrySettings | None = None,
        service: MemoryService | None = None,
        **settings: Any,
    ) -> None:
        self.base = base
        self.clock = DrivenClock()
        self.ledger = MemoryLedger()
        self.service = service or MemoryService(self.clock, project_ids=(PROJECT, "project-2"))
        self.lifeline: Lifeline | None = None
        self.retry = retry or RetrySettings(first=1.0, max=8.0, unknown_wait=20.0)
        self.settings = Settings(
            service=ServiceSettings(ServiceType.ALUMA, "https://api.example", "id", "secret"),
            state_dir=base / "state",
            watch_folders=folders or (watch_folder(base),),
            retry=self.retry,
            **({"min_free": 0, "history_keep": None} | settings),
        )
        self.world: Callable[[], object] = lambda: None
        """What happens outside the agent before each round."""
        self.settings.state_dir.mkdir(parents=True, exist_ok=True)
        self._dropped = 0
        self._keys = 0
        self.start()

    # --- processes

    def start(self) -> None:
        """Begin a new process, as after the end, or the death, of the one before."""
        self.process_clock = ProcessClock(self.clock, began=self.clock.monotonic() - 10.0)
        ledger, service = cast("Ledger", self.ledger), cast("Service", self.service)
        if self.lifeline is not None:
            ledger = cast("Ledger", MortalLedger(self.ledger, self.lifeline))
            service = cast("Service", MortalService(self.service, self.lifeline))
        parts = build_parts(self.settings, ledger=ledger, service=service, clock=self.process_clock)
        self.parts: Parts = replace(parts, new_key=self._new_key)
        self.inboxes = [Inbox.of(folder) for folder in self.settings.watch_folders if folder.inbox is not None]
        self.detects = [
            Detect(inbox, ledger=ledger, clock=self.process_clock, new_key=self._new_key) for inbox in self.inboxes
        ]
        self.guards = [
            RootGuard(
                inbox.folder,
                RootKind.INBOX,
                ledger=ledger,
                lane=self.parts.lanes.submission(inbox.folder.name),
            )
            for inbox in self.inboxes
        ]
        self.output_guards = {
            folder.name: RootGuard(folder, RootKind.OUTPUT, ledger=ledger, lane=self.parts.lanes.export(folder.name))
            for folder in self.settings.watch_folders
            if folder.output is not None
        }
        self.nudged: list[str] = []
        """Watch folders whose care a sending worker woke."""
        self.sending = Sending(self.parts, self.inboxes, nudge=self.nudged.append)
        self.aftercare = Care(self.parts)
        self.asking = AskingLoop(self.parts, made_ready=lambda: None, exports=self.parts.exports)
        self.export_loop = ExportLoop(
            self.parts,
            roots=self.output_guards,
            wake=lambda: None,
            make_pool=lambda _workers, _name: InlineExecutor(),
        )

    def recover(self) -> None:
        """Do what a starting process does before its workers run."""
        if recover(self.settings, self.parts.ledger):
            for folder in self.settings.watch_folders:
                remove_left_behind(folder, self.parts.ledger)
        self.aftercare.recover_uploads(at_start=True)

    def _new_key(self) -> str:
        self._keys += 1
        return f"{self._keys:032x}"

    # --- the world

    @property
    def folder(self) -> WatchFolder:
        """The first watch folder."""
        return self.settings.watch_folders[0]

    def place(self, name: str, folder: WatchFolder | None = None) -> Path:
        """Return inbox, archive, error, output or output/error of a watch folder, by default the first."""
        folder = folder or self.folder
        places = {"inbox": folder.inbox, "archive": folder.archive, "error": folder.error, "output": folder.output}
        path = folder.export.error if name == "output/error" else places[name]
        assert path is not None
        return path

    def drop(self, relative_path: str, content: bytes | None = None, folder: WatchFolder | None = None) -> Path:
        """Put a file into an inbox; each one dropped is a second younger than the one before."""
        path = self.place("inbox", folder) / relative_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pdf(relative_path) if content is None else content)
        self._dropped += 1
        modified = self.clock.now() - 1000 + self._dropped
        os.utime(path, (modified, modified))
        return path

    # --- work, step by step

    def scan(self) -> None:
        """Look at the inboxes' roots, scan those that are healthy and look at what is due."""
        for guard, detect in zip(self.guards, self.detects, strict=True):
            if guard.check():
                detect.scan()
                detect.look_at_due()

    def settle(self) -> None:
        """Scan, let time pass, and look again at what is due: what can be ready is ready then."""
        self.scan()
        self.clock.advance(SETTLED)
        for detect in self.detects:
            detect.look_at_due()

    def send(self, *, most: int = 100) -> int:
        """Let one worker send until nothing is to be sent now; return how many files it took."""
        for taken in range(most):
            if self.sending.step() > 0:
                return taken
        return most

    def submit_one(self, *, stays: bool = False) -> FileRecord:
        """Settle what is there and take the oldest file through the stage alone: its filing is planned, not done."""
        self.settle()
        claimed = self.parts.ledger.claim(self.folder.name, claimed_by="a test", now=self.clock.now())
        assert claimed is not None
        return self.parts.submit.work(self.inboxes[0], claimed, stays=lambda: stays)

    def submit(self) -> None:
        """Settle what is there and send it."""
        self.settle()
        self.send()

    def round(self) -> None:
        """Let every loop run once, and a second pass."""
        self.world()
        self.scan()
        self.send()
        self.aftercare.step()
        if not self.parts.service.abilities.lists_tasks:
            self.asking.step()
        self.export_loop.step()
        self.clock.advance(1.0)

    def rounds(self, count: int) -> None:
        """Let that many rounds go by."""
        for _ in range(count):
            self.round()

    def run(self, *, most: int = 120) -> None:
        """Work until nothing is open any more; fails where that takes more than `most` rounds."""
        self.recover()
        was_done = False
        for _ in range(most):
            self.round()
            is_done = self.is_done()
            if is_done and was_done:
                return
            was_done = is_done
        raise AssertionError(f"still open: {self.open_rows()}")

    def is_done(self) -> bool:
        """Tell whether every file and task has ended."""
        return bool(self.files()) and not self.open_rows()

    def open_rows(self) -> list[str]:
        """Return what has not ended, for a message."""
        under_way = (FileState.WAITING, FileState.STALLED, FileState.SENDING, FileState.UNKNOWN)
        rows = [
            f"{record.relative_path} {record.state} {record.detail}"
            for record in self.ledger.find_files()
            if record.state in under_way or (record.filing and record.filed_at is None)
        ]
        tasks = self.ledger.find_tasks(is_open=True)
        return rows + [f"{task.task_id} {task.state} {task.detail}" for task in tasks if not task.held]

    # --- what became of it

    def files(self) -> Sequence[FileRecord]:
        """Return every file of the ledger."""
        return self.ledger.find_files(limit=10_000)

    def file(self, relative_path: str) -> FileRecord:
        """Return the one file of that path."""
        found = self.ledger.find_files(relative_path=relative_path)
        assert len(found) == 1, [f"{record.key} {record.state}" for record in found]
        return found[0]

    def task(self, task_id: str = "") -> TaskRecord:
        """Return a task of the ledger, by default the only one."""
        found = self.ledger.find_tasks() if not task_id else [self.ledger.task(task_id)]
        assert len(found) == 1, found
        assert found[0] is not None
        return found[0]

    def events(self) -> list[str]:
        """Return the names of all events, oldest first."""
        return [event.name for event in reversed(self.ledger.history(limit=10_000))]

    def names(self, place: str, folder: WatchFolder | None = None) -> list[str]:
        """Return the relative paths of all files below a place, archive/ and error/ in it and the marker left out."""
        root = self.place(place, folder)
        others = [self.place(other, folder) for other in ("archive", "error") if place == "inbox"]
        if place == "output":
            others.append(self.place("output/error", folder))
        return sorted(
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.is_file() and path.name != MARKER and not any(path.is_relative_to(other) for other in others)
        )

    def contents(self, place: str) -> dict[str, bytes]:
        """Return the files below a place with their bytes."""
        return {name: (self.place(place) / name).read_bytes() for name in self.names(place)}


# --- processes that can be killed -------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is dead from here on; no `except Exception` sees it."""


@dataclass
class Lifeline:
    """Counts the boundaries a process crosses and kills it at one of them."""

    kill_at: int = 0
    crossed: int = 0
    dead: bool = False
    at: str = ""

    def cross(self, boundary: str) -> None:
        """Cross one boundary; raises Killed at the chosen one and at all that follow."""
        if self.dead:
            raise Killed(self.at)
        self.crossed += 1
        if self.crossed == self.kill_at:
            self.dead = True
            self.at = boundary
            raise Killed(boundary)

    def renew(self, kill_at: int = 0) -> None:
        """Begin the count of a new process."""
        self.kill_at, self.crossed, self.dead, self.at = kill_at, 0, False, ""

    def around(self, name: str, act: Callable[P, T]) -> Callable[P, T]:
        """Return a call with a boundary before and one after it."""

        def acted(*args: P.args, **kwargs: P.kwargs) -> T:
            self.cross(f"before {name}")
            result = act(*args, **kwargs)
            try:
                self.cross(f"after {name}")
            except Killed:
                if isinstance(result, system.Folder | IOBase):
                    result.close()
                raise
            return result

        return acted


class _Mortal:
    """Passes everything on; calls named in CHANGES have boundaries around them, none works for the dead."""

    CHANGES: frozenset[str] = frozenset()

    def __init__(self, real: Any, lifeline: Lifeline) -> None:
        self._real = real
        self._lifeline = lifeline

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name in self.CHANGES:
            return self._lifeline.around(name, found)
        if self._lifeline.dead:
            raise Killed(self._lifeline.at)
        return found


class MortalLedger(_Mortal):
    """A ledger whose every change is a boundary."""

    CHANGES = frozenset({"commit", "claim", "forget_settling", "put_note", "rename_watch_folder", "purge", "answer"})


class MortalService(_Mortal):
    """A service whose every call that changes something is a boundary; so are the blocks of an upload or download."""

    CHANGES = frozenset({"start_export", "complete_export", "cancel_export", "fail_export", "cancel_task"})

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        self._lifeline.cross("before submit")
        task: Task = self._real.submit(upload, _MortalBody(body, self._lifeline))
        self._lifeline.cross("after submit")
        return task

    def submit_together(self, name: str, parts: Sequence[tuple[Upload, BinaryIO]]) -> Task:
        self._lifeline.cross("before submit_together")
        bodies = [(upload, cast("BinaryIO", _MortalBody(body, self._lifeline))) for upload, body in parts]
        task: Task = self._real.submit_together(name, bodies)
        self._lifeline.cross("after submit_together")
        return task

    @contextmanager
    def download(self, file: ExportFile) -> Iterator[Iterator[bytes]]:
        self._lifeline.cross("before download")
        with self._real.download(file) as chunks:
            yield self._cut(chunks)

    def _cut(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self._lifeline.cross("in the download")


class _MortalBody(_Mortal):
    CHANGES = frozenset({"read"})


def make_folders_mortal(monkeypatch: pytest.MonkeyPatch, lifeline: Lifeline) -> None:
    """Put a boundary before and after everything that changes a folder."""
    for name in ("create", "rename", "replace", "unlink", "make_deeper", "sync"):
        real = getattr(system.Folder, name)
        monkeypatch.setattr(system.Folder, name, lifeline.around(name, real))
    # A killed process syncs nothing and a living one takes its time: power loss is another test's.
    monkeypatch.setattr(os, "fsync", lambda _handle: None)


__all__ = [
    "PROJECT",
    "SETTLED",
    "InlineExecutor",
    "Killed",
    "Lifeline",
    "MortalLedger",
    "MortalService",
    "ProcessClock",
    "Workbench",
    "make_folders_mortal",
    "pdf",
    "watch_folder",
]
