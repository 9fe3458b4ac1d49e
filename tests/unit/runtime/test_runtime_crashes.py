"""Killed at every boundary of its life, and again while it recovers: the agent ends up where it would have without.

A boundary is a change of the ledger, a call of the service, a block sent or received, or a change in a folder, before
and after it happened (`fakes.workbench.Lifeline`).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.crash_sweep import STRIDE, Sweep, assert_folders
from fakes.memory_service import AfterActing
from fakes.workbench import pdf

from agent.errors import FileRefused, OutcomeUnknown
from agent.folders import system
from agent.model import (
    ExportFile,
    ExportSpecification,
    FileSource,
    FileState,
    Reason,
    ServiceTaskState,
    TaskState,
)
from agent.runtime.operations import Operations

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.memory_service import Submission
    from fakes.workbench import Workbench

    from agent.model import Task

A = "sub/a.pdf"
HALF = b"%PDF-1.4\nand the rest never came"
EXPORTED = {"sub/a.csv": b"name\na.pdf\n", "sub/a.pdf": pdf(A)}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    return Sweep(tmp_path, monkeypatch)


def assert_exported_once(bench: Workbench, archived: str = A) -> None:
    record, task = bench.file(A), bench.task()
    assert [submission.content for submission in bench.service.submissions] == [pdf(A)]
    assert (record.state, record.filed_in, record.filed_as) == (FileState.ARCHIVED, "archive", archived)
    assert (task.state, task.file_key) == (TaskState.EXPORTED, record.key)
    assert task.ended_at is not None
    assert bench.service.actions(task.task_id).count("complete") == 1
    assert "fail" not in bench.service.actions(task.task_id)


def note_in(bench: Workbench, place: str, name: str) -> str:
    """Return the text of a note and take it away from what is compared."""
    path = bench.place(place) / f"{name}.error.txt"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    return text


def across_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no rename lead from one folder into another: each is a device of its own."""
    rename = system.Folder.rename

    def renamed(self: system.Folder, name: str, destination: system.Folder, new_name: str) -> None:
        if self.path != destination.path:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(self, name, destination, new_name)

    monkeypatch.setattr(system.Folder, "rename", renamed)


# --- the way in and the way out --------------------------------------------------------------------------------------


def is_exported_once(bench: Workbench) -> None:
    assert_exported_once(bench)
    assert_folders(bench, archive={A: pdf(A)}, output=EXPORTED)


def test_a_file_sent_filed_and_exported(sweep: Sweep) -> None:
    sweep.run(is_exported_once, fewest=70)


@pytest.mark.parametrize("part", range(4))
def test_killed_again_while_it_recovers(sweep: Sweep, part: int) -> None:
    sweep.run_twice(is_exported_once, part=part, parts=4 * STRIDE)


def test_an_archive_on_another_device(sweep: Sweep) -> None:
    across_devices(sweep.monkeypatch)

    def check(bench: Workbench) -> None:
        assert_exported_once(bench)
        assert_folders(bench, archive={A: pdf(A)}, output=EXPORTED)

    sweep.run(check, fewest=70)


def test_a_name_that_is_taken_in_the_archive_and_in_the_output(sweep: Sweep) -> None:
    def prepare(bench: Workbench) -> None:
        bench.drop(A)
        for place in ("archive", "output"):
            (bench.place(place) / "sub").mkdir()
            (bench.place(place) / A).write_bytes(b"somebody else's")

    def check(bench: Workbench) -> None:
        assert_exported_once(bench, archived=bench.file(A).filed_as)
        assert sorted(bench.contents("archive").values()) == sorted([b"somebody else's", pdf(A)])
        assert sorted(bench.contents("output").values()) == sorted([b"somebody else's", *EXPORTED.values()])
        for place in ("archive", "output"):
            assert bench.contents(place)[A] == b"somebody else's"

    sweep.prepare = prepare
    sweep.run(check, fewest=70)


