"""The end points of the Tasks API (apis.md 1.4): what a request must look like, and what it is answered.

Owns headers, queries and bodies; what tasks do is the `core`'s.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qs

from starlette.responses import Response, StreamingResponse

from agent.sandbox.aluma.assumptions import (
    CANCEL_TASK_PATH,
    FAIL_BODY_LIMIT,
    GET_TASK_PATH,
    PROJECT_BODY_LIMIT,
    PROJECTS_PATH,
    STATUS_ACTION_TAKEN,
    STATUS_DOWNLOAD,
    STATUS_PROJECT_UPLOADED,
)
from agent.sandbox.aluma.core import require_action
from agent.sandbox.aluma.problems import TokenRefusal, token_response
from agent.sandbox.aluma.tag_header import read_tags
from agent.sandbox.messages import json_answer, media_type_of, parsed_body, small_body
from agent.sandbox.reading import let_reading_catch_up
from agent.sandbox.refusals import STATUS_BAD_REQUEST, bad_request, too_large, unknown
from agent.sandbox.routing import resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send

    from agent.sandbox.aluma.core import AlumaSandbox
    from agent.sandbox.aluma.records import TaskEntry
    from agent.sandbox.routing import Answer

_BLOCK = 1024 * 1024
_TOKEN_FIELDS = ("client_id", "client_secret")


class AlumaApi:
    """Every end point of one sandbox."""

    def __init__(self, sandbox: AlumaSandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes; all but the token end point ask for a token first."""
        guarded = self._guarded
        task = GET_TASK_PATH
        return [
            resource("/oauth/token", {"POST": self._issue_token}),
            resource("/tasks", {"GET": guarded(self._list_tasks), "POST": guarded(self._create_task)}),
            resource(task, {"GET": guarded(self._get_task)}),
            resource(CANCEL_TASK_PATH, {"PUT": guarded(self._cancel_task)}),
            resource(f"{task}/start_client_action", {"PUT": guarded(self._start)}),
            resource(f"{task}/complete_client_action", {"PUT": guarded(self._complete)}),
            resource(f"{task}/cancel_client_action", {"PUT": guarded(self._cancel)}),
            resource(f"{task}/fail_client_action", {"PUT": guarded(self._fail)}),
            resource("/file_collections/{collection_id}/files/{file_id}", {"GET": guarded(self._download)}),
            resource(PROJECTS_PATH, {"GET": guarded(self._list_projects), "POST": guarded(self._upload_project)}),
        ]

    def _guarded(self, answer: Answer) -> Answer:
        async def checked(request: Request) -> Response:
            self._sandbox.check_token(request.headers.get("authorization"))
            return await answer(request)

        return checked

    async def _issue_token(self, request: Request) -> Response:
        try:
            return await self._token(request)
        except TokenRefusal as refusal:
            return token_response(refusal)

    async def _token(self, request: Request) -> Response:
        media_type = media_type_of(request)
        body = await small_body(request, FAIL_BODY_LIMIT)
        if media_type == "application/json":
            fields = _json_credentials(body)
        elif media_type == "application/x-www-form-urlencoded":
            fields = _form_credentials(body)
        else:
            raise TokenRefusal(STATUS_BAD_REQUEST, "The request is neither JSON nor a form")
        token = self._sandbox.issue_token(fields["client_id"], fields["client_secret"])
        answer: dict[str, Any] = {
            "access_token": token,
            "expires_in": int(self._sandbox.settings.token_lifetime),
        }
        if media_type != "application/json":
            answer["token_type"] = "Bearer"  # noqa: S105 -- the scheme's name
        return json_answer(answer)

    async def _create_task(self, request: Request) -> Response:
        project = self._sandbox.project(_query(request, "project_id"))
        tags = read_tags(request.headers.getlist("x-aluma-tags"))
        limit = self._sandbox.settings.max_body
        with self._sandbox.receive() as incoming:
            async for block in request.stream():
                incoming.write(block)
                if limit is not None and incoming.size > limit:
                    raise too_large(limit)
            task = self._sandbox.create_task(
                project,
                tags=tags,
                content_type=request.headers.get("content-type", ""),
                document=incoming.finish(),
            )
        return json_answer(task, status=202)

    async def _list_tasks(self, request: Request) -> Response:
        await self._catch_up()
        tasks = self._sandbox.list_tasks(
            state=_optional_query(request, "state"),
            client_action=_optional_query(request, "client_action"),
        )
        return json_answer({"tasks": tasks})

    async def _get_task(self, request: Request) -> Response:
        task_id = request.path_params["task_id"]
        await self._catch_up(task_id)
        return json_answer(self._sandbox.get_task(task_id))

    async def _start(self, request: Request) -> Response:
        task_id, action = request.path_params["task_id"], _action(request)
        await self._catch_up(task_id)
        return json_answer(self._sandbox.start(task_id, action), status=202)

    async def _complete(self, request: Request) -> Response:
        self._sandbox.complete(request.path_params["task_id"], _action(request))
        return Response(status_code=202)

    async def _cancel(self, request: Request) -> Response:
        self._sandbox.cancel(request.path_params["task_id"], _action(request))
        return Response(status_code=STATUS_ACTION_TAKEN)

    async def _fail(self, request: Request) -> Response:
        action = _action(request)
        body = await small_body(request, FAIL_BODY_LIMIT)
        message = _fail_message(parsed_body(request, body)) if body else ""
        self._sandbox.fail(request.path_params["task_id"], action, message)
        return Response(status_code=STATUS_ACTION_TAKEN)

    async def _cancel_task(self, request: Request) -> Response:
        self._sandbox.cancel_task(request.path_params["task_id"])
        return Response(status_code=STATUS_ACTION_TAKEN)

    async def _download(self, request: Request) -> Response:
        parameters = request.path_params
        task = self._sandbox.document(parameters["collection_id"], parameters["file_id"])
        return _document_response(task)

    async def _list_projects(self, _: Request) -> Response:
        projects = [{"id": project.id, "name": project.name} for project in self._sandbox.projects()]
        return json_answer({"projects": projects})

    async def _upload_project(self, request: Request) -> Response:
        name = _query(request, "name").removesuffix(".alproj")
        content = await small_body(request, PROJECT_BODY_LIMIT)
        if not name or not content:
            raise bad_request("project", "A project needs a name and the content of its file.")
        project = self._sandbox.add_project(name)
        return json_answer({"id": project.id, "name": project.name}, status=STATUS_PROJECT_UPLOADED)

    async def _catch_up(self, task_id: str | None = None) -> None:
        await let_reading_catch_up(self._sandbox, self._sandbox.settings.read_patience, task_id)


