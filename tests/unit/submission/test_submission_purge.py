"""Purge: removes by the ledger what was kept long enough, and nothing it is not sure of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.workbench import Workbench, pdf, watch_folder

from agent.errors import FileRefused
from agent.folders import filing
from agent.model import FileState, Reason, ServiceTaskState, TaskState

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DAY = 86400.0


def bench_with(base: Path, **folder: Any) -> Workbench:
    return Workbench(base, watch_folder(base, **folder))


def purge(bench: Workbench) -> int:
    return bench.parts.purge.work(bench.folder)


def exported(bench: Workbench, path: str = "a.pdf") -> None:
    bench.drop(path)
    bench.run()


def test_by_default_nothing_is_ever_removed(tmp_path: Path) -> None:
    bench = bench_with(tmp_path)
    exported(bench)
    bench.clock.advance(3650 * DAY)
    assert purge(bench) == 0
    assert bench.names("archive") == ["a.pdf"]


def test_what_was_kept_long_enough_since_it_was_filed_goes(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, archive_keep=30 * DAY)
    exported(bench)
    bench.clock.advance(30 * DAY - 100)
    assert purge(bench) == 0
    bench.clock.advance(200)
    assert purge(bench) == 1
    record = bench.file("a.pdf")
    assert (bench.names("archive"), record.filed_in, record.state) == ([], "deleted", FileState.ARCHIVED)


def test_the_age_of_the_file_itself_says_nothing(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, archive_keep=DAY)
    exported(bench)  # its modification time lies years behind the real clock
    assert purge(bench) == 0


def test_a_source_whose_task_is_open_stays_however_old_it_is(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, archive_keep=DAY)
    bench.service.processing_time = 1e9
    bench.drop("a.pdf")
    bench.submit()
    bench.clock.advance(100 * DAY)
    assert purge(bench) == 0
    assert bench.names("archive") == ["a.pdf"]


def test_a_held_export_is_an_open_task(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, archive_keep=DAY)
    bench.service.processing_time = 1e9
    bench.drop("a.pdf")
    bench.submit()
    bench.ledger.commit(bench.task().change(held=True))
    bench.clock.advance(100 * DAY)
    assert purge(bench) == 0


def test_a_file_the_ledger_does_not_know_is_never_touched(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, archive_keep=0.0, error_keep=0.0, after_submit="delete")
    exported(bench)
    for place in ("archive", "error"):
        (bench.place(place) / "strange.pdf").write_bytes(pdf())
    bench.clock.advance(DAY)
    purge(bench)
    assert bench.names("archive") == ["strange.pdf"]
    assert bench.names("error") == ["strange.pdf"]


def test_another_file_under_the_name_of_ours_is_left_alone_and_not_asked_for_again(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, archive_keep=DAY)
    exported(bench)
    (bench.place("archive") / "a.pdf").unlink()
    (bench.place("archive") / "a.pdf").write_bytes(b"somebody else's")
    bench.clock.advance(2 * DAY)
    assert purge(bench) == 0
    assert bench.contents("archive") == {"a.pdf": b"somebody else's"}
    assert bench.file("a.pdf").filed_in == "deleted"


def test_a_file_somebody_holds_open_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_with(tmp_path, archive_keep=DAY)
    exported(bench)
    bench.clock.advance(2 * DAY)
    with monkeypatch.context() as patch:
        patch.setattr(filing, "remove_filed", lambda *_, **__: False)
        assert purge(bench) == 0
    assert bench.file("a.pdf").filed_in == "archive"
    assert purge(bench) == 1


def test_a_file_in_error_goes_with_its_note(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, error_keep=DAY)
    bench.drop("a.pdf")
    bench.service.script("submit", FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE))
    bench.submit()
    assert len(bench.names("error")) == 2
    bench.clock.advance(2 * DAY)
    assert purge(bench) == 1
    assert bench.names("error") == []


def test_archive_keep_says_nothing_about_error(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, archive_keep=0.0)
    bench.drop("a.pdf")
    bench.service.script("submit", FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE))
    bench.submit()
    bench.clock.advance(DAY)
    assert purge(bench) == 0
    assert len(bench.names("error")) == 2


def test_after_submit_delete_waits_for_the_export_to_be_durable(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, after_submit="delete")
    bench.service.processing_time = 50.0
    bench.drop("a.pdf")
    bench.submit()
    bench.clock.advance(10)
    assert purge(bench) == 0
    bench.run()
    bench.clock.advance(10)
    assert purge(bench) == 1
    assert bench.names("archive") == []
    assert bench.names("output") == ["a.csv", "a.pdf"]


def test_after_submit_delete_keeps_the_source_of_a_task_that_failed(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, after_submit="delete")
    bench.service.processing_time = 1e9
    bench.drop("a.pdf")
    bench.submit()
    bench.service.end("task-0001", ServiceTaskState.FAILED)
    bench.rounds(3)
    bench.clock.advance(DAY)
    purge(bench)
    assert bench.task().state is TaskState.FAILED
    assert "a.pdf" in bench.names("error")


def test_after_submit_delete_keeps_what_nobody_knows_the_end_of(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, after_submit="delete")
    bench.service.processing_time = 1e9
    bench.drop("a.pdf")
    bench.submit()
    bench.ledger.commit(bench.task().change(state=TaskState.ENDED_UNKNOWN, ended_at=bench.clock.now()))
    bench.clock.advance(DAY)
    assert purge(bench) == 0
    assert bench.names("archive") == ["a.pdf"]


def test_a_duplicate_goes_at_once_where_sources_are_deleted(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, after_submit="delete", on_duplicate="skip")
    bench.drop("a.pdf", pdf("same"))
    bench.run()
    bench.drop("b.pdf", pdf("same"))
    bench.submit()
    bench.clock.advance(10)
    assert purge(bench) == 2
    assert bench.names("archive") == []


def test_many_that_may_not_go_yet_keep_none_that_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.submission.purge.PAGE", 3)
    bench = bench_with(tmp_path, after_submit="delete")
    bench.service.processing_time = 1e9
    for number in range(5):
        bench.drop(f"open-{number}.pdf")
    bench.submit()
    bench.clock.advance(1)
    bench.service.processing_time = 0.0
    bench.drop("z.pdf")
    bench.submit()
    bench.rounds(3)
    assert purge(bench) == 1
    assert "z.pdf" not in bench.names("archive")
