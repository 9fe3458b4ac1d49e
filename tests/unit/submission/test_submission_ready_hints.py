"""Ready files: what they announce is looked at, and what waits for one costs little however much it is."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from fakes.workbench import SETTLED, Workbench, watch_folder

from agent.model import FileState

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path, watch_folder(tmp_path, ready_file="{file_name}.ready", poll_interval=5.0))
    bench.scan()
    return bench


def waiting(bench: Workbench, *names: str) -> None:
    for name in names:
        bench.drop(name)
    bench.settle()


def test_the_arrival_of_a_ready_file_is_a_hint_at_the_file_it_announces_alone(bench: Workbench) -> None:
    waiting(bench, "a.pdf", "b.pdf")
    due = bench.file("b.pdf").look_at
    (bench.place("inbox") / "a.pdf.ready").touch()
    bench.detects[0].look_at(["a.pdf.ready"])
    bench.detects[0].look_at_due()
    assert bench.file("a.pdf").ready
    assert (bench.file("b.pdf").ready, bench.file("b.pdf").look_at) == (False, due)


def test_the_longer_a_file_waits_for_its_ready_file_the_rarer_it_is_looked_at(bench: Workbench) -> None:
    waiting(bench, "a.pdf")
    looks = []
    for _ in range(40):
        record = bench.file("a.pdf")
        assert record.look_at is not None
        bench.clock.advance(record.look_at - bench.process_clock.monotonic())
        bench.detects[0].look_at_due()
        looks.append(bench.file("a.pdf").look_at)
    pauses = [later - earlier for earlier, later in pairwise(looks) if earlier and later]
    assert (pauses[0] < 2.0, pauses[-1]) == (True, 5.0)


def test_without_a_hint_the_file_is_sent_all_the_same(bench: Workbench) -> None:
    waiting(bench, "a.pdf")
    bench.clock.advance(600)
    bench.detects[0].look_at_due()
    (bench.place("inbox") / "a.pdf.ready").touch()
    bench.clock.advance(5.0)
    bench.detects[0].look_at_due()
    bench.send()
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    assert SETTLED < 5.0
