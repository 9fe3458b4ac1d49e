"""A fourth service, as `packaging/docs/services.md` says one is added: all of it that the agent needs is this file.

The toy takes a document by `POST /jobs?name=…` and says by `GET /jobs/{id}` what it read of it. It has no leases, lists
nothing and names no files.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from agent.errors import TaskFatal, TaskMoved, UserError
from agent.model import ExportSpecification, Result, ResultField, ServiceTaskState, Task
from agent.rules.retrying import Outcome, classify_submission
from agent.services.answers import garbled
from agent.services.http import ServiceSession
from agent.services.tokens import StaticKey
from agent.services.uploading import UploadInterrupted, send_document
from agent.services.verdicts import after_interruption, not_accepted, require_success

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from agent.model import DocumentType, Lookup, ServiceSettings, Upload
    from agent.ports import Clock

STATES = {
    "working": ServiceTaskState.RUNNING,
    "done": ServiceTaskState.PENDING_START,
    "broken": ServiceTaskState.FAILED,
}


@dataclass(slots=True)
class ToyAbilities:
    server_side_lease: bool = False
    finds_lost_submissions: bool = False
    cancels_tasks: bool = False
    lists_tasks: bool = False
    names_outputs: bool = False
    splits_submissions: bool = False
    batch_limit: int = 1
    webhook: bool = False
    accepted_types: frozenset[DocumentType] | None = None
    size_limit: int | None = None
    result_lifetime: float | None = None
    first_poll: float = 0.0


class ToyService:
    def __init__(self, settings: ServiceSettings, *, clock: Clock, user_agent: str) -> None:
        key = StaticKey(settings.api_key, scheme="Toy")
        self._session = ServiceSession(settings, clock=clock, user_agent=user_agent, key=key)
        self._address = self._session.addresses
        self.abilities = ToyAbilities()

    def check_credentials(self) -> None:
        require_success(self._session, self._session.call("GET", self._address.of("/jobs")), "the key")

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        address = self._address.of("/jobs", name=upload.file_name)
        headers = {"Content-Type": upload.content_type}
        try:
            answer = send_document(self._session, address, headers=headers, body=body, size=upload.size)
        except UploadInterrupted as interrupted:
            raise after_interruption(interrupted, size=upload.size) from interrupted
        document = answer.document() if answer.is_success else None
        identifier = document.get("job") if isinstance(document, dict) else None
        outcome = classify_submission(answer.status, has_task_id=isinstance(identifier, str))
        if outcome is not Outcome.ACCEPTED or not isinstance(identifier, str):
            raise not_accepted(self._session, answer, outcome, "the document")
        return Task(identifier, upload.task_name, upload.project_id, ServiceTaskState.RUNNING)

    def get_task(self, task_id: str, *, project_id: str = "") -> Task:
        job = self._job(task_id)
        return Task(task_id, str(job["name"]), project_id, STATES[job["state"]], message=str(job.get("why", "")))

    def start_export(self, task: Task) -> ExportSpecification:
        job = self._job(task.id)
        fields = tuple(ResultField(name, str(value)) for name, value in job["read"].items())
        return ExportSpecification(result=Result(job["read"], fields))

    def _job(self, identifier: str) -> dict[str, Any]:
        answer = self._session.call("GET", self._address.of(f"/jobs/{identifier}"))
        if answer.status == HTTPStatus.NOT_FOUND:
            raise TaskMoved("there is no such job", gone=True)
        require_success(self._session, answer, "asking for a job")
        job = answer.document()
        if not isinstance(job, dict) or job.get("state") not in STATES:
            raise garbled(answer, origin=self._session.origin, expected="a job")
        return job

    def complete_export(self, task_id: str) -> None:
        """Nothing: the ledger alone says what is exported."""

    def cancel_export(self, task_id: str) -> None:
        """Nothing: there is no lease."""

    def fail_export(self, task_id: str, message: str) -> None:
        """Nothing: the job stays as it is."""

    def cancel_task(self, task_id: str) -> None:
        raise TaskMoved(f"job {task_id} cannot be canceled")

    def find_submission(self, lookup: Lookup) -> Sequence[Task] | None:
        del lookup  # what was lost cannot be looked up
        return None

    def find_ready(self) -> Sequence[Task]:
        return ()  # nothing is listed

    def find_ended(self, *, completed: bool) -> Sequence[Task]:
        del completed
        return ()

    def download(self, file: object) -> NoReturn:
        raise TaskFatal(f"the toy names no files: {file}")

    def projects(self) -> NoReturn:
        raise UserError("the toy has no projects")

    def upload_project(self, path: object) -> NoReturn:
        raise UserError(f"the toy takes no project files: {path}")

    def close(self) -> None:
        self._session.close()
