"""The Send AI sandbox against its own OpenAPI document: whatever schemathesis sends, it answers as that says."""

from __future__ import annotations

import json
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from fakes.driven_clock import DrivenClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    import schemathesis
else:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed here")

from hypothesis import HealthCheck, assume, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks as openapi_checks

from agent.sandbox.sendai.core import SendaiSandbox
from agent.sandbox.sendai.openapi import openapi_document
from agent.sandbox.sendai.records import SentFile
from agent.sandbox.sendai.settings import DEMO_PROJECT, DEMO_TEAM, Fate, SendaiSettings, TaskListing, TaskStatus
from agent.sandbox.server import SandboxServer

PDF = b"%PDF-1.4\n%%EOF\n"
KEY = {"Authorization": "Bearer sandbox-key"}
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
OPTIONS = SendaiSettings(
    processing_delay=0,
    review_delay=0,
    read_documents=False,
    size_limit=64 * 1024,
    fates=(Fate("review*", TaskStatus.REVIEWING),),
)


def make_schema() -> schemathesis.BaseSchema:
    load_all_checks()
    return schemathesis.openapi.from_dict(openapi_document(OPTIONS), config=SchemathesisConfig(seed=1))


schema = make_schema()


class Target:
    """A server, and uploads to ask it for."""

    def __init__(self, server: SandboxServer[SendaiSandbox]) -> None:
        self.server = server

    def known(self) -> dict[str, str]:
        """Return values of the path's parameters that exist: a task for review among others."""
        sandbox = self.server.sandbox
        files = []
        for name in ("review.pdf", "a.pdf"):
            with sandbox.receive() as incoming:
                incoming.write(PDF)
                files.append(SentFile(name, "application/pdf", incoming.finish()))
        upload = sandbox.create_upload(DEMO_PROJECT, name="known", meta=[{"name": "a", "value": ""}], files=files)
        sandbox.wait_until_read(30)
        task = sandbox.get_upload(upload["id"])["tasks"][0]
        return {**PROJECT, "upload_id": upload["id"], "task_id": task["id"], "folder_id": "folder_1"}


PROJECT = {"team_id": DEMO_TEAM, "project_id": DEMO_PROJECT}


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with SandboxServer(OPTIONS) as server:
        yield Target(server)


@schema.parametrize()
@EXAMPLES
def test_any_request_is_answered_as_the_document_says(case: schemathesis.Case[Any], target: Target) -> None:
    case.call_and_validate(base_url=target.server.url, headers=KEY, checks=CHECKS)


@schema.include(path_regex="team_id").parametrize()
@EXAMPLES
def test_requests_for_what_exists_are_answered_as_it_says(case: schemathesis.Case[Any], target: Target) -> None:
    known = PROJECT if case.path.endswith("/upload") else target.known()
    case.path_parameters = {name: value for name, value in known.items() if f"{{{name}}}" in case.path}
    case.call_and_validate(base_url=target.server.url, headers=KEY, checks=CHECKS)


@schema.exclude(path="/openapi.json").parametrize()
@settings(EXAMPLES, max_examples=3)
def test_no_request_without_the_key_passes(case: schemathesis.Case[Any], target: Target) -> None:
    case.headers.pop("authorization", None)

    assume(case.method.upper() == case.operation.method.upper())  # other methods are 405 to anybody
    response = case.call(base_url=target.server.url)

    assert (response.status_code, response.headers["content-type"]) == (401, ["application/json"])


def test_the_document_is_served_without_the_key(target: Target) -> None:
    with urllib.request.urlopen(f"{target.server.url}/openapi.json") as response:
        assert json.load(response) == openapi_document(OPTIONS)


@pytest.mark.parametrize("listing", list(TaskListing))
@pytest.mark.parametrize("word", ["REVIEWING", "IN_REVIEW"])
def test_uploads_are_as_the_document_says_in_every_style(listing: TaskListing, word: str) -> None:
    options = SendaiSettings(
        listing=listing, review_word=word, create_payload=True, move_method="PUT", processing_delay=0, control=True
    )
    with closing(SendaiSandbox(options, clock=DrivenClock())) as sandbox:
        with sandbox.receive() as incoming:
            incoming.write(PDF)
            file = SentFile("a.pdf", "application/pdf", incoming.finish())
        created = sandbox.create_upload(DEMO_PROJECT, name="", meta=[], files=[file])
        answer = {"payload": sandbox.get_upload(created["payload"]["id"])}
    document = openapi_document(options)
    validator = pytest.importorskip("jsonschema", reason="schemathesis brings it").Draft202012Validator
    for name, shown in (("CreateAnswer", created), ("UploadAnswer", answer)):
        validator({**document, "$ref": f"#/components/schemas/{name}"}).validate(shown)
