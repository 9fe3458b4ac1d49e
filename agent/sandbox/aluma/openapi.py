"""The OpenAPI 3.1 document of the sandbox, served at /openapi.json; tests fuzz the sandbox against it.

Written by hand from apis.md section 1, so that it can contradict the code. The control interface is not in it.
"""

from __future__ import annotations

from typing import Any

from agent import __version__
from agent.sandbox.aluma.assumptions import CANCEL_TASK_PATH, GET_TASK_PATH, PROBLEM_MEDIA_TYPE, PROJECTS_PATH
from agent.sandbox.aluma.openapi_schemas import schemas
from agent.sandbox.aluma.settings import DEMO_PROJECT_ID
from agent.sandbox.openapi_parts import answer, own_document, path_text, query, reference, refusal_components, refusals

_PROBLEMS = {
    400: "A parameter, a header or the body makes no sense.",
    401: "The token is missing, malformed, unknown or expired.",
    404: "There is no such thing, or no longer.",
    409: "The task's state does not allow it.",
    413: "The body is too large.",
    431: "The headers are too large.",
}


def openapi_document() -> dict[str, Any]:
    """Return the document, made anew."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fsagent sandbox",
            "version": __version__,
            "description": "An embedded service that behaves like the Aluma Tasks API.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": {
            "/oauth/token": {"post": _issue_token()},
            "/tasks": {"get": _list_tasks(), "post": _create_task()},
            GET_TASK_PATH: {"parameters": [path_text("task_id")], "get": _get_task()},
            CANCEL_TASK_PATH: {"parameters": [path_text("task_id")], "put": _cancel_task()},
            **{f"{GET_TASK_PATH}/{name}_client_action": _client_action(name) for name in _CLIENT_ACTIONS},
            "/file_collections/{collection_id}/files/{file_id}": {
                "parameters": [path_text("collection_id"), path_text("file_id")],
                "get": _download(),
            },
            PROJECTS_PATH: {"get": _list_projects(), "post": _upload_project()},
            "/openapi.json": {"get": own_document()},
        },
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": refusal_components(_PROBLEMS, "Problem", media_type=PROBLEM_MEDIA_TYPE),
        },
    }


def _issue_token() -> dict[str, Any]:
    legacy = {"application/json": {"schema": reference("LegacyError")}}
    return {
        "operationId": "issueToken",
        "summary": "Get Access Token",
        "security": [],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": reference("Credentials")},
                "application/x-www-form-urlencoded": {"schema": reference("Credentials")},
            },
        },
        "responses": {
            "200": answer("A token; token_type only where a form asked.", "Token"),
            "400": {"description": "Neither JSON nor a form, or a field is missing.", "content": legacy},
            "401": {"description": "The credentials are wrong.", "content": legacy},
            **refusals(413),
        },
    }


def _list_tasks() -> dict[str, Any]:
    return {
        "operationId": "listTasks",
        "summary": "List Tasks, oldest first",
        "parameters": [
            query("state", reference("State"), required=False),
            query("client_action", reference("Action"), required=False),
        ],
        "responses": {"200": answer("Every task that meets the filters.", "TaskList"), **refusals(400, 401)},
    }


def _create_task() -> dict[str, Any]:
    binary: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": "createTask",
        "summary": "Create Task from the raw bytes of a document",
        "parameters": [
            {
                **query("project_id", {"type": "string", "minLength": 1}, required=True),
                "examples": {"demo": {"value": DEMO_PROJECT_ID}},
            },
            {
                "name": "X-Aluma-Tags",
                "in": "header",
                "required": True,
                "description": "name=value pieces joined by &, UTF-8 percent-encoded; task_name is required.",
                "schema": {
                    "type": "string",
                    "pattern": "^task_name=[A-Za-z0-9._-]{1,40}(&file_name=[A-Za-z0-9._-]{1,40})?$",
                },
                "example": "task_name=AB3947853&file_name=00001.pdf",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/pdf": binary, "image/tiff": binary, "application/octet-stream": binary},
        },
        "responses": {"202": answer("The queued task.", "Task"), **refusals(400, 401, 404, 413)},
    }


def _get_task() -> dict[str, Any]:
    return {
        "operationId": "getTask",
        "summary": "Get Task",
        "responses": {"200": answer("The task.", "Task"), **refusals(401, 404)},
    }


def _cancel_task() -> dict[str, Any]:
    return {
        "operationId": "cancelTask",
        "summary": "Cancel a task that is not final",
        "responses": {"202": {"description": "The task is canceled."}, **refusals(401, 404, 409)},
    }


_CLIENT_ACTIONS = {
    "start": "Take the lease of a task that waits for this action",
    "complete": "End a started action as done",
    "cancel": "Give a started action back",
    "fail": "End a started action and its task as failed",
}


def _client_action(name: str) -> dict[str, Any]:
    taken = {"description": "Accepted."}
    operation: dict[str, Any] = {
        "operationId": f"{name}ClientAction",
        "summary": _CLIENT_ACTIONS[name],
        "parameters": [query("action", reference("Action"), required=True)],
        "responses": {
            "202": answer("What is to be exported.", "ExportSpecification") if name == "start" else taken,
            **refusals(400, 401, 404, 409, *((413,) if name == "fail" else ())),
        },
    }
    if name == "fail":
        content = {"application/json": {"schema": reference("FailMessage")}}
        operation["requestBody"] = {"required": False, "content": content}
    return {"parameters": [path_text("task_id")], "put": operation}


def _download() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": "downloadFile",
        "summary": "Download a file of an Export Specification",
        "responses": {
            "200": {"description": "The bytes.", "content": {"application/pdf": binary, "image/tiff": binary}},
            **refusals(401, 404),
        },
    }


def _list_projects() -> dict[str, Any]:
    return {
        "operationId": "listProjects",
        "summary": "List projects",
        "responses": {"200": answer("Every project.", "ProjectList"), **refusals(401)},
    }


def _upload_project() -> dict[str, Any]:
    return {
        "operationId": "uploadProject",
        "summary": "Upload a project file (.alproj)",
        "parameters": [query("name", {"type": "string", "minLength": 1}, required=True)],
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        "responses": {"201": answer("The new project.", "Project"), **refusals(400, 401, 413)},
    }
