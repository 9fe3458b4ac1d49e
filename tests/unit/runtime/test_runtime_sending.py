"""The sending loop: oldest first, fair between folders, and which lane waits for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import Workbench, watch_folder

from agent.errors import (
    AgentError,
    CredentialsRefused,
    FileBusy,
    FileRefused,
    LedgerUnavailable,
    LocalTrouble,
    OutcomeUnknown,
    ServiceUnavailable,
    SetupRefused,
)
from agent.folders import filing, system
from agent.model import FileState, LaneReason, Reason

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE)
DOWN = ServiceUnavailable("no connection", reason=LaneReason.SERVICE_UNREACHABLE)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


@pytest.fixture
def three(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path, *(watch_folder(tmp_path, name) for name in ("one", "two", "three")))


def lane_reason(bench: Workbench, name: str = "invoices") -> LaneReason | None:
    return bench.parts.lanes.submission(name).state.reason


def service_reason(bench: Workbench) -> LaneReason | None:
    return bench.parts.lanes.service.state.reason


def drop(bench: Workbench, count: int, folder: int = 0, name: str = "f") -> None:
    for number in range(count):
        bench.drop(f"{name}{number:02}.pdf", folder=bench.settings.watch_folders[folder])


# --- who is woken ----------------------------------------------------------------------------------------------------


def test_while_all_is_well_a_sent_file_wakes_nobody(bench: Workbench) -> None:
    drop(bench, 3)
    bench.submit()
    assert len(bench.service.submissions) == 3
    assert bench.nudged == []


def test_the_first_file_after_trouble_wakes_who_cares_for_the_folder(bench: Workbench) -> None:
    drop(bench, 3)
    bench.service.script("submit", DOWN)
    bench.submit()
    bench.nudged.clear()
    bench.clock.advance(10.0)
    bench.send()
    assert len(bench.service.submissions) == 3
    assert bench.nudged == ["invoices"]


# --- whose turn ------------------------------------------------------------------------------------------------------


def test_the_oldest_file_goes_first_whatever_it_is_called(bench: Workbench) -> None:
    for name in ("z.pdf", "m.pdf", "a.pdf"):
        bench.drop(name)
    bench.submit()
    assert bench.service.named("submit") == ["z.pdf", "m.pdf", "a.pdf"]


def test_folders_take_turns_however_many_files_one_of_them_has(three: Workbench) -> None:
    drop(three, 20, 0, "one")
    drop(three, 2, 1, "two")
    drop(three, 2, 2, "three")
    three.settle()
    three.send(most=6)
    sent = [name[:3] for name in three.service.named("submit")]
    assert sorted(sent) == ["one", "one", "thr", "thr", "two", "two"]


def test_folders_without_work_cost_the_others_no_turn(three: Workbench) -> None:
    drop(three, 10, 0, "one")
    drop(three, 10, 1, "two")
    three.settle()
    three.send(most=10)
    sent = [name[:3] for name in three.service.named("submit")]
    assert (sent.count("one"), sent.count("two")) == (5, 5)


def test_without_work_it_waits_and_asks_the_service_for_nothing(bench: Workbench) -> None:
    assert bench.sending.step() > 0
    assert bench.service.calls == []


def test_a_file_is_in_hand_while_it_is_sent_and_not_afterwards(bench: Workbench) -> None:
    seen = []
    submit = bench.service.submit

    def submitted(*arguments: object) -> object:
        seen.append(len(bench.parts.files_in_hand))
        return submit(*arguments)  # type: ignore[arg-type]  # passed on as it came

    bench.service.submit = submitted  # type: ignore[method-assign, assignment]  # looks while the file is sent
    bench.drop("a.pdf")
    bench.submit()
    assert (seen, len(bench.parts.files_in_hand)) == ([1], 0)


# --- which lane waits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [DOWN, CredentialsRefused("401", reason=LaneReason.CREDENTIALS_REFUSED)],
    ids=["unreachable", "credentials"],
)
def test_trouble_of_the_service_stops_every_folder(three: Workbench, trouble: AgentError) -> None:
    drop(three, 2, 0)
    drop(three, 2, 1)
    three.service.script("submit", trouble)
    three.settle()
    three.send()
    assert len(three.service.named("submit")) == 1
    assert service_reason(three) is trouble.reason  # type: ignore[attr-defined]  # both kinds have one


def test_a_project_that_is_refused_stops_its_own_folder_only(three: Workbench) -> None:
    drop(three, 1, 0, "one")
    drop(three, 1, 1, "two")
    three.service.script("submit", SetupRefused("404", reason=LaneReason.SETUP_REFUSED))
    three.settle()
    three.send()
    assert len(three.service.submissions) == 1
    assert service_reason(three) is None
    assert sorted(str(lane_reason(three, name)) for name in ("one", "two")) == ["None", "setup_refused"]


def test_trouble_of_this_place_stops_its_own_folder_only(three: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(three, 1, 0, "one")
    drop(three, 1, 1, "two")
    file_away = filing.file_away

    def full(**arguments: object) -> str:
        if "one" in str(arguments["source_root"]):
            raise LocalTrouble("full", reason=LaneReason.DISK_FULL)
        return file_away(**arguments)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(filing, "file_away", full)
    three.settle()
    three.send()
    assert (lane_reason(three, "one"), lane_reason(three, "two")) == (LaneReason.DISK_FULL, None)
    assert service_reason(three) is None


def test_while_the_service_is_away_one_try_at_a_time_is_made_ever_more_rarely(bench: Workbench) -> None:
    bench.service.script("submit", *[DOWN] * 1000)
    drop(bench, 5)
    bench.settle()
    for _ in range(300):
        bench.send()
        bench.clock.advance(1.0)
    assert 30 <= len(bench.service.named("submit")) <= 75  # every 4 to 8 s in the end


def test_everything_goes_once_it_is_over(bench: Workbench) -> None:
    bench.service.script("submit", *[DOWN] * 4)
    drop(bench, 5)
    bench.run()
    assert sorted(submission.upload.file_name for submission in bench.service.submissions) == [
        f"f{number:02}.pdf" for number in range(5)
    ]


def test_retry_after_is_waited_for_before_anything_else_is_sent(bench: Workbench) -> None:
    bench.service.script("submit", ServiceUnavailable("429", reason=LaneReason.RATE_LIMITED, retry_after=600.0))
    drop(bench, 2)
    bench.settle()
    for _ in range(59):
        bench.send()
        bench.clock.advance(10.0)
    assert len(bench.service.named("submit")) == 1
    bench.clock.advance(20.0)
    bench.send()
    bench.clock.advance(10.0)
    bench.send()
    assert len(bench.service.submissions) == 2


def test_an_unknown_outcome_makes_its_folder_wait_before_the_next_file(bench: Workbench) -> None:
    bench.service.script("submit", AfterActing(OutcomeUnknown("504")))
    drop(bench, 2)
    bench.settle()
    bench.send()
    assert len(bench.service.named("submit")) == 1
    assert (lane_reason(bench), service_reason(bench)) == (LaneReason.SERVICE_UNAVAILABLE, None)


def test_a_file_that_is_locked_by_others_stops_nobody(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(**_arguments: object) -> str:
        raise FileBusy("another program holds it open")

    monkeypatch.setattr(filing, "file_away", held)
    drop(bench, 3)
    bench.submit()
    assert len(bench.service.submissions) == 3
    assert lane_reason(bench) is None


def fail_to_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the disk fail wherever this one file is opened."""
    opened = system.descriptor_beneath

    def descriptor_beneath(root: Path, relative_path: str) -> int:
        if relative_path == name:
            raise LocalTrouble(f"cannot read {name}", reason=LaneReason.IO_ERROR)
        return opened(root, relative_path)

    monkeypatch.setattr("agent.folders.reading.descriptor_beneath", descriptor_beneath)


