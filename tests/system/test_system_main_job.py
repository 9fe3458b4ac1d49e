"""The main job with real processes: every dropped file is one task, archived and exported, whatever its name."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from agent.rules.naming import safe_part
from agent.sandbox.aluma.exporting import safe_part as service_name
from system.sites import SandboxProcess, Site, completed, sha256, tree, twins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.system

NAMES = [
    *(f"plain-{number}.pdf" for number in range(8)),
    *(f"branch/office {number}/invoice & copy.pdf" for number in range(4)),
    *(f"branch/scan {number}.tiff" for number in range(4)),
    "a&b=c%.pdf",
    "a&task_name=PAID.pdf",
    "100% = all.tif",
    "1+1=2.pdf",
    "%41%zz.pdf",
    "Grüße aus Köln.pdf",
    *twins("Ärger/Übung-ä.pdf"),
    *twins("twin-ö.tiff"),
    "emoji 🧾📄.pdf",
    "日本語/請求書.tif",
    "UPPER.PDF",
    "Mixed.TiFF",
    "-rf.pdf",
    "--help.tif",
    "it's.pdf",
    'say "hello".pdf',
    "dots.in.the.name.pdf",
    "semi;colon,comma.pdf",
    "hash#question[1].pdf",
    "(brackets) {braces} $HOME `id`.tiff",
    f"{'long' * 55}.pdf",
    "a/b/c/d/e/f/deep.pdf",
    " leading and inner  spaces.pdf",
    "bell\x07 escape\x1b[31m.pdf",
]


@pytest.fixture
def sandbox_process(tmp_path: Path) -> Iterator[SandboxProcess]:
    process = SandboxProcess(tmp_path)
    yield process
    process.stop()


class Reader(threading.Thread):
    """Lists the output all the time, as somebody who waits for the CSV does."""

    def __init__(self, output: Path) -> None:
        super().__init__(name="reader")
        self._output = output
        self._end = threading.Event()
        self.too_early: set[str] = set()
        self.seen: set[str] = set()

    def run(self) -> None:
        while not self._end.is_set():
            self._look()
            self._end.wait(0.001)
        self._look()

    def _look(self) -> None:
        for folder, _, names in os.walk(self._output):
            for name in names:
                if name.endswith(".csv") and os.path.join(folder, name) not in self.seen:  # noqa: PTH118 -- a key
                    self._look_for_document(folder, name)

    def _look_for_document(self, folder: str, name: str) -> None:
        self.seen.add(os.path.join(folder, name))  # noqa: PTH118 -- a key
        stem = name.removesuffix(".csv")[:150]  # longer ones are shortened, each to its own end
        visible = os.listdir(folder)  # noqa: PTH208 -- names are all that is asked for
        if not any(other.startswith(stem) and other.lower().endswith((".pdf", ".tif", ".tiff")) for other in visible):
            self.too_early.add(name)

    def end(self) -> None:
        self._end.set()
        self.join()


def drop_all(site: Site) -> dict[str, bytes]:
    """Drop every name this file system can have."""
    dropped = {}
    for name in NAMES:
        try:
            content = site.drop(name)
        except OSError:
            continue
        if name in tree(site.inbox):  # some file systems keep another form of the name
            dropped[name] = content
    return dropped


def test_each_of_many_files_is_one_task_archived_and_exported_in_place(
    tmp_path: Path, sandbox_process: SandboxProcess
) -> None:
    site = Site(tmp_path / "site", url=sandbox_process.url, describe=sandbox_process.describe)
    dropped = drop_all(site)
    assert len(dropped) >= (40 if os.name == "posix" else 30)
    reader = Reader(site.output)
    reader.start()
    try:
        with site.run() as running:
            site.wait_done(tasks=len(dropped))
            running.stop()
    finally:
        reader.end()

    by_sha256 = {task["sha256"]: task for task in sandbox_process.describe()}
    assert len(sandbox_process.describe()) == len(by_sha256) == len(dropped)
    keys = {record.key: record.relative_path for record in site.records()}
    assert len(keys) == len(dropped)
    expected_outputs = set()
    for relative_path, content in dropped.items():
        folder, _, name = relative_path.rpartition("/")
        task = by_sha256[sha256(content)]
        archived = site.archive.joinpath(*relative_path.split("/"))
        assert task["size"] == len(content)
        assert task["content_type"] == ("image/tiff" if "tif" in name.lower() else "application/pdf")
        assert task["calls"] == {"start": 1, "complete": 1}
        created_at = archived.stat().st_mtime if os.name == "posix" else archived.stat().st_ctime  # born, on Windows
        assert keys[task["tags"].pop("fsagent_key")] == relative_path
        assert task["tags"] == {
            "task_name": name,
            "file_name": name,
            "file_path": str(site.inbox.joinpath(*folder.split("/")) if folder else site.inbox),
            "file_created_time": str(int(created_at)),
        }
        asked_for = service_name(name)
        stem = asked_for.rpartition(".")[0]
        exports = [safe_part(each) for each in (asked_for, f"{stem}.csv", f"{stem}.json")]
        expected_outputs |= {f"{folder}/{each}" if folder else each for each in exports}
        assert archived.read_bytes() == content
        assert site.output.joinpath(*folder.split("/"), exports[0]).read_bytes() == content
    assert set(tree(site.archive)) == set(dropped)
    assert set(tree(site.output)) == expected_outputs
    assert site.inbox_files() == set()
    assert tree(site.error) == {}
    assert len(reader.seen) == len(dropped)
    assert reader.too_early == set()
    assert site.complaints() == []


def test_demo_shows_the_main_job_and_leaves_nothing_running(tmp_path: Path) -> None:
    done = completed("demo", str(tmp_path / "demo"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "broken.pdf.error.txt" in done.stdout
    assert set(tree(tmp_path / "demo" / "output")) == {
        f"{name}.{extension}"
        for name, document in (("invoice", "pdf"), ("delivery-note", "tiff"), ("branch office/letter", "pdf"))
        for extension in (document, "csv", "json")
    }
    assert set(tree(tmp_path / "demo" / "inbox")) == {
        "archive/invoice.pdf",
        "archive/delivery-note.tiff",
        "archive/branch office/letter.pdf",
        "error/broken.pdf",
        "error/broken.pdf.error.txt",
    }
    # Nothing holds its lock any more.
    held = completed("-c", str(tmp_path / "demo" / "config.yaml"), "run", "--once", "--submit-only", "--wait", "1s")
    assert held.returncode != 3


@pytest.mark.parametrize(
    ("service", "further"),
    [("sendai", set()), ("typless", {"invoice-line-items.csv", "invoice-vat-rates.csv"})],
)
def test_demo_plays_the_other_services_too(tmp_path: Path, service: str, further: set[str]) -> None:
    done = completed("demo", str(tmp_path / "demo"), "--service", service)

    assert done.returncode == 0, done.stdout + done.stderr
    names = ("invoice", "delivery-note", "branch office/letter")
    results = {f"{name}.{extension}" for name in names for extension in ("csv", "json")}
    assert set(tree(tmp_path / "demo" / "output")) == results | further
    assert f"sandbox --type {service}" in done.stdout


def test_demo_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")

    done = completed("demo", str(tmp_path))

    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert set(tree(tmp_path)) == {"mine.txt"}
