"""A story lived once for every boundary in it, by processes that are killed there (`fakes.workbench.Lifeline`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from fakes.workbench import Killed, Lifeline, Workbench, make_folders_mortal, watch_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STRIDE = 1 if os.open in os.supports_dir_fd else 24
"""Where folders are walked by paths (Windows, Wine) every life takes ten times as long: a sample has to do."""
AGAIN_EVERY = 11


class Sweep:
    """One story, lived once for every boundary in it, by processes that are killed there."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base = base
        self.monkeypatch = monkeypatch
        self.lifeline = Lifeline()
        self.folder: Callable[[Path], dict[str, Any]] = lambda _base: {}
        self.prepare: Callable[[Workbench], object] = lambda bench: bench.drop("sub/a.pdf")
        self.act: Callable[[Workbench], object] = lambda bench: bench.run()
        make_folders_mortal(monkeypatch, self.lifeline)

    def run(self, check: Callable[[Workbench], object], *, fewest: int) -> None:
        """Kill at each boundary."""
        total = self._live("unharmed", check)
        assert total >= fewest
        for first in range(1, total + 1, STRIDE):
            self._live(f"{first}", check, first)

    def run_twice(self, check: Callable[[Workbench], object], *, part: int, parts: int) -> None:
        """Kill at one in so many boundaries, and at one in eleven of the recovery from it."""
        total = self._live("unharmed", check)
        for first in range(1 + part, total + 1, parts):
            crossed = self._live(f"{first}", check, first)
            for second in range(1 + first % AGAIN_EVERY, crossed + 1, AGAIN_EVERY * STRIDE):
                self._live(f"{first}-{second}", check, first, second)

    def _live(self, name: str, check: Callable[[Workbench], object], *kill_at: int) -> int:
        """Let processes live one after the other, and return how many boundaries the last one crossed."""
        base = self.base / name
        base.mkdir()
        self.lifeline.renew()
        bench = Workbench(base, watch_folder(base, **self.folder(base)))
        self.prepare(bench)
        bench.lifeline = self.lifeline
        killed = []
        for boundary in kill_at:
            self.lifeline.renew(boundary)
            bench.start()
            with pytest.raises(Killed) as death:
                self.act(bench)
            killed.append(str(death.value))
        self.lifeline.renew()
        bench.start()
        try:
            self.act(bench)
            crossed = self.lifeline.crossed
            check(bench)
            assert_at_rest(bench)
        except AssertionError as error:
            raise AssertionError(f"killed {name}: {killed}") from error
        return crossed


def assert_at_rest(bench: Workbench) -> None:
    """One more process finds nothing to do."""
    rows = [(record.key, record.state, record.filed_as) for record in bench.files()]
    tasks = [(task.task_id, task.state) for task in bench.ledger.find_tasks()]
    submissions = len(bench.service.submissions)
    bench.start()
    bench.recover()
    bench.rounds(2)
    assert [(record.key, record.state, record.filed_as) for record in bench.files()] == rows
    assert [(task.task_id, task.state) for task in bench.ledger.find_tasks()] == tasks
    assert len(bench.service.submissions) == submissions


def assert_folders(bench: Workbench, **expected: dict[str, bytes]) -> None:
    for place in ("inbox", "archive", "error", "output", "output/error"):
        assert bench.contents(place) == expected.get(place.replace("/", "_"), {}), place
