"""Pauses outlive restarts, and new names too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.workbench import Workbench

from agent.runtime.operations import Operations, paused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    operations = Operations(
        bench.settings, ledger=bench.parts.ledger, clock=bench.clock, file_away=bench.parts.file_away
    )
    operations.pause(folder="invoices")
    return bench


def renamed(bench: Workbench, *formerly: str) -> None:
    """Begin a new process whose watch folder is called `bills`."""
    folder = replace(bench.folder, name="bills", formerly=formerly)
    bench.settings = replace(bench.settings, watch_folders=(folder,))
    bench.start()
    bench.recover()


def test_a_paused_watch_folder_stays_paused_under_its_new_name(bench: Workbench) -> None:
    renamed(bench, "invoices")
    assert paused(bench.parts.ledger) == ({"bills"}, False)


def test_a_new_watch_folder_is_not_paused_for_another_ones_sake(bench: Workbench) -> None:
    renamed(bench)
    assert paused(bench.parts.ledger) == ({"invoices"}, False)
