"""Export one task: start, write, complete; what the service is told when, and what every trouble on the way means."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import Workbench, watch_folder

from agent.errors import (
    LedgerUnavailable,
    LocalTrouble,
    ServiceUnavailable,
    Stopping,
    TaskFatal,
    TaskMoved,
    TaskTransient,
)
from agent.folders import publishing, system
from agent.model import (
    ExportFile,
    ExportSpecification,
    FileSource,
    FileState,
    LaneReason,
    ServiceTaskState,
    TaskState,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import Task, TaskRecord

DOWN = ServiceUnavailable("down", reason=LaneReason.SERVICE_UNREACHABLE)
LATE = 2 * 60.0
EXPORT = {"a.csv": b"name\na.pdf\n", "a.pdf": b"%PDF-1.4\na.pdf\n%%EOF\n"}


class Export:
    """One task of ours that waits for export, and the stage that is to export it."""

    def __init__(self, base: Path, **folder: Any) -> None:
        self.bench = Workbench(base, watch_folder(base, **folder))
        self.bench.recover()
        self.bench.drop("a.pdf")
        self.bench.submit()
        self.bench.output_guards["invoices"].check()
        self.service = self.bench.service

    @property
    def task(self) -> TaskRecord:
        return self.bench.task()

    @property
    def state(self) -> str:
        return self.task.state.value

    def at_service(self) -> Task:
        return self.service.tasks()[0]

    def work(self) -> None:
        """Export what the poll finds, as the loop would."""
        for folder, record, task in self.bench.parts.polling.work(self.bench.settings.watch_folders):
            self.bench.parts.exporting.work(folder, record, task)

    def recover(self) -> None:
        self.bench.parts.exporting.recover(self.bench.folder, self.task)

    def interrupted(self) -> list[str]:
        return [record.task_id for record in self.bench.parts.exporting.interrupted(self.bench.folder)]

    def specify(self, *files: ExportFile) -> None:
        self.service.specify = lambda _task, _submission: ExportSpecification((files,))

    def outputs(self) -> dict[str, bytes]:
        return self.bench.contents("output")


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def content(name: str, text: str = "text", folder: str = "") -> ExportFile:
    return ExportFile(folder, name, FileSource.CONTENT, content=text)


# --- the main way ----------------------------------------------------------------------------------------------------


def test_files_are_in_place_when_the_service_is_told_and_it_is_told_once(export: Export) -> None:
    seen = []
    complete = export.service.complete_export

    def completed(task_id: str) -> None:
        seen.append((export.outputs(), export.task.published))
        complete(task_id)

    export.service.complete_export = completed  # type: ignore[method-assign]  # looks when the service is told
    export.work()
    assert seen == [(EXPORT, True)]
    assert (export.task.state, export.task.ended_at) == (TaskState.EXPORTED, export.bench.clock.now())
    assert export.service.actions("task-0001") == ("start", "complete")


def test_the_names_are_in_the_ledger_before_the_first_byte_is_asked_for(export: Export) -> None:
    seen = []
    download = export.service.download

    def downloaded(file: ExportFile) -> Any:
        seen.append((export.task.state, [planned.target for planned in export.task.plan]))
        return download(file)

    export.service.download = downloaded  # type: ignore[method-assign]  # looks when a file is asked for
    export.work()
    assert seen == [(TaskState.EXPORTING, ["a.csv", "a.pdf"])]


def test_that_it_was_begun_is_in_the_ledger_before_the_lease_is_taken(export: Export) -> None:
    export.service.script("start_export", AfterActing(DOWN))
    with pytest.raises(ServiceUnavailable):
        export.work()
    assert export.task.state is TaskState.EXPORTING
    assert export.at_service().state is ServiceTaskState.PENDING_COMPLETE


def test_the_source_folder_is_mirrored(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench.drop("2024/März/a.pdf")
    bench.run()
    assert bench.names("output") == ["2024/März/a.csv", "2024/März/a.pdf"]


# --- fatal: the task's own fault -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        content("x", folder="../.."),
        content("x", folder="/etc"),
        content("x", folder="C:\\temp"),
        content(".."),
        content("x" * 199, folder="/".join(["f" * 199] * 6)),
        ExportFile("", "x", FileSource.URL, url="https://elsewhere.example/x"),
    ],
    ids=["climbs", "absolute", "drive", "no name", "path too long", "other origin"],
)
def test_a_hostile_specification_fails_the_task_with_a_note_and_writes_nothing(
    export: Export, file: ExportFile
) -> None:
    export.specify(content("good.csv"), file)
    export.work()
    assert (export.task.state, export.task.ended_at is None) == (TaskState.FAILED, False)
    assert export.at_service().state is ServiceTaskState.FAILED
    assert export.at_service().message == export.task.detail
    assert export.outputs() == {}
    assert export.bench.names("output/error") == ["a.pdf.error.txt"]


def test_the_source_of_a_task_we_failed_goes_from_archive_to_error(export: Export) -> None:
    export.specify(content(".."))
    export.work()
    export.bench.aftercare.step()
    record = export.bench.file("a.pdf")
    assert (record.state, record.filed_in) == (FileState.REJECTED, "error")
    assert "task-0001" in (export.bench.place("error") / "a.pdf.error.txt").read_text(encoding="utf-8")


def test_a_specification_that_makes_no_sense_fails_the_task(export: Export) -> None:
    export.service.script("start_export", AfterActing(TaskFatal("the export specification is no object")))
    export.work()
    assert export.at_service().state is ServiceTaskState.FAILED
    assert export.bench.names("output/error") == ["a.pdf.error.txt"]


def test_a_strangers_note_of_that_name_is_kept(export: Export) -> None:
    (export.bench.place("output/error")).mkdir(exist_ok=True)
    (export.bench.place("output/error") / "a.pdf.error.txt").write_text("mine", encoding="utf-8")
    export.specify(content(".."))
    export.work()
    notes = export.bench.contents("output/error")
    assert notes["a.pdf.error.txt"] == b"mine"
    assert len(notes) == 2


def test_a_task_we_failed_while_the_service_was_away_is_failed_there_when_it_is_offered_again(export: Export) -> None:
    export.specify(content(".."))
    export.service.script("fail_export", DOWN)
    with pytest.raises(ServiceUnavailable):
        export.work()
    assert export.task.state is TaskState.FAILED
    export.bench.clock.advance(export.service.lease + 1)
    export.work()
    assert export.at_service().state is ServiceTaskState.FAILED
    assert export.outputs() == {}


def test_a_superseded_task_is_failed_and_never_written(export: Export) -> None:
    export.bench.ledger.commit(export.task.change(state=TaskState.SUPERSEDED, detail="the file changed"))
    export.work()
    assert export.service.actions("task-0001") == ("start", "fail")
    assert (export.task.state, export.task.ended_at is None) == (TaskState.SUPERSEDED, False)
    assert (export.at_service().message, export.outputs()) == ("the file changed", {})


def test_a_link_planted_below_the_output_fails_the_task_and_is_not_followed(export: Export) -> None:
    outside = export.bench.base / "outside"
    outside.mkdir()
    link = export.bench.place("output") / "sub"
    try:
        link.symlink_to(outside, target_is_directory=True)
    except (OSError, NotImplementedError) as error:
        pytest.skip(f"no symlinks here: {error}")
    if not link.is_symlink():
        pytest.skip("symlinks are not told from folders here")
    export.specify(content("x.csv", folder="sub"))
    export.work()
    assert export.task.state is TaskState.FAILED
    assert list(outside.iterdir()) == []


# --- transient: the task's own, but it may pass ----------------------------------------------------------------------


def test_a_download_that_fails_leaves_nothing_visible_and_counts_as_an_attempt(export: Export) -> None:
    export.specify(content("a.csv"), ExportFile("", "a.pdf", FileSource.URL, url="/not/there"))
    export.work()
    task = export.task
    assert (task.state, task.attempts, task.started_at) == (TaskState.PROCESSING, 1, None)
    assert task.retry_at == export.bench.clock.now() + export.bench.folder.export.retry_delay
    assert export.at_service().state is ServiceTaskState.PENDING_START
    assert export.outputs() == {}


def test_it_is_tried_again_after_retry_delay_and_not_before(export: Export) -> None:
    export.service.script("download", TaskTransient("cut"))
    export.work()
    export.bench.clock.advance(299)
    export.work()
    assert export.service.actions("task-0001").count("start") == 1
    export.bench.clock.advance(2)
    export.work()
    assert (export.task.state, export.outputs()) == (TaskState.EXPORTED, EXPORT)


def test_a_transient_error_counts_though_the_lease_cannot_be_given_back(export: Export) -> None:
    export.service.script("download", TaskTransient("cut"))
    export.service.script("cancel_export", DOWN)
    with pytest.raises(ServiceUnavailable):
        export.work()
    assert (export.state, export.task.attempts) == ("exporting", 1)
    export.recover()
    assert (export.state, export.task.attempts, export.task.detail) == ("processing", 1, "cut")
    assert export.task.retry_at is not None
    assert export.at_service().state is ServiceTaskState.PENDING_START


def test_attempts_that_are_used_up_hold_the_task_for_the_operator(tmp_path: Path) -> None:
    export = Export(tmp_path, export={"max_attempts": 2, "retry_delay": 1.0})
    export.service.script("download", TaskTransient("cut"), TaskTransient("cut again"))
    for _ in range(3):
        export.work()
        export.bench.clock.advance(2)
    task = export.task
    assert (task.held, task.attempts, task.detail) == (True, 2, "cut again")
    assert task.ended_at is None
    assert export.at_service().state is ServiceTaskState.PENDING_START


def test_attempts_that_are_used_up_fail_the_task_where_that_is_wanted(tmp_path: Path) -> None:
    export = Export(tmp_path, export={"max_attempts": 1, "on_exhausted": "fail"})
    export.service.script("download", TaskTransient("cut"))
    export.work()
    assert (export.task.state, export.task.attempts) == (TaskState.FAILED, 1)
    assert export.at_service().state is ServiceTaskState.FAILED
    assert export.bench.names("output/error") == ["a.pdf.error.txt"]


def test_a_character_the_encoding_has_not_is_no_reason_to_lose_the_data(tmp_path: Path) -> None:
    export = Export(tmp_path, export={"encoding": "cp1252"})
    export.specify(content("a.csv", "\u65e5"))
    export.work()
    assert (export.task.state, export.task.attempts) == (TaskState.PROCESSING, 1)
    assert "U+65E5" in export.task.detail


# --- of the service, or of this place: never an attempt --------------------------------------------------------------


def with_trouble_in(export: Export, monkeypatch: pytest.MonkeyPatch, where: str, trouble: Exception) -> None:
    def failing(*_arguments: object, **_keywords: object) -> None:
        raise trouble

    monkeypatch.setattr(publishing, where, failing)
    with pytest.raises(type(trouble)):
        export.work()


@pytest.mark.parametrize("where", ["stage", "publish", "sync_folders"])
def test_local_trouble_gives_the_lease_back_and_counts_no_attempt(
    export: Export, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with monkeypatch.context() as patch:
        with_trouble_in(export, patch, where, LocalTrouble("full", reason=LaneReason.DISK_FULL))
    assert (export.task.state, export.task.attempts, export.task.started_at) == (TaskState.PROCESSING, 0, None)
    assert export.at_service().state is ServiceTaskState.PENDING_START
    export.work()
    assert (export.task.state, export.outputs()) == (TaskState.EXPORTED, EXPORT)


def test_a_service_that_goes_away_during_a_download_counts_no_attempt(export: Export) -> None:
    export.service.script("download", DOWN)
    with pytest.raises(ServiceUnavailable):
        export.work()
    assert (export.task.state, export.task.attempts) == (TaskState.PROCESSING, 0)


def test_a_lease_that_cannot_be_given_back_is_left_to_recovery(export: Export) -> None:
    export.service.script("download", DOWN)
    export.service.script("cancel_export", DOWN)
    with pytest.raises(ServiceUnavailable):
        export.work()
    assert export.state == "exporting"
    export.recover()
    assert export.state == "processing"
    assert export.at_service().state is ServiceTaskState.PENDING_START


def test_a_stop_gives_the_lease_back(export: Export) -> None:
    export.bench.parts.stop.set()
    with pytest.raises(Stopping):
        export.work()
    assert export.at_service().state is ServiceTaskState.PENDING_START
    assert (export.task.state, export.outputs()) == (TaskState.PROCESSING, {})


def test_a_ledger_that_fails_once_files_are_staged_leaves_none_of_them(export: Export) -> None:
    commit = export.bench.ledger.commit

    def failing(*changes: Any) -> None:
        if getattr(changes[0], "staged", False):
            raise LedgerUnavailable("disk full")
        commit(*changes)

    export.bench.ledger.commit = failing  # type: ignore[method-assign]  # no room for "staged"
    with pytest.raises(LedgerUnavailable):
        export.work()
    assert export.outputs() == {}
    assert export.at_service().state is ServiceTaskState.PENDING_START


def test_no_export_is_begun_without_room_for_it(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Workbench(export.bench.base / "full", watch_folder(export.bench.base / "full"), min_free=1000)
    bench.drop("a.pdf")
    bench.submit()
    monkeypatch.setattr(system, "free_space", lambda _path: 999)
    (folder, record, task), *_ = bench.parts.polling.work(bench.settings.watch_folders)
    with pytest.raises(LocalTrouble) as trouble:
        bench.parts.exporting.work(folder, record, task)
    assert trouble.value.reason is LaneReason.DISK_FULL
    assert bench.service.named("start_export") == []


def test_after_a_full_disk_no_export_is_begun_before_there_is_room_for_what_was_to_be_written(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_root: Path, _staged: str, chunks: Any, **_keywords: Any) -> None:
        for chunk in chunks:
            assert chunk
        raise LocalTrouble("full", reason=LaneReason.DISK_FULL)

    export.specify(content("a.csv", "x" * 5000))
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "stage", full)
        with pytest.raises(LocalTrouble):
            export.work()
    starts = len(export.service.named("start_export"))
    with monkeypatch.context() as patch:
        patch.setattr(system, "free_space", lambda _path: 4999)
        with pytest.raises(LocalTrouble):
            export.work()
        assert len(export.service.named("start_export")) == starts
        patch.setattr(system, "free_space", lambda _path: 5000)
        export.work()
    assert export.task.state is TaskState.EXPORTED


def test_after_a_full_disk_of_copies_no_export_is_begun_before_there_is_room_for_its_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "copies"
    export = Export(tmp_path, export={"archive": copies})
    export.specify(content("a.csv", "x" * 5000))
    monkeypatch.setattr(system, "same_device", lambda one, other: one == other)
    stage = publishing.stage

    def full(root: Path, staged: str, chunks: Any, **keywords: Any) -> Any:
        if root != copies:
            return stage(root, staged, chunks, **keywords)
        raise LocalTrouble(f"full after {sum(map(len, chunks))}", reason=LaneReason.DISK_FULL)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "stage", full)
        with pytest.raises(LocalTrouble):
            export.work()
    starts = len(export.service.named("start_export"))
    monkeypatch.setattr(system, "free_space", lambda path: 4999 if path == copies else 10**9)
    with pytest.raises(LocalTrouble, match="copies"):
        export.work()
    assert len(export.service.named("start_export")) == starts
    monkeypatch.setattr(system, "free_space", lambda path: 5000 if path == copies else 10**9)
    export.work()
    assert export.task.state is TaskState.EXPORTED


# --- leases ----------------------------------------------------------------------------------------------------------


def slowly(export: Export, seconds: float) -> None:
    """Let every download take so long."""
    download = export.service.download

    def slow(file: ExportFile) -> Any:
        export.bench.clock.advance(seconds)
        return download(file)

    export.service.download = slow  # type: ignore[method-assign]  # the network is slow today


def test_what_outlasts_its_share_of_the_lease_is_cancelled(export: Export) -> None:
    slowly(export, 0.81 * 1800)
    export.work()
    assert export.at_service().state is ServiceTaskState.PENDING_START
    assert (export.task.state, export.outputs()) == (TaskState.PROCESSING, {})


def test_a_lease_that_is_over_is_never_completed(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = publishing.publish

    def slow(*arguments: Any, **keywords: Any) -> None:
        export.bench.clock.advance(1000)
        publish(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "publish", slow)
        export.work()
    assert export.service.named("complete_export") == []
    assert (export.task.state, export.task.published) == (TaskState.PROCESSING, True)


def test_after_a_lost_lease_a_new_one_is_taken_only_to_complete(export: Export) -> None:
    export.service.script("complete_export", TaskMoved("the lease is over"))
    export.work()
    assert (export.task.state, export.task.published) == (TaskState.PROCESSING, True)
    for path in export.bench.place("output").glob("a.*"):
        path.unlink()  # a reader has taken them
    export.bench.clock.advance(export.service.lease + 1)
    downloads = len(export.service.named("download"))
    export.work()
    assert export.task.state is TaskState.EXPORTED
    assert len(export.service.named("download")) == downloads
    assert export.outputs() == {}


def test_somebody_else_was_faster(export: Export) -> None:
    export.service.script("start_export", TaskMoved("it is taken"))
    export.work()
    assert (export.task.state, export.task.attempts) == (TaskState.PROCESSING, 0)


def test_a_start_that_was_surely_not_carried_out_leaves_no_lease_to_look_for(export: Export) -> None:
    busy = ServiceUnavailable("busy", reason=LaneReason.RATE_LIMITED, nothing_done=True)
    export.service.script("start_export", busy)
    with pytest.raises(ServiceUnavailable):
        export.work()
    assert (export.task.state, export.task.started_at) == (TaskState.PROCESSING, None)
    export.service.start_export(export.at_service())  # by another agent, whose lease is not ours to cancel
    export.bench.clock.advance(LATE)
    assert export.interrupted() == []


def a_start_whose_answer_is_lost(export: Export) -> None:
    """Lose a start before it is carried out, and look for it."""
    export.service.script("start_export", DOWN)
    with pytest.raises(ServiceUnavailable):
        export.work()
    export.recover()
    assert (export.task.state, export.interrupted()) == (TaskState.PROCESSING, [])


def test_a_start_that_is_carried_out_late_is_found_and_given_back(export: Export) -> None:
    a_start_whose_answer_is_lost(export)
    export.service.start_export(export.at_service())
    export.work()
    assert export.at_service().state is ServiceTaskState.PENDING_COMPLETE
    export.bench.clock.advance(LATE)
    assert export.interrupted() == ["task-0001"]
    export.recover()
    assert (export.at_service().state, export.task.started_at) == (ServiceTaskState.PENDING_START, None)
    export.work()
    assert export.task.state is TaskState.EXPORTED


def test_a_start_that_meets_its_late_forerunner_leaves_it_to_be_found(export: Export) -> None:
    a_start_whose_answer_is_lost(export)
    listed = export.bench.parts.polling.work(export.bench.settings.watch_folders)
    export.service.start_export(export.at_service())
    for folder, record, task in listed:
        export.bench.clock.advance(1)
        export.bench.parts.exporting.work(folder, record, task)
    export.bench.clock.advance(LATE - 1)
    assert export.interrupted() == ["task-0001"]


def test_a_start_that_never_came_is_looked_for_once(export: Export) -> None:
    a_start_whose_answer_is_lost(export)
    export.bench.clock.advance(LATE)
    export.recover()
    assert export.interrupted() == []
    assert export.service.actions("task-0001") == ()


# --- completed, and nobody heard it ----------------------------------------------------------------------------------


def test_a_completion_that_timed_out_but_arrived_is_an_export(export: Export) -> None:
    export.service.script("complete_export", AfterActing(DOWN))
    with pytest.raises(ServiceUnavailable):
        export.work()
    assert "cancel" not in export.service.actions("task-0001")
    export.recover()
    assert export.task.state is TaskState.EXPORTED
    assert export.service.actions("task-0001").count("complete") == 1


def test_a_completion_that_timed_out_and_did_not_arrive_is_made_up_for(export: Export) -> None:
    export.service.script("complete_export", DOWN)
    with pytest.raises(ServiceUnavailable):
        export.work()
    export.recover()
    assert export.task.state is TaskState.EXPORTED
    assert export.service.actions("task-0001") == ("start", "complete")


def test_a_completion_the_service_forgot_meanwhile_is_an_export(export: Export) -> None:
    export.service.script("complete_export", AfterActing(DOWN))
    with pytest.raises(ServiceUnavailable):
        export.work()
    export.bench.clock.advance(73 * 3600)
    export.recover()
    assert export.task.state is TaskState.EXPORTED


def test_a_task_that_was_still_listed_after_its_completion_stays_exported(export: Export) -> None:
    (folder, record, task), *_ = export.bench.parts.polling.work(export.bench.settings.watch_folders)
    export.bench.parts.exporting.work(folder, record, task)
    ended_at = export.task.ended_at
    export.bench.clock.advance(5)
    export.bench.parts.exporting.work(folder, export.task, task)
    assert (export.task.state, export.task.ended_at) == (TaskState.EXPORTED, ended_at)


def test_a_task_offered_again_after_all_is_completed_and_not_written_again(export: Export) -> None:
    export.work()
    export.service._entries["task-0001"].task = export.service._entries["task-0001"].task.__class__(
        "task-0001", "a.pdf", "project-1", ServiceTaskState.PENDING_START
    )
    for path in export.bench.place("output").glob("a.*"):
        path.unlink()
    export.work()
    assert (export.task.state, export.outputs()) == (TaskState.EXPORTED, {})
    assert export.service.actions("task-0001") == ("start", "complete", "start", "complete")


# --- what a crash leaves ---------------------------------------------------------------------------------------------


def exporting(export: Export, *, age: float, **changes: Any) -> None:
    """Leave the row of a process that died `age` seconds after it took the lease."""
    export.service.start_export(export.at_service())
    now = export.bench.clock.now()
    export.bench.ledger.commit(export.task.change(state=TaskState.EXPORTING, started_at=now, **changes))
    export.bench.clock.advance(age)


def test_a_lease_we_hold_is_given_back_and_the_task_offered_again(export: Export) -> None:
    exporting(export, age=60)
    export.recover()
    assert export.at_service().state is ServiceTaskState.PENDING_START
    assert (export.task.state, export.task.started_at) == (TaskState.PROCESSING, None)


def test_what_is_published_already_is_completed_with_the_lease_we_hold(export: Export) -> None:
    exporting(export, age=60, published=True)
    export.recover()
    assert export.at_service().state is ServiceTaskState.COMPLETED
    assert export.service.named("download") == []


def test_near_the_end_of_our_lease_nothing_is_touched_until_it_is_over(export: Export) -> None:
    exporting(export, age=0.9 * 1800)
    export.recover()
    assert export.state == "exporting"
    export.bench.clock.advance(0.2 * 1800)
    export.recover()
    assert export.state == "processing"


def test_a_lease_somebody_else_took_after_ours_is_not_touched(export: Export) -> None:
    exporting(export, age=1801)
    export.service.start_export(export.at_service())
    export.recover()
    assert export.at_service().state is ServiceTaskState.PENDING_COMPLETE
    assert export.task.state is TaskState.PROCESSING


def test_a_task_that_never_got_its_lease_waits_for_the_next_poll(export: Export) -> None:
    export.bench.ledger.commit(export.task.change(state=TaskState.EXPORTING, started_at=export.bench.clock.now()))
    export.recover()
    assert export.task.state is TaskState.PROCESSING


def test_staged_before_a_crash_it_is_published_and_not_fetched_again(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        with_trouble_in(export, patch, "publish", LocalTrouble("away", reason=LaneReason.OUTPUT_MISSING))
    downloads = len(export.service.named("download"))
    export.work()
    assert export.outputs() == EXPORT
    assert len(export.service.named("download")) == downloads


def test_what_a_reader_took_before_the_crash_was_recorded_is_not_written_again(export: Export) -> None:
    commit = export.bench.ledger.commit

    def dying(*changes: Any) -> None:
        if getattr(changes[0], "published", False):
            raise LedgerUnavailable("dead")
        commit(*changes)

    export.bench.ledger.commit = dying  # type: ignore[method-assign]  # nothing is recorded after the last rename
    with pytest.raises(LedgerUnavailable):
        export.work()
    export.bench.ledger.commit = commit  # type: ignore[method-assign]
    (export.bench.place("output") / "a.csv").unlink()
    export.work()
    assert export.task.state is TaskState.EXPORTED
    assert list(export.outputs()) == ["a.pdf"]


def test_a_file_is_not_taken_for_read_while_the_output_is_away(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        with_trouble_in(export, patch, "publish", LocalTrouble("away", reason=LaneReason.OUTPUT_MISSING))
    export.bench.place("output").rename(export.bench.base / "unmounted")
    os.makedirs(export.bench.place("output"))  # noqa: PTH103 -- an empty mount point
    with pytest.raises(LocalTrouble):
        export.work()
    assert export.task.state is TaskState.PROCESSING
    assert export.service.named("complete_export") == []
