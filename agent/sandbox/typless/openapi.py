"""The OpenAPI 3.1 document of this sandbox, served at /openapi.json; tests fuzz the sandbox against it.

Written by hand from apis.md section 3, so that it can contradict the code. The control interface is not in it.
"""

from __future__ import annotations

from typing import Any

from agent import __version__
from agent.sandbox.openapi_parts import answer, own_document, query, reference, refusal_components, refusals
from agent.sandbox.typless.assumptions import PREFIXES
from agent.sandbox.typless.openapi_schemas import schemas

_TEXT: dict[str, Any] = {"type": "string"}
_REFUSALS = {
    400: "Something in the request makes no sense.",
    401: "The key is missing or wrong.",
    404: "There is no such extraction.",
    431: "The headers are too large.",
}


def openapi_document() -> dict[str, Any]:
    """Return the document, made anew."""
    paths: dict[str, Any] = {}
    for prefix in PREFIXES:
        paths[f"{prefix}/extract-data-async"] = {"post": _extract(prefix)}
        paths[f"{prefix}/get-extraction-data"] = {"get": _poll(prefix)}
        paths[f"{prefix}/awaiting-poll"] = {"get": _waiting(prefix)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fsagent sandbox of Typless",
            "version": __version__,
            "description": "An embedded service that behaves like the asynchronous extraction of Typless.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": {**paths, "/openapi.json": {"get": own_document()}},
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token KEY"}
            },
            "responses": {
                **refusal_components(_REFUSALS, "Error"),
                "Refusal422": answer("The request does not fit the schema.", "ValidationError"),
            },
        },
    }


def _operation(prefix: str, name: str) -> str:
    return f"{name}V1" if prefix.endswith("v1") else name


def _extract(prefix: str) -> dict[str, Any]:
    return {
        "operationId": _operation(prefix, "extractDataAsync"),
        "summary": "Extract data asynchronously",
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference("Extract")}}},
        "responses": {"202": answer("The extraction began.", "Extraction"), **refusals(400, 401, 422)},
    }


def _poll(prefix: str) -> dict[str, Any]:
    return {
        "operationId": _operation(prefix, "getExtractionData"),
        "summary": "Poll status and result of an extraction",
        "parameters": [
            query("extraction_id", {"type": "string", "minLength": 1}, required=True),
            query("text_blocks", {"type": "boolean"}, required=False),
        ],
        "responses": {"200": answer("Error, result and status.", "Poll"), **refusals(400, 401, 404, 422)},
    }


def _waiting(prefix: str) -> dict[str, Any]:
    return {
        "operationId": _operation(prefix, "awaitingPoll"),
        "summary": "List the extractions that may be polled",
        "parameters": [query("customer", _TEXT, required=False)],
        "responses": {"200": answer("Their ids, oldest first.", "Waiting"), **refusals(401, 422)},
    }
