"""Unknown outcomes: looked up, waited for, and only then sent again; what cannot be decided is held (faults.md 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import PROJECT, Workbench, pdf

from agent.errors import OutcomeUnknown, ServiceUnavailable
from agent.model import FileRecord, FileState, LaneReason, RetrySettings, Signature, TaskState, Upload

if TYPE_CHECKING:
    from pathlib import Path

LOST = AfterActing(OutcomeUnknown("504"))
NOT_THERE = OutcomeUnknown("502")
DOWN = ServiceUnavailable("down", reason=LaneReason.SERVICE_UNREACHABLE)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A bench on which an outcome is unknown for 600 s before a file is sent again."""
    return Workbench(tmp_path, retry=RetrySettings(first=1.0, max=8.0, unknown_wait=600.0))


def unknown(bench: Workbench, outcome: OutcomeUnknown | AfterActing, path: str = "a.pdf") -> FileRecord:
    """Drop and send a file whose outcome nobody knows afterwards."""
    bench.drop(path)
    bench.service.script("submit", outcome)
    bench.submit()
    record = bench.file(path)
    assert record.state is FileState.UNKNOWN
    return record


def look(bench: Workbench, *, seconds: float, step: float = 20.0) -> None:
    """Look again and again for so many seconds."""
    for _ in range(int(seconds / step)):
        bench.parts.unknown.work("invoices")
        bench.clock.advance(step)


def test_a_task_whose_answer_was_lost_is_found_and_not_sent_again(bench: Workbench) -> None:
    unknown(bench, LOST)
    bench.parts.unknown.work("invoices")
    record, task = bench.file("a.pdf"), bench.task()
    assert (record.state, record.task_id) == (FileState.SUBMITTED, "task-0001")
    assert (record.filing, record.destination, task.file_key) == ("archive", "a.pdf", record.key)
    bench.run()
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    assert len(bench.service.submissions) == 1


def test_a_task_that_is_listed_late_is_found_all_the_same(bench: Workbench) -> None:
    bench.service.list_delay = 60.0
    unknown(bench, LOST)
    look(bench, seconds=50)
    assert bench.file("a.pdf").state is FileState.UNKNOWN
    look(bench, seconds=40)
    assert bench.file("a.pdf").state is FileState.SUBMITTED


def test_a_task_that_is_accepted_late_is_found_all_the_same(bench: Workbench) -> None:
    record = unknown(bench, NOT_THERE)
    look(bench, seconds=40)
    bench.service._create(upload_of(record), pdf("a.pdf"))
    look(bench, seconds=80)
    assert bench.file("a.pdf").state is FileState.SUBMITTED
    assert bench.service.named("submit") == ["a.pdf"]


def test_no_task_for_the_quiet_time_it_is_sent_again_and_not_before(bench: Workbench) -> None:
    unknown(bench, NOT_THERE)
    look(bench, seconds=600)
    assert bench.file("a.pdf").state is FileState.UNKNOWN
    look(bench, seconds=80)
    record = bench.file("a.pdf")
    assert (record.state, record.intent_at) == (FileState.WAITING, None)
    bench.submit()
    assert len(bench.service.submissions) == 1
    assert bench.file("a.pdf").attempts == 2


def test_unknown_again_after_it_was_sent_again_it_has_the_whole_quiet_time_before_it(bench: Workbench) -> None:
    unknown(bench, NOT_THERE)
    look(bench, seconds=680)
    bench.service.script("submit", NOT_THERE)
    bench.submit()  # before anybody looked in between
    assert bench.file("a.pdf").state is FileState.UNKNOWN
    look(bench, seconds=590)
    assert bench.file("a.pdf").state is FileState.UNKNOWN


def test_while_the_service_is_away_no_quiet_time_begins(bench: Workbench) -> None:
    unknown(bench, NOT_THERE)
    bench.service.script("find_submission", *[DOWN] * 40)
    for _ in range(40):
        with pytest.raises(ServiceUnavailable):
            bench.parts.unknown.work("invoices")
        bench.clock.advance(60)
    bench.parts.unknown.work("invoices")
    assert bench.file("a.pdf").state is FileState.UNKNOWN


def test_a_restart_begins_the_quiet_time_anew(bench: Workbench) -> None:
    unknown(bench, NOT_THERE)
    look(bench, seconds=590)
    bench.start()
    bench.recover()
    look(bench, seconds=590)
    assert bench.file("a.pdf").state is FileState.UNKNOWN


def test_a_wall_clock_that_jumps_ends_no_quiet_time(bench: Workbench) -> None:
    unknown(bench, NOT_THERE)
    bench.parts.unknown.work("invoices")
    bench.clock.jump(86400)
    bench.clock.advance(61)
    bench.parts.unknown.work("invoices")
    assert bench.file("a.pdf").state is FileState.UNKNOWN


def test_looks_become_rarer_but_never_rarer_than_a_minute(bench: Workbench) -> None:
    unknown(bench, NOT_THERE)
    for _ in range(300):
        bench.parts.unknown.work("invoices")
        bench.clock.advance(1.0)
    assert 5 <= len(bench.service.named("find_submission")) <= 12


