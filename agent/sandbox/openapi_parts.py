"""The parts that the OpenAPI documents of all services are put together from."""

from __future__ import annotations

from typing import Any


def reference(name: str) -> dict[str, Any]:
    """Return the reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: dict[str, Any], *, optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def array_of(items: dict[str, Any], *, least: int = 0) -> dict[str, Any]:
    """Return the schema of an array."""
    return {"type": "array", "items": items, "minItems": least}


def answer(description: str, schema: str, *, media_type: str = "application/json") -> dict[str, Any]:
    """Return an answer whose body fits a schema."""
    return {"description": description, "content": {media_type: {"schema": reference(schema)}}}


def refusals(*statuses: int) -> dict[str, Any]:
    """Return the answers of these statuses as the components have them, and the one every end point may give."""
    return {str(status): {"$ref": f"#/components/responses/Refusal{status}"} for status in (*statuses, 431)}


def refusal_components(texts: dict[int, str], schema: str, *, media_type: str = "application/json") -> dict[str, Any]:
    """Return what `refusals` refers to."""
    return {f"Refusal{status}": answer(text, schema, media_type=media_type) for status, text in texts.items()}


def path_text(name: str) -> dict[str, Any]:
    """Return a parameter of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def query(name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """Return a parameter of the query."""
    return {"name": name, "in": "query", "required": required, "schema": schema}


def own_document() -> dict[str, Any]:
    """Return the operation that answers the document itself."""
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "getOpenapiDocument",
        "summary": "This document",
        "security": [],
        "responses": {"200": {"description": "OpenAPI 3.1.", "content": content}, **refusals()},
    }
