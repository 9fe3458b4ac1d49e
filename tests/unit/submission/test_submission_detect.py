"""Detect and settle: what an inbox's scans and hints make of its files, over real folders and a driven clock."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.workbench import SETTLED, Workbench, pdf, watch_folder

from agent.errors import LocalTrouble, OutcomeUnknown, StaleRecord
from agent.folders import system
from agent.model import FileRecord, FileState, Signature

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import Sighting
    from agent.submission.detect import Detect


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


@pytest.fixture
def detect(bench: Workbench) -> Detect:
    bench.scan()
    return bench.detects[0]


def link(at: Path, to: Path) -> None:
    try:
        at.symlink_to(to)
    except (OSError, NotImplementedError) as error:
        pytest.skip(f"no symlinks here: {error}")
    if not at.is_symlink():
        pytest.skip("symlinks are not told from files here")


def hard_link(at: Path, to: Path) -> None:
    try:
        os.link(to, at)
    except OSError as error:
        pytest.skip(f"no hard links here: {error}")
    if at.stat().st_nlink < 2 or not system.HARD_LINKS_CARRY_OWNERS:
        pytest.skip("links are not counted, or say nothing, here")


# --- settling --------------------------------------------------------------------------------------------------------


def test_a_new_file_waits_until_it_has_not_changed_for_settle(bench: Workbench, detect: Detect) -> None:
    bench.drop("a.pdf")
    detect.scan()
    record = bench.file("a.pdf")
    assert (record.state, record.ready, record.project_id) == (FileState.WAITING, False, "project-1")
    bench.clock.advance(1.9)
    assert not detect.look_at_due()
    bench.clock.advance(0.2)
    assert detect.look_at_due()
    assert bench.file("a.pdf").ready


def test_every_change_begins_the_wait_anew(bench: Workbench, detect: Detect) -> None:
    path = bench.drop("a.pdf")
    detect.scan()
    for text in ("one", "two two", "three three three"):
        bench.clock.advance(1.5)
        path.write_bytes(pdf(text))
        detect.look_at(["a.pdf"])
        assert not detect.look_at_due()
    bench.clock.advance(1.9)
    assert not detect.look_at_due()


def test_a_file_that_lay_there_before_the_start_settles_by_the_same_rule(bench: Workbench, detect: Detect) -> None:
    bench.drop("a.pdf")
    detect.scan()
    bench.clock.advance(SETTLED)
    detect.look_at_due()
    bench.start()
    bench.recover()
    bench.detects[0].scan()
    assert not bench.file("a.pdf").ready
    bench.clock.advance(SETTLED)
    assert bench.detects[0].look_at_due()


def test_a_wall_clock_that_jumps_a_day_neither_hurries_nor_delays(bench: Workbench, detect: Detect) -> None:
    bench.drop("a.pdf")
    detect.scan()
    bench.clock.jump(86400)
    assert not detect.look_at_due()
    bench.clock.jump(-2 * 86400)
    bench.clock.advance(SETTLED)
    assert detect.look_at_due()


def test_the_next_look_is_when_the_file_may_have_settled(bench: Workbench, detect: Detect) -> None:
    assert detect.next_look() is None
    bench.drop("a.pdf")
    detect.scan()
    assert detect.next_look() == bench.process_clock.monotonic() + 2.0


def test_more_files_than_one_page_are_all_taken_in(bench: Workbench, detect: Detect) -> None:
    for number in range(520):
        (bench.place("inbox") / f"{number}.pdf").touch()
    detect.scan()
    bench.clock.advance(SETTLED)
    detect.look_at_due()
    assert sum(record.ready for record in bench.files()) == 520


def test_a_file_claimed_while_it_was_looked_at_keeps_none_of_the_others(bench: Workbench, detect: Detect) -> None:
    bench.drop("a.pdf")
    bench.drop("b.pdf")
    detect.scan()
    commit = bench.ledger.commit
    raced: list[bool] = []

    def committed(*changes: object) -> None:
        if not raced:
            raced.append(True)
            row = bench.file("a.pdf")
            commit(row.change(detail="somebody else was faster"))
        commit(*changes)  # type: ignore[arg-type]  # passed on as it came

    bench.ledger.commit = committed  # type: ignore[method-assign]  # another worker, between look and commit
    bench.clock.advance(SETTLED)
    assert detect.look_at_due()
    assert (bench.file("a.pdf").ready, bench.file("b.pdf").ready) == (False, True)


# --- what is not sent ------------------------------------------------------------------------------------------------


def test_a_link_is_ignored_and_says_so_once(bench: Workbench, detect: Detect) -> None:
    target = bench.base / "outside.pdf"
    target.write_bytes(pdf())
    link(bench.place("inbox") / "a.pdf", target)
    detect.scan()
    detect.scan()
    bench.clock.advance(SETTLED)
    detect.look_at_due()
    record = bench.file("a.pdf")
    assert (record.state, record.ready) == (FileState.IGNORED, False)
    assert "symlink" in record.detail
    assert bench.events().count("ignored") == 1


def test_a_plain_file_in_the_place_of_an_ignored_link_is_taken(bench: Workbench, detect: Detect) -> None:
    path = bench.place("inbox") / "a.pdf"
    link(path, bench.base / "nowhere")
    detect.scan()
    path.unlink()
    bench.drop("a.pdf")
    bench.submit()
    assert bench.file("a.pdf").state is FileState.ARCHIVED


def test_a_file_with_other_names_of_our_own_waits_and_is_sent(bench: Workbench, detect: Detect) -> None:
    hard_link(bench.base / "second-name.pdf", bench.drop("a.pdf"))
    detect.scan()
    bench.clock.advance(SETTLED)
    assert not detect.look_at_due()
    assert "more than one name" in bench.file("a.pdf").detail
    bench.rounds(70)
    assert len(bench.service.submissions) == 1


@pytest.fixture
def foreign(bench: Workbench, detect: Detect, monkeypatch: pytest.MonkeyPatch) -> Sighting:
    """Return a file with two names that belongs to somebody else, and is ignored."""
    hard_link(bench.base / "second-name.pdf", bench.drop("a.pdf"))
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    monkeypatch.setattr(
        type(bench.place("inbox")), "stat", lambda _path, **_: os.stat_result([0, 0, 0, 2, 4711, *[0] * 5])
    )
    sighting = system.sight(bench.place("inbox"), "a.pdf")
    assert sighting is not None
    detect.take([sighting])
    bench.clock.advance(61)
    detect.look_at_due()
    detect.look_at_due()
    return sighting


def test_a_file_with_other_names_of_somebody_else_is_ignored(
    bench: Workbench, detect: Detect, foreign: Sighting
) -> None:
    detect.take([foreign])
    record = bench.file("a.pdf")
    assert (record.state, "`hard_links: allow`" in record.detail) == (FileState.IGNORED, True)
    assert not bench.service.submissions


def test_a_file_ignored_for_its_other_names_is_taken_up_where_they_are_allowed_by_now(
    bench: Workbench, foreign: Sighting
) -> None:
    bench.settings = replace(bench.settings, watch_folders=(replace(bench.folder, hard_links="allow"),))
    bench.start()
    bench.detects[0].take([foreign])
    assert bench.file("a.pdf").state is FileState.WAITING


def test_a_file_ignored_for_its_other_names_is_taken_up_once_it_is_ours(
    bench: Workbench, detect: Detect, foreign: Sighting
) -> None:
    detect.take([replace(foreign, owner=4711)])
    assert bench.file("a.pdf").state is FileState.WAITING


def test_hard_links_can_be_allowed(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, hard_links="allow"))
    hard_link(tmp_path / "second-name.pdf", bench.drop("a.pdf"))
    bench.submit()
    assert len(bench.service.submissions) == 1


def test_what_no_include_matches_is_left_and_counted(bench: Workbench, detect: Detect) -> None:
    bench.drop("notes.txt", b"text")
    detect.scan()
    assert (detect.unmatched, bench.files()) == (1, [])


def test_what_no_include_matches_goes_to_error_where_that_is_wanted(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, unmatched="error"))
    bench.drop("notes.txt", b"text")
    bench.submit()
    assert bench.names("error") == ["notes.txt", "notes.txt.error.txt"]


def test_archive_and_error_are_not_looked_into(bench: Workbench, detect: Detect) -> None:
    for place in ("archive", "error"):
        (bench.place(place) / "a.pdf").write_bytes(pdf())
    detect.scan()
    assert bench.files() == []


# --- ready files -----------------------------------------------------------------------------------------------------


def test_a_file_waits_for_the_one_that_announces_it(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, ready_file="{file_name}.ready"))
    bench.drop("sub/a.pdf")
    bench.settle()
    record = bench.file("sub/a.pdf")
    assert (record.ready, record.detail) == (False, "waits for a.pdf.ready")
    bench.drop("sub/a.pdf.ready", b"")
    bench.detects[0].look_at(["sub/a.pdf.ready"])
    assert bench.detects[0].look_at_due()
    assert bench.file("sub/a.pdf").ready


def test_a_ready_file_is_no_document(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, ready_file="{stem}.pdf.ok", include=("*",)))
    bench.drop("a.pdf.ok", b"")
    bench.settle()
    assert bench.files() == []


# --- what goes away, comes back or changes its name ------------------------------------------------------------------


def test_missing_in_one_scan_means_nothing_in_two_it_is_gone(bench: Workbench, detect: Detect) -> None:
    path = bench.drop("a.pdf")
    detect.scan()
    path.unlink()
    detect.scan()
    assert bench.file("a.pdf").state is FileState.WAITING
    detect.scan()
    record = bench.file("a.pdf")
    assert (record.state, record.in_inbox) == (FileState.GONE, False)


def test_a_file_that_is_back_in_between_was_never_gone(bench: Workbench, detect: Detect) -> None:
    path = bench.drop("a.pdf")
    detect.scan()
    for _ in range(2):
        path.rename(bench.base / "away")
        detect.scan()
        (bench.base / "away").rename(path)
        detect.scan()
    assert bench.file("a.pdf").state is FileState.WAITING


def test_a_file_that_was_gone_and_comes_back_is_a_file_of_its_own(bench: Workbench, detect: Detect) -> None:
    path = bench.drop("a.pdf")
    detect.scan()
    path.unlink()
    detect.scan()
    detect.scan()
    bench.drop("a.pdf")
    bench.submit()
    assert sorted(record.state for record in bench.files()) == [FileState.ARCHIVED, FileState.GONE]


def test_an_empty_folder_in_the_place_of_the_inbox_makes_no_file_gone(bench: Workbench, detect: Detect) -> None:
    bench.drop("a.pdf")
    detect.scan()
    bench.place("inbox").rename(bench.base / "unmounted")
    bench.place("inbox").mkdir()
    for _ in range(3):
        with pytest.raises(LocalTrouble):
            detect.scan()
    assert bench.file("a.pdf").state is FileState.WAITING


def test_an_inbox_that_is_away_raises_and_changes_nothing(bench: Workbench, detect: Detect) -> None:
    bench.drop("a.pdf")
    detect.scan()
    bench.place("inbox").rename(bench.base / "unmounted")
    with pytest.raises(LocalTrouble, match=r"^cannot read the inbox .*: "):
        detect.scan()
    assert bench.file("a.pdf").state is FileState.WAITING


def test_however_many_are_on_their_way_back_a_copy_of_one_is_no_new_file(bench: Workbench, detect: Detect) -> None:
    status = bench.drop("a.pdf").stat()
    planned = [
        FileRecord(
            f"{number:04}",
            "invoices",
            f"{number:04}.pdf",
            Signature("another:file", status.st_size, status.st_mtime_ns),
            FileState.REJECTED,
            state_at=float(number),
            first_seen_at=0.0,
            in_inbox=False,
            filing="inbox",
            destination="a.pdf" if number == 1000 else f"{number:04}.pdf",
            filed_in="error",
        )
        for number in range(1001)
    ]
    bench.ledger.commit(*planned)
    detect.scan()
    assert bench.ledger.find_files(in_inbox=True) == []


def test_renamed_before_it_is_sent_it_settles_under_its_new_name(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    bench.settle()
    path.rename(path.with_name("b.pdf"))
    bench.run()
    assert {record.relative_path: record.state for record in bench.files()} == {
        "a.pdf": FileState.GONE,
        "b.pdf": FileState.ARCHIVED,
    }
    assert len(bench.service.submissions) == 1


def test_renamed_after_it_was_sent_it_is_the_same_file(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    bench.service.script("submit", OutcomeUnknown("504"))
    bench.submit()
    path.rename(path.with_name("b.pdf"))
    bench.scan()
    assert [(record.relative_path, record.state) for record in bench.files()] == [("b.pdf", FileState.UNKNOWN)]


def test_replaced_after_it_was_sent_the_new_content_is_a_file_of_its_own(bench: Workbench) -> None:
    bench.drop("a.pdf", pdf("old"))
    bench.service.script("submit", OutcomeUnknown("504"))
    bench.submit()
    bench.drop("a.pdf", pdf("entirely new"))
    bench.settle()
    assert sorted(record.state for record in bench.files()) == [FileState.UNKNOWN, FileState.WAITING]


def test_a_second_name_of_a_file_that_is_sent_is_not_taken_for_a_new_name(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, hard_links="allow"))
    path = bench.drop("a.pdf")
    bench.service.script("submit", OutcomeUnknown("504"))
    bench.submit()
    hard_link(path.with_name("b.pdf"), path)
    version = bench.file("a.pdf").version
    for _ in range(3):
        bench.scan()
    record = bench.file("a.pdf")
    assert (record.state, record.version) == (FileState.UNKNOWN, version)


def test_sent_and_taken_away_before_it_was_filed_it_is_gone_after_two_scans_and_its_task_goes_on(
    bench: Workbench,
) -> None:
    path = bench.drop("a.pdf")
    bench.service.script("complete_export", OutcomeUnknown("not reached"))
    submit = bench.service.submit

    def taken_away(*arguments: object) -> object:
        task = submit(*arguments)  # type: ignore[arg-type]  # passed on as it came
        path.unlink()
        return task

    bench.service.submit = taken_away  # type: ignore[method-assign, assignment]  # somebody takes the file meanwhile
    bench.submit()
    bench.service._scripts.clear()
    bench.scan()
    assert bench.file("a.pdf").state is FileState.SUBMITTED
    bench.run()
    assert bench.file("a.pdf").state is FileState.GONE
    assert bench.names("output") == ["a.csv", "a.pdf"]


def test_filed_by_a_process_that_died_before_it_said_so_it_is_not_gone(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    bench.parts.lanes.submission("invoices")
    commit = bench.ledger.commit

    def dying(*changes: object) -> None:
        if not path.exists():
            raise StaleRecord("the process is dead")
        commit(*changes)  # type: ignore[arg-type]  # passed on as it came

    bench.settle()
    bench.ledger.commit = dying  # type: ignore[method-assign]  # nothing is recorded once the file has moved
    with pytest.raises(StaleRecord):
        bench.send()
    bench.ledger.commit = commit  # type: ignore[method-assign]
    bench.start()
    bench.recover()
    for _ in range(4):
        bench.scan()  # detection runs though the lane that files away may be paused
    assert bench.file("a.pdf").state is FileState.SUBMITTED
    bench.aftercare.step()
    assert (bench.file("a.pdf").state, bench.names("archive")) == (FileState.ARCHIVED, ["a.pdf"])


def test_sent_taken_away_and_brought_back_it_is_filed_and_never_sent_again(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    bench.submit_one()
    aside = bench.base / "aside.pdf"
    path.rename(aside)
    for _ in range(3):
        bench.scan()
        bench.clock.advance(60.0)
    assert bench.file("a.pdf").state is FileState.GONE
    aside.rename(path.with_name("b.pdf"))
    bench.submit()
    bench.rounds(3)
    assert (len(bench.service.submissions), bench.names("inbox"), bench.names("archive")) == (1, [], ["b.pdf"])
    assert bench.file("b.pdf").state is FileState.ARCHIVED


def test_sent_and_taken_away_other_bytes_of_that_name_are_a_file_of_their_own(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    bench.submit_one()
    path.unlink()
    for _ in range(3):
        bench.scan()
        bench.clock.advance(60.0)
    bench.drop("a.pdf", b"%PDF-1.4\nother bytes\n%%EOF\n")
    bench.submit()
    assert len(bench.service.submissions) == 2
