"""What the service is assumed to take at most, and the operator's word that it takes more (apis.md 2.4, 3.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fakes.memory_abilities import ASKED_BY_ID
from fakes.memory_service import MemoryService
from fakes.workbench import PROJECT, Workbench, pdf, watch_folder

from agent.model import Reason

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = pdf("larger than the service takes")


def bench_of(tmp_path: Path, *, max_size: int | None, is_set: bool) -> Workbench:
    """Return a bench whose service is assumed to take one byte less than the file has, with that file sent."""
    bench = Workbench(tmp_path, watch_folder(tmp_path, max_size=max_size, max_size_is_set=is_set))
    abilities = replace(ASKED_BY_ID, size_limit=len(CONTENT) - 1)
    bench.service = MemoryService(bench.clock, project_ids=(PROJECT,), abilities=abilities)
    bench.start()
    bench.drop("a.pdf", CONTENT)
    bench.submit()
    return bench


def test_a_file_larger_than_the_service_takes_is_not_sent(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, max_size=2**31, is_set=False)
    assert (bench.file("a.pdf").reason, bench.service.submissions) == (Reason.TOO_LARGE, [])


def test_a_max_size_somebody_wrote_says_that_the_service_takes_more(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, max_size=2**31, is_set=True)
    assert [submission.content for submission in bench.service.submissions] == [CONTENT]


def test_a_max_size_somebody_wrote_is_a_limit_itself(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, max_size=len(CONTENT) - 1, is_set=True)
    assert bench.file("a.pdf").reason is Reason.TOO_LARGE
