"""File away: only what was sent or judged, never over anything, and found again after a crash."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import Workbench, pdf, watch_folder

from agent.errors import FileBusy, FileRefused, LocalTrouble, OutcomeUnknown, StaleRecord
from agent.folders import filing, moving, system
from agent.model import FileRecord, FileState, LaneReason, Reason
from agent.submission.file_away import folder_of
from agent.submission.follow import end_failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HALF = b"%PDF-1.4\nand the rest never came"


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def submitted(bench: Workbench, path: str = "sub/a.pdf", content: bytes | None = None) -> FileRecord:
    """Drop and send a file whose filing is planned and not done."""
    bench.drop(path, content)
    record = bench.submit_one()
    assert (record.state, record.filing, record.filed_at) == (FileState.SUBMITTED, "archive", None)
    return record


def rejected(bench: Workbench, path: str = "sub/a.pdf") -> FileRecord:
    bench.drop(path)
    bench.service.script("submit", FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE))
    return bench.submit_one()


def carry_out(bench: Workbench, record: FileRecord) -> FileRecord:
    return bench.parts.file_away.carry_out(bench.folder, record)


def other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    rename = system.Folder.rename

    def renamed(self: system.Folder, name: str, destination: system.Folder, new_name: str) -> None:
        if self.path != destination.path:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(self, name, destination, new_name)

    monkeypatch.setattr(system.Folder, "rename", renamed)


def dying_after(monkeypatch: pytest.MonkeyPatch, bench: Workbench) -> None:
    """Let the ledger take nothing once the file has moved: the process is dead by then."""
    file_away = filing.file_away

    def moved(**arguments: Any) -> str:
        identity = file_away(**arguments)
        if identity:
            bench.ledger.trouble = StaleRecord("dead")
        return identity

    monkeypatch.setattr(filing, "file_away", moved)


# --- where to --------------------------------------------------------------------------------------------------------


def test_what_was_accepted_lies_in_archive_under_its_own_path(bench: Workbench) -> None:
    record = carry_out(bench, submitted(bench))
    assert (record.state, record.filed_in, record.filed_as) == (FileState.ARCHIVED, "archive", "sub/a.pdf")
    assert (record.in_inbox, record.filed_at) == (False, bench.clock.now())
    assert bench.contents("archive") == {"sub/a.pdf": pdf("sub/a.pdf")}
    assert bench.names("inbox") == []


def test_what_was_refused_lies_in_error_with_a_note_that_names_it(bench: Workbench) -> None:
    record = carry_out(bench, rejected(bench))
    assert (record.state, record.filed_in) == (FileState.REJECTED, "error")
    note = (bench.place("error") / "sub/a.pdf.error.txt").read_text(encoding="utf-8")
    assert note.startswith("reason: refused_by_service: no pages\n")
    assert f"id: {record.key}\n" in note


def test_a_taken_name_becomes_a_clash_name_and_nothing_is_overwritten(bench: Workbench) -> None:
    (bench.place("archive") / "sub").mkdir()
    (bench.place("archive") / "sub/a.pdf").write_bytes(b"older")
    record = carry_out(bench, submitted(bench))
    assert record.filed_as.startswith("sub/a-20240401T0808")
    assert sorted(bench.contents("archive").values()) == sorted([b"older", pdf("sub/a.pdf")])


def test_the_clash_name_is_in_the_ledger_before_the_file_has_it(bench: Workbench) -> None:
    (bench.place("archive") / "a.pdf").write_bytes(b"older")
    record = submitted(bench, "a.pdf")
    seen = []
    commit = bench.ledger.commit

    def committed(*changes: Any) -> None:
        seen.append((changes[0].destination, len(bench.names("archive"))))
        commit(*changes)

    bench.ledger.commit = committed  # type: ignore[method-assign]  # looks at the folder at each commit
    carry_out(bench, record)
    assert next(count for destination, count in seen if destination != "a.pdf") == 1


def test_a_thousand_clashes_cost_one_more_name_and_no_search(bench: Workbench) -> None:
    for number in range(1000):
        (bench.place("archive") / f"a-{number}.pdf").touch()
    (bench.place("archive") / "a.pdf").touch()
    record = submitted(bench, "a.pdf")
    version = record.version
    assert carry_out(bench, record).version == version + 2


def test_nothing_but_taken_names_ends_in_an_error_and_no_loop(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(**_arguments: Any) -> str:
        raise FileExistsError

    record = submitted(bench)
    monkeypatch.setattr(filing, "file_away", taken)
    with pytest.raises(FileBusy, match="no free name"):
        carry_out(bench, record)


# --- only what was sent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "meddle",
    [
        lambda path: path.write_bytes(pdf("other bytes in the same file")),
        lambda path: (path.unlink(), path.write_bytes(pdf("another file"))),
        lambda path: path.unlink(),
    ],
    ids=["written to", "replaced", "deleted"],
)
def test_what_is_not_what_was_sent_is_not_moved(bench: Workbench, meddle: Callable[[Path], object]) -> None:
    record = submitted(bench)
    meddle(bench.place("inbox") / "sub/a.pdf")
    lies = bench.contents("inbox")
    with pytest.raises(FileBusy):
        carry_out(bench, record)
    assert bench.contents("inbox") == lies
    assert bench.names("archive") == []


def test_replaced_after_it_was_sent_both_contents_become_tasks_and_only_the_new_one_is_filed(bench: Workbench) -> None:
    submitted(bench, "a.pdf", pdf("old"))
    bench.place("inbox").joinpath("a.pdf").unlink()
    bench.drop("a.pdf", pdf("entirely new"))
    bench.run()
    assert [submission.content for submission in bench.service.submissions] == [pdf("old"), pdf("entirely new")]
    assert bench.contents("archive") == {"a.pdf": pdf("entirely new")}
    assert sorted(record.state for record in bench.files()) == [FileState.ARCHIVED, FileState.GONE]


def test_renamed_between_answer_and_filing_it_is_filed_from_its_new_name(bench: Workbench) -> None:
    record = submitted(bench, "a.pdf")
    path = bench.place("inbox") / "a.pdf"
    path.rename(path.with_name("b.pdf"))
    with pytest.raises(FileBusy):
        carry_out(bench, record)
    bench.run()
    assert len(bench.service.submissions) == 1
    assert bench.contents("archive") == {"a.pdf": pdf("a.pdf")}
    assert bench.names("inbox") == []


def test_a_refused_file_that_somebody_took_away_is_gone(bench: Workbench) -> None:
    record = rejected(bench)
    (bench.place("inbox") / "sub/a.pdf").unlink()
    record = carry_out(bench, record)
    assert (record.state, record.filed_at is None, bench.names("error")) == (FileState.GONE, False, [])


def test_a_file_is_not_taken_for_gone_while_its_inbox_is_away(bench: Workbench) -> None:
    bench.scan()
    record = submitted(bench)
    bench.place("inbox").rename(bench.base / "unmounted")
    bench.place("inbox").mkdir()
    with pytest.raises(LocalTrouble):
        carry_out(bench, record)
    assert bench.file("sub/a.pdf").state is FileState.SUBMITTED


# --- done again after a crash ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", ["one device", "two devices"])
@pytest.mark.parametrize("made", [submitted, rejected], ids=["accepted", "refused"])
def test_moved_before_a_crash_it_is_found_where_it_lies(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, devices: str, made: Callable[[Workbench], FileRecord]
) -> None:
    if devices == "two devices":
        other_devices(monkeypatch)
    record = made(bench)
    with monkeypatch.context() as patch:
        dying_after(patch, bench)
        with pytest.raises(StaleRecord):
            carry_out(bench, record)
    bench.ledger.trouble = None
    filed = carry_out(bench, bench.file("sub/a.pdf"))
    assert filed.filed_as == "sub/a.pdf"
    assert bench.contents(filed.filed_in)["sub/a.pdf"] == pdf("sub/a.pdf")
    assert bench.names("inbox") == []


@pytest.mark.parametrize("made", [submitted, rejected], ids=["accepted", "refused"])
def test_copied_before_a_crash_only_the_source_is_left_to_remove(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, made: Callable[[Workbench], FileRecord]
) -> None:
    other_devices(monkeypatch)
    record = made(bench)
    source = bench.place("inbox") / "sub/a.pdf"
    with monkeypatch.context() as patch:
        patch.setattr(system.Folder, "unlink", refuse_to_unlink)
        with pytest.raises(FileBusy):
            carry_out(bench, record)
    assert source.exists()
    record = carry_out(bench, bench.file("sub/a.pdf"))
    assert not source.exists()
    assert [name for name in bench.names(record.filed_in) if name.endswith(".pdf")] == ["sub/a.pdf"]


def place_of(bench: Workbench, place: str) -> Path:
    """Return the folder `sub` of a place."""
    return folder_of(bench.folder, place) / "sub"


def syncs(monkeypatch: pytest.MonkeyPatch, *, failing: int) -> list[Path]:
    """Let the first syncs of folders fail, and return the list of those that are synced from then on."""
    sync, synced, left = system.Folder.sync, [], [OSError(errno.EIO, os.strerror(errno.EIO))] * failing

    def synced_or_failing(self: system.Folder) -> None:
        if left:
            raise left.pop()
        sync(self)
        synced.append(self.path)

    monkeypatch.setattr(system.Folder, "sync", synced_or_failing)
    return synced


def make_durably(bench: Workbench) -> None:
    """Make the folder to file in beforehand, so that only the move has something to sync."""
    filing.make_root(bench.place("archive"))
    system.make_folder(bench.place("archive"), "sub").close()


def test_a_move_that_could_not_be_made_durable_is_made_so_before_it_counts_as_filed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = submitted(bench)
    archive, inbox = place_of(bench, "archive"), place_of(bench, "inbox")
    make_durably(bench)
    synced = syncs(monkeypatch, failing=1)
    with pytest.raises(LocalTrouble):
        carry_out(bench, record)
    assert bench.names("archive") == ["sub/a.pdf"]

    assert carry_out(bench, record).state is FileState.ARCHIVED

    assert synced == [archive, inbox]


def test_a_copy_that_could_not_be_made_durable_is_made_so_before_its_source_is_deleted(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = submitted(bench)
    archive, inbox = place_of(bench, "archive"), place_of(bench, "inbox")
    make_durably(bench)
    other_devices(monkeypatch)
    synced = syncs(monkeypatch, failing=1)
    unlink = system.Folder.unlink
    deleted_after = []

    def noted(self: system.Folder, name: str) -> None:
        unlink(self, name)
        if name == "a.pdf":
            deleted_after.append(list(synced))

    monkeypatch.setattr(system.Folder, "unlink", noted)
    with pytest.raises(LocalTrouble):
        carry_out(bench, record)
    assert bench.names("archive") == ["sub/a.pdf"]
    assert bench.names("inbox") == ["sub/a.pdf"]

    assert carry_out(bench, record).state is FileState.ARCHIVED

    assert deleted_after == [[archive]]
    assert synced[-1] == inbox


def refuse_to_unlink(_folder: system.Folder, name: str) -> None:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)


def test_the_same_bytes_filed_for_an_earlier_drop_are_not_taken_for_this_one(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_devices(monkeypatch)
    carry_out(bench, submitted(bench, "a.pdf", pdf("same")))
    record = carry_out(bench, submitted_again(bench))
    assert record.filed_as != "a.pdf"
    assert list(bench.contents("archive").values()) == [pdf("same"), pdf("same")]


def test_a_second_retry_cut_off_before_its_source_went_is_not_taken_for_the_first(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_devices(monkeypatch)
    carry_out(bench, rejected(bench, "a.pdf"))
    retry(bench)
    bench.service.script("submit", FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE))
    carry_out(bench, bench.submit_one())
    with monkeypatch.context() as patch:
        patch.setattr(system.Folder, "unlink", refuse_to_unlink)
        with pytest.raises(FileBusy):
            retry(bench)
    assert (bench.names("inbox"), bench.names("error")) == (["a.pdf"], ["a.pdf", "a.pdf.error.txt"])
    carry_out(bench, planned_back(bench))
    assert (bench.names("inbox"), bench.names("error")) == (["a.pdf"], [])


@pytest.mark.parametrize("is_seen", [False, True], ids=["not seen yet", "seen again"])
def test_the_same_bytes_back_in_the_inbox_from_another_retry_are_not_taken_for_this_one(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    other_devices(monkeypatch)
    carry_out(bench, rejected(bench, "a.pdf"))
    carry_out(bench, rejected(bench, "a.pdf"))
    assert len(bench.names("error")) == 4
    bench.clock.advance(1.0)
    retry(bench)
    if is_seen:
        bench.clock.advance(1.0)
        bench.scan()
    retry(bench)
    assert bench.names("error") == []
    assert len(bench.names("inbox")) == 2


def test_the_same_bytes_dropped_again_are_not_taken_for_the_copy_a_retry_has_made(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_devices(monkeypatch)
    carry_out(bench, rejected(bench, "a.pdf"))
    bench.drop("a.pdf")
    bench.scan()
    retry(bench)
    assert bench.names("error") == []
    assert len(bench.names("inbox")) == 2


def retry(bench: Workbench) -> None:
    """Bring the file that was refused first back to the inbox."""
    record = next(each for each in bench.files() if each.filed_in == "error")
    planned = record.change(filing="inbox", destination="a.pdf", filed_at=None)
    bench.ledger.commit(planned)
    carry_out(bench, planned)


def planned_back(bench: Workbench) -> FileRecord:
    """Return the record that is on its way back to the inbox."""
    return next(each for each in bench.files() if each.filing == "inbox" and each.filed_at is None)


def test_a_file_somebody_took_is_gone_though_the_same_bytes_lie_in_archive_from_an_earlier_drop(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_devices(monkeypatch)
    carry_out(bench, submitted(bench, "a.pdf", pdf("same")))
    record = submitted_again(bench)
    (bench.place("inbox") / "a.pdf").unlink()
    with pytest.raises(FileBusy):
        carry_out(bench, record)
    bench.scan()
    bench.scan()
    taken = next(each for each in bench.files() if each.key == record.key)
    assert (taken.state, taken.filing) == (FileState.GONE, "")


def submitted_again(bench: Workbench) -> FileRecord:
    bench.drop("a.pdf", pdf("same"))
    return bench.submit_one()


def test_a_note_left_by_a_crash_is_ours_and_written_once(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    record = rejected(bench)
    with monkeypatch.context() as patch:
        dying_after(patch, bench)
        with pytest.raises(StaleRecord):
            carry_out(bench, record)
    bench.ledger.trouble = None
    bench.clock.advance(100)
    carry_out(bench, bench.file("sub/a.pdf"))
    assert bench.names("error") == ["sub/a.pdf", "sub/a.pdf.error.txt"]


# --- a task that fails meanwhile -------------------------------------------------------------------------------------


def fail_task(bench: Workbench) -> None:
    task = bench.task()
    end_failed(bench.ledger, task, reason=Reason.TASK_FAILED, detail="unreadable", now=bench.clock.now())


def test_a_task_that_failed_before_its_source_was_filed_brings_it_to_archive_and_on_to_error(bench: Workbench) -> None:
    submitted(bench)
    fail_task(bench)
    record = carry_out(bench, bench.file("sub/a.pdf"))
    assert (record.state, record.filed_in) == (FileState.REJECTED, "error")
    assert bench.events().count("filed in archive") == bench.events().count("filed in error") == 1
    assert bench.names("archive") == []
    assert bench.names("error") == ["sub/a.pdf", "sub/a.pdf.error.txt"]


def test_a_task_that_fails_while_its_source_moves_brings_it_on_to_error(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = submitted(bench)
    file_away = filing.file_away
    fails = [fail_task]

    def moved(**arguments: Any) -> str:
        identity = file_away(**arguments)
        if fails:
            fails.pop()(bench)
        return identity

    monkeypatch.setattr(filing, "file_away", moved)
    record = carry_out(bench, record)
    assert (record.state, record.filed_in, record.reason) == (FileState.REJECTED, "error", Reason.TASK_FAILED)
    assert bench.names("archive") == []


def test_both_moves_keep_the_very_bytes_owner_and_time(bench: Workbench) -> None:
    record = submitted(bench)
    before = (bench.place("inbox") / "sub/a.pdf").stat()
    carry_out(bench, record)
    fail_task(bench)
    carry_out(bench, bench.file("sub/a.pdf"))
    after = (bench.place("error") / "sub/a.pdf").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)


# --- back to the inbox -----------------------------------------------------------------------------------------------


def test_a_retry_ends_the_row_removes_the_note_and_the_file_is_a_new_one(bench: Workbench) -> None:
    carry_out(bench, rejected(bench))
    record = bench.file("sub/a.pdf")
    planned = record.change(filing="inbox", destination="sub/a.pdf", filed_at=None)
    bench.ledger.commit(planned)
    record = carry_out(bench, planned)
    assert (record.state, record.filed_in) == (FileState.GONE, "inbox")
    assert bench.names("error") == []
    bench.submit()
    assert sorted(row.state for row in bench.files()) == [FileState.ARCHIVED, FileState.GONE]


def test_a_retry_into_a_taken_name_gets_a_clash_name(bench: Workbench) -> None:
    carry_out(bench, rejected(bench, "a.pdf"))
    bench.drop("a.pdf", pdf("another one"))
    planned = bench.file("a.pdf").change(filing="inbox", destination="a.pdf", filed_at=None)
    bench.ledger.commit(planned)
    assert carry_out(bench, planned).filed_as != "a.pdf"
    assert len(bench.names("inbox")) == 2


def test_a_note_goes_though_its_file_was_taken_away_after_a_kill_between_the_two(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out(bench, rejected(bench, "a.pdf"))
    planned = bench.file("a.pdf").change(filing="inbox", destination="a.pdf", filed_at=None)
    bench.ledger.commit(planned)
    with monkeypatch.context() as patch:
        patch.setattr(filing, "remove_note", killed)
        with pytest.raises(StaleRecord):
            carry_out(bench, planned)
    (bench.place("inbox") / "a.pdf").unlink()
    assert carry_out(bench, bench.file("a.pdf")).state is FileState.GONE
    assert bench.names("error") == []


def killed(*_: object) -> bool:
    raise StaleRecord("dead")


def test_the_note_of_a_file_that_was_taken_from_error_before_the_ledger_knew_goes_too(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = rejected(bench, "a.pdf")
    with monkeypatch.context() as patch:
        dying_after(patch, bench)
        with pytest.raises(StaleRecord):
            carry_out(bench, record)
    bench.ledger.trouble = None
    (bench.place("error") / "a.pdf").unlink()
    assert carry_out(bench, bench.file("a.pdf")).state is FileState.GONE
    assert bench.names("error") == []


def test_a_copy_that_a_kill_cut_off_goes_though_its_source_was_taken_away(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out(bench, rejected(bench, "a.pdf"))
    planned = bench.file("a.pdf").change(filing="inbox", destination="a.pdf", filed_at=None)
    bench.ledger.commit(planned)
    other_devices(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "discard_staged", killed)
        patch.setattr(system.Folder, "show", killed)
        with pytest.raises(StaleRecord):
            carry_out(bench, planned)
    (bench.place("error") / "a.pdf").unlink()
    assert len(bench.names("inbox")) == 1
    assert carry_out(bench, bench.file("a.pdf")).state is FileState.GONE
    assert bench.names("inbox") == []


def test_a_note_stays_beside_the_file_somebody_has_put_in_place_of_the_refused_one(bench: Workbench) -> None:
    carry_out(bench, rejected(bench, "a.pdf"))
    (bench.place("error") / "a.pdf").write_bytes(pdf("corrected by hand"))
    planned = bench.file("a.pdf").change(filing="inbox", destination="a.pdf", filed_at=None)
    bench.ledger.commit(planned)
    assert carry_out(bench, planned).state is FileState.GONE
    assert bench.names("error") == ["a.pdf", "a.pdf.error.txt"]


# --- whose fault -----------------------------------------------------------------------------------------------------


def test_a_source_somebody_holds_stays_planned(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(**_arguments: Any) -> str:
        raise FileBusy("another program holds it open")

    record = submitted(bench)
    with monkeypatch.context() as patch:
        patch.setattr(filing, "file_away", held)
        with pytest.raises(FileBusy):
            carry_out(bench, record)
    assert bench.ledger.find_files(to_file=True) == [record]
    assert carry_out(bench, record).state is FileState.ARCHIVED


def test_an_archive_on_a_full_device_is_the_lanes_trouble_and_nothing_is_lost(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_devices(monkeypatch)
    monkeypatch.setattr(system.Folder, "free_space", lambda _folder: 10)
    full = Workbench(bench.base / "full", watch_folder(bench.base / "full"), min_free=1000)
    record = submitted(full)
    with pytest.raises(LocalTrouble) as trouble:
        carry_out(full, record)
    assert trouble.value.reason is LaneReason.DISK_FULL
    assert full.names("inbox") == ["sub/a.pdf"]
    assert full.names("archive") == []


def test_a_file_that_arrived_unknown_and_is_found_later_is_filed_across_devices(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_devices(monkeypatch)
    bench.drop("a.pdf")
    bench.service.script("submit", AfterActing(OutcomeUnknown("504")))
    bench.run()
    assert bench.contents("archive") == {"a.pdf": pdf("a.pdf")}
    assert bench.file("a.pdf").sha256
