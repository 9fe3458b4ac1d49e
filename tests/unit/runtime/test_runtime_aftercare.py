"""Aftercare: what was begun and is not finished is finished, after a crash and in ordinary running alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import Workbench, watch_folder

from agent.errors import FileBusy, FileRefused, LedgerUnavailable, LocalTrouble, OutcomeUnknown, ServiceUnavailable
from agent.folders import filing
from agent.model import FileState, LaneReason, Reason, ServiceTaskState, TaskState
from agent.runtime.aftercare import FOLLOW_EVERY
from agent.runtime.folder_care import ASK_AGAIN_AFTER

if TYPE_CHECKING:
    from pathlib import Path

DOWN = ServiceUnavailable("no connection", reason=LaneReason.SERVICE_UNREACHABLE)
DAY = 86400.0


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def sending(bench: Workbench, *, intent_at: float | None) -> str:
    """Leave a row that says `sending`, as a process that died would."""
    bench.drop("a.pdf")
    bench.settle()
    claimed = bench.ledger.claim("invoices", claimed_by="a dead process", now=bench.clock.now())
    assert claimed is not None
    if intent_at is not None:
        bench.ledger.commit(claimed.change(intent_at=intent_at))
    return claimed.key


# --- uploads ---------------------------------------------------------------------------------------------------------


def test_claimed_and_not_sent_it_is_looked_at_anew(bench: Workbench) -> None:
    sending(bench, intent_at=None)
    bench.start()
    bench.recover()
    record = bench.file("a.pdf")
    assert (record.state, record.claimed_by) == (FileState.WAITING, "")
    bench.run()
    assert len(bench.service.submissions) == 1


def test_with_an_intent_it_may_have_arrived_and_is_looked_for(bench: Workbench) -> None:
    sending(bench, intent_at=bench.clock.now())
    bench.start()
    bench.recover()
    assert bench.file("a.pdf").state is FileState.UNKNOWN
    assert "recovered as unknown" in bench.events()


def test_what_a_worker_has_in_hand_is_left_to_it(bench: Workbench) -> None:
    key = sending(bench, intent_at=None)
    bench.parts.files_in_hand.take(key)
    for _ in range(3):
        bench.aftercare.recover_uploads()
    assert bench.file("a.pdf").state is FileState.SENDING


def test_what_was_claimed_this_moment_is_not_taken_for_left_behind(bench: Workbench) -> None:
    sending(bench, intent_at=None)
    for _ in range(3):
        bench.aftercare.recover_uploads()
        assert bench.file("a.pdf").state is FileState.SENDING
    bench.clock.advance(1.0)
    bench.aftercare.recover_uploads()
    assert bench.file("a.pdf").state is FileState.WAITING


# --- filings ---------------------------------------------------------------------------------------------------------


def test_a_filing_that_could_not_be_done_is_done_later_and_nothing_is_sent_again(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(**_arguments: Any) -> str:
        raise FileBusy("another program holds it open")

    bench.drop("a.pdf")
    with monkeypatch.context() as patch:
        patch.setattr(filing, "file_away", held)
        bench.submit()
        bench.rounds(3)
    record = bench.file("a.pdf")
    assert (record.state, record.detail) == (FileState.SUBMITTED, "another program holds it open")
    bench.rounds(6)
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    assert len(bench.service.submissions) == 1


def test_a_file_held_by_others_is_tried_now_and_then_and_not_all_the_time(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def held(**_arguments: Any) -> str:
        tried.append(bench.clock.now())
        raise FileBusy("another program holds it open")

    monkeypatch.setattr(filing, "file_away", held)
    bench.drop("a.pdf")
    bench.submit()
    bench.rounds(30)
    assert 3 <= len(tried) <= 8


def test_one_file_held_by_others_keeps_no_other_from_being_filed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_away = filing.file_away

    def held(**arguments: Any) -> str:
        if arguments["relative_path"] == "a.pdf":
            raise FileBusy("another program holds it open")
        return file_away(**arguments)

    for name in ("a.pdf", "b.pdf"):
        bench.drop(name)
        bench.submit_one()
    monkeypatch.setattr(filing, "file_away", held)
    bench.aftercare.step()
    assert bench.names("archive") == ["b.pdf"]


def test_an_archive_in_trouble_makes_the_lane_wait_and_heals_by_itself(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_arguments: Any) -> str:
        raise LocalTrouble("full", reason=LaneReason.DISK_FULL)

    bench.drop("a.pdf")
    bench.submit_one()
    with monkeypatch.context() as patch:
        patch.setattr(filing, "file_away", full)
        bench.aftercare.step()
        assert bench.parts.lanes.submission("invoices").state.reason is LaneReason.DISK_FULL
    bench.rounds(10)
    assert bench.names("archive") == ["a.pdf"]
    assert bench.parts.lanes.submission("invoices").state.reason is None


def test_what_was_accepted_is_filed_though_the_service_is_away_by_now(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit_one()
    bench.parts.lanes.service.failed(DOWN)
    bench.parts.lanes.submission("invoices").failed(DOWN)
    bench.aftercare.step()
    assert bench.names("archive") == ["a.pdf"]


def test_a_paused_folder_is_not_touched(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit_one()
    bench.parts.lanes.submission("invoices").pause()
    bench.aftercare.step()
    assert bench.names("inbox") == ["a.pdf"]


def test_a_ledger_that_fails_meanwhile_leaves_no_lane_waiting_for_a_probe(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit_one()
    lane = bench.parts.lanes.submission("invoices")
    lane.failed(LocalTrouble("full", reason=LaneReason.DISK_FULL))
    bench.clock.advance(10)
    commit = bench.ledger.commit

    def failing(*_changes: Any) -> None:
        raise LedgerUnavailable("disk full")

    bench.ledger.commit = failing  # type: ignore[method-assign]  # the file moves, the ledger does not hear of it
    with pytest.raises(LedgerUnavailable):
        bench.aftercare.step()
    bench.ledger.commit = commit  # type: ignore[method-assign]
    bench.aftercare.step()
    assert bench.file("a.pdf").state is FileState.ARCHIVED


# --- the service -----------------------------------------------------------------------------------------------------


def test_a_lost_answer_is_found_and_its_file_filed_in_one_step(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.service.script("submit", AfterActing(OutcomeUnknown("504")))
    bench.submit()
    bench.clock.advance(10)
    bench.aftercare.step()
    assert bench.file("a.pdf").state is FileState.ARCHIVED


def test_while_the_service_is_away_it_is_not_asked_all_the_time(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.service.script("submit", AfterActing(OutcomeUnknown("504")))
    bench.submit()
    bench.service.script("find_submission", *[DOWN] * 1000)
    before = len(bench.service.calls)
    for _ in range(100):
        bench.aftercare.step()
        bench.clock.advance(1.0)
    assert len(bench.service.calls) - before < 40
    assert bench.parts.lanes.service.state.reason is LaneReason.SERVICE_UNREACHABLE


def test_an_answer_opens_the_services_lane_again(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit()
    bench.parts.lanes.service.failed(DOWN)
    bench.clock.advance(30)
    bench.aftercare.step()
    assert bench.parts.lanes.service.state.reason is None


def test_a_step_that_asked_nothing_says_nothing_about_the_service(bench: Workbench) -> None:
    bench.parts.lanes.service.failed(DOWN)
    bench.clock.advance(30)
    bench.aftercare.step()
    assert bench.parts.lanes.service.state.reason is LaneReason.SERVICE_UNREACHABLE
    assert bench.parts.lanes.service.enter()


def test_ends_of_tasks_are_looked_for_at_least_every_30_seconds_and_not_every_second(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, output=None))
    bench.service.processing_time = 1e9
    bench.drop("a.pdf")
    bench.submit()
    for _ in range(60):
        bench.aftercare.step()
        bench.clock.advance(1.0)
    assert 60 / 30 <= len(bench.service.named("find_ended")) <= 60 / FOLLOW_EVERY + 1


def test_an_export_nobody_has_in_hand_is_taken_back(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit()
    bench.service.start_export(bench.service.tasks()[0])
    bench.ledger.commit(bench.task().change(state=TaskState.EXPORTING, started_at=bench.clock.now()))
    bench.aftercare.step()
    assert bench.task().state is TaskState.PROCESSING
    assert bench.service.tasks()[0].state is ServiceTaskState.PENDING_START


def test_a_lease_too_old_to_be_surely_ours_is_not_asked_for_every_second_until_it_ends(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit()
    bench.service.start_export(bench.service.tasks()[0])
    bench.ledger.commit(bench.task().change(state=TaskState.EXPORTING, started_at=bench.clock.now()))
    lease = bench.settings.service.lease
    bench.clock.advance(0.9 * lease)
    for _ in range(int(0.09 * lease)):
        bench.aftercare.step()
        bench.clock.advance(1.0)
    assert 1 < len(bench.service.named("get_task")) <= 0.09 * lease / ASK_AGAIN_AFTER + 1
    bench.clock.advance(0.02 * lease)
    bench.aftercare.step()
    assert bench.task().state is TaskState.PROCESSING


def test_an_export_a_worker_has_in_hand_is_left_to_it(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit()
    bench.parts.tasks_in_hand.take("task-0001")
    bench.ledger.commit(bench.task().change(state=TaskState.EXPORTING, started_at=bench.clock.now()))
    bench.aftercare.step()
    assert bench.task().state is TaskState.EXPORTING


def test_a_row_of_a_folder_that_is_not_configured_any_more_stops_nothing(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit_one()
    bench.ledger.commit(bench.file("a.pdf").change(watch_folder="of old"), bench.task().change(watch_folder="of old"))
    bench.aftercare.step()
    assert bench.file("a.pdf").state is FileState.SUBMITTED


# --- what was kept long enough ---------------------------------------------------------------------------------------


def test_archive_is_purged_once_a_minute(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, archive_keep=30.0))
    bench.drop("a.pdf")
    bench.run()
    bench.clock.advance(91)
    bench.aftercare.step()
    assert bench.names("archive") == []


def test_a_folder_that_is_away_is_not_purged(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, archive_keep=30.0))
    bench.drop("a.pdf")
    bench.run()
    bench.parts.lanes.submission("invoices").failed(LocalTrouble("away", reason=LaneReason.INBOX_MISSING))
    bench.clock.advance(91)
    bench.aftercare.step()
    assert bench.names("archive") == ["a.pdf"]


def test_history_forgets_what_ended_and_nothing_that_has_not(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, history_keep=90 * DAY)
    bench.drop("a.pdf")
    bench.run()
    bench.service.processing_time = 1e12
    bench.drop("b.pdf")
    bench.submit()
    bench.clock.advance(91 * DAY)
    bench.service._entries.clear()
    bench.aftercare.step()
    assert [record.relative_path for record in bench.files()] == ["b.pdf"]


def test_history_is_kept_for_what_archive_keep_still_has_to_know(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, archive_keep=365 * DAY), history_keep=DAY)
    bench.drop("a.pdf")
    bench.run()
    bench.clock.advance(30 * DAY)
    bench.aftercare.step()
    assert bench.files()
    bench.clock.advance(336 * DAY)
    bench.aftercare.step()
    assert bench.names("archive") == []


def test_a_refused_file_waiting_for_error_keeps_its_reason(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(**_arguments: Any) -> str:
        raise FileBusy("another program holds it open")

    bench.drop("a.pdf")
    bench.service.script("submit", FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE))
    with monkeypatch.context() as patch:
        patch.setattr(filing, "file_away", held)
        bench.submit()
        bench.aftercare.step()
    record = bench.file("a.pdf")
    assert (record.reason, record.detail) == (Reason.REFUSED_BY_SERVICE, "no pages")
    assert record.filing == "error"
