"""The end points of Send AI (apis.md 2.2): what a request must look like, and what it is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent.sandbox.messages import json_answer, parsed_body, small_body
from agent.sandbox.reading import let_reading_catch_up
from agent.sandbox.refusals import bad_request
from agent.sandbox.routing import resource
from agent.sandbox.sendai.assumptions import FIELD_LIMIT, MESSAGE_LIMIT
from agent.sandbox.sendai.forms import UploadForm
from agent.sandbox.sendai.mails import attachments_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from agent.sandbox.refusals import Refusal
    from agent.sandbox.routing import Answer
    from agent.sandbox.sendai.core import SendaiSandbox


def say_no(refusal: Refusal) -> Response:
    """Return a refusal as this service writes it."""
    document = {"message": refusal.title, "error": refusal.kind}
    return json_answer(document, status=refusal.status, headers=refusal.headers)


class SendaiApi:
    """Every end point of one sandbox."""

    def __init__(self, sandbox: SendaiSandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes; each asks for the key and its scope first."""
        prefix = self._sandbox.settings.path_prefix
        upload, task = f"{prefix}/upload/{{upload_id}}", f"{prefix}/task/{{task_id}}"
        move = {self._sandbox.settings.move_method: self._guarded("upload.edit", self._move)}
        routes = [
            resource(f"{prefix}/upload", {"POST": self._guarded("upload.create", self._create)}),
            resource(upload, {"GET": self._guarded("upload.read", self._get_upload)}),
            resource(f"{upload}/move/{{folder_id}}", move),
            resource(task, {"GET": self._guarded("task.read", self._get_task)}),
            resource(f"{task}/complete", {"POST": self._guarded("task.edit", self._complete)}),
            resource(f"{task}/discard", {"POST": self._guarded("task.edit", self._discard)}),
            resource(f"{task}/report", {"POST": self._guarded("task.edit", self._report)}),
            resource(f"{task}/unlock", {"POST": self._guarded("task.edit", self._unlock)}),
        ]
        if self._sandbox.settings.move_method == "PUT":
            routes.append(resource(f"{upload}/move", move))
        return routes

    def _guarded(self, scope: str, answer: Answer) -> Answer:
        async def checked(request: Request) -> Response:
            self._sandbox.check_key(request.headers.get("authorization"), scope)
            parameters = request.path_params
            self._sandbox.check_project(team_id=parameters.get("team_id"), project_id=parameters.get("project_id"))
            return await answer(request)

        return checked

    async def _create(self, request: Request) -> Response:
        sandbox = self._sandbox
        with UploadForm(sandbox) as form:
            await form.read(request.headers.get("content-type", ""), request.stream())
            project_id = self._project(request.path_params.get("project_id"), form.text("projectId"))
            name, meta = form.text("name") or "", form.meta()
            for file in form.files:
                file.attachments = await asyncio.to_thread(attachments_of, file.name, file.document, sandbox.receive)
            answer = sandbox.create_upload(project_id, name=name, meta=meta, files=form.take())
        return json_answer(answer, status=sandbox.settings.create_status)

    def _project(self, in_path: str | None, in_form: str | None) -> str:
        if in_form is None and (in_path is None or self._sandbox.settings.require_project_field):
            raise bad_request("form", "The field projectId is missing.")
        if in_path is not None and in_form not in (None, in_path):
            raise bad_request("form", "projectId is not the project of the path.")
        project_id = in_form if in_path is None else in_path
        assert project_id is not None  # one of both is there
        self._sandbox.check_project(team_id=None, project_id=project_id)
        return project_id

    async def _get_upload(self, request: Request) -> Response:
        await let_reading_catch_up(self._sandbox, self._sandbox.settings.read_patience)
        return _payload(self._sandbox.get_upload(request.path_params["upload_id"]))

    async def _move(self, request: Request) -> Response:
        folder_id = request.path_params.get("folder_id")
        if folder_id is None:
            folder_id = (await _json_object(request)).get("folder_id")
        if not isinstance(folder_id, str) or not folder_id:
            raise bad_request("body", "There is no folder_id.")
        return _payload(self._sandbox.move_upload(request.path_params["upload_id"], folder_id))

    async def _get_task(self, request: Request) -> Response:
        await let_reading_catch_up(self._sandbox, self._sandbox.settings.read_patience)
        return _payload(self._sandbox.get_task(request.path_params["task_id"]))

    async def _complete(self, request: Request) -> Response:
        payload, goes = self._sandbox.complete_task(request.path_params["task_id"])
        return json_answer({"payload": payload, **({"message": "Task processing started"} if goes else {})})

    async def _discard(self, request: Request) -> Response:
        return _payload(self._sandbox.discard_task(request.path_params["task_id"]))

    async def _unlock(self, request: Request) -> Response:
        return _payload(self._sandbox.unlock_task(request.path_params["task_id"]))

    async def _report(self, request: Request) -> Response:
        body = await _json_object(request)
        issues, message = body.get("issues"), body.get("message", "")
        if not isinstance(issues, list) or not issues or not all(_is_issue(issue) for issue in issues):
            raise bad_request("body", "issues is not an array of objects with the texts label and value.")
        if not isinstance(message, str) or len(message) > MESSAGE_LIMIT:
            raise bad_request("body", f"message is no text of up to {MESSAGE_LIMIT} characters.")
        payload = self._sandbox.report_task(request.path_params["task_id"], issues=issues, message=message)
        return json_answer({"payload": payload, "errors": []}, status=self._sandbox.settings.report_status)


def _is_issue(issue: Any) -> bool:
    return (
        isinstance(issue, dict)
        and issue.keys() == {"label", "value"}
        and all(isinstance(text, str) and text for text in issue.values())
    )


def _payload(payload: Any) -> Response:
    return json_answer({"payload": payload})


async def _json_object(request: Request) -> dict[str, Any]:
    document = parsed_body(request, await small_body(request, FIELD_LIMIT))
    if not isinstance(document, dict):
        raise bad_request("body", "The body is not a JSON object.")
    return document
