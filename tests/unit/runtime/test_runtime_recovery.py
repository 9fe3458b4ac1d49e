"""Recovery at start: what a process that ended anyhow leaves, and what a new one makes of it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.workbench import PROJECT, Workbench, watch_folder

from agent.errors import LedgerMissing
from agent.folders.roots import MARKER
from agent.model import FileSource, FileState, PlannedFile, TaskRecord, TaskState
from agent.runtime.folder_care import FolderCare
from agent.runtime.recovery import end_cleanly, make_folders, recover, refuse_without_ledger

if TYPE_CHECKING:
    from pathlib import Path

STAGED = ".fsagent-0123456789abcdef.part"
OTHER = ".fsagent-fedcba9876543210.part"


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    bench.scan()
    bench.export_loop.step()
    return bench


def killed_once(bench: Workbench) -> None:
    """Leave the note of a process that did not end cleanly."""
    recover(bench.settings, bench.ledger)


def litter(root: Path, name: str = STAGED) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    return path


def task(**values: object) -> TaskRecord:
    plan = (PlannedFile("a.csv", "a.csv", STAGED, FileSource.CONTENT),)
    record = TaskRecord("task-1", "invoices", PROJECT, "a.pdf", TaskState.EXPORTING, 0.0, 0.0, plan=plan)
    return replace(record, **values)  # type: ignore[arg-type]  # names of its fields


# --- staged files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["output", "archive", "error"])
def test_what_a_killed_process_left_half_written_is_removed(bench: Workbench, place: str) -> None:
    killed_once(bench)
    left = litter(bench.place(place) / "sub")
    bench.recover()
    assert not left.exists()


def test_what_a_staged_export_will_roll_forward_is_kept(bench: Workbench) -> None:
    killed_once(bench)
    bench.ledger.commit(task(staged=True))
    kept, left = litter(bench.place("output")), litter(bench.place("output"), OTHER)
    bench.recover()
    assert (kept.exists(), left.exists()) == (True, False)


def test_the_copies_a_staged_export_will_roll_forward_are_kept_where_they_lie_below_the_output(tmp_path: Path) -> None:
    folder = watch_folder(tmp_path)
    copies = tmp_path / "invoices" / "output" / "copies"
    bench = Workbench(tmp_path, replace(folder, export=replace(folder.export, archive=copies)))
    bench.scan()
    bench.export_loop.step()
    killed_once(bench)
    plan = (PlannedFile("a.csv", "a.csv", STAGED, FileSource.CONTENT, root="archive"),)
    bench.ledger.commit(task(staged=True, plan=plan))
    kept, left = litter(copies), litter(copies, OTHER)
    bench.recover()
    assert (kept.exists(), left.exists()) == (True, False)


@pytest.mark.parametrize("changes", [{"staged": False}, {"staged": True, "published": True}])
def test_what_no_export_will_need_is_not_kept(bench: Workbench, changes: dict[str, bool]) -> None:
    killed_once(bench)
    bench.ledger.commit(task(**changes))
    left = litter(bench.place("output"))
    bench.recover()
    assert not left.exists()


def test_after_a_clean_end_nothing_is_looked_for(bench: Workbench) -> None:
    killed_once(bench)
    end_cleanly(bench.ledger)
    left = litter(bench.place("output"))
    bench.recover()
    assert left.exists()


def test_a_process_that_runs_is_not_clean_until_it_says_so(bench: Workbench) -> None:
    bench.recover()
    assert bench.ledger.note("run") == {"clean": False}


@pytest.mark.parametrize("place", ["output", "archive"])
def test_in_the_folders_of_another_agent_nothing_is_removed(bench: Workbench, place: str) -> None:
    killed_once(bench)
    left = litter(bench.place(place))
    for root in ("inbox", "output"):
        (bench.place(root) / MARKER).write_text("f" * 32 + "\n", encoding="ascii")
    bench.recover()
    assert left.exists()


def test_a_folder_that_is_away_stops_nothing(bench: Workbench) -> None:
    killed_once(bench)
    bench.place("output").rename(bench.base / "unmounted")
    bench.recover()


def test_a_folder_that_gives_only_errors_keeps_its_watch_folder_from_nothing(bench: Workbench) -> None:
    dead = bench.base / ("x" * 300)  # asking for a name that long is an error, as asking a dead share is
    folder = replace(bench.folder, inbox=dead, output=dead, archive=dead / "archive", error=dead / "error")
    care = FolderCare(bench.parts, folder, was_killed=True)
    care.prepare()
    assert care.is_prepared


def test_files_of_others_are_left_whatever_they_look_like(bench: Workbench) -> None:
    killed_once(bench)
    kept = [litter(bench.place("output"), name) for name in (".fsagent-x.part", "a.part", ".fsagent-0123.part")]
    bench.recover()
    assert all(path.exists() for path in kept)


# --- rows ------------------------------------------------------------------------------------------------------------


def test_settling_begins_anew_since_another_process_has_another_clock(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.settle()
    assert bench.file("a.pdf").ready
    bench.recover()
    record = bench.file("a.pdf")
    assert (record.ready, record.unchanged_since, record.look_at, record.looks) == (False, None, None, 0)


def test_a_watch_folder_that_was_renamed_keeps_its_files_and_tasks(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench.drop("a.pdf")
    bench.submit()
    renamed = Workbench(tmp_path, watch_folder(tmp_path, "bills", formerly=("invoices",)))
    renamed.ledger = bench.ledger
    recover(renamed.settings, bench.ledger)
    assert bench.file("a.pdf").watch_folder == "bills"
    assert bench.task().watch_folder == "bills"


@pytest.mark.parametrize("root", ["inbox", "output"])
def test_a_watch_folder_under_a_new_name_is_known_by_its_folder(tmp_path: Path, root: str) -> None:
    bench = Workbench(tmp_path)
    bench.recover()
    bench.drop("a.pdf")
    bench.submit()
    bench.output_guards["invoices"].check()
    other = None if root == "output" else bench.folder.inbox
    renamed = replace(bench.folder, name="bills", inbox=other)
    recover(replace(bench.settings, watch_folders=(renamed,)), bench.ledger)
    assert (bench.file("a.pdf").watch_folder, bench.task().watch_folder) == ("bills", "bills")


def test_a_watch_folder_takes_no_name_that_another_has(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench.recover()
    bench.drop("a.pdf")
    bench.submit()
    swapped = replace(bench.folder, name="bills")
    elsewhere = watch_folder(tmp_path / "elsewhere", "invoices")
    recover(replace(bench.settings, watch_folders=(swapped, elsewhere)), bench.ledger)
    assert bench.file("a.pdf").watch_folder == "invoices"


@pytest.mark.parametrize("state", [FileState.UNKNOWN, FileState.HELD, FileState.SUBMITTED])
def test_what_may_have_been_sent_is_where_it_was(bench: Workbench, state: FileState) -> None:
    bench.drop("a.pdf")
    bench.settle()
    claimed = bench.ledger.claim("invoices", claimed_by="me", now=0.0)
    assert claimed is not None
    bench.ledger.commit(claimed.change(state=state))
    bench.start()
    bench.recover()
    assert bench.file("a.pdf").state is state


# --- no ledger -------------------------------------------------------------------------------------------------------


def test_folders_of_a_ledger_that_is_gone_are_not_worked_on(bench: Workbench) -> None:
    with pytest.raises(LedgerMissing) as error:
        refuse_without_ledger(bench.settings)
    assert str(bench.place("inbox")) in error.value.message
    assert "adopt --all" in error.value.hint


def test_folders_nobody_has_marked_are_anybodys(tmp_path: Path) -> None:
    refuse_without_ledger(Workbench(tmp_path).settings)


def test_a_root_that_is_away_says_nothing(bench: Workbench) -> None:
    for root in ("inbox", "output"):
        bench.place(root).rename(bench.base / root)
    refuse_without_ledger(bench.settings)


@pytest.mark.skipif(os.name == "nt", reason="folders are not synced here")
@pytest.mark.parametrize("is_there", [True, False])
def test_archive_and_error_have_durable_names_once_a_process_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_there: bool
) -> None:
    inbox = tmp_path / "invoices" / "inbox"
    bench = Workbench(tmp_path, watch_folder(tmp_path, archive=inbox / "done" / "archive"))
    for place in (bench.place("archive"), bench.place("error")):
        if is_there:
            place.mkdir(parents=True, exist_ok=True)
        elif place.is_dir():
            place.rmdir()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    make_folders(bench.folder)
    assert {inbox.stat().st_ino, (inbox / "done").stat().st_ino} <= set(synced)
    synced.clear()
    make_folders(bench.folder)
    assert synced == []
