"""Submit: what an answer to a submission means for the file (design.md §3, the one table), and what is durable when."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import Workbench, pdf, watch_folder

from agent.errors import (
    CredentialsRefused,
    FileBusy,
    FileRefused,
    LedgerUnavailable,
    LocalTrouble,
    OutcomeUnknown,
    ServiceUnavailable,
    SetupRefused,
    TaskMoved,
)
from agent.folders import system
from agent.folders.reading import OpenedSource
from agent.model import FileState, LaneReason, Reason, ServiceTaskState, TaskState
from agent.submission.hashing import HashingReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from agent.model import Sighting, Task, Upload

UNREACHABLE = ServiceUnavailable("no connection", reason=LaneReason.SERVICE_UNREACHABLE)
REFUSED = FileRefused("it has no pages", reason=Reason.REFUSED_BY_SERVICE)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def while_sending(bench: Workbench, act: Callable[[Upload], object]) -> None:
    """Let something happen, once, when the service has the body and has not answered yet."""
    create = bench.service._create
    acts = [act]

    def created(upload: Upload, content: bytes) -> Task:
        if acts:
            acts.pop()(upload)
        return create(upload, content)

    bench.service._create = created  # type: ignore[method-assign]  # the fake's own seam


# --- the table -------------------------------------------------------------------------------------------------------


def test_accepted_it_is_submitted_and_its_task_followed(bench: Workbench) -> None:
    bench.drop("sub/a.pdf")
    bench.submit()
    record, task = bench.file("sub/a.pdf"), bench.task()
    assert (record.state, record.task_id, record.attempts) == (FileState.ARCHIVED, task.task_id, 1)
    assert (task.state, task.file_key, task.source_folder) == (TaskState.PROCESSING, record.key, "sub")


@pytest.mark.parametrize(
    "trouble",
    [
        UNREACHABLE,
        ServiceUnavailable("503", reason=LaneReason.SERVICE_UNAVAILABLE),
        ServiceUnavailable("429", reason=LaneReason.RATE_LIMITED, retry_after=30.0),
        CredentialsRefused("401 twice", reason=LaneReason.CREDENTIALS_REFUSED),
        SetupRefused("404", reason=LaneReason.SETUP_REFUSED),
    ],
    ids=lambda trouble: trouble.reason.value,
)
def test_not_accepted_it_stays_in_the_inbox_ready_for_the_next_try(bench: Workbench, trouble: Any) -> None:
    bench.drop("a.pdf")
    bench.service.script("submit", trouble)
    bench.submit()
    record = bench.file("a.pdf")
    assert (record.state, record.ready, record.intent_at, record.claimed_by) == (FileState.WAITING, True, None, "")
    assert record.detail == trouble.message
    assert bench.names("inbox") == ["a.pdf"]
    assert not bench.service.submissions


def test_not_accepted_it_is_sent_once_when_it_is_over(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.service.script("submit", UNREACHABLE, UNREACHABLE)
    bench.run()
    assert len(bench.service.submissions) == 1
    assert bench.file("a.pdf").attempts == 3


def test_a_file_the_service_refuses_goes_to_error_with_what_the_service_says(bench: Workbench) -> None:
    bench.drop("sub/a.pdf")
    bench.service.script("submit", REFUSED)
    bench.submit()
    record = bench.file("sub/a.pdf")
    assert (record.state, record.reason) == (FileState.REJECTED, Reason.REFUSED_BY_SERVICE)
    assert bench.names("error") == ["sub/a.pdf", "sub/a.pdf.error.txt"]
    note = (bench.place("error") / "sub/a.pdf.error.txt").read_text(encoding="utf-8")
    assert note.startswith("reason: refused_by_service: it has no pages\n")


def test_an_unknown_outcome_is_neither_sent_again_nor_moved(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.service.script("submit", OutcomeUnknown("502"))
    bench.submit()
    record = bench.file("a.pdf")
    assert (record.state, record.detail, record.ready) == (FileState.UNKNOWN, "502", False)
    assert record.intent_at is not None
    bench.send()
    assert bench.service.named("submit") == ["a.pdf"]
    assert bench.names("inbox") == ["a.pdf"]


def test_where_everything_is_refused_a_file_stays_in_the_inbox(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.settle()
    claimed = bench.ledger.claim("invoices", claimed_by="me", now=bench.clock.now())
    assert claimed is not None
    bench.service.script("submit", REFUSED)
    with pytest.raises(FileRefused):
        bench.parts.submit.work(bench.inboxes[0], claimed, stays=lambda: True)
    assert bench.file("a.pdf").state is FileState.WAITING
    assert bench.names("inbox") == ["a.pdf"]


# --- what is durable when --------------------------------------------------------------------------------------------


def test_the_intent_is_durable_before_the_first_byte_leaves(bench: Workbench) -> None:
    seen = []
    submit = bench.service.submit

    def submitted(upload: Upload, body: BinaryIO) -> Task:
        record = bench.ledger.file(upload.key)
        assert record is not None
        seen.append((record.state, record.intent_at, record.attempts, body.tell()))
        return submit(upload, body)

    bench.service.submit = submitted  # type: ignore[method-assign]  # looks at the ledger when the stage calls
    bench.drop("a.pdf")
    bench.submit()
    assert seen == [(FileState.SENDING, bench.file("a.pdf").intent_at, 1, 0)]


def test_a_ledger_that_cannot_be_written_means_no_post(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.settle()
    claimed = bench.ledger.claim("invoices", claimed_by="me", now=bench.clock.now())
    assert claimed is not None
    bench.ledger.trouble = LedgerUnavailable("disk full")
    with pytest.raises(LedgerUnavailable):
        bench.parts.submit.work(bench.inboxes[0], claimed, stays=lambda: False)
    assert not bench.service.named("submit")


def test_an_answer_the_ledger_cannot_take_waits_until_it_can(bench: Workbench) -> None:
    def fill_the_disk(_upload: Upload) -> None:
        bench.ledger.trouble = LedgerUnavailable("disk full")

    wait = bench.process_clock.wait

    def waited(event: Any, seconds: float | None) -> bool:
        bench.ledger.trouble = None
        return wait(event, seconds)

    while_sending(bench, fill_the_disk)
    bench.process_clock.wait = waited  # type: ignore[method-assign]  # the disk has room again
    bench.drop("a.pdf")
    bench.submit()
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    assert len(bench.service.submissions) == 1


def test_a_file_that_waited_for_a_connection_until_the_stop_is_not_begun(bench: Workbench) -> None:
    bench.drop("a.pdf")
    bench.parts.stop.set()

    record = bench.submit_one()

    assert bench.service.submissions == []
    assert (record.state, record.ready, record.intent_at, record.claimed_by) == (FileState.WAITING, True, None, "")


def test_a_stop_with_an_answer_the_ledger_cannot_take_is_looked_up_after_the_restart(bench: Workbench) -> None:
    def stop_with_a_full_disk(_upload: Upload) -> None:
        bench.ledger.trouble = LedgerUnavailable("disk full")
        bench.parts.stop.set()

    while_sending(bench, stop_with_a_full_disk)
    bench.drop("a.pdf")
    with pytest.raises(LedgerUnavailable):
        bench.submit()
    bench.ledger.trouble = None
    bench.start()
    bench.run()
    assert len(bench.service.submissions) == 1
    assert bench.file("a.pdf").task_id == bench.service.submissions[0].task_id


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_the_upload_says_name_type_size_folder_and_key(bench: Workbench) -> None:
    path = bench.drop("sub/a.pdf", pdf("text"))
    bench.submit()
    upload = bench.service.submissions[0].upload
    assert (upload.file_name, upload.task_name, upload.project_id) == ("a.pdf", "a.pdf", "project-1")
    assert (upload.content_type, upload.size) == ("application/pdf", len(pdf("text")))
    tags = dict(upload.tags)
    assert tags["file_path"] == str(path.parent)
    assert tags["fsagent_key"] == upload.key == bench.file("sub/a.pdf").key
    assert list(tags)[-1] == "fsagent_key"


def test_configured_tags_and_the_task_name_are_filled_and_the_path_can_be_left_out(tmp_path: Path) -> None:
    folder = watch_folder(
        tmp_path, task_name="{watch_folder}: {stem}", tags={"where": "{relative_path}"}, send_path=False
    )
    bench = Workbench(tmp_path, folder)
    bench.drop("sub/a.pdf")
    bench.submit()
    upload = bench.service.submissions[0].upload
    assert upload.task_name == "invoices: a"
    assert upload.tags["where"] == "sub/a.pdf"
    assert "file_path" not in upload.tags


def test_a_digest_counts_every_byte_once_though_a_renewed_token_sends_them_again(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf("once"))
    with path.open("rb") as file:
        reader = HashingReader(file)
        reader.read(5)
        reader.seek(0)
        while reader.read(4):
            pass
    assert reader.sha256 == hashlib.sha256(pdf("once")).hexdigest()


# --- a file that does not keep still ---------------------------------------------------------------------------------


def test_a_file_that_changed_since_it_was_looked_at_settles_anew(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    bench.settle()
    path.write_bytes(pdf("longer than it was before"))
    bench.send()
    assert not bench.service.named("submit")
    bench.run()
    assert [submission.content for submission in bench.service.submissions] == [pdf("longer than it was before")]


def test_a_file_that_is_gone_when_it_is_its_turn_is_looked_for_by_the_scan(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    bench.settle()
    path.unlink()
    bench.send()
    assert (bench.file("a.pdf").state, bench.service.calls) == (FileState.WAITING, [])


def test_changed_while_it_is_sent_the_task_is_cancelled_and_the_new_content_is_a_task_of_its_own(
    bench: Workbench,
) -> None:
    path = bench.drop("a.pdf", pdf("old"))
    while_sending(bench, lambda _upload: path.write_bytes(pdf("new")))
    bench.run()
    assert [submission.content for submission in bench.service.submissions] == [pdf("old"), pdf("new")]
    states = {task.task_id: (task.state, task.ended_at is None) for task in bench.ledger.find_tasks()}
    assert states == {"task-0001": (TaskState.SUPERSEDED, False), "task-0002": (TaskState.EXPORTED, False)}
    assert bench.contents("archive") == {"a.pdf": pdf("new")}
    assert bench.contents("output")["a.pdf"] == pdf("new")


def test_changed_while_it_is_sent_at_a_service_that_cannot_cancel_the_export_is_failed_and_never_written(
    bench: Workbench,
) -> None:
    path = bench.drop("a.pdf", pdf("old"))
    while_sending(bench, lambda _upload: path.write_bytes(pdf("new")))
    bench.service.script("cancel_task", TaskMoved("cannot be canceled"))
    bench.run()
    assert bench.service.actions("task-0001") == ("start", "fail")
    assert bench.task("task-0001").state is TaskState.SUPERSEDED
    assert bench.contents("output") == {"a.csv": b"name\na.pdf\n", "a.pdf": pdf("new")}


def test_a_file_cut_while_it_is_sent_became_no_task_and_settles_anew(bench: Workbench) -> None:
    path = bench.drop("a.pdf", pdf("more than any buffer holds " * 20_000))
    submit = bench.service.submit

    def cut(upload: Upload, body: BinaryIO) -> Task:
        path.write_bytes(pdf("cut"))
        return submit(upload, body)

    bench.service.submit = cut  # type: ignore[method-assign]  # the file changes as the first byte leaves
    bench.submit()
    record = bench.file("a.pdf")
    assert (record.state, record.intent_at, bench.service.submissions) == (FileState.WAITING, None, [])


def require_identity_through_a_rename(folder: Path) -> None:
    """Skip where an open file that is renamed says of itself that it is another: Wine forgets its device."""
    probe = folder / "probe"
    probe.write_bytes(b"x")
    with system.open_beneath(folder, probe.name) as file:
        before = os.fstat(file.fileno())
        probe = probe.rename(folder / "renamed probe")
        after = os.fstat(file.fileno())
    probe.unlink()
    if not os.path.samestat(before, after):
        pytest.skip("an open file becomes another one with a rename here")


def test_renamed_while_it_is_sent_it_is_the_same_file_and_filed_from_its_new_name(
    bench: Workbench, tmp_path: Path
) -> None:
    require_identity_through_a_rename(tmp_path)
    path = bench.drop("a.pdf")

    def rename_and_scan(_upload: Upload) -> None:
        path.rename(path.with_name("b.pdf"))
        bench.detects[0].scan()

    while_sending(bench, rename_and_scan)
    bench.run()
    assert len(bench.service.submissions) == 1
    assert [(record.relative_path, record.state) for record in bench.files()] == [("b.pdf", FileState.ARCHIVED)]
    assert "unknown" not in bench.events()


@pytest.mark.parametrize(
    "trouble",
    [FileBusy("locked"), LocalTrouble("the share is away", reason=LaneReason.IO_ERROR)],
    ids=["busy", "local trouble"],
)
def test_a_look_that_fails_after_the_answer_sends_nothing_twice(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    look = OpenedSource.sight_again

    def failing(opened: OpenedSource) -> Sighting:
        if bench.service.submissions:
            raise trouble
        return look(opened)

    monkeypatch.setattr(OpenedSource, "sight_again", failing)
    bench.drop("a.pdf")
    bench.submit()
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    assert len(bench.service.submissions) == 1


def test_a_disk_that_fails_while_the_file_is_read_puts_it_back_once(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_reader: HashingReader, _size: int = -1) -> bytes:
        raise LocalTrouble("cannot read", reason=LaneReason.IO_ERROR)

    bench.drop("a.pdf")
    bench.settle()
    monkeypatch.setattr(HashingReader, "read", failing)
    before = bench.file("a.pdf").version
    bench.send()
    record = bench.file("a.pdf")
    assert (record.state, record.claimed_by, record.intent_at) == (FileState.WAITING, "", None)
    assert record.version == before + 3  # claimed, intent, put back: a second put back could undo another's claim


def test_a_locked_file_shows_as_stalled_in_the_end_and_stays(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_arguments: object) -> None:
        raise FileBusy("it belongs to root with mode 0600")

    monkeypatch.setattr("agent.submission.preparing.open_source", locked)
    bench.drop("a.pdf")
    bench.rounds(90)
    record = bench.file("a.pdf")
    assert (record.state, record.detail) == (FileState.STALLED, "it belongs to root with mode 0600")
    assert bench.names("inbox") == ["a.pdf"]
    assert bench.events().count("stalled") == 1


def test_a_file_that_is_not_whole_yet_waits_since_its_last_change_however_often_it_is_looked_at(
    bench: Workbench,
) -> None:
    bench.drop("a.pdf", pdf()[:-8])
    bench.rounds(10)
    waits_since = bench.file("a.pdf").state_at
    bench.rounds(20)
    assert bench.file("a.pdf").state is FileState.WAITING
    assert bench.file("a.pdf").state_at == pytest.approx(waits_since, abs=0.5)


# --- names that are under way ----------------------------------------------------------------------------------------


def test_while_a_name_is_unknown_no_other_file_of_that_name_is_sent(bench: Workbench) -> None:
    bench.drop("one/a.pdf")
    bench.drop("two/a.pdf")
    bench.drop("b.pdf")
    bench.service.script("submit", OutcomeUnknown("504"))
    bench.settle()
    bench.send()
    bench.clock.advance(2)
    bench.send()
    assert {record.relative_path: record.state for record in bench.files()} == {
        "one/a.pdf": FileState.UNKNOWN,
        "two/a.pdf": FileState.WAITING,
        "b.pdf": FileState.ARCHIVED,
    }


def test_names_that_look_alike_to_the_service_are_one_name(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 become U+FFFD on the wire: a lost answer would have two claimants."""
    bench = Workbench(tmp_path)
    for name in ("one/\udcfe.pdf", "two/\udcff.pdf"):
        try:
            bench.drop(name)
        except (OSError, UnicodeError) as error:
            pytest.skip(f"no such names here: {error}")
    bench.settle()
    assert {record.task_name for record in bench.files()} == {"\ufffd.pdf"}


