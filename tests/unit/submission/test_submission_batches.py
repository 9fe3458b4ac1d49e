"""Batches: the files of a folder that settled together are one upload; none is lost whatever becomes of it."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from fakes.memory_uploads import MemoryUploadService
from fakes.workbench import PROJECT, Workbench, pdf, watch_folder

from agent.errors import FileRefused, LocalTrouble, OutcomeUnknown, ServiceUnavailable
from agent.folders import system
from agent.model import FileState, LaneReason, Reason, ServiceTaskState, TaskState
from agent.rules.form_names import file_name_in_form

NAMES = tuple(f"case 7/{number:02}.pdf" for number in range(12))


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path, watch_folder(tmp_path, batch="folder", meta={"site": "Bern"}))
    bench.service = MemoryUploadService(bench.clock, project_ids=(PROJECT,))
    bench.start()
    return bench


@pytest.fixture
def service(bench: Workbench) -> MemoryUploadService:
    assert isinstance(bench.service, MemoryUploadService)
    return bench.service


def dropped(bench: Workbench, *names: str) -> None:
    for name in names or NAMES:
        bench.drop(name)


def open_files_below(folder: Path | None) -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(descriptor.readlink()))
    return [name for name in found if name.startswith(f"{folder}/") and name.endswith(".pdf")]


def uploaded(service: MemoryUploadService) -> list[tuple[str, list[str]]]:
    return [(upload.name, [part.upload.file_name for part in upload.parts]) for upload in service.uploads()]


def test_a_folder_moved_in_at_once_is_one_upload_named_after_it(bench: Workbench, service: MemoryUploadService) -> None:
    dropped(bench)
    bench.run()
    assert uploaded(service) == [("case 7", [name.partition("/")[2] for name in NAMES])]
    assert bench.names("archive") == sorted(NAMES)
    assert bench.names("output") == sorted(f"{name[:-4]}.{end}" for name in NAMES for end in ("csv", "json"))


def test_each_file_brings_its_pairs_its_folder_and_its_key(bench: Workbench, service: MemoryUploadService) -> None:
    dropped(bench, "a/b/1.pdf")
    bench.run()
    upload = service.uploads()[0].parts[0].upload
    assert dict(upload.meta) == {"site": "Bern", "relative_folder": "a/b", "fsagent_key": upload.key}


def test_a_name_shown_as_it_travelled_in_the_form_is_known_again(
    bench: Workbench, service: MemoryUploadService
) -> None:
    service.split = lambda upload: (file_name_in_form(upload.file_name),)
    try:
        dropped(bench, 'a/case "7".pdf', "a/b.pdf")
    except OSError:
        pytest.skip("this file system takes no such name")
    bench.run()
    names = {task.file_key: task.name for task in bench.ledger.find_tasks() if task.upload_id}
    assert names == {bench.file('a/case "7".pdf').key: "case %227%22.pdf", bench.file("a/b.pdf").key: "b.pdf"}


def test_files_that_travel_under_one_name_are_not_of_one_upload(bench: Workbench, service: MemoryUploadService) -> None:
    service.split = lambda upload: (file_name_in_form(upload.file_name),)
    try:
        dropped(bench, 'a/b".pdf', "a/b%22.pdf", "a/c.pdf")
    except OSError:
        pytest.skip("this file system takes no such name")
    bench.run()
    assert sorted(uploaded(service)) == [("a", ['b".pdf', "c.pdf"]), ("a", ["b%22.pdf"])]
    assert {task.file_key for task in bench.ledger.find_tasks() if task.upload_id} == {f.key for f in bench.files()}


def test_files_outside_of_any_folder_are_uploads_of_their_own(bench: Workbench, service: MemoryUploadService) -> None:
    dropped(bench, "1.pdf", "2.pdf")
    bench.run()
    assert sorted(uploaded(service)) == [("1.pdf", ["1.pdf"]), ("2.pdf", ["2.pdf"])]


def test_folders_are_not_mixed(bench: Workbench, service: MemoryUploadService) -> None:
    dropped(bench, "a/1.pdf", "a/b/2.pdf", "ab/3.pdf")
    bench.run()
    assert sorted(uploaded(service)) == [("a", ["1.pdf"]), ("ab", ["3.pdf"]), ("b", ["2.pdf"])]


def test_while_one_file_of_a_folder_settles_the_others_wait_for_it(
    bench: Workbench, service: MemoryUploadService
) -> None:
    dropped(bench, "a/1.pdf")
    bench.settle()
    bench.drop("a/2.pdf")
    bench.scan()
    bench.send()
    assert uploaded(service) == []
    bench.run()
    assert uploaded(service) == [("a", ["1.pdf", "2.pdf"])]


def test_a_file_that_is_not_whole_keeps_the_others_no_longer_than_until_it_shows_as_stalled(
    bench: Workbench, service: MemoryUploadService
) -> None:
    dropped(bench, "a/1.pdf")
    bench.drop("a/2.pdf", pdf()[:-8])
    bench.rounds(90)
    assert uploaded(service) == [("a", ["1.pdf"])]
    assert bench.file("a/2.pdf").state is FileState.STALLED


def test_a_file_that_may_not_be_sent_goes_to_error_and_the_others_are_one_upload(
    bench: Workbench, service: MemoryUploadService
) -> None:
    dropped(bench, "a/1.pdf", "a/3.pdf")
    bench.drop("a/2.pdf", b"no document at all" * 300)
    bench.rounds(90)
    assert [name for _, names in uploaded(service) for name in names] == ["1.pdf", "3.pdf"]
    assert bench.file("a/2.pdf").reason is Reason.WRONG_TYPE


def test_files_beside_one_that_waits_for_its_ready_file_say_which_they_wait_for(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, batch="folder", ready_file="{file_name}.ready"))
    service = MemoryUploadService(bench.clock, project_ids=(PROJECT,))
    bench.service = service
    bench.start()
    dropped(bench, "a/1.pdf", "a/1.pdf.ready", "a/2.pdf")
    bench.rounds(5)
    assert bench.file("a/1.pdf").detail.startswith("waits for 2.pdf.ready: its folder is not complete yet")
    bench.drop("a/2.pdf.ready")
    bench.run()
    assert uploaded(service) == [("a", ["1.pdf", "2.pdf"])]


@pytest.fixture
def bad_spot(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk fail wherever `a/2.pdf` is opened, a folder with two others dropped."""
    opened = system.descriptor_beneath

    def descriptor_beneath(root: Path, relative_path: str) -> int:
        if relative_path == "a/2.pdf":
            raise LocalTrouble("cannot read a/2.pdf", reason=LaneReason.IO_ERROR)
        return opened(root, relative_path)

    monkeypatch.setattr("agent.folders.reading.descriptor_beneath", descriptor_beneath)
    dropped(bench, "a/1.pdf", "a/2.pdf", "a/3.pdf")


