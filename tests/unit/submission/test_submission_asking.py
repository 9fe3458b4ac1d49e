"""Asking for tasks one by one, as Typless wants it: when, what answers mean, and what the service tells by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.memory_abilities import ASKED_BY_ID
from fakes.memory_service import MemoryService
from fakes.workbench import PROJECT, Workbench, watch_folder

from agent.errors import ServiceUnavailable, TaskMoved
from agent.model import ExportSettings, LaneReason, Reason, ServiceTaskState, TaskState

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0
READY = ServiceTaskState.PENDING_START.value


def bench_of(tmp_path: Path, *, processing_time: float = 0.0, **folder: object) -> Workbench:
    bench = Workbench(tmp_path, watch_folder(tmp_path, **folder))  # type: ignore[arg-type]  # its own keywords
    bench.service = MemoryService(
        bench.clock, project_ids=(PROJECT,), processing_time=processing_time, abilities=ASKED_BY_ID
    )
    bench.start()
    return bench


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return bench_of(tmp_path)


def submitted(bench: Workbench, name: str = "a.pdf") -> None:
    bench.drop(name)
    bench.submit()


def asked(bench: Workbench) -> int:
    return len(bench.service.named("get_task"))


def live(bench: Workbench, seconds: float, step: float = 0.1) -> None:
    """Let the asking loop run for so long."""
    end = bench.clock.monotonic() + seconds
    while bench.clock.monotonic() < end:
        bench.asking.step()
        bench.clock.advance(step)


# --- when ------------------------------------------------------------------------------------------------------------


def test_a_task_is_not_asked_for_before_the_service_needs_its_time(bench: Workbench) -> None:
    submitted(bench)
    live(bench, 1.9)
    assert asked(bench) == 0
    live(bench, 0.3)
    assert asked(bench) == 1


def test_a_task_that_goes_on_is_asked_for_less_and_less_often(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, processing_time=1e9)
    submitted(bench)
    live(bench, 60.0)
    assert 5 <= asked(bench) <= 8


def test_a_finished_task_is_asked_for_once(bench: Workbench) -> None:
    submitted(bench)
    live(bench, 20.0)
    assert asked(bench) == 1
    assert bench.task().service_state == READY


def test_after_a_restart_the_oldest_is_asked_for_first_and_at_once(bench: Workbench) -> None:
    submitted(bench, "a.pdf")
    bench.clock.advance(HOUR)
    submitted(bench, "b.pdf")
    bench.clock.advance(HOUR)
    bench.start()
    bench.asking.step()
    assert bench.service.named("get_task") == ["task-0001", "task-0002"]


def test_looks_that_show_nothing_new_cost_the_ledger_no_write(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, processing_time=1e9)
    submitted(bench)
    live(bench, 5.0)
    version = bench.task().version
    live(bench, 60.0)
    assert bench.task().version == version


def test_a_service_that_cannot_be_reached_makes_its_lane_wait_and_loses_no_task(bench: Workbench) -> None:
    submitted(bench)
    bench.service.script("get_task", ServiceUnavailable("down", reason=LaneReason.SERVICE_UNREACHABLE))
    live(bench, 2.2)
    assert [lane.reason for lane in bench.parts.lanes.states() if lane.reason] == [LaneReason.SERVICE_UNREACHABLE]
    live(bench, 20.0)
    assert [lane.reason for lane in bench.parts.lanes.states() if lane.reason] == []
    assert bench.task().service_state == READY


# --- what the answers mean -------------------------------------------------------------------------------------------


def test_a_finished_task_is_exported_and_nothing_is_told_to_the_service(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.run()
    assert (bench.task().state, bench.names("output")) == (TaskState.EXPORTED, ["a.csv", "a.json"])


def test_only_the_formats_asked_for_are_written(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, export={"formats": ("json",)})
    assert isinstance(bench.folder.export, ExportSettings)
    bench.drop("a.pdf")
    bench.run()
    assert bench.names("output") == ["a.json"]


def test_a_failed_task_brings_its_source_to_error_with_the_words_of_the_service(bench: Workbench) -> None:
    submitted(bench)
    bench.service.end("task-0001", ServiceTaskState.FAILED, message="E7: unreadable: page 2 is blank")
    bench.rounds(5)
    record = bench.file("a.pdf")
    assert (record.reason, record.detail) == (Reason.TASK_FAILED, "E7: unreadable: page 2 is blank")
    assert bench.names("error") == ["a.pdf", "a.pdf.error.txt"]


def test_a_result_that_was_not_fetched_in_time_brings_its_source_to_error(bench: Workbench) -> None:
    submitted(bench)
    bench.service.end("task-0001", ServiceTaskState.EXPIRED)
    bench.rounds(5)
    assert bench.file("a.pdf").reason is Reason.RESULT_EXPIRED
    note = (bench.place("error") / "a.pdf.error.txt").read_text(encoding="utf-8")
    assert note.startswith("reason: result_expired: ")


def test_a_discarded_task_ends_without_error_and_without_files(bench: Workbench) -> None:
    submitted(bench)
    bench.service.end("task-0001", ServiceTaskState.DISCARDED)
    bench.rounds(5)
    assert (bench.task().state, bench.task().ended_at is not None) == (TaskState.DISCARDED, True)
    assert (bench.names("archive"), bench.names("output"), bench.names("error")) == (["a.pdf"], [], [])


def test_a_task_before_people_shows_as_reviewing_as_long_as_it_takes(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, processing_time=1e9)
    submitted(bench)
    bench.service.show("task-0001", ServiceTaskState.REVIEWING)
    live(bench, 10.0)
    assert bench.task().state is TaskState.REVIEWING
    live(bench, 30 * 86_400.0, step=3600.0)
    assert bench.task().state is TaskState.REVIEWING
    bench.service.show("task-0001", ServiceTaskState.PENDING_START)
    bench.run()
    assert bench.task().state is TaskState.EXPORTED


def test_without_an_output_a_finished_task_ends_here(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, output=None)
    submitted(bench)
    live(bench, 5.0)
    assert bench.task().state is TaskState.EXPORTED


def test_a_task_the_service_does_not_know_yet_is_asked_for_again(bench: Workbench) -> None:
    submitted(bench)
    bench.service.script("get_task", TaskMoved("unknown", gone=True))
    live(bench, 20.0)
    assert bench.task().service_state == READY


def test_that_the_service_does_not_know_a_task_is_told_once(bench: Workbench) -> None:
    submitted(bench)
    bench.service.script("get_task", *[TaskMoved("404 Not Found", gone=True)] * 3)
    live(bench, 20.0)
    told = [event for event in bench.ledger.history(task_id=bench.task().task_id) if event.name == "not known"]
    assert [event.detail for event in told] == ["404 Not Found"]


def test_a_task_the_service_no_longer_knows_is_given_up_after_days(bench: Workbench) -> None:
    submitted(bench)
    bench.service.script("get_task", *[TaskMoved("unknown", gone=True)] * 300)
    live(bench, 71 * HOUR, step=HOUR)
    assert bench.task().ended_at is None
    live(bench, 2 * HOUR, step=60.0)
    assert (bench.task().state, bench.names("archive")) == (TaskState.ENDED_UNKNOWN, ["a.pdf"])


def test_a_result_that_is_gone_when_it_is_fetched_is_asked_for_anew(bench: Workbench) -> None:
    submitted(bench)
    live(bench, 3.0)
    bench.service.script("start_export", TaskMoved("not ready any more"))
    bench.export_loop.step()
    assert (bench.task().state, bench.task().service_state) == (TaskState.PROCESSING, "")
    bench.run()
    assert bench.task().state is TaskState.EXPORTED


# --- what the service tells ------------------------------------------------------------------------------------------


def told(bench: Workbench) -> None:
    bench.parts.asking._is_told = True


def test_where_the_service_tells_a_task_is_asked_for_as_soon_as_it_says_so(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, processing_time=10.0)
    told(bench)
    submitted(bench)
    live(bench, 12.0)
    assert asked(bench) == 0
    assert bench.asking.tell("task-0001")
    live(bench, 0.1)
    assert (asked(bench), bench.task().service_state) == (1, READY)


def test_words_about_strangers_change_nothing(bench: Workbench) -> None:
    submitted(bench)
    assert not bench.asking.tell("somebody else's")
    live(bench, 0.1)
    assert asked(bench) == 0


def test_words_about_a_task_that_has_ended_change_nothing(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.run()
    before = asked(bench)
    assert not bench.asking.tell("task-0001")
    live(bench, 5.0)
    assert asked(bench) == before


def test_where_the_service_forgets_to_tell_all_is_found_and_it_is_asked_sooner_from_then_on(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, processing_time=10.0)
    told(bench)
    submitted(bench, "a.pdf")
    live(bench, 31.0)
    assert bench.task().service_state == READY
    submitted(bench, "b.pdf")
    live(bench, 20.0)
    assert bench.task("task-0002").service_state == READY


def test_looking_into_the_ledger_for_what_is_ready_says_nothing_about_the_service(bench: Workbench) -> None:
    submitted(bench)
    bench.service.script("get_task", ServiceUnavailable("503", reason=LaneReason.SERVICE_UNAVAILABLE))
    bench.clock.advance(3)
    bench.asking.step()
    assert bench.parts.lanes.service.state.reason is LaneReason.SERVICE_UNAVAILABLE
    bench.clock.advance(60)
    bench.export_loop.step()
    assert bench.parts.lanes.service.state.reason is LaneReason.SERVICE_UNAVAILABLE
    assert bench.parts.lanes.service.enter()


def test_with_nothing_to_ask_for_the_service_is_asked_whether_it_is_there_again(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.service.script("start_export", ServiceUnavailable("503", reason=LaneReason.SERVICE_UNAVAILABLE))
    bench.run()
    bench.rounds(10)
    assert bench.task().state is TaskState.EXPORTED
    assert [lane.reason for lane in bench.parts.lanes.states() if lane.reason] == []
    assert len(bench.service.named("check_credentials")) == 1
    bench.rounds(10)
    assert len(bench.service.named("check_credentials")) == 1