def test_an_answer_that_gets_lost_beside(sweep: Sweep) -> None:
    def prepare(bench: Workbench) -> None:
        bench.drop(A)
        bench.service.script("submit", AfterActing(OutcomeUnknown("504")))

    sweep.prepare = prepare
    sweep.run(is_exported_once, fewest=70)


def test_copies_of_exports_in_an_archive_of_their_own(sweep: Sweep) -> None:
    sweep.folder = lambda base: {"export": {"archive": base / "copies"}}

    def check(bench: Workbench) -> None:
        assert_exported_once(bench)
        copies = bench.folder.export.archive
        assert copies is not None
        assert {p.relative_to(copies).as_posix(): p.read_bytes() for p in copies.rglob("*") if p.is_file()} == EXPORTED

    sweep.run(check, fewest=70)


def test_a_file_that_was_announced_takes_its_ready_file_along(sweep: Sweep) -> None:
    sweep.folder = lambda _base: {"ready_file": "{file_name}.ready"}

    def prepare(bench: Workbench) -> None:
        bench.drop(A)
        bench.drop(f"{A}.ready", b"")

    def check(bench: Workbench) -> None:
        assert_exported_once(bench)
        assert_folders(bench, archive={A: pdf(A), f"{A}.ready": b""}, output=EXPORTED)

    sweep.prepare = prepare
    sweep.run(check, fewest=70)


def test_twins_of_which_one_is_enough(sweep: Sweep) -> None:
    sweep.folder = lambda _base: {"on_duplicate": "skip"}

    def prepare(bench: Workbench) -> None:
        bench.drop("one.pdf", pdf("same"))
        bench.drop("two.pdf", pdf("same"))

    def check(bench: Workbench) -> None:
        assert [submission.content for submission in bench.service.submissions] == [pdf("same")]
        assert sorted(record.state for record in bench.files()) == [FileState.ARCHIVED, FileState.DUPLICATE]
        assert bench.contents("archive") == {"one.pdf": pdf("same"), "two.pdf": pdf("same")}
        assert bench.task().state is TaskState.EXPORTED

    sweep.prepare = prepare
    sweep.run(check, fewest=70)


# --- what goes to error/ ---------------------------------------------------------------------------------------------


def half_a_file(sweep: Sweep) -> None:
    sweep.folder = lambda _base: {"stalled_after": 2.0, "give_up_after": 4.0}
    sweep.prepare = lambda bench: bench.drop(A, HALF)


def assert_rejected_once(bench: Workbench, reason: Reason, content: bytes) -> None:
    record = bench.file(A)
    assert (record.state, record.reason, record.filed_as) == (FileState.REJECTED, reason, A)
    assert note_in(bench, "error", A).startswith(f"reason: {reason}: ")
    assert_folders(bench, error={A: content})


def test_a_file_that_is_not_whole(sweep: Sweep) -> None:
    half_a_file(sweep)

    def check(bench: Workbench) -> None:
        assert_rejected_once(bench, Reason.TRUNCATED, HALF)
        assert not bench.service.submissions

    sweep.run(check, fewest=40)


def test_a_file_that_is_not_whole_with_error_on_another_device(sweep: Sweep) -> None:
    half_a_file(sweep)
    across_devices(sweep.monkeypatch)
    sweep.run(lambda bench: assert_rejected_once(bench, Reason.TRUNCATED, HALF), fewest=40)


def test_a_file_the_service_refuses(sweep: Sweep) -> None:
    def prepare(bench: Workbench) -> None:
        bench.drop(A)
        bench.service.script("submit", *[FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE)] * 10)

    sweep.prepare = prepare
    sweep.run(lambda bench: assert_rejected_once(bench, Reason.REFUSED_BY_SERVICE, pdf(A)), fewest=40)


