"""The schemas of this sandbox's OpenAPI document; `openapi` puts them into operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.sandbox.openapi_parts import array_of, object_of, reference
from agent.sandbox.sendai.assumptions import MESSAGE_LIMIT
from agent.sandbox.sendai.settings import TaskListing, TaskStatus

if TYPE_CHECKING:
    from agent.sandbox.sendai.settings import SendaiSettings

_TEXT: dict[str, Any] = {"type": "string"}
_FILLED: dict[str, Any] = {"type": "string", "minLength": 1}
_NUMBER: dict[str, Any] = {"type": "number"}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_OPTIONAL_TIME: dict[str, Any] = {"oneOf": [_TIME, {"type": "null"}]}
_UPLOAD_ID: dict[str, Any] = {"type": "string", "pattern": "^upl_[0-9a-f]+$"}
_TASK_ID: dict[str, Any] = {"type": "string", "pattern": "^task_[0-9a-f]+$"}


def schemas(settings: SendaiSettings) -> dict[str, Any]:
    """Return every schema by its name."""
    created = object_of({"payload": reference("Upload")}) if settings.create_payload else reference("CreatedUpload")
    return {
        **_upload_schemas(settings),
        **_task_schemas(),
        "Meta": array_of(object_of({"name": _FILLED, "value": _TEXT})),
        "Error": object_of({"message": _FILLED, "error": _FILLED}),
        "CreateAnswer": created,
        "UploadAnswer": object_of({"payload": reference("Upload")}),
        "TaskAnswer": object_of({"payload": reference("Task")}, optional={"message": _TEXT}),
        "ReportAnswer": object_of({"payload": reference("Task"), "errors": array_of(_TEXT)}),
        "Report": {
            **object_of(
                {"issues": array_of(object_of({"label": _FILLED, "value": _FILLED}), least=1)},
                optional={"message": {**_TEXT, "maxLength": MESSAGE_LIMIT}},
            ),
            "additionalProperties": True,
        },
    }


def _upload_schemas(settings: SendaiSettings) -> dict[str, Any]:
    states = ["PROCESSING", settings.review_word, "COMPLETED", "PARTIAL", "FAILED"]
    return {
        "CreatedUpload": object_of(
            {
                "id": _UPLOAD_ID,
                "name": _FILLED,
                "projectId": _FILLED,
                "status": {"const": "processing"},
                "fileType": _TEXT,
                "fileSize": {"type": "integer", "minimum": 0},
                "createdAt": _TIME,
                "updatedAt": _TIME,
            }
        ),
        "Upload": object_of(
            {
                "id": _UPLOAD_ID,
                "name": _FILLED,
                "status": {"enum": states},
                "meta": reference("Meta"),
                "folder_id": _FILLED,
                "created_at": _TIME,
                **_listing(settings.listing),
            }
        ),
    }


def _listing(listing: TaskListing) -> dict[str, Any]:
    empty = {"type": "object", "maxProperties": 0}
    match listing:
        case TaskListing.TASKS:
            shown = object_of({"id": _TASK_ID, "name": _FILLED, "status": reference("TaskStatus")})
            return {"files": empty, "tasks": array_of(shown)}
        case TaskListing.TASK_IDS:
            return {"files": empty, "task_ids": array_of(_TASK_ID)}
        case TaskListing.FILES_BY_NAME:
            ids = {"oneOf": [_TASK_ID, array_of(_TASK_ID, least=2)]}
            return {"files": {"type": "object", "additionalProperties": ids}}
        case TaskListing.FILES_BY_TASK:
            return {"files": {"type": "object", "additionalProperties": object_of({"name": _FILLED})}}
        case TaskListing.NONE:
            return {"files": empty}


def _task_schemas() -> dict[str, Any]:
    corners = {"id": _FILLED, "confidence": _NUMBER, "coordinates": array_of(array_of(_NUMBER))}
    return {
        "TaskStatus": {"enum": [status.value for status in TaskStatus]},
        "Task": object_of(
            {
                "id": _TASK_ID,
                "name": _FILLED,
                "created_at": _TIME,
                "meta": reference("Meta"),
                "status": reference("TaskStatus"),
                "step_type": {"const": "EXTRACT"},
                "upload_id": _UPLOAD_ID,
                "project_id": _FILLED,
                "approved": {"type": "boolean"},
                "exported_at": _OPTIONAL_TIME,
                "export_failed_at": _OPTIONAL_TIME,
                "last_opened_at": _OPTIONAL_TIME,
                "pages": array_of(reference("Page")),
            }
        ),
        "Page": object_of(
            {
                "id": _FILLED,
                "width": {"type": "integer"},
                "height": {"type": "integer"},
                "annotations": array_of(
                    object_of(
                        {
                            "id": _FILLED,
                            "entity_id": _FILLED,
                            "confidence": _NUMBER,
                            "content": _TEXT,
                            "top": _NUMBER,
                            "left_of_line": _NUMBER,
                        }
                    )
                ),
                "checkboxes": array_of(object_of({**corners, "checked": {"type": "boolean"}})),
                "segments": array_of(object_of(corners)),
                "signatures": array_of(object_of(corners)),
            }
        ),
    }
