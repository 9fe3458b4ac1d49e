"""What `fsagent submit` says of a dropped file: when it is over, and whether it went as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.known_agent import NOW, KnownAgent, archived, task

from agent.model import FileSource, PlannedFile, TaskState
from agent.runtime.fates import Fate, fate_of
from agent.submission.drop import Dropped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.model import TaskRecord


@pytest.fixture
def known(tmp_path: Path) -> Iterator[KnownAgent]:
    known = KnownAgent(tmp_path)
    yield known
    known.close()


def fate(known: KnownAgent, *tasks: TaskRecord, detail: str = "") -> Fate:
    known.ledger.commit(archived("a", detail=detail), *tasks)
    return fate_of(known.ledger, Dropped(known.folder / "a.pdf", "invoices", "a.pdf", "801:a", NOW))


def exported(task_id: str, *, number: int = 1) -> TaskRecord:
    plan = PlannedFile("a.csv", f"a-{number}.csv", ".part", FileSource.CONTENT)
    values = {"state": TaskState.EXPORTED, "ended_at": NOW, "plan": (plan,), "file_key": "a", "number": number}
    return task(task_id, **values)


def test_a_task_that_was_put_aside_is_over_and_no_failure(known: KnownAgent) -> None:
    found = fate(known, task("Ta", state=TaskState.DISCARDED, ended_at=NOW, detail="put aside"))
    assert (found.state, found.is_over, found.ok) == ("discarded", True, True)


def test_a_file_of_several_tasks_is_not_over_while_one_is_open(known: KnownAgent) -> None:
    found = fate(known, exported("Ta"), task("second", file_key="a", state=TaskState.REVIEWING, number=2))
    assert (found.state, found.is_over) == ("reviewing", False)


def test_the_files_of_all_tasks_are_counted(known: KnownAgent) -> None:
    found = fate(known, exported("Ta"), exported("second", number=2))
    assert (found.message, found.is_over, found.ok) == ("2 files", True, True)


def test_a_file_no_task_of_its_upload_is_of_is_over_and_did_not_go_as_it_should(known: KnownAgent) -> None:
    found = fate(known, task("Ta", state=TaskState.SPLIT, ended_at=NOW), detail="no task of it")
    assert (found.state, found.message, found.is_over, found.ok) == ("split", "no task of it", True, False)
