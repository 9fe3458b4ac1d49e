"""Folders that are the same or lie in each other are refused, whatever their paths look like."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.config.loading import load
from agent.config.overlaps import Lineages, spelled_lineage
from agent.errors import ConfigurationError

if TYPE_CHECKING:
    import os


def overlaps(text: str, folder: Path) -> list[tuple[str, str]]:
    path = folder / "config.yaml"
    path.write_text("service: {client_id: a, client_secret: '${S}'}\n" + text, encoding="utf-8")
    try:
        load(path, environment={"S": "s"})
    except ConfigurationError as error:
        return [(problem.key, problem.message) for problem in error.problems]
    return []


def two(first: str, second: str, more: str = "") -> str:
    return f"watch_folders:\n  - {{project_id: P, {first}}}\n  - {{project_id: Q, {second}}}\n{more}"


def one(entries: str, more: str = "") -> str:
    return f"watch_folders:\n  - {{project_id: P, {entries}}}\n{more}"


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        (
            two("inbox: a", "inbox: a, name: b"),
            "watch_folders[1].inbox",
            "is the same folder as watch_folders[0].inbox",
        ),
        (two("inbox: a", "inbox: a/b"), "watch_folders[1].inbox", "lies in watch_folders[0].inbox"),
        (two("inbox: a/b", "inbox: a"), "watch_folders[0].inbox", "lies in watch_folders[1].inbox"),
        (two("inbox: a", "output: a/archive/x"), "watch_folders[1].output", "lies in watch_folders[0].archive"),
        (two("inbox: a", "output: a/y"), "watch_folders[1].output", "lies in watch_folders[0].inbox"),
        (one("inbox: a, output: a"), "watch_folders[0].output", "is the same folder as watch_folders[0].inbox"),
        (one("inbox: a, output: a/out"), "watch_folders[0].output", "lies in watch_folders[0].inbox"),
        (one("inbox: a, archive: error"), "watch_folders[0].error", "is the same folder as watch_folders[0].archive"),
        (one("inbox: a, archive: error/x"), "watch_folders[0].archive", "lies in watch_folders[0].error"),
        (one("inbox: a, archive: '.'"), "watch_folders[0].archive", "is the same folder as watch_folders[0].inbox"),
        (
            one("output: o, export: {archive: error}"),
            "watch_folders[0].export.error",
            "is the same folder as watch_folders[0].export.archive",
        ),
        (one("inbox: s/a", "state_dir: s\n"), "watch_folders[0].inbox", "lies in state_dir"),
        (one("inbox: a", "state_dir: a/s\n"), "state_dir", "lies in watch_folders[0].inbox"),
        (one("inbox: a", "state_dir: s\nlogging: {file: s/l/x}\n"), "logging.file", "lies in state_dir"),
        (one("inbox: a", "logging: {file: a/x}\n"), "watch_folders[0].inbox", "is the same folder as logging.file"),
    ],
)
def test_an_overlap_is_told_once(text: str, key: str, message: str, tmp_path: Path) -> None:
    ((found_key, found_message),) = overlaps(text, tmp_path)
    assert found_key == key
    assert message in found_message


@pytest.mark.parametrize(
    "text",
    [
        two("inbox: a, output: o/a", "inbox: b, output: o/b", "state_dir: s\nlogging: {file: l/x}\n"),
        two("inbox: a", "inbox: ab"),
        one("inbox: a, archive: x/archive, error: x/error"),
        one("output: o, export: {archive: x/archive, error: x/error}"),
    ],
)
def test_folders_beside_each_other_are_fine(text: str, tmp_path: Path) -> None:
    assert overlaps(text, tmp_path) == []


def test_a_shared_absolute_archive_is_refused(tmp_path: Path) -> None:
    archive = f"archive: '{tmp_path / 'done'}'"
    ((key, _),) = overlaps(two(f"inbox: a, {archive}", f"inbox: b, {archive}"), tmp_path)
    assert key == "watch_folders[1].archive"


def test_a_link_to_a_folder_is_that_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with contextlib.suppress(OSError):
        (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    if not (tmp_path / "link").is_dir():
        pytest.skip("links to folders cannot be made here")
    ((key, message),) = overlaps(two("inbox: a", "inbox: link/not/yet/there"), tmp_path)
    assert key == "watch_folders[1].inbox"
    assert "lies in watch_folders[0].inbox" in message


def test_case_is_ignored_where_the_system_ignores_it() -> None:
    upper, lower = Path("/Nowhere/Scans"), Path("/nowhere/scans")
    for lineage in (Lineages(ignore_case=True).lineage, lambda path: spelled_lineage(path, ignore_case=True)):
        assert lineage(upper)[0] == lineage(lower)[0]
    assert spelled_lineage(upper, ignore_case=False)[0] != spelled_lineage(lower, ignore_case=False)[0]


def test_many_watch_folders_are_compared_quickly(tmp_path: Path) -> None:
    entries = "".join(
        f"  - {{project_id: P{number}, inbox: in/{number}, output: out/{number}}}\n" for number in range(300)
    )
    assert overlaps("watch_folders:\n" + entries, tmp_path) == []


def test_where_no_thread_is_left_to_ask_in_folders_are_compared_by_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_threads(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    assert Lineages().lineage(tmp_path) == spelled_lineage(tmp_path)


def test_a_folder_that_hangs_is_compared_by_its_path_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, asked, is_over = tmp_path / "share", [], threading.Event()
    stat = Path.stat

    def hang(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.is_relative_to(hanging):
            asked.append(path)
            is_over.wait(30)
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", hang)
    lineages = Lineages(patience=0.05)
    try:
        assert lineages.lineage(hanging) == spelled_lineage(hanging)
        assert lineages.lineage(hanging / "archive") == spelled_lineage(hanging / "archive")
        assert lineages.lineage(tmp_path)[0] != spelled_lineage(tmp_path)[0]
        assert asked == [hanging]
    finally:
        is_over.set()
