"""The detection loop: whatever ends a scan there is a next one, and what cannot be read is told and keeps nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from fakes.workbench import Workbench, watch_folder

from agent.errors import LedgerUnavailable, StaleRecord
from agent.folders import scanning
from agent.model import LaneReason, Observer
from agent.runtime.detecting import Detecting
from agent.runtime.troubles import troubles

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

FULL = "the disk of the ledger is full"


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path, watch_folder(tmp_path, observer=Observer.POLLING))


@pytest.fixture
def detecting(bench: Workbench) -> Detecting:
    return Detecting(bench.parts, bench.inboxes[0], bench.guards[0], found=lambda: None)


def live(bench: Workbench, detecting: Detecting, seconds: float) -> None:
    """Let the loop run as its thread does, for so many seconds."""
    end = bench.clock.monotonic() + seconds
    while bench.clock.monotonic() < end:
        try:
            pause = detecting.step()
        except (LedgerUnavailable, StaleRecord):
            pause = 1.0
        bench.clock.advance(max(pause, 0.002))


def refuse_to_list(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a folder of that name be listed by nobody."""
    look_through = scanning.Scan._look_through

    def looked(self: scanning.Scan, entries: Iterator[os.DirEntry[str]], folder: scanning._Folder) -> Iterator[None]:
        if folder.relative_path == name:
            raise PermissionError(13, "Permission denied")
        yield from look_through(self, entries, folder)

    monkeypatch.setattr(scanning.Scan, "_look_through", looked)


@pytest.mark.parametrize("trouble", [LedgerUnavailable(FULL), StaleRecord("somebody else was faster")])
def test_a_scan_that_the_ledger_broke_off_is_not_the_last_one(
    bench: Workbench, detecting: Detecting, trouble: LedgerUnavailable | StaleRecord
) -> None:
    live(bench, detecting, 1)
    bench.drop("a.pdf")
    bench.ledger.trouble = trouble
    live(bench, detecting, 20)
    bench.ledger.trouble = None
    live(bench, detecting, 20)
    assert bench.file("a.pdf").ready


def test_an_inbox_that_goes_away_between_two_looks_is_the_lanes_trouble(bench: Workbench, detecting: Detecting) -> None:
    bench.drop("a.pdf")
    live(bench, detecting, 1)
    bench.place("inbox").rename(bench.base / "away")
    live(bench, detecting, 10)
    assert bench.parts.lanes.submission("invoices").state.reason is LaneReason.INBOX_MISSING
    (bench.base / "away").rename(bench.place("inbox"))
    live(bench, detecting, 20)
    assert bench.file("a.pdf").ready


@pytest.mark.parametrize("order", ["it answers, then the scan ends", "the scan ends, then it answers"])
def test_a_scan_in_an_inbox_that_did_not_answer_for_an_hour_does_not_put_the_next_one_off(
    bench: Workbench, detecting: Detecting, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    def hang(*_: object) -> Iterator[None]:
        bench.clock.advance(3600)
        if order == "it answers, then the scan ends":
            detecting.answers_again()
        yield from ()

    with monkeypatch.context() as patch:
        patch.setattr(scanning.Scan, "_look_through", hang)
        live(bench, detecting, 3600)
    bench.drop("a.pdf")
    if order == "the scan ends, then it answers":
        detecting.answers_again()
    live(bench, detecting, 20)
    assert bench.file("a.pdf").ready


def test_a_folder_that_cannot_be_read_keeps_no_scan_from_counting(
    bench: Workbench, detecting: Detecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("closed/a.pdf")
    refuse_to_list(monkeypatch, "closed")
    live(bench, detecting, 1)
    assert detecting.scans > 0
    assert (detecting.unreadable_count, "closed" in detecting.unreadable) == (1, True)


def test_a_folder_that_cannot_be_read_is_logged_once(
    bench: Workbench, detecting: Detecting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench.drop("closed/a.pdf")
    refuse_to_list(monkeypatch, "closed")
    with caplog.at_level(logging.WARNING):
        live(bench, detecting, 60)
    assert sum("closed" in record.getMessage() for record in caplog.records) == 1


def test_a_folder_that_can_be_read_again_is_said_no_more(
    bench: Workbench, detecting: Detecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("closed/a.pdf")
    with monkeypatch.context() as patch:
        refuse_to_list(patch, "closed")
        live(bench, detecting, 1)
    live(bench, detecting, 20)
    assert (detecting.unreadable_count, detecting.unreadable) == (0, "")


def test_the_log_says_how_changes_are_noticed(
    bench: Workbench, detecting: Detecting, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        live(bench, detecting, 1)
    assert "invoices: observer polling" in caplog.messages


def test_status_tells_what_cannot_be_read(bench: Workbench) -> None:
    inboxes = {"invoices": {"unreadable": "closed cannot be read: Permission denied", "unreadable_count": 3}}
    document = {"agent": {"state": "running"}, "watch_folders": []}
    (reason,) = troubles(document, bench.settings, None, {"inboxes": inboxes})
    assert (reason["reason"], reason["where"], reason["count"]) == ("not_readable", "invoices", 3)
    assert reason["detail"] == "closed cannot be read: Permission denied, and 2 more"
