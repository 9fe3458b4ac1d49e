"""The world of the model test: people, a service and an agent that dies; and what must hold whatever they do.

The model knows every document anybody ever dropped, by its bytes: how often it was dropped, how often it was written
over or taken away on purpose, whether it is whole. `holds` says what is broken at any moment, `judged` what is broken
once faults have ended and everything came to rest. Nothing else is believed: neither the ledger nor the agent's word.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fakes.workbench import Killed, Lifeline, make_folders_mortal, pdf, watch_folder
from system.sites import tree

from agent.errors import LedgerUnavailable, StaleRecord
from agent.model import FileState, RetrySettings
from faults.checker import NOTE
from faults.durability import Durability
from faults.model_bench import ModelBench, Unexpected, put_across_devices
from faults.watched_service import WatchedService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from agent.model import FileRecord

FIRST, SECOND = "invoices", "orders"
RENAMED = "bills"
LATEST = 9.0
"""Seconds until a task whose answer was lost is accepted at the latest; with the lag, less than the quiet time."""
LONGEST_LAG = 9.0
"""Seconds until a task is listed at the latest."""
GIVE_UP = 1_900.0
"""Longer than a file that is not whole is waited for."""
MOST_ROUNDS = 600
"""Rounds after which everything must have come to rest."""


@dataclass
class Document:
    """What the model knows of one content."""

    folder: str
    is_whole: bool = True
    dropped: int = 1
    """Copies anybody ever put into the inbox."""
    there: int = 1
    """Copies nobody has written over or taken away."""
    has_moved: bool = False
    """Whether a copy was renamed to another folder of the inbox: its exports may stand in either."""


class World:
    """Two inboxes, their outputs, a service, an agent, and the book the model keeps."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch, *, real_ledger: bool, across_devices: bool) -> None:
        self._across_devices = across_devices
        if across_devices:
            put_across_devices(monkeypatch)
        self.lifeline = Lifeline()
        make_folders_mortal(monkeypatch, self.lifeline)
        self._durability = Durability(monkeypatch)
        self._elsewhere = base / "elsewhere"
        self._elsewhere.mkdir()
        settings: dict[str, Any] = {"export": {"retry_delay": 3.0, "max_attempts": 3}, "settle": 2.0}
        self.folders = {name: watch_folder(base, name, **settings) for name in (FIRST, SECOND)}
        retry = RetrySettings(first=1.0, max=8.0, unknown_wait=LATEST + LONGEST_LAG + 2.0)
        self.bench = ModelBench(base, *self.folders.values(), real_ledger=real_ledger, retry=retry)
        self.service = WatchedService(self.bench.clock, project_ids=(self.bench.folder.project_id,))
        self.service.before_complete = self._see_complete
        self.bench.service = self.service
        self.bench.lifeline = self.lifeline
        self.documents: dict[bytes, Document] = {}
        self.may_skip = False
        """Whether twins were ever configured to be skipped."""
        self.rejected: set[bytes] = set()
        """Contents an operator has rejected."""
        self.taken: list[tuple[str, str, bytes]] = []
        """Exports a reader took: watch folder, path, bytes."""
        self.complaints: list[str] = []
        self.kills = 0
        self._unexpected = Unexpected()
        logging.getLogger("agent").addHandler(self._unexpected)
        self._number = 0
        self.restart()

    def close(self) -> None:
        """Leave nothing open."""
        logging.getLogger("agent").removeHandler(self._unexpected)
        self.bench.ledger.close()

    # --- the agent ----------------------------------------------------------------------------------------------------

    def living(self, act: Callable[[], object], kill_at: int = 0) -> bool:
        """Let the agent do something, perhaps die at the so-manieth boundary; then a new one starts. True: it lived."""
        self.lifeline.renew(kill_at)
        try:
            act()
        except Killed:
            self.kills += 1
            self.restart()
            return False
        finally:
            self.lifeline.renew()
        return True

    def restart(self, kill_at: int = 0) -> None:
        """Begin a new process, as after the end of the one before; it may die while it recovers."""
        self.lifeline.renew(kill_at)
        try:
            self.bench.start()
            self.bench.recover()
        except Killed:
            self.kills += 1
            self.restart()
        finally:
            self.lifeline.renew()

    def step(self, name: str) -> None:
        """Let one loop of the agent run once, as its worker would."""
        bench = self.bench
        steps: dict[str, Callable[[], object]] = {
            "scan": bench.scan,
            "look": lambda: [detect.look_at_due() for detect in bench.detects],
            "send": bench.sending.step,
            "aftercare": bench.aftercare.step,
            "export": bench.export_loop.step,
            "round": self.round,
        }
        try:
            steps[name]()
        except (LedgerUnavailable, StaleRecord) as error:
            logging.getLogger(__name__).debug("%s runs again: %s", name, error)

    def round(self) -> None:
        """Let every loop run once, and two seconds pass."""
        for name in ("scan", "look", "send", "send", "aftercare", "export"):
            self.step(name)
        self.bench.clock.advance(2.0)

    def reconfigure(self, *, settle: float, connections: int, skip: bool, second: bool, renamed: bool) -> None:
        """Restart with another configuration."""
        self.may_skip = self.may_skip or skip
        changes: dict[str, Any] = {"settle": settle, "on_duplicate": "skip" if skip else "submit"}
        self.folders = {name: replace(folder, **changes) for name, folder in self.folders.items()}
        names = (RENAMED, FIRST) if renamed else (FIRST, RENAMED)
        self.folders[FIRST] = replace(self.folders[FIRST], name=names[0], formerly=(names[1],))
        self.bench.settings = replace(
            self.bench.settings,
            service=replace(self.bench.settings.service, connections=connections),
            watch_folders=tuple(self.folders.values()) if second else (self.folders[FIRST],),
        )
        self.restart()

    # --- people -------------------------------------------------------------------------------------------------------

    def place(self, folder: str, name: str = "inbox") -> Path:
        """Return a place of a watch folder, configured at the moment or not."""
        return self.bench.place(name, self.folders[folder])

    def lying(self, *places: str) -> Iterator[tuple[str, str, Path]]:
        """Yield watch folder, place and path of every visible file there; markers and notes left out."""
        for folder in self.folders:
            for place in places:
                root = self.place(folder, place)
                others = [root / "archive", root / "error"] if place == "inbox" else [root / "error"]
                for path in sorted(tree(root).values()):
                    # A kill may leave a note without its file for now; at rest the checker asks for more.
                    is_note = path.name.endswith(NOTE) and path.read_bytes().startswith(b"reason:")
                    is_other = any(path.is_relative_to(other) for other in others)
                    if not is_note and not is_other and not path.name.startswith("."):
                        yield folder, place, path

    def inbox_files(self) -> list[tuple[str, Path]]:
        """Return what people see in the inboxes."""
        return [(folder, path) for folder, _, path in self.lying("inbox")]

    def _content(self, *, is_whole: bool) -> bytes:
        self._number += 1
        whole = pdf(f"document {self._number}")
        return whole if is_whole else whole.removesuffix(b"%%EOF\n")

    def _forget(self, path: Path) -> None:
        """Note that what lies at a path is about to be written over or taken away."""
        if path.exists():
            content = path.read_bytes()
            document = self.documents[content]
            # Copied to another device already, and killed before it was removed here: that copy stays.
            document.there = min(document.there, self._copies(content) - 1)

    def _is_of_two_minds(self, path: Path) -> bool:
        """Tell whether a twin lies here, one of which the agent was copying: which is which, nobody could say after."""
        if not path.exists():
            return False
        content = path.read_bytes()
        return 1 < self.documents[content].there < self._copies(content)

    def _copies(self, content: bytes) -> int:
        """Return how often a content lies anywhere now."""
        return sum(path.read_bytes() == content for _, _, path in self.lying("inbox", "archive", "error"))

    def _write(self, folder: str, path: Path, content: bytes) -> None:
        self._forget(path)
        self.bench.drop(path.relative_to(self.place(folder)).as_posix(), content, self.folders[folder])

    def drop(self, folder: str, relative_path: str, *, is_whole: bool = True) -> None:
        """Put a new document into an inbox; what has that name is written over in place."""
        path = self.place(folder) / relative_path
        if not self._is_of_two_minds(path):
            content = self._content(is_whole=is_whole)
            self._write(folder, path, content)
            self.documents[content] = Document(folder, is_whole)

    def rewrite(self, folder: str, path: Path) -> None:
        """Write a new document over one, in place."""
        self.drop(folder, path.relative_to(self.place(folder)).as_posix())

    def replace(self, folder: str, path: Path) -> None:
        """Put a new document in a file of its own in place of one."""
        if self._is_of_two_minds(path):
            return
        content = self._content(is_whole=True)
        new = self._elsewhere / "new"
        new.write_bytes(content)
        self._forget(path)
        new.replace(path)
        self.documents[content] = Document(folder)

    def delete(self, _folder: str, path: Path) -> None:
        """Take a file away for good."""
        if not self._is_of_two_minds(path):
            self._forget(path)
            path.unlink()

    def rename(self, folder: str, path: Path, relative_path: str) -> None:
        """Give a file another name in its inbox, where that is free."""
        target = self.place(folder) / relative_path
        content = path.read_bytes()
        # Nobody renames the copy whose original in error/ the agent was about to remove: no name of it is known then.
        if target.exists() or self._copies(content) > self.documents[content].there:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent != path.parent:
            self.documents[content].has_moved = True
        path.rename(target)

    def copy(self, folder: str, path: Path, relative_path: str) -> None:
        """Drop the same content once more."""
        target = self.place(folder) / relative_path
        content = path.read_bytes()
        document = self.documents[content]
        if target == path or self._copies(content) > document.there or self._is_of_two_minds(target):
            return
        self._write(folder, target, content)
        document.dropped += 1
        document.there += 1
        document.has_moved = True  # of twins nobody can say which of them became the task

    def read_exports(self) -> None:
        """Take what is visible in the outputs, as a reader does who waits for nothing."""
        for folder, _, path in list(self.lying("output")):
            relative_path = path.relative_to(self.place(folder, "output")).as_posix()
            self.taken.append((folder, relative_path, path.read_bytes()))
            path.unlink()

    # --- the operator -------------------------------------------------------------------------------------------------

    def retry(self) -> None:
        """Have everything that failed tried again."""
        self.bench.operations().retry(everything=True)

    def retry_exports(self) -> None:
        """Have exports that are held tried again."""
        held = [task.task_id for task in self.bench.ledger.find_tasks(is_open=True) if task.held]
        if held:
            self.bench.operations().retry(targets=held)

    def held(self) -> list[FileRecord]:
        """Return the files somebody has to decide about."""
        return list(self.bench.ledger.find_files(states=[FileState.HELD]))

    def resolve(self, record: FileRecord, *, reject: bool) -> None:
        """Decide about a held file as somebody does who has looked at the service."""
        operations = self.bench.operations()
        tasks = self.service.shown_with(record.key)
        if tasks:
            operations.resolve(id=record.key, submitted=tasks[0])
        elif not self.service.is_owing and reject:
            path = self._place_of(record)
            if path is not None and path.is_file():
                self.rejected.add(path.read_bytes())
            operations.resolve(id=record.key, reject=True)
        elif not self.service.is_owing:
            operations.resolve(id=record.key, resubmit=True)

    def _place_of(self, record: FileRecord) -> Path | None:
        names = {name: folder for folder in self.folders.values() for name in (folder.name, *folder.formerly)}
        folder = names.get(record.watch_folder)  # perhaps not configured just now: its file lies there all the same
        return None if folder is None or folder.inbox is None else folder.inbox / record.lies_at

    # --- what must hold at any moment ---------------------------------------------------------------------------------

    def holds(self) -> list[str]:
        """Return what is broken now, whatever is going on."""
        lying = Counter[bytes]()
        half = []
        for folder, place, path in self.lying("inbox", "archive", "error"):
            content = path.read_bytes()
            lying[content] += 1
            known = self.documents.get(content)
            if known is None or known.folder != folder:
                half.append(f"{place}/{path.name} is nothing that was dropped into {folder}: {content!r}")
        return [
            *self.complaints,
            *self._unexpected.heard,
            *half,
            *self._is_kept(lying),
            *self._is_sent_once(),
            *self._no_half_export(),
        ]

    def _is_kept(self, lying: Counter[bytes]) -> list[str]:
        wrong = []
        for content, document in self.documents.items():
            if lying[content] < document.there:
                wrong.append(f"lost: {content!r}, {lying[content]} of {document.there}")
            # A copy to another device is there before its source is gone, and a kill in between leaves both for now.
            if lying[content] > document.there and not self._across_devices:
                wrong.append(f"in two places: {content!r}, {lying[content]} times, not {document.there}")
        return wrong

    def _is_sent_once(self) -> list[str]:
        wrong = [f"{times} tasks with the key {key}" for key, times in self.service.keys().items() if times > 1]
        for content, document in self.documents.items():
            tasks = self.service.tasks_of(content)
            allowed = document.dropped + len(self.service.failed.intersection(tasks))
            if len(tasks) > (allowed if document.is_whole else 0):
                wrong.append(f"sent too often: {content!r} became {tasks}")
        for task_id, entry in self.service.ever.items():
            if entry.actions.count("complete") > 1:
                wrong.append(f"{task_id} was completed {entry.actions.count('complete')} times")
        return wrong

    def _exports(self) -> set[bytes]:
        specifications = [entry.specification for entry in self.service.ever.values() if entry.specification]
        files = [file for specification in specifications for file in specification.files]
        return {self.service.files[file.url] if file.url else file.content.encode() for file in files}

    def _no_half_export(self) -> list[str]:
        exports = self._exports()
        return [
            f"output/{path.name} is no export: {content!r}"
            for _, _, path in self.lying("output")
            if (content := path.read_bytes()) not in exports
        ]

    def _see_complete(self, task_id: str) -> None:
        """See that the files of a task that is being completed are in place, and durably."""
        row = self.bench.ledger.task(task_id)
        assert row is not None, task_id
        folder = self.bench.settings.watch_folder(row.watch_folder)
        assert folder is not None, row.watch_folder
        assert folder.output is not None, row.watch_folder
        taken = {content for _, _, content in self.taken}
        wanted = Counter(self._contents_of(task_id))
        for planned in row.plan:
            path = folder.output / planned.target
            if path.exists():
                wanted[path.read_bytes()] -= 1
                for unsynced in self._durability.unsynced(path):
                    self.complaints.append(f"{task_id} is completed, and of {path}, {unsynced} is not durable")
        for content, missing in wanted.items():
            if missing > 0 and content not in taken:
                self.complaints.append(f"{task_id} is completed without {content!r}")

    def _contents_of(self, task_id: str) -> list[bytes]:
        specification = self.service.ever[task_id].specification
        files = specification.files if specification else ()
        return [self.service.files[file.url] if file.url else file.content.encode() for file in files]
