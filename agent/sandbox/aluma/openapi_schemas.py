"""The schemas of this sandbox's OpenAPI document; `openapi` puts them into operations."""

from __future__ import annotations

from typing import Any

from agent.sandbox.aluma.records import ACTIONS, STATES
from agent.sandbox.openapi_parts import array_of, object_of, reference

_TEXT: dict[str, Any] = {"type": "string"}
_ID: dict[str, Any] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"}


def schemas() -> dict[str, Any]:
    """Return every schema by its name."""
    return {
        **_task_schemas(),
        **_export_schemas(),
        **_error_schemas(),
        "Credentials": {
            **object_of({"client_id": _TEXT, "client_secret": _TEXT}),
            "additionalProperties": True,
        },
        "Token": object_of(
            {"access_token": {"type": "string", "minLength": 1}, "expires_in": {"type": "integer", "minimum": 0}},
            optional={"token_type": {"const": "Bearer"}},
        ),
        "FailMessage": {**object_of({"message": _TEXT}), "additionalProperties": True},
        "Project": object_of({"id": _ID, "name": _TEXT}),
        "ProjectList": object_of({"projects": array_of(reference("Project"))}),
    }


def _task_schemas() -> dict[str, Any]:
    return {
        "State": {"type": "string", "enum": list(STATES)},
        "Action": {"type": "string", "enum": list(ACTIONS)},
        "Task": object_of(
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
        "TaskList": object_of({"tasks": array_of(reference("Task"))}),
    }


def _export_schemas() -> dict[str, Any]:
    place = {"folder": _TEXT, "filename": {"type": "string", "minLength": 1}}
    return {
        "ExportSpecification": object_of({"documents": array_of(reference("ExportDocument"), least=1)}),
        "ExportDocument": object_of({"files": array_of(reference("ExportFile"), least=1)}),
        "ExportFile": {
            "oneOf": [
                object_of({**place, "source": {"const": "content"}, "content": _TEXT, "url": {"type": "null"}}),
                object_of({**place, "source": {"const": "url"}, "content": {"type": "null"}, "url": _TEXT}),
            ]
        },
    }


def _error_schemas() -> dict[str, Any]:
    return {
        "Problem": object_of(
            {
                "type": {"type": "string", "format": "uri"},
                "title": {"type": "string", "minLength": 1},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "instance": {"type": "string", "format": "uri"},
            }
        ),
        "LegacyError": object_of(
            {"message": _TEXT},
            optional={
                "requestErrors": {"type": "object", "additionalProperties": {"type": "array", "items": _TEXT}},
            },
        ),
    }
