"""Lanes open again: no trouble is told for longer than it lasts, and one bad file closes no lane for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import Workbench, watch_folder

from agent.errors import FileRefused, LedgerUnavailable, LocalTrouble, OutcomeUnknown, ServiceUnavailable
from agent.folders import filing, system
from agent.model import FileState, LaneReason, Reason

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from agent.model import Task, Upload

DOWN = ServiceUnavailable("down", reason=LaneReason.SERVICE_UNAVAILABLE)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    bench.scan()
    return bench


def reasons(bench: Workbench) -> dict[str, LaneReason]:
    """Return the lanes that wait, and why."""
    return {state.lane: state.reason for state in bench.parts.lanes.states() if state.reason is not None}


def refuse(bench: Workbench, prefix: str) -> list[str]:
    """Let the service refuse files whose name begins so; return the names it was sent, as they come."""
    tried: list[str] = []
    submit = bench.service.submit

    def submitted(upload: Upload, body: BinaryIO) -> Task:
        tried.append(upload.file_name)
        if upload.file_name.startswith(prefix):
            raise FileRefused("not this one", reason=Reason.REFUSED_BY_SERVICE)
        return submit(upload, body)

    bench.service.submit = submitted  # type: ignore[method-assign]  # the script of the fake knows no names
    return tried


def test_a_lost_answer_that_was_found_is_no_trouble_any_more(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.service.script("submit", AfterActing(OutcomeUnknown("no answer")))
    bench.submit()
    assert reasons(bench) == {"invoices/submission": LaneReason.SERVICE_UNAVAILABLE}
    bench.rounds(5)
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    assert reasons(bench) == {}


def test_a_filing_that_works_again_is_no_trouble_any_more(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> str:
        raise LocalTrouble("no space left", reason=LaneReason.DISK_FULL)

    bench.drop("a.pdf")
    with monkeypatch.context() as patch:
        patch.setattr(filing, "file_away", full)
        bench.submit()
    assert reasons(bench) == {"invoices/submission": LaneReason.DISK_FULL}
    bench.rounds(5)
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    assert reasons(bench) == {}


def test_a_lane_whose_last_file_was_taken_away_waits_for_nothing(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    bench.service.script("submit", DOWN)
    bench.submit()
    path.unlink()
    bench.rounds(20)
    assert bench.file("a.pdf").state is FileState.GONE
    assert reasons(bench) == {}


def test_a_lane_stays_closed_while_its_outcome_is_unknown(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.service.script("submit", OutcomeUnknown("no answer"))
    bench.submit()
    bench.rounds(10)
    assert bench.file("a.pdf").state is FileState.UNKNOWN
    assert reasons(bench) == {"invoices/submission": LaneReason.SERVICE_UNAVAILABLE}


def test_files_behind_more_than_ten_refused_ones_are_sent_in_the_end(bench: Workbench) -> None:
    for number in range(13):
        bench.drop(f"bad-{number:02}.pdf")
    bench.drop("good.pdf")
    refuse(bench, "bad")
    bench.settle()
    bench.rounds(60)
    assert [submission.upload.file_name for submission in bench.service.submissions] == ["good.pdf"]


def test_once_one_is_accepted_those_kept_back_are_tried_again_at_once(bench: Workbench) -> None:
    for number in range(12):
        bench.drop(f"bad-{number:02}.pdf")
    tried = refuse(bench, "bad")
    bench.settle()
    bench.rounds(30)
    assert sorted(set(tried[10:])) == ["bad-10.pdf", "bad-11.pdf"]
    bench.drop("good.pdf")
    bench.rounds(20)
    assert [record.relative_path for record in bench.files() if record.in_inbox] == []


def test_where_everything_is_refused_one_is_tried_every_retry_max(bench: Workbench) -> None:
    for number in range(14):
        bench.drop(f"bad-{number:02}.pdf")
    tried = refuse(bench, "bad")
    bench.settle()
    bench.rounds(2)
    before = len(tried)
    bench.rounds(80)
    assert 8 <= len(tried) - before <= 10  # 80 s, retry.max is 8 s
    assert sum(record.in_inbox for record in bench.files()) == 4


def test_a_ledger_that_fails_takes_no_try_away_from_the_service(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.settle()
    bench.parts.lanes.service.failed(DOWN)
    bench.clock.advance(20)
    bench.ledger.trouble = LedgerUnavailable("the disk is full")
    with pytest.raises(LedgerUnavailable):
        bench.sending.step()
    assert bench.parts.lanes.service.wait_seconds() == 0


def test_nothing_is_sent_while_the_ledgers_disk_has_less_than_min_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path), min_free=1000)
    bench.scan()
    bench.drop("a.pdf")
    with monkeypatch.context() as patch:
        patch.setattr(system, "free_space", lambda _path: 999)
        bench.submit()
        assert (bench.service.submissions, reasons(bench)) == ([], {"invoices/submission": LaneReason.DISK_FULL})
    bench.rounds(5)
    assert (len(bench.service.submissions), reasons(bench)) == (1, {})


def test_a_service_that_takes_no_documents_but_lists_tasks_stands_in_the_log_once(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.drop("a.pdf")
    bench.service.script("submit", *[DOWN] * 5)
    with caplog.at_level("INFO"):
        bench.settle()
        for _ in range(60):
            bench.export_loop.step()  # asks, as its own thread does, before the next file is tried
            bench.rounds(1)
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    lines = [line for line in caplog.messages if line.startswith("service: ")]
    assert lines == [
        "service: waits (service_unavailable): down",
        "service: works again after service_unavailable",
    ]


def test_a_service_that_starts_no_export_but_lists_tasks_stands_in_the_log_once(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.drop("a.pdf")
    bench.service.script("start_export", *[DOWN] * 5)
    with caplog.at_level("INFO"):
        bench.settle()
        bench.rounds(120)
    assert bench.names("output") != []
    lines = [line for line in caplog.messages if line.startswith("service: ")]
    assert lines == [
        "service: waits (service_unavailable): down",
        "service: works again after service_unavailable",
    ]
