"""The OpenAPI 3.1 document of this sandbox, served at /openapi.json; tests fuzz the sandbox against it.

Written by hand from apis.md section 2, so that it can contradict the code. The control interface is not in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent import __version__
from agent.sandbox.sendai.openapi_schemas import object_of, reference, schemas

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
            "/openapi.json": {"get": _own_document()},
        },
        "components": {
            "schemas": schemas(settings),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "responses": {f"Refusal{status}": _answer(text, "Error") for status, text in _REFUSALS.items()},
        },
    }


def _parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PLACEHOLDER.findall(path)
    ]


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": reference(schema)}}}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/Refusal{status}"} for status in (*statuses, 431)}


def _operation(name: str, summary: str, answer: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": _answer("As it is now.", answer), **_refusals(401, 403, 404)},
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
            str(settings.create_status): _answer("The new upload.", "CreateAnswer"),
            **_refusals(400, 401, 403, 413),
        },
    }


def _move() -> dict[str, Any]:
    return _operation("moveUpload", "Move Upload to a folder", "UploadAnswer")


def _move_by_body() -> dict[str, Any]:
    schema = {**object_of({"folder_id": {"type": "string", "minLength": 1}}), "additionalProperties": True}
    operation = _operation("moveUploadByBody", "Move Upload to the folder of the body", "UploadAnswer")
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    operation["responses"] |= _refusals(400, 413)
    return operation


def _report(settings: SendaiSettings) -> dict[str, Any]:
    return {
        "operationId": "reportTask",
        "summary": "Report what is wrong with a task",
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference("Report")}}},
        "responses": {
            str(settings.report_status): _answer("The task, and what of the report failed.", "ReportAnswer"),
            **_refusals(400, 401, 403, 404, 413),
        },
    }


def _own_document() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "getOpenapiDocument",
        "summary": "This document",
        "security": [],
        "responses": {"200": {"description": "OpenAPI 3.1.", "content": content}, **_refusals()},
    }
