"""The OpenAPI 3.1 document of this sandbox, served at /openapi.json; tests fuzz the sandbox against it.

Written by hand from apis.md section 3, so that it can contradict the code. The control interface is not in it.
"""

from __future__ import annotations

from typing import Any

from agent import __version__
from agent.sandbox.typless.assumptions import PREFIXES
from agent.sandbox.typless.settings import DEMO_DOCUMENT_TYPE, ExtractionStatus

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "number"}
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
        "paths": {**paths, "/openapi.json": {"get": _own_document()}},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token KEY"}
            },
            "responses": {
                **{f"Refusal{status}": _answer(text, "Error") for status, text in _REFUSALS.items()},
                "Refusal422": _answer("The request does not fit the schema.", "ValidationError"),
            },
        },
    }


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _reference(schema)}}}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/Refusal{status}"} for status in (*statuses, 431)}


def _query(name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _operation(prefix: str, name: str) -> str:
    return f"{name}V1" if prefix.endswith("v1") else name


def _extract(prefix: str) -> dict[str, Any]:
    return {
        "operationId": _operation(prefix, "extractDataAsync"),
        "summary": "Extract data asynchronously",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _reference("Extract")}}},
        "responses": {"202": _answer("The extraction began.", "Extraction"), **_refusals(400, 401, 422)},
    }


def _poll(prefix: str) -> dict[str, Any]:
    return {
        "operationId": _operation(prefix, "getExtractionData"),
        "summary": "Poll status and result of an extraction",
        "parameters": [
            _query("extraction_id", {"type": "string", "minLength": 1}, required=True),
            _query("text_blocks", {"type": "boolean"}, required=False),
        ],
        "responses": {"200": _answer("Error, result and status.", "Poll"), **_refusals(400, 401, 404, 422)},
    }


def _waiting(prefix: str) -> dict[str, Any]:
    return {
        "operationId": _operation(prefix, "awaitingPoll"),
        "summary": "List the extractions that may be polled",
        "parameters": [_query("customer", _TEXT, required=False)],
        "responses": {"200": _answer("Their ids, oldest first.", "Waiting"), **_refusals(401, 422)},
    }


def _own_document() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "getOpenapiDocument",
        "summary": "This document",
        "security": [],
        "responses": {"200": {"description": "OpenAPI 3.1.", "content": content}, **_refusals()},
    }


def _object(properties: dict[str, Any], *, optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _schemas() -> dict[str, Any]:
    identifier = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
    error = {"code": {"type": ["string", "integer"]}, "message": _TEXT, "details": _TEXT}
    return {
        "Extract": {
            **_object(
                {
                    "file": {
                        "type": "string",
                        "minLength": 4,
                        "contentEncoding": "base64",
                        "pattern": "^([A-Za-z0-9+/]{4}){1,40}$",
                        "example": "JVBERi0xLjQKJSVFT0YK",
                    },
                    "file_name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,40}\\.(pdf|tif|jpg|png)$"},
                    "document_type_name": {"type": "string", "minLength": 1, "example": DEMO_DOCUMENT_TYPE},
                },
                optional={"customer": {"type": ["string", "null"]}, "parse_text_blocks": {"type": "boolean"}},
            ),
            "additionalProperties": True,
        },
        "Extraction": _object({"extraction_id": identifier}),
        "Waiting": _object({"extraction_ids": _array(identifier)}),
        "Error": _object(error),
        "Empty": {"type": "object", "maxProperties": 0},
        "ValidationError": _object(
            {"detail": _array(_object({"loc": _array({"type": ["string", "integer"]}), "msg": _TEXT, "type": _TEXT}))}
        ),
        "Poll": {
            "oneOf": [
                _poll_of((ExtractionStatus.IN_PROGRESS, ExtractionStatus.EXPIRED), error="Empty", result="Empty"),
                _poll_of((ExtractionStatus.SUCCESS,), error="Empty", result="Result"),
                _poll_of((ExtractionStatus.ERROR,), error="Error", result="Empty"),
            ]
        },
        **_result_schemas(identifier),
    }


def _poll_of(statuses: tuple[ExtractionStatus, ...], *, error: str, result: str) -> dict[str, Any]:
    return _object(
        {
            "error": _reference(error),
            "result": _reference(result),
            "status": {"enum": [status.value for status in statuses]},
        }
    )


def _result_schemas(identifier: dict[str, Any]) -> dict[str, Any]:
    fields = _array(_reference("Field"))
    return {
        "Result": _object(
            {
                "customer": {"type": ["string", "null"]},
                "file_name": _TEXT,
                "object_id": identifier,
                "extracted_fields": fields,
                "line_items": _array(fields),
                "vat_rates": _array(fields),
            },
            optional={"adjusted_s3_url": _TEXT},
        ),
        "Field": _object(
            {
                "name": _TEXT,
                "data_type": {"enum": ["AUTHOR", "STRING", "DATE", "NUMBER"]},
                "values": _array(_reference("Candidate")),
            },
            optional={"multiple_values": {"type": "boolean"}},
        ),
        "Candidate": _object(
            {
                "value": {"type": ["string", "null"]},
                "confidence_score": {"type": ["number", "string"]},
                "page_number": {"type": "integer"},
                "x": _NUMBER,
                "y": _NUMBER,
                "width": _NUMBER,
                "height": _NUMBER,
            }
        ),
    }