@pytest.mark.usefixtures("bad_spot")
def test_a_file_on_a_bad_spot_of_the_disk_keeps_the_others_of_its_folder_not_for_ever(
    bench: Workbench, service: MemoryUploadService
) -> None:
    bench.rounds(20)
    assert uploaded(service) == [("a", ["1.pdf", "3.pdf"])]


@pytest.mark.usefixtures("bad_spot")
def test_where_one_file_of_a_folder_cannot_be_read_none_is_left_claimed(bench: Workbench) -> None:
    bench.submit()
    assert {each.state for each in bench.files()} == {FileState.WAITING}


def test_more_files_than_an_upload_may_hold_are_several(bench: Workbench, service: MemoryUploadService) -> None:
    service.abilities.batch_limit = 5
    dropped(bench)
    bench.run()
    assert [len(names) for _, names in uploaded(service)] == [5, 5, 2]


def test_an_upload_refused_as_a_whole_is_sent_file_by_file(bench: Workbench, service: MemoryUploadService) -> None:
    dropped(bench, "a/1.pdf", "a/2.pdf", "a/3.pdf")
    refused = FileRefused("400: a file is damaged", reason=Reason.REFUSED_BY_SERVICE)
    service.script("submit_together", refused)
    service.script("submit", None, refused, None)
    bench.run()
    assert [(each.relative_path, each.state) for each in bench.files() if each.reason] == [
        ("a/2.pdf", FileState.REJECTED)
    ]
    assert sorted(uploaded(service)) == [("1.pdf", ["1.pdf"]), ("3.pdf", ["3.pdf"])]


