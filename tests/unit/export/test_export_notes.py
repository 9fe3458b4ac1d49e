"""The note in output/error/: which task could not be exported, why, and what to do, under a name that is safe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.workbench import watch_folder

from agent.errors import TaskFatal
from agent.export.notes import failure_note, write_failure_note
from agent.model import TaskRecord, TaskState

if TYPE_CHECKING:
    from pathlib import Path


def task(name: str = "a.pdf", task_id: str = "task-1") -> TaskRecord:
    return TaskRecord(task_id, "invoices", "p", name, TaskState.EXPORTING, 0.0, 0.0)


def test_it_says_reason_what_to_do_task_and_when() -> None:
    text = failure_note(task(), TaskFatal("the name climbs", hint="mend the project"), now=1_700_000_000.0)
    assert text.splitlines() == [
        "reason: export_failed: the name climbs",
        "what to do: mend the project",
        "task name: a.pdf",
        "task: task-1",
        "watch folder: invoices",
        "when: 2023-11-14T22:13:20+00:00",
    ]


@pytest.mark.parametrize(("file_key", "again"), [("k", "fsagent retry task-1"), ("", "submit its document anew")])
def test_without_a_better_hint_it_says_how_to_send_the_document_again(file_key: str, again: str) -> None:
    text = failure_note(replace(task(), file_key=file_key), TaskFatal("the name climbs"), now=0.0)
    assert text.splitlines()[1].endswith(f", then: {again}")


@pytest.mark.parametrize("hostile", ["one\ntask: forged", "\x1b[2J", "\u202egnp.exe"])
def test_nothing_in_a_message_or_name_makes_a_line_of_its_own(hostile: str) -> None:
    assert len(failure_note(task(hostile), TaskFatal(hostile), now=0.0).splitlines()) == 6


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "C:\\x", "CON", "a/b", "x" * 300, "", ".."])
def test_whatever_the_task_is_called_its_note_lies_in_output_error(tmp_path: Path, name: str) -> None:
    folder = watch_folder(tmp_path)
    write_failure_note(folder, task(name), TaskFatal("no"), now=0.0)
    assert folder.export.error is not None
    (note,) = folder.export.error.iterdir()
    assert note.name.endswith(".error.txt")


def test_the_same_task_replaces_its_note_and_another_gets_one_of_its_own(tmp_path: Path) -> None:
    folder = watch_folder(tmp_path)
    for task_id, message in (("task-1", "first"), ("task-1", "second"), ("task-2", "third")):
        write_failure_note(folder, task(task_id=task_id), TaskFatal(message), now=0.0)
    assert folder.export.error is not None
    texts = sorted(path.read_text(encoding="utf-8").splitlines()[0] for path in folder.export.error.iterdir())
    assert texts == ["reason: export_failed: second", "reason: export_failed: third"]
