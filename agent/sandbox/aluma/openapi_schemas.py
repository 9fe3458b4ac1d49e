"""The schemas of the sandbox's OpenAPI document; `openapi` puts them into operations."""

from __future__ import annotations

from typing import Any

from agent.sandbox.aluma.records import ACTIONS, STATES

_TEXT: dict[str, Any] = {"type": "string"}
_ID: dict[str, Any] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"}


def _object(properties: dict[str, Any], *, optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(item: str, *, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": reference(item), "minItems": least}


def reference(name: str) -> dict[str, Any]:
    """Return the reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas() -> dict[str, Any]:
    """Return every schema by its name."""
    return {
        **_task_schemas(),
        **_export_schemas(),
        **_error_schemas(),
        "Credentials": {
            **_object({"client_id": _TEXT, "client_secret": _TEXT}),
            "additionalProperties": True,
        },
        "Token": _object(
            {"access_token": {"type": "string", "minLength": 1}, "expires_in": {"type": "integer", "minimum": 0}},
            optional={"token_type": {"const": "Bearer"}},
        ),
        "FailMessage": {**_object({"message": _TEXT}), "additionalProperties": True},
        "Project": _object({"id": _ID, "name": _TEXT}),
        "ProjectList": _object({"projects": _array("Project")}),
    }


def _task_schemas() -> dict[str, Any]:
    return {
        "State": {"type": "string", "enum": list(STATES)},
        "Action": {"type": "string", "enum": list(ACTIONS)},
        "Task": _object(
            {
                "id": _ID,
                "name": {"type": "string", "minLength": 1},
                "file_collection_id": _ID,
                "project_id": _ID,
                "project_name": _TEXT,
                "created_at": {"type": "string", "format": "date-time"},
                "state": reference("State"),
            },
            optional={
                "documents_count": {"type": "integer", "minimum": 1},
                "client_action": reference("Action"),
                "tags": {"type": "object", "additionalProperties": _TEXT},
                "message": _TEXT,
            },
        ),
        "TaskList": _object({"tasks": _array("Task")}),
    }


def _export_schemas() -> dict[str, Any]:
    place = {"folder": _TEXT, "filename": {"type": "string", "minLength": 1}}
    return {
        "ExportSpecification": _object({"documents": _array("ExportDocument", least=1)}),
        "ExportDocument": _object({"files": _array("ExportFile", least=1)}),
        "ExportFile": {
            "oneOf": [
                _object({**place, "source": {"const": "content"}, "content": _TEXT, "url": {"type": "null"}}),
                _object({**place, "source": {"const": "url"}, "content": {"type": "null"}, "url": _TEXT}),
            ]
        },
    }


def _error_schemas() -> dict[str, Any]:
    return {
        "Problem": _object(
            {
                "type": {"type": "string", "format": "uri"},
                "title": {"type": "string", "minLength": 1},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "instance": {"type": "string", "format": "uri"},
            }
        ),
        "LegacyError": _object(
            {"message": _TEXT},
            optional={
                "requestErrors": {"type": "object", "additionalProperties": {"type": "array", "items": _TEXT}},
            },
        ),
    }
