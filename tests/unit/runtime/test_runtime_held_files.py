"""Files that others hold: they keep neither each other nor anything else from its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.workbench import Workbench

from agent.errors import FileBusy
from agent.folders import filing

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 5.0
"""Seconds each try at a held file takes, as on Windows."""


@pytest.fixture
def tried() -> list[str]:
    """Return the paths of the held files that were tried, as they come."""
    return []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: list[str]) -> Workbench:
    bench = Workbench(tmp_path)
    bench.scan()
    for number in range(12):
        bench.drop(f"{number:02}.pdf")
    bench.settle()

    def held(**arguments: Any) -> str:
        tried.append(arguments["relative_path"])
        bench.clock.advance(PATIENCE)
        raise FileBusy("another program holds it open")

    monkeypatch.setattr(filing, "file_away", held)
    bench.send()
    tried.clear()
    return bench


def test_many_held_files_take_no_more_than_their_turn(bench: Workbench) -> None:
    before = bench.clock.monotonic()
    bench.aftercare.step()
    assert bench.clock.monotonic() - before < 20.0


def test_every_held_file_has_its_turn(bench: Workbench, tried: list[str]) -> None:
    for _ in range(20):
        bench.aftercare.step()
    assert sorted(set(tried)) == [f"{number:02}.pdf" for number in range(12)]
