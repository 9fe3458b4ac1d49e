"""The schemas of this sandbox's OpenAPI document; `openapi` puts them into operations."""

from __future__ import annotations

from typing import Any

from agent.sandbox.openapi_parts import array_of, object_of, reference
from agent.sandbox.typless.settings import DEMO_DOCUMENT_TYPE, ExtractionStatus

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "number"}


def schemas() -> dict[str, Any]:
    """Return every schema by its name."""
    identifier = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
    error = {"code": {"type": ["string", "integer"]}, "message": _TEXT, "details": _TEXT}
    return {
        "Extract": {
            **object_of(
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
        "Extraction": object_of({"extraction_id": identifier}),
        "Waiting": object_of({"extraction_ids": array_of(identifier)}),
        "Error": object_of(error),
        "Empty": {"type": "object", "maxProperties": 0},
        "ValidationError": object_of(
            {
                "detail": array_of(
                    object_of({"loc": array_of({"type": ["string", "integer"]}), "msg": _TEXT, "type": _TEXT})
                )
            }
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
    return object_of(
        {
            "error": reference(error),
            "result": reference(result),
            "status": {"enum": [status.value for status in statuses]},
        }
    )


def _result_schemas(identifier: dict[str, Any]) -> dict[str, Any]:
    fields = array_of(reference("Field"))
    return {
        "Result": object_of(
            {
                "customer": {"type": ["string", "null"]},
                "file_name": _TEXT,
                "object_id": identifier,
                "extracted_fields": fields,
                "line_items": array_of(fields),
                "vat_rates": array_of(fields),
            },
            optional={"adjusted_s3_url": _TEXT},
        ),
        "Field": object_of(
            {
                "name": _TEXT,
                "data_type": {"enum": ["AUTHOR", "STRING", "DATE", "NUMBER"]},
                "values": array_of(reference("Candidate")),
            },
            optional={"multiple_values": {"type": "boolean"}},
        ),
        "Candidate": object_of(
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
