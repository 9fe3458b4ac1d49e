from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.rules.tags import decode_tags, encode_tags, further_tags

quick = settings(max_examples=150, deadline=None, derandomize=True)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
values = st.text(st.characters(codec="utf-8"), max_size=60)


def test_what_a_header_can_carry_stays_readable() -> None:
    pairs = [("task_name", "AB3947853"), ("file_path", r"C:\in box"), ("file_name", "a;b,c'\"(1).pdf")]
    assert encode_tags(pairs) == "task_name=AB3947853&file_path=C:\\in box&file_name=a;b,c'\"(1).pdf"


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("a&b=c%+.pdf", "a%26b%3Dc%25%2B.pdf"),
        ("a\r\nb\tc\x00\x7f", "a%0D%0Ab%09c%00%7F"),
        ("ü😀", "%C3%BC%F0%9F%98%80"),
        ("caf\udce9", "caf%EF%BF%BD"),
    ],
)
def test_separators_controls_and_non_ascii_are_percent_encoded(value: str, encoded: str) -> None:
    assert encode_tags([("n", value)]) == f"n={encoded}"


def test_a_file_name_cannot_add_a_tag() -> None:
    header = encode_tags([("file_name", "x&task_name=PAID.pdf")])
    assert decode_tags(header) == (("file_name", "x&task_name=PAID.pdf"),)


@given(st.lists(st.tuples(names, values), max_size=6))
@quick
def test_tags_come_back_as_they_were(pairs: list[tuple[str, str]]) -> None:
    assert decode_tags(encode_tags(pairs)) == tuple(pairs)


@given(st.text(st.characters(codec=None), max_size=60))
@quick
def test_every_name_fits_into_a_header(value: str) -> None:
    assert re.fullmatch(r"[\x20-\x7e]*", encode_tags([("file_name", value)]))


@pytest.mark.parametrize(
    "header", ["a", "=x", "a=1&", "&a=1", "a=%", "a=%4", "a=%zz", "a=%FF", "a=\n", "a=ü", "a=1&&b=2"]
)
def test_a_header_nobody_encodes_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match=r"tag|header|%|utf-8"):
        decode_tags(header)


def test_a_raw_equals_sign_belongs_to_the_value() -> None:
    assert decode_tags("a=b=c+d%2b") == (("a", "b=c+d+"),)


def test_no_header_is_no_tags() -> None:
    assert decode_tags("") == ()


def test_a_document_has_its_tags_in_order_with_the_key_last() -> None:
    tags = further_tags(file_path="/srv/inbox", created_at=1711958908.99, custom={"branch": "Graz"}, key="0011")
    assert tuple(tags.items()) == (
        ("file_path", "/srv/inbox"),
        ("file_created_time", "1711958908"),
        ("branch", "Graz"),
        ("fsagent_key", "0011"),
    )


def test_the_path_is_left_out_where_it_is_not_to_be_told() -> None:
    tags = further_tags(file_path=None, created_at=-0.5, custom={}, key="0011")
    assert tags == {"file_created_time": "-1", "fsagent_key": "0011"}


@pytest.mark.parametrize("name", ["", "task_name", "file_name", "file_path", "file_created_time", "fsagent_key"])
def test_a_custom_tag_never_replaces_one_of_the_agents_own(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be set"):
        further_tags(file_path=None, created_at=0, custom={name: "x"}, key="0011")
