"""The OpenAPI 3.1 document of this sandbox, served at /openapi.json; tests fuzz the sandbox against it.

Written by hand from apis.md section 2, so that it can contradict the code. The control interface is not in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent import __version__
from agent.sandbox.openapi_parts import (
    answer,
    object_of,
    own_document,
    path_text,
    reference,
    refusal_components,
    refusals,
)
from agent.sandbox.sendai.openapi_schemas import schemas

if TYPE_CHECKING:
    from agent.sandbox.sendai.settings import SendaiSettings

_REFUSALS = {
    400: "Something in the request makes no sense.",
    401: "The key is missing or wrong.",
    403: "The key has no access to the project, or lacks a scope.",
    404: "There is no such thing.",
    413: "A file or field is too large.",
    431: "The headers are too large.",
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def openapi_document(settings: SendaiSettings) -> dict[str, Any]:
    """Return the document, made anew."""
    prefix = settings.path_prefix
    upload, task = f"{prefix}/upload/{{upload_id}}", f"{prefix}/task/{{task_id}}"
    method = settings.move_method.lower()
    moves: dict[str, Any] = {f"{upload}/move/{{folder_id}}": {method: _move()}}
    if method == "put":
        moves[f"{upload}/move"] = {method: _move_by_body()}
    paths = {
        f"{prefix}/upload": {"post": _create(settings)},
        upload: {"get": _operation("getUpload", "Get Upload", "UploadAnswer")},
        **moves,
        task: {"get": _operation("getTask", "Get Task", "TaskAnswer")},
        f"{task}/complete": {"post": _operation("completeTask", "Complete Task", "TaskAnswer")},
        f"{task}/discard": {"post": _operation("discardTask", "Discard Task", "TaskAnswer")},
        f"{task}/unlock": {"post": _operation("unlockTask", "Unlock Task", "TaskAnswer")},
        f"{task}/report": {"post": _report(settings)},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fsagent sandbox of Send AI",
            "version": __version__,
            "description": "An embedded service that behaves like the uploads and tasks of Send AI.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": {
            **{path: {"parameters": _parameters(path), **item} for path, item in paths.items()},
            "/openapi.json": {"get": own_document()},
        },
        "components": {
            "schemas": schemas(settings),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "responses": refusal_components(_REFUSALS, "Error"),
        },
    }


def _parameters(path: str) -> list[dict[str, Any]]:
    return [path_text(name) for name in _PLACEHOLDER.findall(path)]


def _operation(name: str, summary: str, schema: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": answer("As it is now.", schema), **refusals(401, 403, 404)},
    }


def _create(settings: SendaiSettings) -> dict[str, Any]:
    text = {"type": "string"}
    form = {
        **object_of(
            {"file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}},
            optional={"name": text, "meta": {**text, "const": "[]"}, "projectId": text},
        ),
        "additionalProperties": True,
    }
    return {
        "operationId": "createUpload",
        "summary": "Create Upload: one task is made for each file, more for a mail with attachments",
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {
            str(settings.create_status): answer("The new upload.", "CreateAnswer"),
            **refusals(400, 401, 403, 413),
        },
    }


def _move() -> dict[str, Any]:
    return _operation("moveUpload", "Move Upload to a folder", "UploadAnswer")


def _move_by_body() -> dict[str, Any]:
    schema = {**object_of({"folder_id": {"type": "string", "minLength": 1}}), "additionalProperties": True}
    operation = _operation("moveUploadByBody", "Move Upload to the folder of the body", "UploadAnswer")
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    operation["responses"] |= refusals(400, 413)
    return operation


def _report(settings: SendaiSettings) -> dict[str, Any]:
    return {
        "operationId": "reportTask",
        "summary": "Report what is wrong with a task",
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference("Report")}}},
        "responses": {
            str(settings.report_status): answer("The task, and what of the report failed.", "ReportAnswer"),
            **refusals(400, 401, 403, 404, 413),
        },
    }
