"""Exports that were staged and not published when the process died: whatever has changed since, none is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import Killed, Lifeline, Workbench, make_folders_mortal, watch_folder

from agent.errors import ServiceUnavailable, TaskFatal
from agent.folders import publishing
from agent.model import LaneReason, OnConflict, ServiceTaskState, TaskState
from agent.rules.naming import is_staged_name
from agent.runtime.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from agent.model import ExportFile, Task

DOWN = ServiceUnavailable("down", reason=LaneReason.SERVICE_UNREACHABLE)
EXPORT = {"a.csv": b"name\na.pdf\n", "a.pdf": b"%PDF-1.4\na.pdf\n%%EOF\n"}


class KilledOnceStaged(Lifeline):
    """Kills the process as soon as everything of an export is staged and nothing is published."""

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench

    def cross(self, boundary: str) -> None:
        if any(task.staged and not task.published for task in self._bench.ledger.find_tasks()):
            self.dead = True
        if self.dead:
            raise Killed(boundary)


def staged(base: Path, **folder: Any) -> Workbench:
    """Return a bench whose agent died over the one export it had staged; a new process has begun."""
    bench = Workbench(base, watch_folder(base, **folder))
    bench.drop("a.pdf")
    bench.submit()
    bench.lifeline = KilledOnceStaged(bench)
    bench.start()
    with pytest.MonkeyPatch.context() as patch:
        make_folders_mortal(patch, bench.lifeline)
        with pytest.raises(Killed):
            bench.export_loop.step()
    assert not any(name in EXPORT for name in bench.names("output"))
    bench.lifeline = None
    bench.start()
    return bench


def with_other_ids(bench: Workbench) -> None:
    """Let every staged file have had another device and id, as before a share was mounted anew."""
    task = bench.task()
    plan = tuple(replace(planned, identity=f"ffff:{number}") for number, planned in enumerate(task.plan))
    bench.ledger.commit(task.change(plan=plan))


def test_files_whose_ids_have_changed_are_known_by_their_bytes_and_published(tmp_path: Path) -> None:
    bench = staged(tmp_path)
    with_other_ids(bench)

    bench.run()

    assert bench.contents("output") == EXPORT
    assert bench.task().state is TaskState.EXPORTED


def test_a_published_file_whose_id_has_changed_is_not_written_again(tmp_path: Path) -> None:
    bench = staged(tmp_path)
    first = next(planned for planned in bench.task().plan if planned.target == "a.pdf")
    output = bench.place("output")
    (output / first.staged).rename(output / first.target)
    with_other_ids(bench)

    bench.run()

    assert bench.contents("output") == EXPORT


def test_a_staged_file_that_lost_its_bytes_is_fetched_again(tmp_path: Path) -> None:
    bench = staged(tmp_path, export={"retry_delay": 1.0})
    first = bench.task().plan[0]
    lost = bench.place("output") / first.staged
    lost.rename(lost.with_name("old"))
    lost.write_bytes(b"\0" * first.size)
    lost.with_name("old").unlink()
    with_other_ids(bench)

    bench.run()

    assert bench.contents("output") == EXPORT


def test_an_output_configured_anew_gets_the_export(tmp_path: Path) -> None:
    bench = staged(tmp_path)
    new = tmp_path / "another disk"
    new.mkdir()
    folder = bench.folder
    moved = replace(folder, output=new, export=replace(folder.export, error=new / "error"))
    bench.settings = replace(bench.settings, watch_folders=(moved,))
    bench.start()

    bench.run()

    assert bench.contents("output") == EXPORT


def test_an_output_put_in_its_place_and_adopted_gets_the_export(tmp_path: Path) -> None:
    bench = staged(tmp_path)
    output = bench.place("output")
    output.rename(tmp_path / "broken disk")
    output.mkdir()
    operations = Operations(
        bench.settings, ledger=bench.parts.ledger, clock=bench.clock, file_away=bench.parts.file_away
    )
    assert operations.adopt(folder="invoices")["ok"]

    bench.run()

    assert bench.contents("output") == EXPORT


def test_another_agent_that_starts_after_a_crash_leaves_the_staged_files_of_this_one(tmp_path: Path) -> None:
    bench = staged(tmp_path)
    intruder = Workbench(tmp_path / "intruder", replace(bench.folder, inbox=None, archive=None, error=None))
    intruder.recover()
    intruder.recover()  # the first did not end cleanly

    bench.run()

    assert bench.contents("output") == EXPORT


def test_copies_that_are_no_longer_configured_keep_no_export_back(tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    bench = staged(tmp_path, export={"archive": copies})
    folder = bench.folder
    without = replace(folder, export=replace(folder.export, archive=None))
    bench.settings = replace(bench.settings, watch_folders=(without,))
    bench.start()

    bench.run()

    assert bench.contents("output") == EXPORT


def test_what_was_written_into_an_empty_mount_point_is_not_taken_for_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Workbench(tmp_path)
    bench.drop("a.pdf")
    bench.submit()
    bench.output_guards["invoices"].check()
    output, real = bench.place("output"), bench.service.download

    def goes_away(file: ExportFile) -> AbstractContextManager[Iterator[bytes]]:
        output.rename(tmp_path / "share")
        output.mkdir()
        return real(file)

    with monkeypatch.context() as patch:
        patch.setattr(bench.service, "download", goes_away)
        bench.export_loop.step()
    assert "complete" not in bench.service.actions("task-0001")
    output.rename(tmp_path / "mount point")
    (tmp_path / "share").rename(output)

    bench.run()

    visible = {name: content for name, content in bench.contents("output").items() if not is_staged_name(name)}
    assert visible == EXPORT


def test_a_completion_under_way_at_the_service_is_no_open_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Workbench(tmp_path)
    bench.drop("a.pdf")
    bench.submit()
    bench.service.script("complete_export", AfterActing(DOWN))
    real = bench.service.get_task

    def running(task_id: str, *, project_id: str) -> Task:
        return replace(real(task_id, project_id=project_id), state=ServiceTaskState.RUNNING)

    monkeypatch.setattr(bench.service, "get_task", running)
    bench.export_loop.step()
    bench.clock.advance(2.0)

    bench.aftercare.step()

    assert bench.task().state is TaskState.EXPORTED


def test_a_lease_that_is_over_is_not_cancelled_for_whoever_holds_one_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Workbench(tmp_path)
    bench.drop("a.pdf")
    bench.submit()
    real = bench.service.download

    def outlasts(file: ExportFile) -> AbstractContextManager[Iterator[bytes]]:
        bench.clock.advance(2 * bench.settings.service.lease)
        bench.service.start_export(bench.service.tasks()[0])
        return real(file)

    monkeypatch.setattr(bench.service, "download", outlasts)

    bench.export_loop.step()

    assert bench.service.tasks()[0].state is ServiceTaskState.PENDING_COMPLETE
    assert "cancel" not in bench.service.actions("task-0001")


def test_a_task_failed_here_is_failed_there_though_its_specification_makes_no_sense(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench.drop("a.pdf")
    bench.submit()
    bench.service.script("start_export", *[AfterActing(TaskFatal("it has no list of documents"))] * 2)
    bench.service.script("fail_export", DOWN)
    bench.export_loop.step()
    assert bench.task().state is TaskState.FAILED
    bench.clock.advance(bench.service.lease + 60)

    bench.export_loop.step()

    assert bench.service.tasks()[0].state is ServiceTaskState.FAILED


def test_what_is_staged_is_exported_though_a_second_specification_makes_no_sense(tmp_path: Path) -> None:
    bench = staged(tmp_path)
    bench.service.script("start_export", AfterActing(TaskFatal("it has no list of documents")))

    bench.run()

    assert bench.contents("output") == EXPORT
    assert bench.task().state is TaskState.EXPORTED


def test_what_a_failed_export_left_visible_goes_when_the_task_is_offered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = staged(tmp_path, export={"on_conflict": OnConflict.FAIL})
    publish, output = publishing.publish, bench.place("output")

    def taken_meanwhile(*arguments: Any, **options: Any) -> None:
        publish(*arguments, **options)
        (output / "a.csv").write_text("a stranger's", encoding="utf-8")

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "publish", taken_meanwhile)
        patch.setattr(publishing, "discard", killed)
        with pytest.raises(Killed):
            bench.run()
    assert (bench.task().state, "a.pdf" in bench.names("output")) == (TaskState.FAILED, True)
    bench.start()
    bench.clock.advance(bench.service.lease + 60)

    bench.export_loop.step()

    assert bench.contents("output") == {"a.csv": b"a stranger's"}
    assert bench.service.tasks()[0].state is ServiceTaskState.FAILED


def test_a_failed_task_offered_again_takes_no_file_that_came_into_its_place_since(tmp_path: Path) -> None:
    bench = staged(tmp_path, export={"on_conflict": OnConflict.FAIL})
    (bench.place("output") / "a.csv").write_text("a stranger's", encoding="utf-8")
    first = next(planned for planned in bench.task().plan if planned.target == "a.pdf")
    bench.service.script("fail_export", DOWN)
    waiting = bench.place("output") / "later.pdf"
    (bench.place("output") / first.staged).rename(waiting)  # keeps its id for the file that is to come

    for _ in range(3):
        bench.round()
    assert bench.task().state is TaskState.FAILED
    waiting.rename(bench.place("output") / first.target)
    bench.clock.advance(bench.service.lease + 60)
    bench.export_loop.step()

    assert bench.service.tasks()[0].state is ServiceTaskState.FAILED
    assert bench.contents("output") == {"a.csv": b"a stranger's", "a.pdf": EXPORT["a.pdf"]}