# --- on_duplicate ----------------------------------------------------------------------------------------------------


@pytest.fixture
def skipping(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path, watch_folder(tmp_path, on_duplicate="skip"))


def test_content_that_was_accepted_before_is_filed_as_a_duplicate(skipping: Workbench) -> None:
    skipping.drop("a.pdf", pdf("same"))
    skipping.submit()
    skipping.drop("b.pdf", pdf("same"))
    skipping.submit()
    assert len(skipping.service.submissions) == 1
    record = skipping.file("b.pdf")
    assert (record.state, record.filed_in, record.task_id) == (FileState.DUPLICATE, "archive", "")


def test_twins_dropped_together_are_sent_once(skipping: Workbench) -> None:
    skipping.drop("a.pdf", pdf("same"))
    skipping.drop("b.pdf", pdf("same"))
    skipping.run()
    assert len(skipping.service.submissions) == 1
    assert sorted(record.state for record in skipping.files()) == [FileState.ARCHIVED, FileState.DUPLICATE]


def test_a_twin_waits_while_the_outcome_of_the_other_is_unknown(skipping: Workbench) -> None:
    skipping.drop("a.pdf", pdf("same"))
    skipping.drop("b.pdf", pdf("same"))
    skipping.service.script("submit", AfterActing(OutcomeUnknown("504")))
    skipping.settle()
    skipping.send()
    skipping.clock.advance(5)
    skipping.send()
    assert skipping.service.named("submit") == ["a.pdf"]
    skipping.run()
    assert skipping.file("b.pdf").state is FileState.DUPLICATE


def test_content_whose_task_failed_was_not_accepted_for_good(skipping: Workbench) -> None:
    """Dropping a file from error/ again is a retry: it must not end as a duplicate of its own failure."""
    skipping.service.processing_time = 1e6
    skipping.drop("a.pdf", pdf("same"))
    skipping.submit()
    skipping.service.end("task-0001", ServiceTaskState.FAILED)
    skipping.rounds(3)
    assert skipping.names("error") == ["a.pdf", "a.pdf.error.txt"]
    skipping.service.processing_time = 0.0
    skipping.drop("again.pdf", pdf("same"))
    skipping.submit()
    assert skipping.file("again.pdf").state is FileState.ARCHIVED
    assert len(skipping.service.submissions) == 2
