"""What the configuration does not look at any more, and what cannot be looked at, keeps nothing else waiting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.workbench import SETTLED, Workbench

from agent.errors import LocalTrouble
from agent.folders import system
from agent.model import FileState, LaneReason

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import Sighting


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    bench.scan()
    return bench


def reconfigured(bench: Workbench, **changes: Any) -> None:
    """Begin a new process with another configuration of the watch folder."""
    bench.settings = replace(bench.settings, watch_folders=(replace(bench.folder, **changes),))
    bench.start()
    bench.recover()


def closed(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """Let nobody enter a folder of the inbox."""
    sight = system.sight

    def sighted(root: Path, relative_path: str) -> Sighting | None:
        if relative_path.startswith(f"{folder}/"):
            raise LocalTrouble(f"cannot look at {relative_path}", reason=LaneReason.NOT_WRITABLE)
        return sight(root, relative_path)

    monkeypatch.setattr(system, "sight", sighted)


@pytest.mark.parametrize("changes", [{"exclude": ("b*",)}, {"include": ("*.tif",)}])
def test_a_waiting_file_whose_name_is_left_out_by_now_waits_no_longer(
    bench: Workbench, changes: dict[str, Any]
) -> None:
    path = bench.drop("b.pdf")
    bench.scan()
    reconfigured(bench, **changes)
    bench.rounds(3)
    record = bench.file("b.pdf")
    assert record.state is FileState.GONE
    assert "configuration" in record.detail
    assert path.exists()


def test_a_waiting_file_in_a_folder_that_is_not_looked_into_by_now_waits_no_longer(bench: Workbench) -> None:
    bench.drop("sub/b.pdf")
    bench.scan()
    reconfigured(bench, recursive=False)
    bench.rounds(3)
    assert bench.file("sub/b.pdf").state is FileState.GONE


def test_a_file_left_out_for_a_while_is_taken_up_again(bench: Workbench) -> None:
    bench.drop("b.pdf")
    bench.scan()
    exclude = bench.folder.exclude
    reconfigured(bench, exclude=("b*",))
    bench.rounds(3)
    reconfigured(bench, exclude=exclude)
    bench.rounds(6)
    assert [submission.upload.file_name for submission in bench.service.submissions] == ["b.pdf"]


def test_a_folder_nobody_may_enter_keeps_no_other_file_from_being_sent(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("sub/a.pdf")
    bench.scan()
    closed(monkeypatch, "sub")
    bench.drop("b.pdf")
    bench.rounds(6)
    assert [submission.upload.file_name for submission in bench.service.submissions] == ["b.pdf"]


def test_a_file_in_a_folder_nobody_may_enter_shows_as_stalled_and_says_why(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("sub/a.pdf")
    bench.scan()
    closed(monkeypatch, "sub")
    for _ in range(40):
        bench.clock.advance(SETTLED)
        bench.detects[0].look_at_due()
    record = bench.file("sub/a.pdf")
    assert (record.state, record.detail) == (FileState.STALLED, "cannot look at sub/a.pdf")


def test_a_hint_at_a_folder_nobody_may_enter_is_left_to_the_scan(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("sub/a.pdf")
    bench.drop("b.pdf")
    closed(monkeypatch, "sub")
    bench.detects[0].look_at(["sub/a.pdf", "b.pdf"])
    assert [record.relative_path for record in bench.files()] == ["b.pdf"]


def test_a_root_that_is_away_is_no_trouble_of_one_file(bench: Workbench) -> None:
    bench.drop("b.pdf")
    bench.scan()
    bench.clock.advance(SETTLED)
    bench.place("inbox").rename(bench.base / "away")
    with pytest.raises(LocalTrouble):
        bench.detects[0].look_at_due()
    assert bench.file("b.pdf").state is FileState.WAITING
