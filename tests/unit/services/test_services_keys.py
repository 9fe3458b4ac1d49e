"""The API key of Send AI and Typless: where it goes, where never, and what its refusal means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.scripted_server import Reply, ScriptedServer, document
from fakes.service_fixtures import SECRET
from fakes.wirings import BOTH, TASK_ID, TYPLESS, Wiring, submit

from agent.errors import CredentialsRefused, ServiceUnavailable, SetupRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.ports import Service


@BOTH
@pytest.mark.parametrize("prefix", ["", "{scheme} ", "  ", "{lower}  "])
def test_the_key_goes_along_once_with_its_scheme(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, prefix: str
) -> None:
    server.on("GET", wiring.read, wiring.finished)
    copied = prefix.format(scheme=wiring.scheme, lower=wiring.scheme.lower()) + SECRET + "\n"
    opened(wiring, api_key=copied).get_task(TASK_ID, project_id="p")
    assert server.requests[0].headers["authorization"] == f"{wiring.scheme} {SECRET}"


@BOTH
@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "ключ"])
def test_a_key_that_cannot_be_one_is_refused_without_a_request(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, key: str
) -> None:
    with pytest.raises(CredentialsRefused) as raised:
        opened(wiring, api_key=key).check_credentials()
    assert "api_key" in raised.value.message
    assert not server.requests


@BOTH
def test_a_refused_key_is_not_tried_again(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring
) -> None:
    server.on("POST", wiring.create, document({"message": "no such key"}, status=401))
    refused = submit(opened(wiring))
    assert isinstance(refused, CredentialsRefused)
    assert "no such key" in refused.message
    assert "api_key" in refused.hint
    assert len(server.requests) == 1


@BOTH
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_key_follows_no_redirect(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, status: int
) -> None:
    with ScriptedServer() as elsewhere:
        answer = Reply(status, b"", {"Location": elsewhere.url + wiring.read})
        server.on("GET", wiring.read, answer)
        server.on("POST", wiring.create, answer)
        service = opened(wiring)
        with pytest.raises(ServiceUnavailable, match="redirects"):
            service.get_task(TASK_ID, project_id="p")
        assert isinstance(submit(service), ServiceUnavailable)
        assert not elsewhere.requests


@BOTH
def test_neither_log_nor_message_holds_the_key(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, caplog: pytest.LogCaptureFixture
) -> None:
    echo = document({"message": f"the key {SECRET} is not valid"}, status=401)
    server.on("POST", wiring.create, echo)
    server.on("GET", wiring.read, wiring.finished)
    service = opened(wiring)
    with caplog.at_level("DEBUG"):
        service.get_task(TASK_ID, project_id="p")
        refused = submit(service)
    assert refused is not None
    assert SECRET not in caplog.text + refused.message + refused.hint + repr(service)


@BOTH
@pytest.mark.parametrize("status", [200, 400, 404, 422])
def test_a_key_is_good_where_only_the_question_is_not(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, status: int
) -> None:
    server.on("GET", wiring.credentials, document({"message": "unknown"}, status=status))
    opened(wiring).check_credentials()
    assert [request.method for request in server.requests] == ["GET"]


@BOTH
@pytest.mark.parametrize("status", [503, 500])
def test_a_service_in_trouble_says_nothing_of_the_key(
    server: ScriptedServer, opened: Callable[..., Service], wiring: Wiring, status: int
) -> None:
    server.on("GET", wiring.credentials, Reply(status))
    with pytest.raises(ServiceUnavailable):
        opened(wiring).check_credentials()


def test_a_web_page_in_place_of_the_api_is_no_good_key(server: ScriptedServer, opened: Callable[..., Service]) -> None:
    server.on("GET", TYPLESS.read, Reply(404, b"<html>", {"Content-Type": "text/html"}))
    with pytest.raises(SetupRefused):
        opened(TYPLESS).check_credentials()
