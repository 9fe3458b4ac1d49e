"""The export loop over tasks that come round again and again: none is asked for without end, none keeps others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.driven_clock import DrivenClock
from fakes.workbench import Workbench

from agent.errors import LedgerUnavailable, ServiceUnavailable, TaskMoved
from agent.model import LaneReason, RetrySettings, TaskState
from agent.runtime.repeats import Repeats

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = ServiceUnavailable("500", reason=LaneReason.SERVICE_UNAVAILABLE)
MINUTE = 60.0


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A bench with one task that waits for export."""
    bench = Workbench(tmp_path, retry=RetrySettings(first=1.0, max=300.0))
    bench.drop("a.pdf")
    bench.submit()
    return bench


def work(bench: Workbench, seconds: float) -> int:
    """Let the loops run for so long and return how many steps the export loop took."""
    until = bench.clock.monotonic() + seconds
    steps = 0
    while bench.clock.monotonic() < until:
        pause = bench.export_loop.step()
        steps += 1
        assert steps < 10_000, "a busy loop"
        bench.aftercare.step()
        bench.clock.advance(pause)
    return steps


def test_a_start_the_service_always_refuses_makes_no_busy_loop(bench: Workbench) -> None:
    bench.service.script("start_export", *[TaskMoved("409")] * 20_000)

    work(bench, 10 * MINUTE)

    assert len(bench.service.named("start_export")) < 15


def test_a_file_the_service_cannot_hand_out_is_not_asked_for_every_second(bench: Workbench) -> None:
    bench.service.script("download", *[BROKEN] * 20_000)

    work(bench, 10 * MINUTE)

    assert len(bench.service.named("start_export")) < 15
    assert bench.task().attempts == 0


def test_others_go_on_beside_a_file_the_service_cannot_hand_out(bench: Workbench) -> None:
    bench.service.script("download", *[BROKEN] * 5)
    work(bench, 20.0)
    bench.drop("b.pdf")
    bench.submit()
    bench.service.script("download", None, *[BROKEN] * 100)

    work(bench, 20.0)

    assert bench.task("task-0002").state is TaskState.EXPORTED


def test_a_ledger_that_cannot_be_written_makes_the_lane_wait(bench: Workbench) -> None:
    bench.output_guards["invoices"].check()
    bench.ledger.trouble = LedgerUnavailable("its disk is full")

    bench.export_loop.step()

    assert bench.parts.lanes.export("invoices").state.reason is LaneReason.LEDGER_UNAVAILABLE
    assert bench.service.named("start_export") == []


def test_a_task_that_has_been_quiet_begins_anew() -> None:
    clock = DrivenClock()
    repeats = Repeats(RetrySettings(first=1.0, max=8.0), clock)
    for _ in range(10):
        repeats.ended("a")
    assert not repeats.may_begin("a")

    clock.advance(60.0)
    repeats.ended("a")
    clock.advance(1.0)

    assert repeats.may_begin("a")
    assert repeats.may_begin("another")
