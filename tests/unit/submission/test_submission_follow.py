"""Follow: what the end of a task means for its source, whoever brought it about (design.md §3.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.workbench import Workbench, pdf, watch_folder

from agent.errors import TaskMoved
from agent.model import FileState, Reason, ServiceTaskState, TaskState
from agent.submission.follow import ASKED_AT_ONCE

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    bench.service.processing_time = 1e9
    return bench


def follow(bench: Workbench) -> bool:
    return bench.parts.follow.work(exports=bench.parts.exports)


def sent(bench: Workbench, path: str = "a.pdf") -> str:
    bench.drop(path)
    bench.submit()
    return bench.file(path).task_id


def test_nothing_is_asked_while_no_task_is_open(bench: Workbench) -> None:
    assert not follow(bench)
    assert bench.service.calls == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (ServiceTaskState.FAILED, Reason.TASK_FAILED),
        (ServiceTaskState.TIMED_OUT, Reason.TASK_TIMED_OUT),
        (ServiceTaskState.CANCELED, Reason.TASK_CANCELED),
    ],
)
def test_a_task_that_ends_badly_brings_its_source_from_archive_to_error(
    bench: Workbench, state: ServiceTaskState, reason: Reason
) -> None:
    task_id = sent(bench)
    bench.service.end(task_id, state, message="page 3 is blank")
    assert follow(bench)
    bench.aftercare.step()
    record, task = bench.file("a.pdf"), bench.task()
    assert (record.state, record.reason, record.filed_in) == (FileState.REJECTED, reason, "error")
    assert (task.state, task.detail, task.ended_at) == (TaskState.FAILED, "page 3 is blank", bench.clock.now())
    note = (bench.place("error") / "a.pdf.error.txt").read_text(encoding="utf-8")
    assert note.startswith(f"reason: {reason.value}: page 3 is blank\n")
    assert f"task: {task_id}\n" in note


def test_a_task_that_ends_without_a_word_gets_a_sentence_of_ours(bench: Workbench) -> None:
    bench.service.end(sent(bench), ServiceTaskState.TIMED_OUT)
    follow(bench)
    assert bench.task().detail


def test_it_is_all_over_once_and_not_asked_again(bench: Workbench) -> None:
    bench.service.end(sent(bench), ServiceTaskState.FAILED)
    follow(bench)
    calls = len(bench.service.calls)
    assert not follow(bench)
    assert len(bench.service.calls) == calls


def test_the_end_of_a_strangers_task_is_no_business_of_ours(bench: Workbench) -> None:
    sent(bench)
    other = bench.service._create(bench.service.submissions[0].upload, pdf())
    bench.service.end(other.id, ServiceTaskState.FAILED)
    follow(bench)
    assert bench.task().state is TaskState.PROCESSING


def test_without_an_output_completed_is_the_end(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, output=None))
    bench.service.processing_time = 1e9
    bench.service.end(sent(bench), ServiceTaskState.COMPLETED)
    follow(bench)
    assert (bench.task().state, bench.file("a.pdf").state) == (TaskState.EXPORTED, FileState.ARCHIVED)


def test_with_an_output_completed_tasks_are_not_even_listed(bench: Workbench) -> None:
    bench.service.end(sent(bench), ServiceTaskState.COMPLETED)
    follow(bench)
    assert bench.task().state is TaskState.PROCESSING


def test_a_task_that_another_client_was_faster_to_export_is_asked_for_within_two_hours(bench: Workbench) -> None:
    bench.service.processing_time = 0.0
    sent(bench)
    follow(bench)
    bench.service.script("start_export", TaskMoved("it is taken"))
    bench.export_loop.step()
    bench.service.end("task-0001", ServiceTaskState.COMPLETED)
    bench.clock.advance(2 * HOUR)
    follow(bench)
    assert (bench.task().state, bench.task().detail) == (
        TaskState.EXPORTED,
        "completed by another client of the service",
    )


def test_while_somebody_waits_for_all_a_task_another_client_was_faster_with_is_asked_for_at_once(
    bench: Workbench,
) -> None:
    bench.parts.follow.hurries = True
    bench.service.processing_time = 0.0
    sent(bench)
    bench.service.script("start_export", TaskMoved("it is taken"))
    bench.export_loop.step()
    bench.service.end("task-0001", ServiceTaskState.COMPLETED)
    follow(bench)
    assert (bench.task().state, bench.task().detail) == (
        TaskState.EXPORTED,
        "completed by another client of the service",
    )


def test_while_somebody_waits_for_all_a_task_another_client_exported_unseen_is_asked_for_too(bench: Workbench) -> None:
    bench.parts.follow.hurries = True
    bench.service.end(sent(bench), ServiceTaskState.COMPLETED)
    follow(bench)
    assert bench.task().state is TaskState.EXPORTED


def test_while_somebody_waits_for_all_no_more_than_some_are_asked_for_in_one_look_and_each_has_its_turn(
    bench: Workbench,
) -> None:
    bench.parts.follow.hurries = True
    for number in range(ASKED_AT_ONCE + 10):
        bench.drop(f"{number}.pdf")
    for _ in range(ASKED_AT_ONCE + 10):
        bench.submit()
    follow(bench)
    assert len(bench.service.named("get_task")) == ASKED_AT_ONCE
    bench.clock.advance(15.0)
    follow(bench)
    assert len(set(bench.service.named("get_task"))) == len(bench.service.submissions) == ASKED_AT_ONCE + 10


def test_while_somebody_waits_for_all_what_is_exported_here_is_left_alone(bench: Workbench) -> None:
    bench.parts.follow.hurries = True
    sent(bench)
    bench.ledger.commit(bench.task().change(state=TaskState.EXPORTING, started_at=bench.clock.now()))
    exporting = bench.task()
    follow(bench)
    assert bench.task() == exporting


def test_one_task_is_asked_for_by_itself_after_a_day_of_silence(bench: Workbench) -> None:
    sent(bench)
    bench.clock.advance(23 * HOUR)
    follow(bench)
    assert bench.service.named("get_task") == []
    bench.clock.advance(2 * HOUR)
    follow(bench)
    assert bench.service.named("get_task") == ["task-0001"]
    bench.clock.advance(2 * HOUR)
    follow(bench)
    assert bench.service.named("get_task") == ["task-0001"]


def test_completed_by_another_client_is_seen_after_a_day(bench: Workbench) -> None:
    bench.service.end(sent(bench), ServiceTaskState.COMPLETED)
    bench.clock.advance(25 * HOUR)
    follow(bench)
    task = bench.task()
    assert (task.state, task.ended_at is None) == (TaskState.EXPORTED, False)
    assert "another client" in task.detail


@pytest.mark.parametrize("published", [True, False], ids=["published", "staged only"])
def test_completed_with_our_files_in_place_but_the_answer_lost_is_exported(bench: Workbench, published: bool) -> None:
    task_id = sent(bench)
    bench.ledger.commit(bench.task().change(staged=True, published=published))
    bench.service.end(task_id, ServiceTaskState.COMPLETED)
    bench.clock.advance(25 * HOUR)
    follow(bench)
    assert (bench.task().state, bench.task().ended_at is None) == (TaskState.EXPORTED, False)


def test_a_task_somebody_exports_just_now_is_left_to_him(bench: Workbench) -> None:
    task_id = sent(bench)
    bench.ledger.commit(bench.task().change(state=TaskState.EXPORTING, staged=True, published=True))
    bench.service.end(task_id, ServiceTaskState.COMPLETED)
    bench.clock.advance(25 * HOUR)
    follow(bench)
    assert bench.task().state is TaskState.EXPORTING


def test_a_task_being_exported_is_not_touched_however_much_the_clock_jumps(bench: Workbench) -> None:
    sent(bench)
    bench.service.processing_time = 0.0
    bench.ledger.commit(bench.task().change(state=TaskState.EXPORTING, started_at=bench.clock.now()))
    exporting = bench.task()
    bench.clock.advance(25 * HOUR)
    follow(bench)
    assert bench.task() == exporting


def test_forgotten_before_72_hours_says_nothing_about_the_end(bench: Workbench) -> None:
    task_id = sent(bench)
    del bench.service._entries[task_id]
    bench.clock.advance(25 * HOUR)
    follow(bench)
    assert bench.task().state is TaskState.PROCESSING


def test_forgotten_after_72_hours_it_ended_unknown_and_the_source_stays(bench: Workbench) -> None:
    task_id = sent(bench)
    del bench.service._entries[task_id]
    bench.clock.advance(73 * HOUR)
    follow(bench)
    task = bench.task()
    assert (task.state, task.ended_at) == (TaskState.ENDED_UNKNOWN, bench.clock.now())
    assert (bench.file("a.pdf").state, bench.names("archive")) == (FileState.ARCHIVED, ["a.pdf"])


def test_a_superseded_task_that_ends_stays_superseded_and_moves_no_file(bench: Workbench) -> None:
    task_id = sent(bench)
    bench.ledger.commit(bench.task().change(state=TaskState.SUPERSEDED, detail="changed"))
    bench.service.end(task_id, ServiceTaskState.FAILED)
    follow(bench)
    task = bench.task()
    assert (task.state, task.detail, task.ended_at is None) == (TaskState.SUPERSEDED, "changed", False)
    assert bench.file("a.pdf").state is FileState.ARCHIVED


def test_a_source_that_was_purged_only_gets_its_reason(bench: Workbench) -> None:
    task_id = sent(bench)
    bench.ledger.commit(bench.file("a.pdf").change(filed_in="deleted", filing=""))
    bench.service.end(task_id, ServiceTaskState.FAILED)
    follow(bench)
    record = bench.file("a.pdf")
    assert (record.state, record.reason, record.filing) == (FileState.ARCHIVED, Reason.TASK_FAILED, "")
