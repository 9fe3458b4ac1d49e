"""What an operator can ask for, beside a running agent and without one; the commands' own tests ask for the rest."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.memory_uploads import MemoryUploadService
from fakes.workbench import PROJECT, Killed, Workbench, pdf, watch_folder

from agent.errors import FileBusy, FileRefused, OutcomeUnknown, UserError
from agent.folders import filing, system
from agent.folders.roots import MARKER
from agent.model import FileState, Reason, ServiceTaskState, TaskState
from agent.runtime.operations import Operations, paused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REFUSED = FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def operations(bench: Workbench) -> Operations:
    return Operations(
        bench.settings,
        ledger=bench.parts.ledger,
        clock=bench.process_clock,
        file_away=bench.parts.file_away,
        files_in_hand=bench.parts.files_in_hand,
    )


def beside_a_dead_share(bench: Workbench, root: Path) -> Operations:
    """Return what an operator can ask for while everything at a root would hang."""

    def silence(path: Path) -> str:
        return f"{root} has not answered" if path.is_relative_to(root) else ""

    return Operations(
        bench.settings,
        ledger=bench.parts.ledger,
        clock=bench.process_clock,
        file_away=bench.parts.file_away,
        silence=silence,
    )


def refused(bench: Workbench, path: str = "a.pdf") -> None:
    bench.drop(path)
    bench.service.script("submit", REFUSED)
    bench.submit()


def held(bench: Workbench, path: str = "a.pdf", *, arrived: bool = False) -> str:
    bench.drop(path)
    outcome = OutcomeUnknown("504")
    bench.service.script("submit", AfterActing(outcome) if arrived else outcome)
    bench.submit()
    bench.clock.advance(61 * 3600)
    bench.parts.unknown.work("invoices")
    record = bench.file(path)
    assert record.state is FileState.HELD
    return record.key


# --- beside a share that hangs ---------------------------------------------------------------------------------------


def test_a_retry_in_a_folder_that_does_not_answer_is_refused_at_once_and_plans_nothing(bench: Workbench) -> None:
    refused(bench)
    before = bench.file("a.pdf")
    answer = beside_a_dead_share(bench, bench.place("inbox")).retry(everything=True)
    assert not answer["ok"]
    assert "a.pdf stays where it is" in answer["message"]
    assert f"{bench.place('inbox')} has not answered; try again when it does" in answer["message"]
    assert bench.file("a.pdf") == before


def test_a_file_rejected_in_a_folder_that_does_not_answer_is_moved_later(bench: Workbench) -> None:
    key = held(bench)
    answer = beside_a_dead_share(bench, bench.place("inbox")).resolve(id=key, reject=True)
    assert answer["ok"]
    assert "a.pdf goes to error/ once this is over" in answer["message"]
    assert (bench.file("a.pdf").state, bench.names("inbox")) == (FileState.REJECTED, ["a.pdf"])
    bench.rounds(2)
    assert bench.names("inbox") == []


def test_a_root_that_does_not_answer_is_not_adopted_while_the_other_is(bench: Workbench) -> None:
    answer = beside_a_dead_share(bench, bench.place("output")).adopt(folder="invoices")
    assert [result["ok"] for result in answer["results"]] == [True, False]
    assert "try again when it does" in answer["message"]
    assert not (bench.place("output") / MARKER).exists()


# --- retry -----------------------------------------------------------------------------------------------------------


def test_a_retried_file_is_a_new_file_with_a_new_key_and_a_task_of_its_own(bench: Workbench) -> None:
    refused(bench)
    old = bench.file("a.pdf").key
    assert operations(bench).retry(targets=["a.pdf"])["ok"]
    bench.run()
    new = next(record for record in bench.files() if record.key != old)
    assert (new.state, bench.ledger.file(old).state) == (FileState.ARCHIVED, FileState.GONE)  # type: ignore[union-attr]  # is there
    assert bench.names("error") == []


def test_the_source_of_a_failed_task_is_sent_as_a_new_task(bench: Workbench) -> None:
    bench.service.processing_time = 1e9
    bench.drop("a.pdf")
    bench.submit()
    bench.service.end("task-0001", ServiceTaskState.FAILED)
    bench.rounds(3)
    bench.service.processing_time = 0.0
    assert operations(bench).retry(targets=["task-0001"])["ok"]
    bench.run()
    assert [submission.content for submission in bench.service.submissions] == [pdf("a.pdf")] * 2
    assert bench.task("task-0002").state is TaskState.EXPORTED


def test_a_file_that_is_being_moved_is_not_moved_twice(bench: Workbench) -> None:
    refused(bench)
    bench.parts.files_in_hand.take(bench.file("a.pdf").key)
    answer = operations(bench).retry(targets=["a.pdf"])
    assert not answer["ok"]
    assert bench.names("inbox") == []


def test_a_retry_somebody_keeps_from_being_done_is_done_later(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(**_arguments: Any) -> str:
        raise FileBusy("another program holds it open")

    refused(bench)
    with monkeypatch.context() as patch:
        patch.setattr(filing, "file_away", busy)
        assert not operations(bench).retry(targets=["a.pdf"])["ok"]
    bench.run()
    assert len(bench.service.submissions) == 1
    assert bench.names("error") == []


def test_every_held_export_gets_another_round_with_all(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.submit()
    bench.ledger.commit(bench.task().change(held=True, attempts=10))
    operations(bench).retry(everything=True)
    task = bench.task()
    assert (task.held, task.attempts, task.retry_at) == (False, 0, None)


@pytest.fixture
def copied(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """Return a bench on which a retry from another device was killed with its copy made and its source still there."""
    refused(bench)
    bench.drop("a.pdf", pdf("another one"))
    rename = system.Folder.rename

    def across_devices(self: system.Folder, name: str, destination: system.Folder, new_name: str) -> None:
        if self.path != destination.path:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(self, name, destination, new_name)

    monkeypatch.setattr(system.Folder, "rename", across_devices)
    with monkeypatch.context() as patch:
        patch.setattr(system.Folder, "unlink", killed_before_the_source_goes(system.Folder.unlink))
        with pytest.raises(Killed):
            operations(bench).retry(everything=True)
    assert len(bench.names("inbox")) == 2
    bench.start()
    return bench


def killed_before_the_source_goes(unlink: Callable[..., None]) -> Callable[..., None]:
    def unlinked(self: system.Folder, name: str) -> None:
        if name == "a.pdf":
            raise Killed
        unlink(self, name)

    return unlinked


def assert_each_is_sent_once(bench: Workbench) -> None:
    bench.run()
    assert sorted(submission.content for submission in bench.service.submissions) == [pdf("a.pdf"), pdf("another one")]


def test_asked_for_again_after_a_kill_a_retry_goes_where_it_was_going(copied: Workbench) -> None:
    operations(copied).retry(everything=True)
    assert_each_is_sent_once(copied)


def test_the_copy_a_retry_has_made_is_not_sent_before_its_source_is_gone(copied: Workbench) -> None:
    """While error/ is away its filing waits, and after that the copy would be made once more."""
    for _ in range(3):
        copied.submit()
    assert_each_is_sent_once(copied)


# --- resolve ---------------------------------------------------------------------------------------------------------


def test_sent_again_it_settles_is_checked_and_sent_with_a_new_intent(bench: Workbench) -> None:
    key = held(bench)
    operations(bench).resolve(id=key[:12], resubmit=True)
    bench.run()
    assert [submission.upload.key for submission in bench.service.submissions] == [key]


def test_files_of_a_lost_upload_are_sent_again_as_one(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, batch="folder"))
    service = MemoryUploadService(bench.clock, project_ids=(PROJECT,))
    bench.service = service
    bench.start()
    for name in ("case/a.pdf", "case/b.pdf"):
        bench.drop(name)
    service.script("submit_together", OutcomeUnknown("504"))
    bench.submit()
    bench.rounds(3)
    answer = operations(bench).resolve(id="case/a.pdf", resubmit=True)
    assert answer["message"] == "case/a.pdf and 1 more of its folder are sent again"
    bench.run()
    assert [[part.upload.file_name for part in upload.parts] for upload in service.uploads()] == [["a.pdf", "b.pdf"]]


def test_named_as_a_task_it_is_filed_and_its_export_comes(bench: Workbench) -> None:
    key = held(bench, arrived=True)
    operations(bench).resolve(id=key, submitted="task-0001")
    bench.rounds(5)
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    assert bench.task("task-0001").state is TaskState.EXPORTED
    assert len(bench.service.submissions) == 1


def test_rejected_it_lies_in_error_with_a_note(bench: Workbench) -> None:
    key = held(bench)
    operations(bench).resolve(id=key, reject=True)
    assert bench.file("a.pdf").state is FileState.REJECTED
    assert bench.names("error") == ["a.pdf", "a.pdf.error.txt"]


def test_an_id_that_means_two_files_decides_neither(bench: Workbench) -> None:
    held(bench, "a.pdf")
    held(bench, "b.pdf")
    with pytest.raises(UserError, match="more than one"):
        operations(bench).resolve(id="0000", reject=True)
    assert {record.state for record in bench.files()} == {FileState.HELD}


# --- pause, adopt ----------------------------------------------------------------------------------------------------


def test_one_of_several_paused_folders_can_be_resumed(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, *(watch_folder(tmp_path, name) for name in ("one", "two")))
    operations(bench).pause()
    operations(bench).resume(folder="one")
    assert paused(bench.ledger) == ({"two"}, False)


def test_adopting_makes_the_markers_ours(bench: Workbench) -> None:
    for root in ("inbox", "output"):
        (bench.place(root) / MARKER).write_text("f" * 32 + "\n", encoding="ascii")
    assert operations(bench).adopt(folder="invoices")["ok"]
    for root in ("inbox", "output"):
        assert (bench.place(root) / MARKER).read_text(encoding="ascii").strip() == bench.ledger.ledger_id


def test_after_adopting_another_output_what_was_staged_in_the_old_one_is_written_anew(bench: Workbench) -> None:
    """Else its files, missing here, would count as read, and the service would delete its copy."""
    bench.recover()
    bench.drop("a.pdf")
    bench.submit()
    bench.output_guards["invoices"].check()
    bench.ledger.commit(bench.task().change(state=TaskState.PROCESSING, staged=True))
    bench.place("output").rename(bench.base / "old")
    bench.place("output").mkdir()
    operations(bench).adopt(folder="invoices")
    bench.start()
    bench.run()
    assert bench.names("output") == ["a.csv", "a.pdf"]


def test_a_name_nobody_knows_is_a_mistake_of_the_command(bench: Workbench) -> None:
    for command in ("pause", "resume", "adopt", "rescan"):
        with pytest.raises(UserError, match="no watch folder bills"):
            operations(bench).carry_out(command, {"folder": "bills"})
