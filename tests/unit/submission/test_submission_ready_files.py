"""Ready files go along with what they announced, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.submission.ready_files import remove_with, take_along

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = "{file_name}.ready"
SHARED = "{stem}.ready"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    (folder / "sub").mkdir(parents=True)
    return folder


@pytest.fixture
def archive(inbox: Path) -> Path:
    folder = inbox / "archive"
    (folder / "sub").mkdir(parents=True)
    return folder


def take(template: str, inbox: Path, archive: Path, *, lies_at: str = "sub/one.pdf") -> None:
    take_along(
        template,
        source_root=inbox,
        lay_at="sub/one.pdf",
        destination_root=archive,
        lies_at=lies_at,
        clash=lambda path: f"{path}-clash",
    )


def test_it_goes_where_its_document_went_under_the_name_that_announces_it_there(inbox: Path, archive: Path) -> None:
    (inbox / "sub" / "one.pdf.ready").write_text("go")

    take(TEMPLATE, inbox, archive, lies_at="sub/one-20260101T000000Z-abcd.pdf")

    assert (archive / "sub" / "one-20260101T000000Z-abcd.pdf.ready").read_text() == "go"
    assert not (inbox / "sub" / "one.pdf.ready").exists()


def test_again_after_a_crash_there_is_nothing_left_to_do(inbox: Path, archive: Path) -> None:
    (inbox / "sub" / "one.pdf.ready").write_text("go")

    take(TEMPLATE, inbox, archive)
    take(TEMPLATE, inbox, archive)

    assert [path.name for path in (archive / "sub").iterdir()] == ["one.pdf.ready"]


def test_a_taken_name_is_not_overwritten(inbox: Path, archive: Path) -> None:
    (inbox / "sub" / "one.pdf.ready").write_text("mine")
    (archive / "sub" / "one.pdf.ready").write_text("somebody's")

    take(TEMPLATE, inbox, archive)

    assert (archive / "sub" / "one.pdf.ready").read_text() == "somebody's"
    assert (archive / "sub" / "one.pdf.ready-clash").read_text() == "mine"


def test_one_that_announces_another_document_too_stays_for_that(inbox: Path, archive: Path) -> None:
    (inbox / "sub" / "one.ready").write_text("go")
    (inbox / "sub" / "one.tif").write_text("still to come")

    take(SHARED, inbox, archive)
    assert (inbox / "sub" / "one.ready").exists()

    (inbox / "sub" / "one.tif").unlink()
    take(SHARED, inbox, archive)
    assert not (inbox / "sub" / "one.ready").exists()


def test_a_link_stays_where_it_lies(inbox: Path, archive: Path) -> None:
    try:
        (inbox / "sub" / "one.pdf.ready").symlink_to(inbox)
    except OSError:
        pytest.skip("this user may not make symbolic links here")
    if not (inbox / "sub" / "one.pdf.ready").is_symlink():
        pytest.skip("symlinks are not told from folders here")

    take(TEMPLATE, inbox, archive)

    assert (inbox / "sub" / "one.pdf.ready").is_symlink()


def test_it_is_removed_with_its_document(archive: Path) -> None:
    (archive / "sub" / "one.pdf.ready").write_text("go")

    remove_with(TEMPLATE, archive, "sub/one.pdf")
    remove_with(TEMPLATE, archive, "sub/one.pdf")

    assert list((archive / "sub").iterdir()) == []
