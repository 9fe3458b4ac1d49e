"""Sources opened for checking and sending: one handle, and errors that name who is to blame."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent.errors import FileBusy, LocalTrouble, NotRegular
from agent.folders import system
from agent.folders.reading import open_source
from agent.model import LaneReason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO


def test_source_is_read_from_its_start_with_the_sighting_of_its_handle(tmp_path: Path) -> None:
    (tmp_path / "c.pdf").write_bytes(b"whole")
    with open_source(tmp_path, "c.pdf") as source:
        assert (source.file.read(2), source.file.read()) == (b"wh", b"ole")
        assert source.sighting == system.sight(tmp_path, "c.pdf")


def test_unchanged_source_looks_the_same_after_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "c.pdf").write_bytes(b"whole")
    with open_source(tmp_path, "c.pdf") as source:
        source.file.read()
        assert source.sight_again().signature == source.sighting.signature


def test_growth_under_the_reader_is_seen(tmp_path: Path) -> None:
    (tmp_path / "c.pdf").write_bytes(b"whole")
    with open_source(tmp_path, "c.pdf") as source:
        with (tmp_path / "c.pdf").open("ab") as writer:
            writer.write(b" and more")
        assert source.sight_again().size == 14


def test_rewriting_with_the_same_length_is_seen_by_its_time(tmp_path: Path) -> None:
    path = tmp_path / "c.pdf"
    path.write_bytes(b"whole")
    os.utime(path, ns=(0, 1_000_000_000))
    with open_source(tmp_path, "c.pdf") as source:
        path.write_bytes(b"other")
        assert source.sight_again().signature != source.sighting.signature


def test_file_replaced_by_rename_is_read_to_its_end_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "c.pdf").write_bytes(b"whole")
    (tmp_path / "new").write_bytes(b"something else")
    with open_source(tmp_path, "c.pdf") as source:
        try:
            (tmp_path / "new").replace(tmp_path / "c.pdf")
        except PermissionError:
            pytest.skip("an open file cannot be replaced here")
        assert source.file.read() == b"whole"
        assert source.sight_again().signature == source.sighting.signature


def test_handle_is_closed_afterwards(tmp_path: Path) -> None:
    (tmp_path / "c.pdf").write_bytes(b"whole")
    with open_source(tmp_path, "c.pdf") as source:
        pass
    assert source.file.closed


def test_folder_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "c.pdf").mkdir()
    with pytest.raises(NotRegular), open_source(tmp_path, "c.pdf"):
        pytest.fail("opened")


def test_missing_source_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileBusy) as caught, open_source(tmp_path, "c.pdf"):
        pytest.fail("opened")
    assert caught.value.gone


@pytest.mark.parametrize("read", [lambda file: file.read(3), lambda file: file.read(), lambda file: file.readline()])
def test_handle_that_goes_bad_while_reading_is_the_lanes_trouble(
    tmp_path: Path, read: Callable[[BinaryIO], bytes]
) -> None:
    (tmp_path / "c.pdf").write_bytes(b"whole")
    with open_source(tmp_path, "c.pdf") as source, (tmp_path / "unreadable").open("wb") as writer:
        os.dup2(writer.fileno(), source.file.fileno())  # reading it fails from now on, as on a share that went
        with pytest.raises(LocalTrouble) as caught:
            read(source.file)
    assert caught.value.reason == LaneReason.IO_ERROR


def test_names_of_any_bytes_are_opened(tmp_path: Path) -> None:
    names = ["-rf.pdf", "a&b=c%.pdf", "tab\t.pdf", "line\n.pdf", "Ü\u0308.pdf", "🧾.pdf", "\udcff.pdf"]
    opened = 0
    for name in names:
        try:
            (tmp_path / name).write_bytes(b"x")
        except (OSError, UnicodeError):
            continue  # not a name here
        with open_source(tmp_path, name) as source:
            opened += len(source.file.read())
    assert opened >= 3
