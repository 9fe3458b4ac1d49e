"""What an operator's word means: a path as he sees it, a task, an id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.workbench import PROJECT, Workbench, pdf

from agent.errors import FileRefused
from agent.model import OPEN_TASK_STATES, FileRecord, Reason, TaskRecord, TaskState
from agent.runtime.targets import find_target, tasks_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    bench.drop("sub/a.pdf")
    bench.submit()
    return bench


def found(bench: Workbench, target: str, *, here: str = "") -> FileRecord | None:
    return find_target(bench.settings, bench.ledger, target, here=here)


def key(bench: Workbench, target: str, *, here: str = "") -> str | None:
    record = found(bench, target, here=here)
    return record.key if record else None


@pytest.mark.parametrize("place", ["inbox", "archive"])
def test_a_path_means_the_file_wherever_it_lies_by_now(bench: Workbench, place: str) -> None:
    assert key(bench, str(bench.place(place) / "sub/a.pdf")) == bench.file("sub/a.pdf").key


def test_a_path_relative_to_an_inbox_is_a_path_too(bench: Workbench) -> None:
    assert key(bench, "sub/a.pdf") == bench.file("sub/a.pdf").key


def test_a_path_is_relative_to_where_the_operator_stands(bench: Workbench) -> None:
    assert key(bench, "a.pdf", here=str(bench.place("archive") / "sub")) == bench.file("sub/a.pdf").key


def test_dots_in_a_path_lead_where_they_lead(bench: Workbench) -> None:
    assert key(bench, str(bench.place("archive") / "sub" / ".." / "sub" / "a.pdf")) is not None


def test_a_task_means_its_source(bench: Workbench) -> None:
    assert key(bench, "task-0001") == bench.file("sub/a.pdf").key


@pytest.mark.parametrize("digits", [6, 12, 32])
def test_the_beginning_of_an_id_is_enough_where_only_one_begins_so(tmp_path: Path, digits: int) -> None:
    bench = Workbench(tmp_path)
    bench._keys = 0x123456789ABCDEF << 60
    bench.drop("a.pdf")
    bench.submit()
    record = bench.file("a.pdf")
    assert key(bench, record.key[:digits].rjust(digits, "0")) == record.key


def test_an_id_that_means_two_files_means_none(bench: Workbench) -> None:
    bench.drop("b.pdf")
    bench.submit()
    assert key(bench, "000000") is None


@pytest.mark.parametrize("target", ["", "nothing.pdf", "/nowhere/at/all.pdf", "00000", "task-9999"])
def test_what_means_nothing_is_not_guessed(bench: Workbench, target: str) -> None:
    assert key(bench, target) is None


def test_a_note_means_the_file_beside_it(bench: Workbench) -> None:
    bench.drop("b.pdf")
    bench.service.script("submit", FileRefused("no", reason=Reason.REFUSED_BY_SERVICE))
    bench.submit()
    assert key(bench, str(bench.place("error") / "b.pdf.error.txt")) == bench.file("b.pdf").key


def test_a_name_in_archive_means_the_file_that_lies_there_and_not_one_under_a_clash_name(bench: Workbench) -> None:
    first = bench.file("sub/a.pdf")
    bench.drop("sub/a.pdf", pdf("another one"))
    bench.submit()
    second = next(record for record in bench.files() if record.key != first.key)
    assert key(bench, str(bench.place("archive") / "sub/a.pdf")) == first.key
    assert key(bench, str(bench.place("archive") / second.filed_as)) == second.key


def test_a_name_in_the_inbox_means_what_lies_there_now_before_what_lay_there(bench: Workbench) -> None:
    bench.drop("sub/a.pdf", pdf("another one"))
    bench.scan()
    record = found(bench, str(bench.place("inbox") / "sub/a.pdf"))
    assert record is not None
    assert record.in_inbox


def several(bench: Workbench, **states: TaskState) -> FileRecord:
    """Give a file in archive/ tasks in these states, by id."""
    record = bench.file("sub/a.pdf").change(task_id="first")
    bench.ledger.commit(record)
    for number, (task_id, state) in enumerate(states.items(), 1):
        ended_at = None if state in OPEN_TASK_STATES else bench.clock.now()
        row = TaskRecord(
            task_id,
            bench.folder.name,
            PROJECT,
            task_id,
            state,
            state_at=bench.clock.now(),
            opened_at=bench.clock.now(),
            file_key=record.key,
            number=number,
            ended_at=ended_at,
            upload_id="an upload",
        )
        bench.ledger.commit(row)
    return record


@pytest.mark.parametrize("says_most", [TaskState.REVIEWING, TaskState.FAILED, TaskState.ENDED_UNKNOWN])
def test_of_several_tasks_of_a_file_the_one_that_is_not_exported_says_most(
    bench: Workbench, says_most: TaskState
) -> None:
    bench.ledger.commit(bench.ledger.find_tasks()[0].change(state=TaskState.SPLIT, ended_at=bench.clock.now()))
    record = several(bench, first=TaskState.EXPORTED, second=says_most, third=TaskState.DISCARDED)
    assert [task.task_id for task in tasks_of(bench.ledger, record)] == ["second", "first", "third"]


def test_until_an_upload_is_split_its_own_row_speaks_for_its_files(bench: Workbench) -> None:
    (task,) = tasks_of(bench.ledger, bench.file("sub/a.pdf"))
    assert task.task_id == "task-0001"