def test_the_last_look_comes_with_the_end_of_the_quiet_time(bench: Workbench) -> None:
    unknown(bench, NOT_THERE)
    look(bench, seconds=600, step=1.0)
    assert bench.file("a.pdf").state is FileState.UNKNOWN
    bench.parts.unknown.work("invoices")
    assert bench.file("a.pdf").state is FileState.WAITING


def test_after_60_hours_it_is_held_for_the_operator(bench: Workbench) -> None:
    unknown(bench, LOST)
    bench.clock.advance(60 * 3600 + 1)
    bench.parts.unknown.work("invoices")
    record = bench.file("a.pdf")
    assert (record.state, bench.service.named("find_submission")) == (FileState.HELD, [])
    assert "60 hours" in record.detail


def test_a_clock_set_back_since_it_was_sent_means_held(bench: Workbench) -> None:
    unknown(bench, LOST)
    bench.clock.jump(-3600)
    bench.parts.unknown.work("invoices")
    assert bench.file("a.pdf").state is FileState.HELD


def test_a_service_that_cannot_say_means_held(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown(bench, LOST)
    monkeypatch.setattr(bench.service, "find_submission", lambda _lookup: None)
    bench.parts.unknown.work("invoices")
    assert bench.file("a.pdf").state is FileState.HELD


def test_more_than_one_task_the_first_is_taken_and_all_are_named(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    record = unknown(bench, LOST)
    bench.service._create(upload_of(record), pdf("a.pdf"))
    bench.parts.unknown.work("invoices")
    assert bench.file("a.pdf").task_id == "task-0001"
    assert "task-0001, task-0002" in caplog.text
    assert "several tasks" in bench.events()


def test_two_files_that_could_both_be_the_task_are_held(bench: Workbench) -> None:
    first = unknown(bench, LOST, "one/a.pdf")
    bench.ledger.commit(first.change(state=FileState.HELD))
    unknown(bench, LOST, "two/a.pdf")
    bench.parts.unknown.work("invoices")
    record = bench.file("two/a.pdf")
    assert record.state is FileState.HELD
    assert "one/a.pdf" in record.detail


def test_a_task_the_ledger_knows_already_is_no_answer(bench: Workbench) -> None:
    bench.drop("one/a.pdf")
    bench.submit()
    unknown(bench, NOT_THERE, "two/a.pdf")
    bench.parts.unknown.work("invoices")
    assert bench.file("two/a.pdf").state is FileState.UNKNOWN


def test_where_tags_are_listed_the_key_decides_and_not_the_name(bench: Workbench) -> None:
    bench.service.lists_tags = True
    record = unknown(bench, LOST)
    stranger = Upload("another key", PROJECT, "a.pdf", "application/pdf", 1, "a.pdf", {"fsagent_key": "another key"})
    bench.service._create(stranger, b"x")
    bench.parts.unknown.work("invoices")
    assert bench.file("a.pdf").task_id == "task-0001"
    assert record.key == bench.service.submissions[0].upload.key


def test_a_file_that_changed_since_nobody_knows_what_arrived_of_it(bench: Workbench) -> None:
    unknown(bench, LOST)
    (bench.place("inbox") / "a.pdf").write_bytes(pdf("written to, perhaps while it was sent"))
    bench.run()
    assert bench.task("task-0001").state is TaskState.SUPERSEDED
    assert bench.contents("archive") == {"a.pdf": pdf("written to, perhaps while it was sent")}
    assert [task.state for task in bench.ledger.find_tasks()].count(TaskState.EXPORTED) == 1


def test_a_file_replaced_as_a_whole_arrived_as_it_was(bench: Workbench) -> None:
    unknown(bench, LOST)
    other = bench.base / "other"
    other.write_bytes(pdf("another file"))
    other.replace(bench.place("inbox") / "a.pdf")
    bench.parts.unknown.work("invoices")
    assert bench.task("task-0001").state is TaskState.PROCESSING


def test_its_folder_being_away_keeps_no_lost_answer_from_being_found(bench: Workbench) -> None:
    unknown(bench, LOST)
    bench.place("inbox").rename(bench.base / "unmounted")
    bench.parts.unknown.work("invoices")
    assert bench.file("a.pdf").state is FileState.SUBMITTED


def upload_of(record: FileRecord) -> Upload:
    assert isinstance(record.signature, Signature)
    return Upload(
        key=record.key,
        project_id=record.project_id,
        file_name=record.relative_path,
        content_type="application/pdf",
        size=record.signature.size,
        task_name=record.task_name,
        tags={"fsagent_key": record.key},
    )


def test_however_many_are_held_the_one_it_could_also_be_is_seen(bench: Workbench) -> None:
    record = unknown(bench, LOST)
    others = [
        held(f"{number:04}", name="another.pdf" if number < 1000 else record.task_name, at=float(number))
        for number in range(1001)
    ]
    bench.ledger.commit(*others)
    bench.parts.unknown.work("invoices")
    assert bench.file("a.pdf").state is FileState.HELD
    assert "could also be that of 1000.pdf" in bench.file("a.pdf").detail


def held(key: str, *, name: str, at: float) -> FileRecord:
    signature = Signature(f"9:{key}", 1, 1)
    return FileRecord(
        key, "others", f"{key}.pdf", signature, FileState.HELD, at, at, project_id=PROJECT, task_name=name
    )
