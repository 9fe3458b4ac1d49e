"""Plan: where the files of an export will stand, the same names again after a crash, none that is somebody else's."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from fakes.workbench import watch_folder

from agent.errors import LocalTrouble, TaskFatal
from agent.export.planning import make_archive, plan_export, retarget, root_of
from agent.model import ExportFile, FileSource, OnConflict, PlannedFile, TaskRecord, TaskState, WatchFolder
from agent.rules.naming import is_staged_name

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_711_958_908.0


def entropy() -> int:
    return 0xBEEF


def content(name: str, folder: str = "") -> ExportFile:
    return ExportFile(folder, name, FileSource.CONTENT, content="text")


def task(source_folder: str = "", plan: tuple[PlannedFile, ...] = ()) -> TaskRecord:
    return TaskRecord(
        "task-1", "invoices", "p", "a.pdf", TaskState.EXPORTING, 0.0, 0.0, source_folder=source_folder, plan=plan
    )


def plan(folder: WatchFolder, *files: ExportFile, record: TaskRecord | None = None) -> tuple[PlannedFile, ...]:
    return plan_export(folder, record or task(), files, now=NOW, entropy=entropy)


def targets(planned: tuple[PlannedFile, ...], root: str = "output") -> list[str]:
    return [file.target for file in planned if file.root == root]


def folder_with(base: Path, **export: Any) -> WatchFolder:
    return watch_folder(base, export=export)


def output(folder: WatchFolder) -> Path:
    return root_of(folder, "output")


def test_a_target_lies_below_the_folder_of_the_source(tmp_path: Path) -> None:
    found = plan(folder_with(tmp_path), content("a.csv", "by customer"), record=task("2024/May"))
    assert targets(found) == ["2024/May/by customer/a.csv"]


def test_a_staged_file_lies_hidden_beside_its_target(tmp_path: Path) -> None:
    (file,) = plan(folder_with(tmp_path), content("a.csv", "sub"))
    parent, _, name = file.staged.rpartition("/")
    assert parent == "sub"
    assert is_staged_name(name)


def test_one_taken_target_gives_all_files_of_the_task_the_same_suffix(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (output(folder) / "a.csv").touch()
    found = plan(folder, content("a.csv"), content("a.pdf"))
    assert targets(found) == ["a-20240401T080828Z-beef.csv", "a-20240401T080828Z-beef.pdf"]
    assert [file.wanted for file in found] == ["a.csv", "a.pdf"]


def test_names_that_differ_in_case_only_do_not_meet(tmp_path: Path) -> None:
    assert targets(plan(folder_with(tmp_path), content("a.csv"), content("A.CSV"))) == ["a.csv", "A-2.CSV"]


def test_overwrite_keeps_the_name_of_a_plain_file(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, on_conflict=OnConflict.OVERWRITE)
    (output(folder) / "a.csv").touch()
    assert targets(plan(folder, content("a.csv"))) == ["a.csv"]


def test_fail_fails_the_task(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, on_conflict=OnConflict.FAIL)
    (output(folder) / "a.csv").touch()
    with pytest.raises(TaskFatal, match="exists already"):
        plan(folder, content("a.csv"))


@pytest.mark.parametrize("on_conflict", list(OnConflict))
def test_a_folder_of_that_name_fails_the_task_whatever_is_configured(tmp_path: Path, on_conflict: OnConflict) -> None:
    folder = folder_with(tmp_path, on_conflict=on_conflict)
    (output(folder) / "a.csv").mkdir()
    with pytest.raises(TaskFatal):
        plan(folder, content("a.csv"))


@pytest.mark.parametrize("name", ["error", "Error", "copies"])
def test_no_export_takes_the_name_of_the_folder_for_notes_or_above_that_for_copies(tmp_path: Path, name: str) -> None:
    folder = folder_with(tmp_path, archive=tmp_path / "invoices" / "output" / "copies" / "deep")
    with pytest.raises(TaskFatal, match="keeps"):
        plan(folder, content(name))


def test_an_export_may_have_a_folder_of_that_name(tmp_path: Path) -> None:
    assert targets(plan(folder_with(tmp_path), content("a.csv", "error"))) == ["error/a.csv"]


def test_the_same_specification_gets_the_same_names_as_before_a_crash(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (output(folder) / "a.csv").touch()
    before = plan(folder, content("a.csv"), content("b.csv"))
    (output(folder) / "a.csv").unlink()
    after = plan_export(folder, task(plan=before), (content("a.csv"), content("b.csv")), now=NOW + 99, entropy=entropy)
    assert targets(after) == targets(before)


def test_another_specification_gets_names_of_its_own(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    before = plan(folder, content("a.csv"))
    after = plan_export(folder, task(plan=before), (content("a.csv"), content("b.csv")), now=NOW, entropy=entropy)
    assert targets(after) == ["a.csv", "b.csv"]


def test_copies_have_names_of_their_own_and_never_overwrite(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, archive=tmp_path / "copies", on_conflict=OnConflict.OVERWRITE)
    make_archive(folder)
    for root in ("output", "archive"):
        (root_of(folder, root) / "a.csv").touch()
    found = plan(folder, content("a.csv"))
    assert targets(found) == ["a.csv"]
    assert targets(found, "archive") == ["a-20240401T080828Z-beef.csv"]


def test_no_free_name_at_all_is_the_tasks_end_and_no_loop(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (output(folder) / "a-20240401T080828Z-beef.csv").touch()
    with pytest.raises(TaskFatal, match="no free name"):
        retarget(folder, "output", ["a.csv"], now=NOW, entropy=entropy)


def test_the_folder_for_copies_is_made_below_the_output(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, archive=tmp_path / "invoices" / "output" / "copies" / "deep")
    make_archive(folder)
    assert root_of(folder, "archive").is_dir()


@pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="rights are inherited from the folder here")
def test_the_folder_for_copies_has_the_configured_mode(tmp_path: Path) -> None:
    copies = tmp_path / "invoices" / "output" / "copies"
    make_archive(folder_with(tmp_path, archive=copies, folder_mode=0o711))
    assert stat.S_IMODE(copies.stat().st_mode) == 0o711


def test_the_folder_for_copies_is_not_made_where_its_share_is_away(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, archive=tmp_path / "share" / "copies")
    with pytest.raises(LocalTrouble):
        make_archive(folder)
    assert not (tmp_path / "share").exists()
