"""One file has one row: what changes, vanishes or is filed while somebody looks never becomes a second submission."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import PROJECT, Workbench, pdf, watch_folder

from agent.errors import FileBusy, OutcomeUnknown, ServiceUnavailable
from agent.folders import filing, system
from agent.model import FileState, LaneReason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from agent.model import Task, Upload

DOWN = ServiceUnavailable("down", reason=LaneReason.SERVICE_UNAVAILABLE)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    bench.scan()
    return bench


def before_the_next_upload(bench: Workbench, act: Callable[[], object]) -> None:
    """Let something happen when the next file is on its way."""
    submit = bench.service.submit

    def submitted(upload: Upload, body: BinaryIO) -> Task:
        bench.service.submit = submit  # type: ignore[method-assign]  # once
        act()
        return submit(upload, body)

    bench.service.submit = submitted  # type: ignore[method-assign]  # the service is the moment, not what is tested


def never_filed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another program hold every file: it stays in the inbox after it was sent."""

    def held(**_: Any) -> str:
        raise FileBusy("another program holds it open")

    monkeypatch.setattr(filing, "file_away", held)


def test_changed_while_an_upload_failed_the_new_content_is_sent_once(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.drop("a.pdf")
    bench.settle()

    def change() -> None:
        path.write_bytes(pdf("another content"))
        bench.detects[0].scan()

    before_the_next_upload(bench, change)
    bench.service.script("submit", DOWN)
    never_filed(monkeypatch)
    bench.rounds(30)
    assert [submission.content for submission in bench.service.submissions] == [pdf("another content")]


def test_replaced_while_its_outcome_was_unknown_the_new_content_is_sent_once(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.drop("a.pdf")
    bench.service.script("submit", OutcomeUnknown("no answer"))
    bench.submit()
    path.write_bytes(pdf("another content"))
    never_filed(monkeypatch)
    bench.rounds(60)
    assert [submission.content for submission in bench.service.submissions] == [pdf("another content")]


def test_the_row_that_stands_for_nothing_any_more_is_gone(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    bench.service.script("submit", OutcomeUnknown("no answer"))
    bench.submit()
    path.write_bytes(pdf("another content"))
    bench.rounds(60)
    assert sorted(record.state for record in bench.files()) == [FileState.ARCHIVED, FileState.GONE]


def test_a_file_that_is_sent_and_filed_while_a_scan_runs_leaves_no_second_row(bench: Workbench) -> None:
    bench.drop("a.pdf")
    sighting = system.sight(bench.place("inbox"), "a.pdf")
    assert sighting is not None
    bench.submit()
    assert bench.file("a.pdf").state is FileState.ARCHIVED
    bench.detects[0].take([sighting])
    assert [record.state for record in bench.files()] == [FileState.ARCHIVED]


def test_a_file_that_grows_between_listing_and_look_is_taken_as_it_is_now(bench: Workbench) -> None:
    path = bench.drop("a.pdf")
    sighting = system.sight(bench.place("inbox"), "a.pdf")
    assert sighting is not None
    path.write_bytes(pdf("longer than it was before"))
    bench.detects[0].take([sighting])
    assert bench.file("a.pdf").signature.size == path.stat().st_size


def test_a_wait_of_days_for_a_lost_answer_ends_no_look(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path, project_id=PROJECT))
    bench.service.list_delay = 1e9
    bench.scan()
    bench.drop("a.pdf")
    bench.service.script("submit", AfterActing(OutcomeUnknown("no answer")))
    bench.submit()
    unknown = bench.parts.unknown
    key = bench.file("a.pdf").key
    unknown.work("invoices")
    # As many looks as after three days of a service that lists nothing.
    next(iter(unknown._searches["invoices"].values())).looks = 4000
    bench.clock.advance(2.0)
    assert [record.key for record in unknown.work("invoices")] == [key]


def configured(bench: Workbench, on_duplicate: str) -> None:
    """Restart with another `on_duplicate`."""
    bench.settings = replace(bench.settings, watch_folders=(replace(bench.folder, on_duplicate=on_duplicate),))
    bench.start()
    bench.recover()
    bench.scan()


def test_bytes_that_were_written_over_before_they_were_sent_never_count_as_accepted(bench: Workbench) -> None:
    configured(bench, "skip")
    bench.drop("a.pdf", pdf("first"))
    bench.service.script("submit", DOWN)
    bench.submit()
    configured(bench, "submit")
    bench.drop("a.pdf", pdf("second"))
    bench.service.script("submit", AfterActing(OutcomeUnknown("504")))
    bench.run()
    configured(bench, "skip")
    bench.drop("b.pdf", pdf("first"))
    bench.run()
    assert [submission.content for submission in bench.service.submissions] == [pdf("second"), pdf("first")]
