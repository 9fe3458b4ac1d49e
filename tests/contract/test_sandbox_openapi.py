"""The sandbox against its own OpenAPI document: whatever schemathesis sends, it answers as the document says."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import schemathesis
else:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed here")

from hypothesis import HealthCheck, assume, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks as openapi_checks

from agent.sandbox.aluma.openapi import openapi_document
from agent.sandbox.aluma.settings import DEMO_PROJECT_ID, AlumaSettings
from agent.sandbox.server import SandboxServer

PDF = b"%PDF-1.4\n%%EOF\n"
CHECKS = [
    not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.ignored_auth,
]
EXAMPLES = settings(
    max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@schemathesis.serializer("application/pdf", "image/tiff")
def as_bytes(_: schemathesis.SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def make_schema() -> schemathesis.BaseSchema:
    load_all_checks()
    return schemathesis.openapi.from_dict(openapi_document(), config=SchemathesisConfig(seed=1))


schema = make_schema()


class Target:
    """A server, a token for it, and tasks in the state a request needs."""

    def __init__(self, server: SandboxServer) -> None:
        self.server = server
        self.token = server.sandbox.issue_token("sandbox", "sandbox-secret")

    def make_task(self) -> str:
        with self.server.sandbox.receive() as incoming:
            incoming.write(PDF)
            document = incoming.finish()
        project = self.server.sandbox.project(DEMO_PROJECT_ID)
        task: dict[str, str] = self.server.sandbox.create_task(
            project, tags={"task_name": "known"}, content_type="application/pdf", document=document
        )
        self.server.sandbox.wait_until_read(30)
        return task["id"]

    def known(self, path: str) -> dict[str, str]:
        """Return values of the path's parameters that exist."""
        task_id = self.make_task()
        if path.endswith("/start_client_action"):
            return {"task_id": task_id}
        files = self.server.sandbox.start(task_id, "export")["documents"][0]["files"]
        if path.startswith("/tasks"):
            return {"task_id": task_id}
        collection_id, file_id = files[-1]["url"].split("/")[2::2]
        return {"collection_id": collection_id, "file_id": file_id}


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    options = AlumaSettings(queue_delay=0, processing_delay=0, read_documents=False, max_body=64 * 1024)
    with SandboxServer(options) as server:
        yield Target(server)


@schema.parametrize()
@EXAMPLES
def test_any_request_is_answered_as_the_document_says(case: schemathesis.Case[Any], target: Target) -> None:
    case.call_and_validate(
        base_url=target.server.url, headers={"Authorization": f"Bearer {target.token}"}, checks=CHECKS
    )


@schema.include(path_regex=r"\{|^/tasks$").parametrize()
@EXAMPLES
def test_requests_for_what_exists_are_answered_as_it_says(case: schemathesis.Case[Any], target: Target) -> None:
    if case.path == "/tasks":
        case.query = {**case.query, "project_id": DEMO_PROJECT_ID}
    else:
        case.path_parameters = target.known(case.path)
    case.call_and_validate(
        base_url=target.server.url, headers={"Authorization": f"Bearer {target.token}"}, checks=CHECKS
    )


@schema.exclude(path=["/oauth/token", "/openapi.json"]).parametrize()
@settings(EXAMPLES, max_examples=3)
def test_no_request_without_a_token_passes(case: schemathesis.Case[Any], target: Target) -> None:
    case.headers.pop("authorization", None)

    assume(case.method.upper() == case.operation.method.upper())  # other methods are 405 to anybody
    response = case.call(base_url=target.server.url)

    assert (response.status_code, response.headers["content-type"]) == (401, ["application/problem+json"])


def test_the_document_is_served_without_a_token(target: Target) -> None:
    with urllib.request.urlopen(f"{target.server.url}/openapi.json") as response:
        assert json.load(response) == openapi_document()


def test_a_path_outside_the_document_is_not_served(target: Target) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{target.server.url}/control/state")
    with refused.value as response:
        assert (response.status, response.headers["content-type"]) == (404, "application/problem+json")