def test_a_file_on_a_bad_spot_of_the_disk_keeps_no_other_for_ever(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_read(monkeypatch, "bad.pdf")
    bench.drop("bad.pdf")
    drop(bench, 3)
    bench.rounds(20)
    assert sorted(bench.service.named("submit")) == ["f00.pdf", "f01.pdf", "f02.pdf"]


def test_a_file_that_cannot_be_read_is_told_until_the_disk_gives_it_back(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_read(monkeypatch, "bad.pdf")
    bench.drop("bad.pdf")
    drop(bench, 1)
    bench.rounds(20)
    assert (lane_reason(bench), bench.file("bad.pdf").detail) == (LaneReason.IO_ERROR, "cannot read bad.pdf")
    monkeypatch.undo()
    bench.rounds(20)
    assert (lane_reason(bench), bench.file("bad.pdf").state) == (None, FileState.ARCHIVED)


def test_a_ledger_that_cannot_be_written_leaves_no_lane_waiting_for_a_probe(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.service.script("submit", DOWN)
    bench.submit()
    bench.clock.advance(10.0)
    bench.ledger.trouble = LedgerUnavailable("disk full")
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            bench.sending.step()
    bench.ledger.trouble = None
    bench.send()
    assert len(bench.service.submissions) == 1


# --- ten refusals in a row -------------------------------------------------------------------------------------------


def test_nine_refused_files_are_just_nine_refused_files(bench: Workbench) -> None:
    bench.service.script("submit", *[REFUSED] * 9)
    drop(bench, 12)
    bench.submit()
    assert len(bench.service.submissions) == 3
    assert lane_reason(bench) is None


def test_ten_in_a_row_stop_the_lane_and_the_rest_stays_in_the_inbox(bench: Workbench) -> None:
    bench.service.script("submit", *[REFUSED] * 100)
    drop(bench, 15)
    bench.submit()
    states = [record.state for record in bench.files()]
    assert (states.count(FileState.REJECTED), states.count(FileState.WAITING)) == (10, 5)
    assert (lane_reason(bench), service_reason(bench)) == (LaneReason.SERVICE_REFUSES_ALL, None)
    assert len(bench.names("inbox")) == 5


def test_one_accepted_between_begins_the_count_anew(bench: Workbench) -> None:
    bench.service.script("submit", *[REFUSED] * 9, None, *[REFUSED] * 9)
    drop(bench, 20)
    bench.submit()
    assert len(bench.service.submissions) == 2
    assert lane_reason(bench) is None


def test_while_everything_is_refused_one_is_tried_every_retry_max_and_stays(bench: Workbench) -> None:
    bench.service.script("submit", *[REFUSED] * 100)
    drop(bench, 15)
    bench.submit()
    for _ in range(40):
        bench.clock.advance(1.0)
        bench.send()
    assert 13 <= len(bench.service.named("submit")) <= 16  # ten, and one every 8 s
    assert len(bench.names("inbox")) == 5


def test_once_one_is_accepted_all_the_rest_goes(bench: Workbench) -> None:
    bench.service.script("submit", *[REFUSED] * 12)
    drop(bench, 15)
    bench.settle()
    for _ in range(100):
        bench.scan()
        bench.send()
        bench.clock.advance(1.0)
    assert len(bench.service.submissions) == 5
    assert lane_reason(bench) is None


def test_the_refusals_of_one_folder_are_not_counted_for_another(three: Workbench) -> None:
    drop(three, 6, 0)
    drop(three, 6, 1)
    three.service.script("submit", *[REFUSED] * 12)
    three.settle()
    three.send()
    assert [lane_reason(three, name) for name in ("one", "two")] == [None, None]


def test_one_bad_file_at_the_head_of_the_queue_keeps_no_good_one_for_ever(bench: Workbench) -> None:
    """Ten bad files stop the lane; the eleventh is bad too, the twelfth is good: what is tried has to change."""
    accept = bench.service._create

    def create(upload: object, content: bytes) -> object:
        if b"bad" in content:
            raise REFUSED
        return accept(upload, content)  # type: ignore[arg-type]  # passed on as it came

    bench.service._create = create  # type: ignore[method-assign, assignment]  # a service that reads
    drop(bench, 11, name="bad")
    bench.drop("good.pdf")
    bench.settle()
    for _ in range(200):
        bench.scan()
        bench.send()
        bench.clock.advance(1.0)
    assert [submission.upload.file_name for submission in bench.service.submissions] == ["good.pdf"]
