"""The end points of Typless (apis.md 3.2): what a request must look like, and what it is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.sandbox.messages import json_answer, media_type_of
from agent.sandbox.reading import let_reading_catch_up
from agent.sandbox.refusals import bad_request
from agent.sandbox.routing import resource
from agent.sandbox.typless.assumptions import BODY_SLACK, PREFIXES, STATUS_VALIDATION
from agent.sandbox.typless.bodies import Invalid, decode_file, read_request

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from agent.sandbox.refusals import Refusal
    from agent.sandbox.routing import Answer
    from agent.sandbox.storage import StoredDocument
    from agent.sandbox.typless.bodies import ExtractionRequest
    from agent.sandbox.typless.core import TyplessSandbox


def say_no(refusal: Refusal) -> Response:
    """Return a refusal as this service writes it."""
    document = {"code": refusal.kind, "message": refusal.title, "details": ""}
    return json_answer(document, status=refusal.status, headers=refusal.headers)


class TyplessApi:
    """Every end point of one sandbox."""

    def __init__(self, sandbox: TyplessSandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes under every prefix; each asks for the key first."""
        return [route for prefix in PREFIXES for route in self._below(prefix, is_v1=prefix != PREFIXES[0])]

    def _below(self, prefix: str, *, is_v1: bool) -> list[Route]:
        async def poll(request: Request) -> Response:
            return await self._poll(request, is_v1=is_v1)

        return [
            resource(f"{prefix}/extract-data-async", {"POST": self._guarded(self._extract)}),
            resource(f"{prefix}/get-extraction-data", {"GET": self._guarded(poll)}),
            resource(f"{prefix}/awaiting-poll", {"GET": self._guarded(self._waiting)}),
        ]

    def _guarded(self, answer: Answer) -> Answer:
        async def checked(request: Request) -> Response:
            self._sandbox.check_key(request.headers.get("authorization"))
            try:
                return await answer(request)
            except Invalid as error:
                return _validation_answer(error)

        return checked

    async def _extract(self, request: Request) -> Response:
        body = await self._body(request)
        asked = await asyncio.to_thread(read_request, body)
        del body  # beside the text in it, it would stay in memory while the file is decoded
        self._sandbox.check_document_type(asked.document_type_name)
        document = await asyncio.to_thread(self._store, asked)
        extraction_id = self._sandbox.extract(
            document,
            file_name=asked.file_name,
            document_type_name=asked.document_type_name,
            customer=asked.customer,
        )
        return json_answer({"extraction_id": extraction_id}, status=202)

    def _store(self, asked: ExtractionRequest) -> StoredDocument:
        data = decode_file(asked.file, limit=self._sandbox.settings.size_limit)
        with self._sandbox.receive() as incoming:
            incoming.write(data)
            return incoming.finish()

    async def _body(self, request: Request) -> bytearray:
        if media_type_of(request) != "application/json":
            raise bad_request("invalid_content_type", "The Content-Type is not application/json.")
        limit = self._sandbox.settings.size_limit * 4 // 3 + BODY_SLACK
        body = bytearray()
        async for block in request.stream():
            body += block
            if len(body) > limit:
                raise bad_request("file_too_large", f"The body is larger than {limit} bytes.")
        return body

    async def _poll(self, request: Request, *, is_v1: bool) -> Response:
        await let_reading_catch_up(self._sandbox, self._sandbox.settings.read_patience)
        extraction_id = _query(request, "extraction_id")
        if not extraction_id:
            raise Invalid([("extraction_id", "field required", "value_error.missing")], part="query")
        if (_query(request, "text_blocks") or "false").lower() not in ("true", "false"):
            raise Invalid([("text_blocks", "value could not be parsed to a boolean", "type_error.bool")], part="query")
        return json_answer(self._sandbox.poll(extraction_id, is_v1=is_v1))

    async def _waiting(self, request: Request) -> Response:
        return json_answer({"extraction_ids": self._sandbox.waiting(customer=_query(request, "customer"))})


def _query(request: Request, name: str) -> str | None:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise Invalid([(name, "given more than once", "value_error")], part="query")
    return values[0] if values else None


def _validation_answer(error: Invalid) -> Response:
    problems = [{"loc": [error.part, place], "msg": text, "type": kind} for place, text, kind in error.problems]
    return json_answer({"detail": problems}, status=STATUS_VALIDATION)
