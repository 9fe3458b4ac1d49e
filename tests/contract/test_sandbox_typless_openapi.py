"""The Typless sandbox against its own OpenAPI document: whatever schemathesis sends, it answers as that says."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import schemathesis

    from agent.sandbox.typless.core import TyplessSandbox
else:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed here")

from hypothesis import HealthCheck, assume, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks as openapi_checks

from agent.sandbox.server import SandboxServer
from agent.sandbox.typless.openapi import openapi_document
from agent.sandbox.typless.settings import DEMO_DOCUMENT_TYPE, ExtractionStatus, Fate, TyplessSettings

PDF = b"%PDF-1.4\n%%EOF\n"
KEY = {"Authorization": "Token sandbox-key"}
CHECKS = [
    not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.ignored_auth,
]
EXAMPLES = settings(
    max_examples=15, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def make_schema() -> schemathesis.BaseSchema:
    load_all_checks()
    return schemathesis.openapi.from_dict(openapi_document(), config=SchemathesisConfig(seed=1))


schema = make_schema()


class Target:
    """A server, and an extraction that ended in each way."""

    def __init__(self, server: SandboxServer[TyplessSandbox]) -> None:
        self.server = server
        self.ids = [self.extract(f"{status.value}.pdf") for status in ExtractionStatus]
        server.sandbox.wait_until_read(30)

    def extract(self, file_name: str) -> str:
        sandbox = self.server.sandbox
        with sandbox.receive() as incoming:
            incoming.write(PDF)
            document = incoming.finish()
        return sandbox.extract(document, file_name=file_name, document_type_name=DEMO_DOCUMENT_TYPE, customer=None)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    fates = tuple(Fate(f"{status.value}.pdf", status) for status in ExtractionStatus)
    options = TyplessSettings(extraction_delay=0, read_documents=False, size_limit=64 * 1024, fates=fates)
    with SandboxServer(options) as server:
        yield Target(server)


def ask(case: schemathesis.Case[Any], target: Target) -> schemathesis.Response:
    case.headers.pop("authorization", None)  # a key the generator made would stand before ours
    return case.call_and_validate(base_url=target.server.url, headers=KEY, checks=CHECKS)


def is_authorised(response: schemathesis.Response) -> bool:
    """Tell whether a request had the key: the generator leaves it away now and then to see what happens."""
    return "Authorization" in response.request.headers


@schema.parametrize()
@EXAMPLES
def test_any_request_is_answered_as_the_document_says(case: schemathesis.Case[Any], target: Target) -> None:
    ask(case, target)


@schema.include(path_regex="get-extraction-data").parametrize()
@settings(EXAMPLES, max_examples=3)
def test_a_poll_for_what_exists_is_answered_as_it_says(case: schemathesis.Case[Any], target: Target) -> None:
    for extraction_id in target.ids:
        case.query = {"extraction_id": extraction_id}
        response = ask(case, target)
        assert case.method.upper() != "GET" or response.status_code == (200 if is_authorised(response) else 401)


@schema.include(path_regex="extract-data-async").parametrize()
@settings(EXAMPLES, max_examples=10)
def test_a_whole_request_is_taken_as_it_says(case: schemathesis.Case[Any], target: Target) -> None:
    assume(case.method.upper() == "POST")
    case.headers["Content-Type"] = "application/json"
    case.media_type = "application/json"
    case.body = {"file": "JVBERi0xLjQK", "file_name": "a.pdf", "document_type_name": DEMO_DOCUMENT_TYPE}
    response = ask(case, target)
    assert response.status_code == (202 if is_authorised(response) else 401)


@schema.exclude(path="/openapi.json").parametrize()
@settings(EXAMPLES, max_examples=3)
def test_no_request_without_the_key_passes(case: schemathesis.Case[Any], target: Target) -> None:
    case.headers.pop("authorization", None)

    assume(case.method.upper() == case.operation.method.upper())  # other methods are 405 to anybody
    response = case.call(base_url=target.server.url)

    assert (response.status_code, response.headers["content-type"]) == (401, ["application/json"])


def test_the_document_is_served_without_the_key(target: Target) -> None:
    with urllib.request.urlopen(f"{target.server.url}/openapi.json") as response:
        assert json.load(response) == openapi_document()
