"""The export loop: when it polls, what it hands to whose workers, and which lane waits for what."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import pytest
from fakes.workbench import Workbench, watch_folder

from agent.errors import (
    LedgerUnavailable,
    LocalTrouble,
    ServiceUnavailable,
    StaleRecord,
    TaskFatal,
    TaskMoved,
    TaskTransient,
)
from agent.folders import publishing
from agent.model import LaneReason, TaskState
from agent.runtime.exporting import ExportLoop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOWN = ServiceUnavailable("no connection", reason=LaneReason.SERVICE_UNREACHABLE)
FULL = LocalTrouble("full", reason=LaneReason.DISK_FULL)


class HeldPool(Executor):
    """Workers that begin nothing until the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.is_shut = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def begin(self) -> None:
        """Work off the first that waits."""
        future, work = self.waiting.pop(0)
        assert future.set_running_or_notify_cancel()
        future.set_result(work())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        del wait
        self.is_shut = True
        if cancel_futures:
            for future, _ in self.waiting:
                future.cancel()


class Loop:
    """A bench whose export workers are stepped by hand too."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.pools: dict[str, HeldPool] = {}
        self.woken = 0
        bench.export_loop = self.loop = ExportLoop(
            bench.parts, roots=bench.output_guards, wake=self.wake, make_pool=self.make_pool
        )

    def wake(self) -> None:
        self.woken += 1

    def make_pool(self, _workers: int, name: str) -> HeldPool:
        return self.pools.setdefault(name.removeprefix("export "), HeldPool())

    def waiting(self, name: str = "invoices") -> int:
        return len(self.pools[name].waiting)


def submit(bench: Workbench, count: int, folder: int = 0) -> None:
    for number in range(count):
        bench.drop(f"f{folder}-{number}.pdf", folder=bench.settings.watch_folders[folder])
    bench.submit()


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path, watch_folder(tmp_path, export={"poll_min": 1.0, "poll_max": 30.0, "workers": 2}))


@pytest.fixture
def two(tmp_path: Path) -> Workbench:
    return Workbench(
        tmp_path, *(watch_folder(tmp_path, name, export={"poll_min": 1.0, "workers": 2}) for name in ("one", "two"))
    )


def lane_reason(bench: Workbench, name: str = "invoices") -> LaneReason | None:
    return bench.parts.lanes.export(name).state.reason


# --- polling ---------------------------------------------------------------------------------------------------------


def test_without_work_it_polls_ever_more_rarely_from_poll_min_to_poll_max(bench: Workbench) -> None:
    assert [bench.export_loop.step() for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_after_work_it_polls_at_once_and_then_begins_anew_with_poll_min(bench: Workbench) -> None:
    for _ in range(5):
        bench.export_loop.step()
    submit(bench, 1)
    assert bench.export_loop.step() == 0.0
    assert bench.export_loop.step() == 1.0


def test_while_workers_are_busy_it_polls_with_poll_min_and_is_woken_by_the_last(bench: Workbench) -> None:
    loop = Loop(bench)
    submit(bench, 2)
    assert loop.loop.step() == 1.0
    loop.pools["invoices"].begin()
    assert loop.woken == 0
    loop.pools["invoices"].begin()
    assert loop.woken == 1


def test_without_an_output_anywhere_it_asks_nothing(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, output=None))
    assert bench.export_loop.step() > 1.0
    assert bench.service.calls == []


def test_a_service_that_is_away_is_not_polled_all_the_time(bench: Workbench) -> None:
    bench.service.script("find_ready", *[DOWN] * 1000)
    for _ in range(100):
        bench.clock.advance(max(0.05, bench.export_loop.step()))
        if bench.clock.now() > 1_711_958_908.0 + 120:
            break
    assert len(bench.service.named("find_ready")) < 40
    assert bench.parts.lanes.service.state.reason is LaneReason.SERVICE_UNREACHABLE


def test_a_list_that_is_answered_opens_the_services_lane(bench: Workbench) -> None:
    bench.parts.lanes.service.failed(DOWN)
    bench.clock.advance(30)
    bench.export_loop.step()
    assert bench.parts.lanes.service.state.reason is None


def test_an_output_that_is_away_is_not_worked_on_and_heals_by_itself(bench: Workbench) -> None:
    submit(bench, 1)
    bench.export_loop.step()
    bench.place("output").rename(bench.base / "unmounted")
    submit(bench, 1, 0)
    for _ in range(5):
        bench.export_loop.step()
        bench.clock.advance(5)
    assert lane_reason(bench) is LaneReason.OUTPUT_MISSING
    assert bench.task("task-0002").state is TaskState.PROCESSING
    (bench.base / "unmounted").rename(bench.place("output"))
    bench.clock.advance(5)
    bench.export_loop.step()
    assert (bench.task("task-0002").state, lane_reason(bench)) == (TaskState.EXPORTED, None)


# --- handing out -----------------------------------------------------------------------------------------------------


def test_a_task_under_way_is_not_handed_out_again(bench: Workbench) -> None:
    loop = Loop(bench)
    submit(bench, 1)
    for _ in range(3):
        loop.loop.step()
    assert loop.waiting() == 1


def test_no_more_is_handed_out_than_the_workers_can_begin_soon(bench: Workbench) -> None:
    loop = Loop(bench)
    submit(bench, 12)
    for _ in range(3):
        loop.loop.step()
    assert loop.waiting() == 4  # two workers, two each


def test_a_folder_whose_workers_hang_keeps_no_other_from_working(two: Workbench) -> None:
    loop = Loop(two)
    submit(two, 12, 0)
    submit(two, 3, 1)
    loop.loop.step()
    assert (loop.waiting("one"), loop.waiting("two")) == (4, 3)


def test_while_a_lane_recovers_one_export_tries(bench: Workbench) -> None:
    loop = Loop(bench)
    submit(bench, 4)
    bench.parts.lanes.export("invoices").failed(FULL)
    loop.loop.step()
    assert loop.waiting() == 0
    bench.clock.advance(10)
    loop.loop.step()
    assert loop.waiting() == 1


def test_a_paused_folder_exports_nothing(bench: Workbench) -> None:
    submit(bench, 1)
    bench.parts.lanes.export("invoices").pause()
    bench.export_loop.step()
    assert bench.service.named("start_export") == []


def test_what_was_not_begun_when_the_agent_stops_is_in_nobodys_hand(bench: Workbench) -> None:
    loop = Loop(bench)
    submit(bench, 3)
    loop.loop.step()
    assert len(bench.parts.tasks_in_hand) == 3
    loop.loop.close()
    assert len(bench.parts.tasks_in_hand) == 0


def test_a_poll_that_ends_after_the_stop_hands_out_nothing_and_fails_nothing(bench: Workbench) -> None:
    loop = Loop(bench)
    submit(bench, 3)
    loop.loop.close()
    loop.loop.step()
    assert len(bench.parts.tasks_in_hand) == 0


def test_an_export_no_worker_can_be_begun_for_is_in_nobodys_hand_and_is_said(bench: Workbench) -> None:
    loop = Loop(bench)
    submit(bench, 1)
    loop.pools["invoices"].is_shut = True  # though nobody closed it
    with pytest.raises(RuntimeError, match="cannot schedule"):
        loop.loop.step()
    assert len(bench.parts.tasks_in_hand) == 0


def test_a_worker_that_begins_after_the_stop_begins_nothing(bench: Workbench) -> None:
    loop = Loop(bench)
    submit(bench, 1)
    loop.loop.step()
    bench.parts.stop.set()
    loop.pools["invoices"].begin()
    assert bench.service.named("start_export") == []
    assert len(bench.parts.tasks_in_hand) == 0


def test_what_was_done_since_the_list_was_read_is_read_anew(bench: Workbench) -> None:
    loop = Loop(bench)
    submit(bench, 1)
    loop.loop.step()
    bench.ledger.commit(bench.task().change(state=TaskState.SUPERSEDED, detail="changed"))
    loop.pools["invoices"].begin()
    assert bench.service.actions("task-0001") == ("start", "fail")


# --- which lane waits ------------------------------------------------------------------------------------------------


def failing_once(bench: Workbench, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    work = bench.parts.exporting.work
    errors = [error]

    def failing(*arguments: Any) -> None:
        if errors:
            raise errors.pop()
        work(*arguments)

    monkeypatch.setattr(bench.parts.exporting, "work", failing)


@pytest.mark.parametrize(
    ("error", "lane", "service"),
    [
        (FULL, LaneReason.DISK_FULL, None),
        (DOWN, None, LaneReason.SERVICE_UNREACHABLE),
        (StaleRecord("changed"), None, None),
        (LedgerUnavailable("full"), LaneReason.LEDGER_UNAVAILABLE, None),
        (RuntimeError("odd"), None, None),
    ],
    ids=["local", "service", "stale", "ledger", "unexpected"],
)
def test_whose_trouble_it_is_waits_and_the_task_is_in_nobodys_hand(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    lane: LaneReason | None,
    service: LaneReason | None,
) -> None:
    submit(bench, 1)
    failing_once(bench, monkeypatch, error)
    bench.export_loop.step()
    assert (lane_reason(bench), bench.parts.lanes.service.state.reason) == (lane, service)
    assert len(bench.parts.tasks_in_hand) == 0
    bench.clock.advance(60)
    bench.rounds(3)
    assert bench.task().state is TaskState.EXPORTED


@pytest.mark.parametrize("error", [TaskTransient("cut"), TaskFatal("no"), TaskMoved("elsewhere")])
def test_trouble_of_one_task_keeps_no_other_waiting(bench: Workbench, error: Exception) -> None:
    submit(bench, 3)
    bench.service.script("download", error)  # type: ignore[arg-type]  # all of them are AgentErrors
    if isinstance(error, TaskMoved):
        bench.service._scripts.clear()
        bench.service.script("start_export", error)
    bench.rounds(2)
    assert [task.state for task in bench.ledger.find_tasks()].count(TaskState.EXPORTED) >= 2
    assert lane_reason(bench) is None


def test_a_full_disk_pauses_its_folder_and_resumes_by_itself_without_an_attempt(
    two: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(two, 1, 0)
    submit(two, 1, 1)
    stage = publishing.stage

    def full(root: Path, *arguments: Any, **keywords: Any) -> Any:
        if "one" in root.parts:
            raise FULL
        return stage(root, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "stage", full)
        two.rounds(5)
    assert [lane_reason(two, name) for name in ("one", "two")] == [LaneReason.DISK_FULL, None]
    tasks = {task.watch_folder: task for task in two.ledger.find_tasks()}
    assert (tasks["one"].state, tasks["one"].attempts) == (TaskState.PROCESSING, 0)
    assert tasks["two"].state is TaskState.EXPORTED
    two.rounds(20)
    assert two.ledger.find_tasks(is_open=True) == []


def test_an_unexpected_error_is_logged_with_its_trace(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    submit(bench, 1)
    failing_once(bench, monkeypatch, RuntimeError("odd"))
    bench.export_loop.step()
    assert any(record.exc_info for record in caplog.records)


def test_a_task_that_can_never_be_started_is_not_begun_anew_with_every_poll(bench: Workbench) -> None:
    submit(bench, 1)
    bench.service.script("start_export", *[TaskMoved("409, as always")] * 1000)
    for _ in range(100):
        bench.export_loop.step()
        bench.clock.advance(1.0)
    assert len(bench.service.named("start_export")) < 30
