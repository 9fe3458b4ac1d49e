"""Bodies made of files while they are sent: their length beforehand, their bytes, and files that change meanwhile."""

from __future__ import annotations

import base64
import email.parser
import email.policy
import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import FileBusy
from agent.rules.form_names import file_name_in_form
from agent.services.bodies import FilePart, FormFile, StreamedBody, document_with_file, form

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import MIMEPart
    from typing import BinaryIO

HOSTILE = [
    'a".pdf',
    'x"; name="projectId',
    "a\r\nContent-Type: text/html\r\n\r\n.pdf",
    "tab\tand\x00nul\x7f.pdf",
    "back\\slash\\.pdf",
    "ends in \\",
    "Köln 日本 \U0001f600.pdf",
    "100% %22 %0D.pdf",
    "; filename*=utf-8''other.pdf",
    "--boundary--.pdf",
    "bytes \udcff.pdf",
]
SIZES = [0, 1, 2, 3, 4, 100, 196_607, 196_608, 196_609, 500_000]


class Trickling(io.RawIOBase):
    """A file that gives at most a few bytes at once, as an unbuffered one may."""

    def __init__(self, content: bytes) -> None:
        self._source = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = 0) -> int:
        return self._source.seek(position, whence)

    def read(self, amount: int = -1) -> bytes:
        return self._source.read(min(amount, 1000) if amount > 1 else amount)


def drain_into(content: bytearray, body: StreamedBody, amount: int = 65_536) -> None:
    while block := body.read(amount):
        assert len(block) <= amount
        content += block


def drain(body: StreamedBody, amount: int = 65_536) -> bytes:
    content = bytearray()
    drain_into(content, body, amount)
    return bytes(content)


def parts_of(content_type: str, content: bytes) -> Sequence[MIMEPart]:
    """Read a form with another reader than the sandbox's."""
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content)
    return list(message.iter_parts())


def form_of(name: str, content: bytes = b"%PDF") -> tuple[str, StreamedBody]:
    return form([("name", name)], [FormFile("file", name, "application/pdf", io.BytesIO(content), len(content))])


# --- base64 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [io.BytesIO, Trickling])
def test_a_file_within_a_document_is_plain_base64_of_known_length(size: int, kind: type) -> None:
    content = bytes(number % 251 for number in range(size))
    part = FilePart("scan.pdf", kind(content), size, encoded=True)
    body = document_with_file({"file_name": "scan.pdf"}, member="file", file=part)
    sent = drain(body)
    assert len(sent) == body.size
    assert b"\n" not in sent
    assert json.loads(sent) == {"file_name": "scan.pdf", "file": base64.b64encode(content).decode()}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_name_ends_the_document_it_stands_in(name: str) -> None:
    part = FilePart(name, io.BytesIO(b"x"), 1, encoded=True)
    sent = drain(document_with_file({"file_name": name, "customer": None}, member="file", file=part))
    shown = name.encode("utf-8", "replace").decode() if "\udcff" not in name else "bytes \ufffd.pdf"
    assert sent.isascii()
    assert json.loads(sent) == {"file_name": shown, "customer": None, "file": "eA=="}


def test_a_body_is_read_again_from_its_start() -> None:
    body = document_with_file({}, member="file", file=FilePart("a", io.BytesIO(b"abc" * 1000), 3000, encoded=True))
    first = body.read(100) + drain(body)
    body.seek(0)
    assert drain(body) == first


@pytest.mark.parametrize("amount", [1, 7, 4096, 262_144])
def test_blocks_of_any_size_make_the_same_body(amount: int) -> None:
    content = bytes(range(256)) * 8
    body = document_with_file({}, member="file", file=FilePart("a", io.BytesIO(content), len(content), encoded=True))
    assert json.loads(drain(body, amount))["file"] == base64.b64encode(content).decode()


# --- files that change -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize(("announced", "actual"), [(10, 9), (10, 11), (0, 1), (400_000, 399_999), (400_000, 400_001)])
def test_a_file_of_another_length_stops_the_body_before_its_end(encoded: bool, announced: int, actual: int) -> None:
    part = FilePart("scan.pdf", io.BytesIO(b"x" * actual), announced, encoded=encoded)
    body = StreamedBody([b"head", part, b"tail"])
    sent = bytearray()
    with pytest.raises(FileBusy, match=r"scan\.pdf"):
        drain_into(sent, body)
    assert b"tail" not in sent


def test_the_file_at_fault_among_several_is_named() -> None:
    files: list[tuple[str, BinaryIO, int]] = [("a.pdf", io.BytesIO(b"aa"), 2), ("b.pdf", io.BytesIO(b"b"), 2)]
    _, body = form([], [FormFile("file", name, "application/pdf", source, size) for name, source, size in files])
    with pytest.raises(FileBusy, match=r"b\.pdf"):
        drain(body)


# --- forms -----------------------------------------------------------------------------------------------------------


def test_a_form_has_its_fields_then_its_files_and_is_as_long_as_said() -> None:
    files = [FormFile("file", f"{n}.pdf", "application/pdf", io.BytesIO(b"x" * n), n) for n in (0, 5, 300_000)]
    content_type, body = form([("projectId", "p"), ("name", "März")], files)
    sent = drain(body)
    assert len(sent) == body.size
    parts = parts_of(content_type, sent)
    assert [part["Content-Disposition"].params["name"] for part in parts] == ["projectId", "name", *["file"] * 3]
    assert parts[1].get_payload(decode=True) == "März".encode()
    assert [part.get_filename() for part in parts[2:]] == ["0.pdf", "5.pdf", "300000.pdf"]
    assert parts[4].get_payload(decode=True) == b"x" * 300_000


@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_name_adds_a_part_or_a_header(name: str) -> None:
    content_type, body = form_of(name)
    sent = drain(body)
    parts = parts_of(content_type, sent)
    assert len(parts) == 2
    assert [key for key, _ in parts[1].items()] == ["Content-Disposition", "Content-Type"]
    assert f'filename="{file_name_in_form(name)}"'.encode() in sent


@given(st.text())
def test_a_name_in_a_form_has_nothing_that_could_end_it(name: str) -> None:
    sent = file_name_in_form(name)
    assert not set(sent) & {'"', "\\", "\r", "\n", "\x00", "/"}
    sent.encode()


def test_a_name_in_a_form_is_the_last_part_of_a_path() -> None:
    assert file_name_in_form("in/box/scan.pdf") == "scan.pdf"


def test_no_two_forms_have_the_same_boundary() -> None:
    assert form_of("a.pdf")[0] != form_of("a.pdf")[0]
