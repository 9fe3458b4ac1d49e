"""Disks that come back under another device number: their files are the ones they were."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.workbench import Workbench, watch_folder

from agent.folders import system
from agent.model import FileState, Reason, RootKind, ServiceTaskState
from agent.runtime.operations import Operations
from agent.runtime.roots import RootGuard

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import FileRecord

DAY = 86400.0
BEFORE = "dead"
"""The number the device had when the ledger last saw it."""


def under_the_old_number(identity: str) -> str:
    return f"{BEFORE}:{identity.partition(':')[2]}" if identity else ""


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    bench.scan()
    return bench


def come_back_under_another_number(bench: Workbench) -> None:
    """Let the ledger stand as if all it saw had been seen under another device number, and start a new process."""
    for record in bench.files():
        bench.ledger.commit(
            record.change(
                signature=replace(record.signature, identity=under_the_old_number(record.signature.identity)),
                filed_identity=under_the_old_number(record.filed_identity),
            )
        )
    known = bench.ledger.root("invoices", RootKind.INBOX)
    assert known is not None
    bench.ledger.commit(replace(known, identity=under_the_old_number(known.identity)))
    bench.start()


def filed_come_back_under_another_number(bench: Workbench) -> None:
    """Let a device of their own that archive/ and error/ are on have another number than when they were filed."""
    for record in bench.files():
        bench.ledger.commit(record.change(filed_identity=under_the_old_number(record.filed_identity)))
    bench.start()
    bench.scan()


def sent(bench: Workbench, state: FileState) -> FileRecord:
    bench.drop("one.pdf")
    if state is FileState.SUBMITTED:
        return bench.submit_one()
    bench.settle()
    record = bench.parts.ledger.claim("invoices", claimed_by="a test", now=bench.clock.now())
    assert record is not None
    for following in (FileState.UNKNOWN, FileState.HELD):
        if state is not record.state:
            record = record.change(state=following, intent_at=bench.clock.now())
            bench.ledger.commit(record)
    return record


@pytest.mark.parametrize("state", [FileState.SENDING, FileState.UNKNOWN, FileState.HELD, FileState.SUBMITTED])
def test_a_file_that_was_or_may_have_been_sent_is_seen_as_no_other_one(bench: Workbench, state: FileState) -> None:
    sent(bench, state)
    come_back_under_another_number(bench)
    bench.settle()
    bench.settle()

    assert [record.state for record in bench.files()] == [state]


def test_a_file_that_was_submitted_is_still_filed_away(bench: Workbench) -> None:
    sent(bench, FileState.SUBMITTED)
    come_back_under_another_number(bench)
    bench.run()

    assert (bench.names("inbox"), bench.names("archive")) == ([], ["one.pdf"])
    assert len(bench.service.tasks()) == 1


def test_the_source_of_a_task_that_fails_later_still_comes_to_error(bench: Workbench) -> None:
    bench.drop("one.pdf")
    bench.submit()
    come_back_under_another_number(bench)
    bench.service.end(bench.task().task_id, ServiceTaskState.FAILED)
    bench.run()

    assert (bench.names("archive"), bench.names("error")) == ([], ["one.pdf", "one.pdf.error.txt"])


def test_a_refused_file_can_still_be_filed(bench: Workbench) -> None:
    record = sent(bench, FileState.SUBMITTED)
    bench.ledger.commit(
        record.change(state=FileState.REJECTED, reason=Reason.UNMATCHED, filing="error", destination="one.pdf")
    )
    come_back_under_another_number(bench)
    bench.scan()
    bench.aftercare.step()

    assert bench.names("error")[0] == "one.pdf"


def test_what_lies_on_another_device_keeps_its_number(bench: Workbench) -> None:
    record = sent(bench, FileState.SUBMITTED)
    elsewhere = replace(record.signature, identity="beef:1")
    bench.ledger.commit(record.change(signature=elsewhere))
    known = bench.ledger.root("invoices", RootKind.INBOX)
    assert known is not None
    bench.ledger.commit(replace(known, identity=under_the_old_number(known.identity)))
    bench.start()
    bench.scan()

    assert bench.ledger.find_files(states=[FileState.SUBMITTED])[0].signature == elsewhere


def test_a_folder_restored_to_another_place_of_its_disk_changes_no_file(bench: Workbench) -> None:
    record = sent(bench, FileState.SUBMITTED)
    known = bench.ledger.root("invoices", RootKind.INBOX)
    assert known is not None
    bench.ledger.commit(replace(known, identity=f"{BEFORE}:1"))
    bench.start()
    bench.scan()

    found = bench.ledger.file(record.key)
    assert found is not None
    assert found.signature == record.signature


def test_a_row_that_changes_meanwhile_is_renumbered_as_it_is_by_then(bench: Workbench) -> None:
    record = sent(bench, FileState.UNKNOWN)
    come_back_under_another_number(bench)
    commit = bench.ledger.commit
    others: list[FileRecord] = []

    def overtaken(*changes: object) -> None:
        if not others:
            current = bench.ledger.file(record.key)
            assert current is not None
            others.append(current.change(detail="somebody was faster"))
            commit(others[0])
        commit(*changes)  # type: ignore[arg-type]  # passes on whatever it was given

    bench.ledger.commit = overtaken  # type: ignore[method-assign]  # the one moment a thread may come between
    guard = RootGuard(
        bench.folder, RootKind.INBOX, ledger=bench.ledger, lane=bench.parts.lanes.submission(bench.folder.name)
    )
    guard.check()

    found = bench.ledger.file(record.key)
    assert found is not None
    assert (found.detail, found.signature) == ("somebody was faster", record.signature)


def test_nothing_is_filed_by_the_number_of_yesterday(bench: Workbench) -> None:
    record = sent(bench, FileState.SUBMITTED)
    bench.ledger.commit(
        record.change(state=FileState.REJECTED, reason=Reason.UNMATCHED, filing="error", destination="one.pdf")
    )
    come_back_under_another_number(bench)
    bench.aftercare.step()  # before the inbox is looked at
    bench.scan()
    bench.aftercare.step()

    assert bench.names("error") == ["one.pdf", "one.pdf.error.txt"]


def test_what_was_kept_long_enough_in_archive_still_goes(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, archive_keep=DAY))
    bench.scan()
    bench.drop("one.pdf")
    bench.run()
    come_back_under_another_number(bench)
    bench.scan()
    bench.clock.advance(2 * DAY)

    assert (bench.parts.purge.work(bench.folder), bench.names("archive")) == (1, [])


def test_a_strangers_copy_in_archive_stays(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, archive_keep=DAY))
    bench.scan()
    bench.drop("one.pdf")
    bench.run()
    come_back_under_another_number(bench)
    ours = bench.place("archive") / "one.pdf"
    copy = ours.with_name("a copy")
    copy.write_bytes(ours.read_bytes())
    copy.replace(ours)
    bench.clock.advance(2 * DAY)

    assert (bench.parts.purge.work(bench.folder), bench.names("archive")) == (0, ["one.pdf"])


def test_a_task_that_fails_later_brings_its_source_from_an_archive_on_a_device_of_its_own(bench: Workbench) -> None:
    bench.drop("one.pdf")
    bench.submit()
    filed_come_back_under_another_number(bench)
    bench.service.end(bench.task().task_id, ServiceTaskState.FAILED)
    bench.run()

    assert (bench.names("archive"), bench.names("error")) == ([], ["one.pdf", "one.pdf.error.txt"])
    assert [record.state for record in bench.files()] == [FileState.REJECTED]


def test_a_file_in_an_error_folder_on_a_device_of_its_own_can_be_sent_again(bench: Workbench) -> None:
    bench.drop("one.pdf")
    bench.submit()
    bench.service.end(bench.task().task_id, ServiceTaskState.FAILED)
    bench.run()
    filed_come_back_under_another_number(bench)
    operations = Operations(
        bench.settings, ledger=bench.parts.ledger, clock=bench.process_clock, file_away=bench.parts.file_away
    )
    answer = operations.retry(targets=["one.pdf"])

    assert answer["ok"], answer
    assert (bench.names("inbox"), bench.names("error")) == (["one.pdf"], [])


def test_a_strangers_copy_in_an_archive_on_a_device_of_its_own_is_not_moved(bench: Workbench) -> None:
    bench.drop("one.pdf")
    bench.submit()
    filed_come_back_under_another_number(bench)
    ours = bench.place("archive") / "one.pdf"
    copy = ours.with_name("a copy")
    copy.write_bytes(ours.read_bytes())
    copy.replace(ours)
    bench.service.end(bench.task().task_id, ServiceTaskState.FAILED)
    bench.run()

    assert (bench.names("archive"), bench.names("error")) == (["one.pdf"], [])


def test_a_copy_cut_off_before_its_source_was_removed_leaves_one_file(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("one.pdf")
    bench.submit()
    archived = bench.place("archive") / "one.pdf"
    at_destination = bench.place("error") / "one.pdf"
    at_destination.parent.mkdir(exist_ok=True)
    at_destination.write_bytes(archived.read_bytes())
    filed_come_back_under_another_number(bench)

    rename = system.Folder.rename

    def on_another_device(self: system.Folder, name: str, target: system.Folder, new_name: str) -> None:
        if name == "one.pdf":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(self, name, target, new_name)

    bench.service.end(bench.task().task_id, ServiceTaskState.FAILED)
    with monkeypatch.context() as patched:
        patched.setattr(system.Folder, "rename", on_another_device)
        bench.run()

    assert (bench.names("archive"), bench.names("error")) == ([], ["one.pdf", "one.pdf.error.txt"])
