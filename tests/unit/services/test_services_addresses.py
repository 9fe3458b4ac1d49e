from __future__ import annotations

import pytest

from agent.errors import TaskFatal
from agent.services.addresses import Addresses, origin_of

API = Addresses("https://api.example.com")

OWN = {
    "/file_collections/a/files/b": "https://api.example.com/file_collections/a/files/b",
    "file_collections/a": "https://api.example.com/file_collections/a",
    "/a?x=1&y=%20": "https://api.example.com/a?x=1&y=%20",
    "/my scan.pdf": "https://api.example.com/my%20scan.pdf",
    "/größe.pdf": "https://api.example.com/gr%C3%B6%C3%9Fe.pdf",
    "/a:b": "https://api.example.com/a:b",
    "https://api.example.com/a": "https://api.example.com/a",
    "HTTPS://API.Example.com:443/a": "https://api.example.com/a",
    "//api.example.com/a": "https://api.example.com/a",
    "/a#fragment": "https://api.example.com/a",
}

FOREIGN = [
    "https://evil.example/a",
    "http://api.example.com/a",
    "https://api.example.com:8443/a",
    "https://api.example.com.evil.example/a",
    "https://api.example.com./a",
    "//evil.example/a",
    "///evil.example/a",
    "https://user@api.example.com/a",
    "https://api.example.com@evil.example/a",
    "https://evil.example\\@api.example.com/a",
    "\\\\evil.example\\a",
    "/\\evil.example/a",
    "https:evil.example/a",
    "https:/evil.example/a",
    "https:///evil.example/a",
    "ftp://api.example.com/a",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/plain,x",
    " https://evil.example/a",
    "\thttps://evil.example/a",
    "ht\ntps://evil.example/a",
    "/a\r\nHost: evil.example",
    "/a\x00b",
    "/a\u2028b",
    "/a\ud800b",
    "https://[::1/a",
    "https://api.example.com:99999/a",
    "https://ⓐpi.example.com/a",
    "https://",
    "",
    "/" + "a" * 9000,
]


@pytest.mark.parametrize(("named", "address"), OWN.items())
def test_an_address_of_our_own_origin_is_taken(named: str, address: str) -> None:
    assert API.of_export(named) == address


@pytest.mark.parametrize("named", FOREIGN)
def test_an_address_of_another_origin_or_none_is_refused(named: str) -> None:
    with pytest.raises(TaskFatal):
        API.of_export(named)


@pytest.mark.parametrize("named", FOREIGN)
def test_a_redirect_never_leaves_the_origin(named: str) -> None:
    try:
        address = API.of_redirect("https://api.example.com/a/b", named)
    except TaskFatal:
        return
    assert address.startswith("https://api.example.com/")


def test_a_redirect_within_the_origin_is_relative_to_where_it_came_from() -> None:
    assert API.of_redirect("https://api.example.com/a/b", "c?d=e") == "https://api.example.com/a/c?d=e"


def test_every_own_path_stays_below_the_path_of_the_base() -> None:
    api = Addresses("https://example.com/aluma/")
    assert api.of("/tasks", state="pending:start_client_action") == (
        "https://example.com/aluma/tasks?state=pending:start_client_action"
    )


def test_an_exported_address_is_relative_to_the_base_and_its_path() -> None:
    api = Addresses("https://example.com/aluma")
    assert api.of_export("/files/a") == "https://example.com/aluma/files/a"


def test_an_exported_address_that_names_the_base_already_keeps_it_once() -> None:
    api = Addresses("https://example.com/aluma")
    assert api.of_export("/aluma/files/a") == "https://example.com/aluma/files/a"


def test_a_query_value_cannot_add_a_parameter() -> None:
    assert (
        API.of("/tasks", project_id="a&state=b#c/ü")
        == "https://api.example.com/tasks?project_id=a%26state%3Db%23c%2F%C3%BC"
    )


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://api.example.com:443/x", "https://api.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_shown_without_its_default_port(address: str, shown: str) -> None:
    assert str(origin_of(address)) == shown
