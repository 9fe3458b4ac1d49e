"""An administrator's desk: a real folder with a configuration, and `fsagent` commands run in this very process."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from agent.app import locked_ledger
from agent.cli.group import run_command_line
from agent.config.loading import load
from agent.config.sample import sample_text
from agent.folders import filing, system
from agent.model import Event, FileRecord, FileState, Reason, TaskRecord, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.model import Settings
    from agent.ports import Ledger

NOWHERE = "http://127.0.0.1:9"
"""A port nobody listens on."""
QUICK = {
    "watch_folders.settle": "50ms",
    "watch_folders.poll_interval": "100ms",
    "watch_folders.rescan": "500ms",
    "watch_folders.stalled_after": "200ms",
    "watch_folders.give_up_after": "300ms",
    "watch_folders.export.poll_min": "50ms",
    "watch_folders.export.poll_max": "100ms",
    "retry.first": "100ms",
    "min_free": "1MB",
}
AT = time.time() - 60
"""Recent: a running agent purges what is old."""


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def run(*arguments: object) -> Result:
    """Run one command to its end."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended, same_logging():
        run_command_line([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    for stream in (out, err):
        stream.seek(0)
    return Result(ended.value.code, out.read(), err.read())


@contextmanager
def same_logging() -> Iterator[None]:
    """Take back what a command does to the logging of its process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in [each for each in root.handlers if each not in handlers]:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)
        logging.captureWarnings(capture=False)


class Office:
    """One configuration with one watch folder, `invoices`, and all its folders."""

    def __init__(self, base: Path, *, url: str = NOWHERE, project_id: str = "project-1", **overrides: str) -> None:
        self.base = base
        self.inbox, self.output, self.state = base / "inbox", base / "output", base / "state"
        self.error, self.archive = self.inbox / "error", self.inbox / "archive"
        self.config = base / "config.yaml"
        for folder in (self.error, self.archive, self.output):
            folder.mkdir(parents=True)
        self.write_config(url=url, project_id=project_id, **overrides)

    def write_config(self, *, url: str = NOWHERE, project_id: str = "project-1", **overrides: str) -> None:
        given = {key.replace("__", "."): value for key, value in overrides.items()}
        text = sample_text(
            service_url=url,
            project_id=project_id,
            inbox="inbox",
            output="output",
            state_dir="state",
            name="invoices",
            credentials={"client_id": "sandbox", "client_secret": "sandbox-secret"},
            overrides={**QUICK, **given},
        )
        self.config.write_text(text, encoding="utf-8")
        if sys.platform != "win32":
            self.config.chmod(0o600)

    @property
    def settings(self) -> Settings:
        return load(self.config, environment={}).settings

    def run(self, *arguments: object) -> Result:
        return run("-c", self.config, *arguments)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Hold the lock and the ledger, as an agent does; no request is answered meanwhile."""
        with locked_ledger(self.settings, start_anew=True) as ledger:
            yield ledger

    # --- rows as an agent leaves them --------------------------------------------------------------------------------

    def file(self, name: str, *, root: Path | None = None, **values: Any) -> FileRecord:
        """Write a file and return a row about it."""
        root = root if root is not None else self.inbox
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%PDF-1.4\n" + name.encode() + b"\n%%EOF\n")
        sighting = system.sight(root, name)
        assert sighting is not None
        given = {"relative_path": name, "state": FileState.WAITING, "project_id": "project-1", "state_at": AT, **values}
        return FileRecord(
            key=hashlib.sha256(name.encode()).hexdigest()[:32],
            watch_folder="invoices",
            signature=sighting.signature,
            first_seen_at=AT,
            task_name=name,
            **given,
        )

    def rejected(self, name: str, **values: Any) -> FileRecord:
        """Put a file into error/ with its note and return its row."""
        given = {
            "state": FileState.REJECTED,
            "in_inbox": False,
            "reason": Reason.WRONG_TYPE,
            "detail": "not a type this watch folder accepts",
            "filing": "error",
            "filed_in": "error",
            "filed_at": AT,
            "filed_as": name,
            **values,
        }
        record = self.file(name, root=self.error, **given)
        filing.write_note(self.error, name, f"reason: wrong_type: no\nid: {record.key}\n")
        return replace(record, destination=name, filed_identity=record.signature.identity)

    def task(self, task_id: str, **values: Any) -> TaskRecord:
        """Return the row of a task."""
        given = {"state": TaskState.FAILED, "ended_at": AT, **values}
        return TaskRecord(
            task_id=task_id,
            watch_folder="invoices",
            project_id="project-1",
            name=task_id,
            state_at=AT,
            opened_at=AT,
            **given,
        )

    def keep(self, *records: FileRecord | TaskRecord | Event) -> None:
        """Commit rows to the ledger and let go of it."""
        with self.ledger() as ledger:
            ledger.commit(*records)

    def names(self, folder: Path) -> list[str]:
        """Return the names of plain files in a folder, without markers."""
        return sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != ".fsagent")
