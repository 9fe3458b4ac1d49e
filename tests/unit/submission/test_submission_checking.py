"""Check: what of an open file may be sent, when it is refused, and when it is only not decided yet (design.md §3.3)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from fakes.workbench import pdf, watch_folder

from agent.errors import FileIncomplete, FileRefused
from agent.model import DocumentType, Reason
from agent.submission.checking import Checked, check
from agent.submission.inbox import Inbox

if TYPE_CHECKING:
    from pathlib import Path

YOUNG, STALLED, GIVEN_UP = 10.0, 61.0, 1801.0
HALF = b"%PDF-1.4\nand the rest never came"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 100


def checked(base: Path, content: bytes, *, unchanged_for: float = YOUNG, name: str = "a.pdf", **folder: Any) -> Checked:
    inbox = Inbox.of(watch_folder(base, **folder))
    return check(inbox, io.BytesIO(content), size=len(content), relative_path=name, unchanged_for=unchanged_for)


def refused(base: Path, content: bytes, **values: Any) -> Reason:
    with pytest.raises(FileRefused) as error:
        checked(base, content, **values)
    assert error.value.hint
    return error.value.reason


def test_a_whole_document_of_an_accepted_type_may_be_sent(tmp_path: Path) -> None:
    assert checked(tmp_path, pdf()) == Checked(DocumentType.PDF, "application/pdf")


def test_the_file_stands_at_its_start_again_for_whoever_sends_it(tmp_path: Path) -> None:
    file = io.BytesIO(pdf())
    check(Inbox.of(watch_folder(tmp_path)), file, size=len(pdf()), relative_path="a.pdf", unchanged_for=YOUNG)
    assert file.tell() == 0


def test_the_content_decides_about_the_type_and_not_the_name(tmp_path: Path) -> None:
    assert checked(tmp_path, pdf(), name="a.tif").kind is DocumentType.PDF


@pytest.mark.parametrize("content", [b"", PNG, b"just text" * 10], ids=["empty", "png", "text"])
def test_what_may_still_become_a_document_is_not_refused_before_it_counts_as_stalled(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(FileIncomplete):
        checked(tmp_path, content)


def test_a_file_without_bytes_is_refused_once_it_counts_as_stalled(tmp_path: Path) -> None:
    assert refused(tmp_path, b"", unchanged_for=STALLED) is Reason.EMPTY


def test_another_type_is_refused_once_it_counts_as_stalled(tmp_path: Path) -> None:
    assert refused(tmp_path, PNG, unchanged_for=STALLED) is Reason.WRONG_TYPE


def test_a_type_that_is_accepted_on_purpose_may_be_sent(tmp_path: Path) -> None:
    accept = (DocumentType.PDF, DocumentType.TEXT)
    assert checked(tmp_path, b"just text\n" * 10, unchanged_for=STALLED, accept=accept).kind is DocumentType.TEXT


def test_a_head_of_zeros_is_not_whole_and_never_the_wrong_type(tmp_path: Path) -> None:
    with pytest.raises(FileIncomplete):
        checked(tmp_path, bytes(8192), unchanged_for=STALLED)


@pytest.mark.parametrize("unchanged_for", [YOUNG, STALLED])
def test_half_a_document_waits_until_it_is_given_up(tmp_path: Path, unchanged_for: float) -> None:
    with pytest.raises(FileIncomplete):
        checked(tmp_path, HALF, unchanged_for=unchanged_for)
    assert refused(tmp_path, HALF, unchanged_for=GIVEN_UP) is Reason.TRUNCATED


def test_half_a_document_is_sent_in_the_end_where_that_is_wanted(tmp_path: Path) -> None:
    assert checked(tmp_path, HALF, unchanged_for=GIVEN_UP, truncated="submit").kind is DocumentType.PDF


def test_half_a_document_waits_for_ever_where_nothing_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(FileIncomplete):
        checked(tmp_path, HALF, unchanged_for=1e9, give_up_after=None)


def test_a_file_above_max_size_is_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    class Unreadable(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise AssertionError("the size says enough")

    with pytest.raises(FileRefused) as error:
        check(
            Inbox.of(watch_folder(tmp_path, max_size=1000)),
            Unreadable(),
            size=1001,
            relative_path="a.pdf",
            unchanged_for=YOUNG,
        )
    assert error.value.reason is Reason.TOO_LARGE


def test_no_max_size_means_no_limit(tmp_path: Path) -> None:
    assert checked(tmp_path, pdf(), max_size=None).kind is DocumentType.PDF


def test_a_name_no_include_matches_is_refused_whatever_the_content(tmp_path: Path) -> None:
    assert refused(tmp_path, pdf(), name="a.doc", unmatched="error") is Reason.UNMATCHED
