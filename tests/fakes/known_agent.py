"""A configured agent that does not run: its folders, a real ledger to put rows into, and commands that look at it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.cli.group import run_command_line
from agent.config.loading import load
from agent.ledger.opening import open_ledger
from agent.model import FileRecord, FileState, Signature, TaskRecord, TaskState
from agent.runtime.control import STATUS_NOTE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.ledger.sqlite import SqliteLedger
    from agent.model import Settings

NOW = 1_700_000_000.0

CONFIGURATION = """\
service:
  url: http://127.0.0.1:9
  client_id: me
  client_secret: secret
state_dir: state
watch_folders:
  - name: invoices
    project_id: P
    inbox: in/invoices
    output: out/invoices
    exclude: ["drafts/", "copy of *"]
    ready_file: "{file_name}.ready"
  - name: letters
    project_id: Q
    inbox: in/letters
    recursive: false
"""


class KnownAgent:
    """Folders, configuration and ledger below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "config.yaml"
        self.configuration.write_text(CONFIGURATION, encoding="utf-8")
        self.configuration.chmod(0o600)
        for name in ("in/invoices/archive", "in/invoices/error", "in/letters", "out/invoices"):
            (folder / name).mkdir(parents=True)
        self.settings: Settings = load(self.configuration, environment={}).settings
        self._ledger: SqliteLedger | None = None

    @property
    def inbox(self) -> Path:
        return self.folder / "in" / "invoices"

    @property
    def ledger(self) -> SqliteLedger:
        """The ledger, made when first asked for."""
        if self._ledger is None:
            self._ledger = open_ledger(self.settings.state_dir, create=True)
        return self._ledger

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()

    def drop(self, relative_path: str) -> Path:
        path = self.inbox / relative_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%PDF-1.4 %%EOF")
        return path

    def note(self, **values: Any) -> None:
        """Leave the status note of a running agent."""
        self.ledger.put_note(STATUS_NOTE, {"lanes": [], "inboxes": {}, "failures": {}, "pid": 1, "at": NOW, **values})


def file(key: str, **values: Any) -> FileRecord:
    known: dict[str, Any] = {
        "watch_folder": "invoices",
        "relative_path": f"{key}.pdf",
        "signature": Signature(f"801:{key}", 10, 1_700_000_000_000_000_000),
        "state": FileState.WAITING,
        "state_at": NOW - 60,
        "first_seen_at": NOW - 60,
    }
    return FileRecord(key, **(known | values))


def archived(key: str, **values: Any) -> FileRecord:
    known = {
        "state": FileState.ARCHIVED,
        "in_inbox": False,
        "filing": "archive",
        "filed_in": "archive",
        "filed_as": f"{key}.pdf",
        "filed_at": NOW - 50,
        "task_id": f"T{key}",
    }
    return file(key, **(known | values))


def rejected(key: str, **values: Any) -> FileRecord:
    known = {"state": FileState.REJECTED, "filing": "error", "filed_in": "error", "task_id": ""}
    return archived(key, **(known | values))


def task(task_id: str, **values: Any) -> TaskRecord:
    known: dict[str, Any] = {
        "watch_folder": "invoices",
        "project_id": "P",
        "name": "a.pdf",
        "state": TaskState.PROCESSING,
        "state_at": NOW - 40,
        "opened_at": NOW - 50,
    }
    if task_id.startswith("T"):
        known["file_key"] = task_id.removeprefix("T")
    return TaskRecord(task_id, **(known | values))


def lane(name: str, reason: str, **values: Any) -> Mapping[str, Any]:
    return {"lane": name, "reason": reason, "detail": "", "hint": "", "since": NOW - 30, "retry_at": None, **values}


def command(agent: KnownAgent, *arguments: str) -> int:
    """Run one command and return its exit status; what it wrote is the captured output."""
    with pytest.raises(SystemExit) as ended:
        run_command_line(["-c", str(agent.configuration), *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the one JSON document on standard output."""
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value