def test_while_the_service_is_down_all_of_them_wait(bench: Workbench, service: MemoryUploadService) -> None:
    dropped(bench)
    service.script("submit_together", ServiceUnavailable("down", reason=LaneReason.SERVICE_UNREACHABLE))
    bench.submit()
    assert {each.state for each in bench.files()} == {FileState.WAITING}
    assert len(bench.parts.files_in_hand) == 0
    bench.run()
    assert [len(names) for _, names in uploaded(service)] == [12]


def test_a_lost_answer_holds_every_file_of_the_upload(bench: Workbench, service: MemoryUploadService) -> None:
    dropped(bench, "a/1.pdf", "a/2.pdf")
    service.script("submit_together", OutcomeUnknown("no answer"))
    bench.submit()
    bench.rounds(3)
    assert {each.state for each in bench.files()} == {FileState.HELD}
    assert bench.names("inbox") == ["a/1.pdf", "a/2.pdf"]


def test_two_fail_and_one_waits_for_people_while_the_others_are_exported(
    bench: Workbench, service: MemoryUploadService
) -> None:
    dropped(bench)
    bench.submit()
    tasks = service.tasks_of("upload-0001")
    for name in ("03.pdf", "08.pdf"):
        service.end(tasks[name].id, ServiceTaskState.FAILED, message="unreadable")
    service.show(tasks["05.pdf"].id, ServiceTaskState.REVIEWING)
    bench.rounds(20)
    states = [task.state for task in bench.ledger.find_tasks() if task.upload_id]
    assert (states.count(TaskState.EXPORTED), states.count(TaskState.FAILED), states.count(TaskState.REVIEWING)) == (
        9,
        2,
        1,
    )
    assert sorted(name for name in bench.names("error") if name.endswith(".pdf")) == ["case 7/03.pdf", "case 7/08.pdf"]
    service.show(tasks["05.pdf"].id, ServiceTaskState.PENDING_START)
    bench.run()
    assert len(bench.names("output")) == 20


def test_files_that_other_workers_claimed_at_the_same_moment_are_in_the_upload_too(
    bench: Workbench, service: MemoryUploadService
) -> None:
    dropped(bench, "a/1.pdf", "a/2.pdf", "a/3.pdf")
    bench.settle()
    sibling = bench.parts.ledger.claim("invoices", claimed_by=bench.parts.agent_id, now=bench.clock.now())
    assert sibling is not None
    bench.parts.files_in_hand.hold(sibling.key)
    bench.send()
    assert uploaded(service) == [("a", ["1.pdf", "2.pdf", "3.pdf"])]
    assert bench.parts.batches.work(bench.inboxes[0], sibling, hold=lambda _key: None) == [sibling]
    assert len(uploaded(service)) == 1


def test_a_file_that_waits_for_its_folder_keeps_no_other_waiting(
    bench: Workbench, service: MemoryUploadService
) -> None:
    dropped(bench, "a/1.pdf")
    bench.settle()
    bench.drop("a/2.pdf")
    bench.scan()
    bench.clock.advance(1.8)
    bench.send()
    assert uploaded(service) == []
    bench.clock.advance(0.3)  # the second has settled, the first is not looked at again yet
    bench.detects[0].look_at_due()
    assert not bench.file("a/1.pdf").ready
    bench.send()
    assert uploaded(service) == [("a", ["1.pdf", "2.pdf"])]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which files are open")
def test_files_of_an_upload_that_waits_for_a_place_are_not_open(bench: Workbench) -> None:
    dropped(bench)
    bench.settle()
    sender = threading.Thread(target=bench.send, daemon=True)
    with bench.parts.submit.connections.hold("another folder"), ExitStack() as others:
        for _ in range(bench.settings.service.connections - 1):
            others.enter_context(bench.parts.submit.connections.hold("another folder"))
        sender.start()
        sender.join(0.5)
        is_waiting, opened = sender.is_alive(), open_files_below(bench.folder.inbox)
    sender.join(10.0)
    assert (is_waiting, opened, len(bench.service.named("submit_together"))) == (True, [], 1)
