"""Write: bytes as configured, nothing visible before all is staged, what readers wait for last, nobody's file lost."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from fakes.workbench import Workbench, watch_folder

from agent.errors import LocalTrouble, Stopping, TaskFatal, TaskTransient
from agent.export.planning import plan_export
from agent.export.writing import Writing, content_bytes, in_order
from agent.folders import publishing
from agent.model import (
    ExportFile,
    ExportSettings,
    FileSource,
    LaneReason,
    OnConflict,
    PlannedFile,
    TaskRecord,
    TaskState,
)
from agent.rules.naming import is_staged_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

PDF = b"%PDF-1.4 the document"


def content(name: str, text: str = "text", folder: str = "") -> ExportFile:
    return ExportFile(folder, name, FileSource.CONTENT, content=text)


def download(name: str, url: str = "/file") -> ExportFile:
    return ExportFile("", name, FileSource.URL, url=url)


class Site:
    """An output, and the stage that writes there."""

    def __init__(self, base: Path, **export: Any) -> None:
        self.bench = Workbench(base, watch_folder(base, export=export))
        self.folder = self.bench.folder
        self.bench.service.files["/file"] = PDF
        self.writing: Writing = self.bench.parts.exporting._writing
        record = TaskRecord("task-1", "invoices", "p", "a.pdf", TaskState.EXPORTING, 0.0, 0.0)
        self.bench.ledger.commit(record)
        self.bench.output_guards["invoices"].check()
        self.entropy = itertools.count(1).__next__

    @property
    def task(self) -> TaskRecord:
        return self.bench.task("task-1")

    def plan(self, *files: ExportFile) -> None:
        planned = plan_export(self.folder, self.task, files, now=self.bench.clock.now(), entropy=self.entropy)
        self.bench.ledger.commit(self.task.change(plan=planned))

    def stage(self, *files: ExportFile, give_up_at: float = 1e12) -> None:
        self.plan(*files)
        self.writing.stage(self.folder, self.task, files, give_up_at=give_up_at)

    def publish(self) -> None:
        self.writing.publish(self.folder, self.task)

    def write(self, *files: ExportFile) -> None:
        self.stage(*files)
        self.publish()

    @property
    def output(self) -> Path:
        return self.bench.place("output")

    def outputs(self) -> dict[str, bytes]:
        return self.bench.contents("output")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newline", "expected"), [("lf", b"a\nb\nc\n"), ("crlf", b"a\r\nb\r\nc\r\n"), ("native", None)]
)
def test_every_line_end_of_a_content_file_becomes_the_configured_one(newline: str, expected: bytes | None) -> None:
    found = content_bytes(content("a.csv", "a\nb\r\nc\n"), ExportSettings(newline=newline))
    assert found == (expected or b"a\nb\nc\n".replace(b"\n", os.linesep.encode()))


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", b"\xc3\xa4"), ("utf-8-sig", b"\xef\xbb\xbf\xc3\xa4"), ("cp1252", b"\xe4"), ("utf-16-le", b"\xe4\x00")],
)
def test_a_content_file_has_the_configured_encoding(encoding: str, expected: bytes) -> None:
    assert content_bytes(content("a.csv", "ä"), ExportSettings(encoding=encoding)) == expected


def test_a_character_the_encoding_has_not_is_named_and_passes_once_it_is_configured() -> None:
    with pytest.raises(TaskTransient, match=r"U\+1F4C4"):
        content_bytes(content("a.csv", "\U0001f4c4"), ExportSettings(encoding="cp1252"))


def test_a_download_is_kept_as_it_comes(site: Site) -> None:
    site.bench.service.files["/file"] = b"a\r\nb\n\x00\xff"
    site.write(download("a.bin"))
    assert site.outputs() == {"a.bin": b"a\r\nb\n\x00\xff"}


# --- staged, then visible --------------------------------------------------------------------------------------------


def test_staged_files_are_hidden_durable_and_known_with_identity_size_and_digest(site: Site) -> None:
    site.stage(content("a.csv", "text"), download("a.pdf"))
    assert all(is_staged_name(name) for name in site.outputs())
    assert site.task.staged
    for planned, bytes_ in zip(site.task.plan, (b"text", PDF), strict=True):
        assert (planned.size, planned.sha256) == (len(bytes_), hashlib.sha256(bytes_).hexdigest())
        assert planned.identity == publishing.target_state(site.output, planned.staged).identity


def test_downloads_become_visible_before_content_files_and_copies_before_both() -> None:
    plan = [
        PlannedFile("a.csv", "a.csv", "s1", FileSource.CONTENT),
        PlannedFile("a.pdf", "a.pdf", "s2", FileSource.URL),
        PlannedFile("a.csv", "a.csv", "s3", FileSource.CONTENT, root="archive"),
    ]
    assert [(planned.root, planned.target) for planned in in_order(plan)] == [
        ("archive", "a.csv"),
        ("output", "a.pdf"),
        ("output", "a.csv"),
    ]


def test_a_reader_who_waits_for_the_csv_finds_the_pdf(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    publish = publishing.publish

    def published(root: Path, staged: str, target: str, **keywords: Any) -> None:
        publish(root, staged, target, **keywords)
        seen.append(target)

    monkeypatch.setattr(publishing, "publish", published)
    site.write(content("a.csv"), download("a.pdf"))
    assert seen == ["a.pdf", "a.csv"]


@pytest.mark.parametrize("last", [download("c.pdf", "/missing"), download("c.pdf", "https://elsewhere.example/x")])
def test_a_file_that_cannot_be_had_leaves_nothing_of_the_others(site: Site, last: ExportFile) -> None:
    with pytest.raises((TaskTransient, TaskFatal)):
        site.stage(content("a.csv"), download("b.pdf"), last)
    assert site.outputs() == {}
    assert not site.task.staged


def test_a_stop_leaves_nothing(site: Site) -> None:
    site.plan(content("a.csv"))
    site.bench.parts.stop.set()
    with pytest.raises(Stopping):
        site.writing.stage(site.folder, site.task, (content("a.csv"),), give_up_at=1e12)
    assert site.outputs() == {}


def test_a_download_that_a_stop_cuts_off_is_no_error_of_the_task(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_file: ExportFile) -> AbstractContextManager[Iterator[bytes]]:
        def blocks() -> Iterator[bytes]:
            yield PDF[:5]
            site.bench.parts.stop.set()
            raise TaskTransient("it broke off")

        return nullcontext(blocks())

    monkeypatch.setattr(site.bench.service, "download", cut)
    with pytest.raises(Stopping):
        site.stage(download("a.pdf"))
    assert site.outputs() == {}


def test_what_takes_too_long_is_given_up_before_the_lease_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_file: ExportFile) -> AbstractContextManager[Iterator[bytes]]:
        site.bench.clock.advance(100.0)
        return nullcontext(iter([PDF]))

    monkeypatch.setattr(site.bench.service, "download", slow)
    with pytest.raises(TaskTransient, match="longer than its lease"):
        site.stage(download("a.pdf"), give_up_at=site.bench.process_clock.monotonic() + 50.0)


def test_an_output_that_takes_too_long_is_no_fault_of_the_task(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = publishing.stage

    def hanging(*arguments: Any, **options: Any) -> Any:
        staged = real(*arguments, **options)
        site.bench.clock.advance(100.0)
        return staged

    monkeypatch.setattr(publishing, "stage", hanging)
    with pytest.raises(LocalTrouble, match="the output took 100 s"):
        site.stage(download("a.pdf"), content("a.csv"), give_up_at=site.bench.process_clock.monotonic() + 50.0)


def test_published_files_have_the_rights_of_their_folder_or_those_configured(tmp_path: Path) -> None:
    inherits, configured = Site(tmp_path / "one"), Site(tmp_path / "two", file_mode=0o640, folder_mode=0o750)
    probe = inherits.output / "probe"
    probe.touch()
    if stat.S_IMODE(probe.stat().st_mode) & 0o777 == 0o666 and os.name == "nt":
        pytest.skip("files have no modes here")
    for site in (inherits, configured):
        site.write(content("a.csv", folder="sub"))
    assert stat.S_IMODE((inherits.output / "sub/a.csv").stat().st_mode) == stat.S_IMODE(probe.stat().st_mode)
    assert stat.S_IMODE((configured.output / "sub/a.csv").stat().st_mode) == 0o640
    assert stat.S_IMODE((configured.output / "sub").stat().st_mode) == 0o750


def test_copies_are_written_beside(tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    site = Site(tmp_path, archive=copies)
    site.write(content("a.csv"), download("a.pdf"))
    assert {path.name: path.read_bytes() for path in copies.iterdir()} == site.outputs()


# --- done again ------------------------------------------------------------------------------------------------------


def test_publishing_again_changes_nothing(site: Site) -> None:
    site.write(content("a.csv"), download("a.pdf"))
    before = {name: (site.output / name).stat().st_ino for name in site.outputs()}
    site.publish()
    assert {name: (site.output / name).stat().st_ino for name in site.outputs()} == before


def test_what_a_reader_took_is_not_written_again(site: Site) -> None:
    site.write(content("a.csv"), download("a.pdf"))
    (site.output / "a.csv").unlink()
    site.publish()
    assert list(site.outputs()) == ["a.pdf"]


def test_an_output_that_is_away_is_no_reader(site: Site) -> None:
    site.stage(content("a.csv"))
    site.output.rename(site.bench.base / "unmounted")
    site.output.mkdir()
    with pytest.raises(LocalTrouble):
        site.publish()
    assert not site.task.published


# --- somebody else's files -------------------------------------------------------------------------------------------


def taken_after_staging(site: Site, name: str = "a.csv") -> None:
    site.stage(content("a.csv"), download("a.pdf"))
    (site.output / name).write_bytes(b"somebody else's")


@pytest.mark.parametrize("name", ["a.csv", "a.pdf"])
def test_a_name_taken_after_staging_gives_all_files_a_new_one(site: Site, name: str) -> None:
    taken_after_staging(site, name)
    site.publish()
    found = site.outputs()
    assert found.pop(name) == b"somebody else's"
    assert sorted(found.values()) == sorted([b"text", PDF])
    suffixes = {planned.target.removeprefix("a").rpartition(".")[0] for planned in site.task.plan}
    assert len(suffixes) == 1


def test_the_new_names_are_in_the_ledger_before_a_file_has_one(site: Site) -> None:
    taken_after_staging(site)
    seen = []
    commit = site.bench.ledger.commit

    def committed(*changes: Any) -> None:
        seen.append([(site.output / planned.target).exists() for planned in changes[0].plan])
        commit(*changes)

    site.bench.ledger.commit = committed  # type: ignore[method-assign]  # looks at the folder at each commit
    site.publish()
    assert seen[0] == [False, False]


def test_overwrite_replaces_a_plain_file(tmp_path: Path) -> None:
    site = Site(tmp_path, on_conflict=OnConflict.OVERWRITE)
    taken_after_staging(site)
    site.publish()
    assert site.outputs() == {"a.csv": b"text", "a.pdf": PDF}


def test_overwrite_replaces_no_folder(tmp_path: Path) -> None:
    site = Site(tmp_path, on_conflict=OnConflict.OVERWRITE)
    site.stage(content("a.csv"))
    (site.output / "a.csv").mkdir()
    with pytest.raises(TaskFatal):
        site.publish()


@pytest.mark.parametrize("name", ["a.csv", "a.pdf"])
def test_fail_shows_nothing_where_one_name_was_taken_after_staging(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path, on_conflict=OnConflict.FAIL)
    taken_after_staging(site, name)
    with pytest.raises(TaskFatal):
        site.publish()
    assert [found for found in site.outputs() if not is_staged_name(found)] == [name]


def test_discarding_removes_what_is_staged_and_what_is_visible_of_ours(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.stage(content("a.csv"), download("a.pdf"))
    interrupt_after(monkeypatch, 1, lambda: TaskFatal("a link was planted"))
    with pytest.raises(TaskFatal):
        site.publish()
    assert "a.pdf" in site.outputs()
    site.writing.discard(site.folder, site.task)
    assert site.outputs() == {}


def test_discarding_leaves_what_is_somebody_elses_by_now(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.stage(content("a.csv"), download("a.pdf"))
    interrupt_after(monkeypatch, 1, lambda: LocalTrouble("full", reason=LaneReason.DISK_FULL))
    with pytest.raises(LocalTrouble):
        site.publish()
    (site.output / "a.pdf").unlink()
    (site.output / "a.pdf").write_bytes(b"somebody else's")
    site.writing.discard(site.folder, site.task)
    assert site.outputs() == {"a.pdf": b"somebody else's"}


def interrupt_after(monkeypatch: pytest.MonkeyPatch, count: int, error: Callable[[], Exception]) -> None:
    """Let publishing fail after so many files."""
    publish = publishing.publish
    done: list[tuple[Any, ...]] = []

    def published(*arguments: Any, **keywords: Any) -> None:
        if len(done) == count:
            raise error()
        publish(*arguments, **keywords)
        done.append(arguments)

    monkeypatch.setattr(publishing, "publish", published)