def _query(request: Request, name: str) -> str:
    value = _optional_query(request, name)
    if not value:
        raise bad_request("query", f"The query parameter {name} is missing.")
    return value


def _optional_query(request: Request, name: str) -> str | None:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise bad_request("query", f"The query parameter {name} is given more than once.")
    return values[0] if values else None


def _action(request: Request) -> str:
    action = _query(request, "action")
    require_action(action, "action")
    return action


def _json_credentials(body: bytes) -> dict[str, str]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise TokenRefusal(STATUS_BAD_REQUEST, "The body is not JSON") from None
    if not isinstance(document, dict):
        raise TokenRefusal(STATUS_BAD_REQUEST, "The body is not a JSON object")
    return _checked({field: document.get(field) for field in _TOKEN_FIELDS})


def _form_credentials(body: bytes) -> dict[str, str]:
    try:
        form = parse_qs(body.decode("utf-8"), errors="strict", max_num_fields=10)
    except ValueError:
        raise TokenRefusal(STATUS_BAD_REQUEST, "The body is not a form") from None
    return _checked({field: form.get(field, [None])[0] for field in _TOKEN_FIELDS})


def _checked(fields: dict[str, Any]) -> dict[str, str]:
    wrong = {field: "The field is required" for field, value in fields.items() if not isinstance(value, str)}
    if wrong:
        raise TokenRefusal(STATUS_BAD_REQUEST, "Validation failed", fields=wrong)
    return fields


def _fail_message(document: Any) -> str:
    message = document.get("message") if isinstance(document, dict) else None
    if not isinstance(message, str):
        raise bad_request("body", "The body is not an object with a text 'message'.")
    return message


def _document_response(task: TaskEntry) -> Response:
    """Return the document's bytes; a large one in blocks, from a file opened before the answer begins."""
    try:
        file = task.document.path.open("rb")
    except FileNotFoundError:
        raise unknown("unknown-file", "The file was deleted with its task's data.") from None
    if task.document.size > _BLOCK:
        return _LargeDocument(file, size=task.document.size, media_type=task.media_type)
    with file:
        return Response(file.read(), status_code=STATUS_DOWNLOAD, media_type=task.media_type)


class _LargeDocument(StreamingResponse):
    """A file in blocks, closed whatever becomes of the connection."""

    def __init__(self, file: BinaryIO, *, size: int, media_type: str) -> None:
        headers = {"content-length": str(size)}
        super().__init__(_blocks(file), status_code=STATUS_DOWNLOAD, headers=headers, media_type=media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block
