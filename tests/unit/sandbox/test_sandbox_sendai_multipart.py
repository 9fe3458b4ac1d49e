"""Forms read as they arrive: the same whatever the blocks, strict, and with no more memory than a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sandbox.sendai.multipart import BrokenForm, MultipartReader, Part, boundary_of

if TYPE_CHECKING:
    from collections.abc import Iterable

EDGE = b"edge"


def make_form(parts: Iterable[tuple[str, bytes]]) -> bytes:
    body = b"".join(
        b"--edge\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (head.encode(), data) for head, data in parts
    )
    return body + b"--edge--\r\n"


def read(body: bytes, *, size: int | None = None) -> list[tuple[Part, bytes]]:
    """Return the parts of a form that comes in blocks of a size; fails where it has no end."""
    reader = MultipartReader(EDGE)
    found: list[tuple[Part, bytes]] = []
    for start in range(0, len(body), size or len(body)):
        for event in reader.feed(body[start : start + (size or len(body))]):
            if isinstance(event, Part):
                found.append((event, b""))
            elif isinstance(event, bytes):
                found[-1] = (found[-1][0], found[-1][1] + event)
    if not reader.is_over:
        raise BrokenForm("the form has no end")
    return found


def only(head: str) -> Part:
    return read(make_form([(head, b"x")]))[0][0]


@given(
    contents=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.lists(st.sampled_from([b"\r\n", b"--", b"edge", b"\r", b"\n--edg", b"e"]), max_size=12).map(b"".join),
        ).filter(lambda data: b"\r\n--edge" not in data and not data.startswith(b"--edge")),
        min_size=1,
        max_size=4,
    ),
    size=st.integers(1, 80),
)
def test_whatever_a_part_holds_comes_out_whatever_the_blocks(contents: list[bytes], size: int) -> None:
    body = make_form((f'name="{number}"', data) for number, data in enumerate(contents))
    assert [data for _, data in read(body, size=size)] == contents


def test_the_heads_of_parts_are_read() -> None:
    body = make_form(
        [('name="meta"', b"[]"), ('name="file"; filename="a b.pdf"\r\nContent-Type: application/pdf', b"x")]
    )
    assert [part for part, _ in read(body)] == [Part("meta", None, ""), Part("file", "a b.pdf", "application/pdf")]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ('filename="ü €.pdf"', "ü €.pdf"),
        ('filename="a%22b%0D%0A.pdf"', 'a"b\r\n.pdf'),
        ('filename="100%25.pdf"', "100%25.pdf"),
        ('filename="back\\slash.pdf"', "back\\slash.pdf"),
        ("filename=plain.pdf", "plain.pdf"),
        ("filename=\"old.pdf\"; filename*=UTF-8''%C3%BC%22.pdf", 'ü".pdf'),
        ('filename=""', ""),
    ],
)
def test_file_names_are_read_as_they_are_escaped(written: str, name: str) -> None:
    assert only(f'name="file"; {written}').file_name == name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"preamble\r\n" + make_form([('name="a"', b"x")]),
        b"--edge\r\n",
        b"--edgeX",
        make_form([('name="a"', b"x")])[:-6],
        b'--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\nx',
        b"--edge\r\n\r\n\r\nx\r\n--edge--",
        b'--edge\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--edge--',
        b"--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--",
        b"--edge\r\nno colon\r\n\r\nx\r\n--edge--",
        b"--edge\r\nA: 1\r\na: 2\r\n\r\nx\r\n--edge--",
        make_form([('name="a"; name="b"', b"x")]),
        make_form([('name="a\\"b"', b"x")]),
        make_form([("name=\"a\"; filename*=latin-1''%fc", b"x")]),
        make_form([("name=\"a\"; filename*=UTF-8''%fc", b"x")]),
        b'--edge\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--edge--',
        b"--edge\r\nX: " + b"x" * 20_000,
    ],
)
def test_a_broken_form_is_refused(body: bytes) -> None:
    with pytest.raises(BrokenForm):
        read(body, size=7)


def test_what_follows_the_last_boundary_is_passed_over() -> None:
    assert len(read(make_form([('name="a"', b"x")]) + b"anything", size=5)) == 1


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=edge", b"edge"),
        ('multipart/form-data; boundary="e d:ge"', b"e d:ge"),
        ("multipart/form-data; charset=utf-8; boundary=edge", b"edge"),
        ("Multipart/Form-Data;boundary=edge", b"edge"),
    ],
)
def test_the_boundary_is_read(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a"],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(BrokenForm):
        boundary_of(content_type)


def test_a_large_part_leaves_in_blocks() -> None:
    reader = MultipartReader(EDGE)
    list(reader.feed(b'--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\n'))
    held = [len(data) for _ in range(50) for data in reader.feed(b"\r\n--edg" * 10_000) if isinstance(data, bytes)]
    assert max(held) < 71_000
    assert sum(held) > 49 * 70_000