def test_a_task_that_fails_at_the_service(sweep: Sweep) -> None:
    def prepare(bench: Workbench) -> None:
        bench.drop(A)
        bench.service.processing_time = 1e6
        bench.world = lambda: fail_queued(bench)

    def fail_queued(bench: Workbench) -> None:
        for task in bench.service.tasks():
            if task.state is ServiceTaskState.QUEUED:
                bench.service.end(task.id, ServiceTaskState.FAILED, message="unreadable")

    def check(bench: Workbench) -> None:
        assert bench.task().state is TaskState.FAILED
        assert len(bench.service.submissions) == 1
        assert_rejected_once(bench, Reason.TASK_FAILED, pdf(A))

    sweep.prepare = prepare
    sweep.run(check, fewest=70)


def test_an_export_with_a_hostile_name(sweep: Sweep) -> None:
    def prepare(bench: Workbench) -> None:
        bench.drop(A)
        bench.service.specify = hostile

    def hostile(_task: Task, _submission: Submission) -> ExportSpecification:
        return ExportSpecification(((ExportFile("../..", "x.csv", FileSource.CONTENT, content="x"),),))

    def check(bench: Workbench) -> None:
        task = bench.task()
        assert task.state is TaskState.FAILED
        assert len(bench.service.submissions) == 1
        assert bench.service.actions(task.task_id).count("fail") <= 1
        assert f"task: {task.task_id}" in note_in(bench, "output/error", "a.pdf")
        assert_rejected_once(bench, Reason.TASK_FAILED, pdf(A))

    sweep.prepare = prepare
    sweep.run(check, fewest=70)


# --- what comes after ------------------------------------------------------------------------------------------------


def test_a_source_that_is_deleted_once_it_is_exported(sweep: Sweep) -> None:
    sweep.folder = lambda _base: {"after_submit": "delete"}

    def act(bench: Workbench) -> None:
        bench.run()
        bench.clock.advance(61)
        bench.round()

    def check(bench: Workbench) -> None:
        assert bench.task().state is TaskState.EXPORTED
        assert bench.file(A).filed_in == "deleted"
        assert_folders(bench, output=EXPORTED)

    sweep.act = act
    sweep.run(check, fewest=70)


def test_a_file_retried_from_error(sweep: Sweep) -> None:
    def prepare(bench: Workbench) -> None:
        bench.drop(A)
        bench.service.script("submit", FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE))
        bench.run()
        bench.world = lambda: None

    def act(bench: Workbench) -> None:
        bench.recover()
        operations = Operations(
            bench.settings, ledger=bench.parts.ledger, clock=bench.process_clock, file_away=bench.parts.file_away
        )
        operations.retry(everything=True)
        bench.run()

    def check(bench: Workbench) -> None:
        assert [submission.content for submission in bench.service.submissions] == [pdf(A)]
        assert sorted(record.state for record in bench.files()) == [FileState.ARCHIVED, FileState.GONE]
        assert_folders(bench, archive={A: pdf(A)}, output=EXPORTED)

    sweep.prepare = prepare
    sweep.act = act
    sweep.run(check, fewest=70)


def test_a_file_that_changes_while_it_is_sent(sweep: Sweep) -> None:
    new = pdf("the new content")

    def prepare(bench: Workbench) -> None:
        source = bench.drop(A)
        bench.service.specify = replaced_once(bench, source)

    def replaced_once(bench: Workbench, source: Path) -> Any:
        specify = bench.service.specify
        create = bench.service._create

        def created(*arguments: Any) -> Task:
            if source.exists() and source.read_bytes() == pdf(A):
                source.write_bytes(new)
            return create(*arguments)

        sweep.monkeypatch.setattr(bench.service, "_create", created)
        return specify

    def check(bench: Workbench) -> None:
        first, second = (submission.content for submission in bench.service.submissions)
        assert (first, second) == (pdf(A), new)
        assert_folders(bench, archive={A: new}, output={**EXPORTED, A: new})
        kept = {task.state: task.task_id for task in bench.ledger.find_tasks()}
        assert kept.keys() - {TaskState.EXPORTED} <= {TaskState.SUPERSEDED, TaskState.FAILED}
        assert [bench.service.actions(task_id).count("complete") for task_id in kept.values()].count(1) == 1

    sweep.prepare = prepare
    sweep.run(check, fewest=70)
