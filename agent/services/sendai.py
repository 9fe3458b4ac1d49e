"""Send AI's uploads and tasks as a `ports.UploadService` (apis.md 2): which request each call is, what answers mean.

Waits and retries for nobody. Wire documents are read in `sendai_wire`, assumptions named in `sendai_assumptions`.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from agent.errors import TaskFatal, TaskMoved, UserError
from agent.model import ExportSpecification, ServiceTaskState, Task, TaskReference, UploadProgress
from agent.rules.retrying import Outcome, classify_submission
from agent.services import sendai_assumptions as assumed
from agent.services.answers import garbled, shown
from agent.services.bodies import FormFile, form
from agent.services.http import ServiceSession
from agent.services.reading import Once, unwrapped
from agent.services.sendai_wire import (
    may_grow,
    meta_of,
    read_result,
    read_task,
    read_upload,
    report_of,
    tasks_of,
    upload_state,
)
from agent.services.tokens import StaticKey
from agent.services.uploading import UploadInterrupted, send_document
from agent.services.verdicts import after_interruption, not_accepted, require_done

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Any, BinaryIO

    from agent.model import DocumentType, ExportFile, Lookup, Project, ServiceSettings, Upload
    from agent.ports import Clock
    from agent.services.answers import Answer

log = logging.getLogger(__name__)

_NAMES = 10_000
"""Names of tasks kept that Get Upload does not tell."""
_UNSEEN = "Get Upload shows no tasks of upload %s, which is finished: which documents it became cannot be told"


@dataclass(slots=True)
class SendaiAbilities:
    """What Send AI can do (apis.md 4)."""

    server_side_lease: bool = False
    finds_lost_submissions: bool = False
    cancels_tasks: bool = False
    lists_tasks: bool = False
    names_outputs: bool = False
    splits_submissions: bool = True
    batch_limit: int = assumed.BATCH_LIMIT
    webhook: bool = False
    accepted_types: frozenset[DocumentType] | None = assumed.ACCEPTED_TYPES
    size_limit: int | None = assumed.SIZE_LIMIT
    result_lifetime: float | None = None
    first_poll: float = 0.0


class SendaiService:
    """Send AI; `ports.UploadService` is the contract."""

    def __init__(self, settings: ServiceSettings, *, clock: Clock, user_agent: str) -> None:
        self._settings = settings
        key = StaticKey(settings.api_key, scheme="Bearer")
        self._session = ServiceSession(settings, clock=clock, user_agent=user_agent, key=key)
        self._origin = self._session.origin
        self._names_lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._unseen = Once(_UNSEEN)

    @property
    def abilities(self) -> SendaiAbilities:
        """Return what this service can do."""
        return SendaiAbilities()

    def check_credentials(self) -> None:
        """Ask for an upload nobody has: nothing is made, and the key is judged first."""
        answer = self._session.call("GET", self._address(assumed.NOBODYS, assumed.upload_path(assumed.NOBODYS)))
        if answer.status == HTTPStatus.FORBIDDEN:
            return
        try:
            require_done(self._session, answer, "the question whether the key is good")
        except TaskMoved:
            return

    def close(self) -> None:
        """Cut off what is under way and close the connections."""
        self._session.close()

    def _address(self, project_id: str, path: str) -> str:
        prefix = assumed.project_path(self._settings.path_prefix, team_id=self._settings.team_id, project_id=project_id)
        return self._session.addresses.of(prefix + path)

    # --- submission ---

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        """Create an upload of one file."""
        return self.submit_together(upload.task_name, [(upload, body)])

    def submit_together(self, name: str, parts: Sequence[tuple[Upload, BinaryIO]]) -> Task:
        """Create an upload (apis.md 2.2): a form with every file, streamed."""
        project_id = parts[0][0].project_id
        fields = [("projectId", project_id), ("name", name), ("meta", meta_of(upload.meta for upload, _ in parts))]
        files = [FormFile("file", upload.file_name, upload.content_type, body, upload.size) for upload, body in parts]
        content_type, streamed = form(fields, files)
        address = self._address(project_id, assumed.uploads_path())
        headers = {"Content-Type": content_type}
        try:
            answer = send_document(self._session, address, headers=headers, body=streamed, size=streamed.size)
        except UploadInterrupted as interrupted:
            raise after_interruption(interrupted, size=streamed.size) from interrupted
        task = read_upload(answer.document()) if answer.is_success else None
        outcome = classify_submission(answer.status, has_task_id=task is not None)
        if outcome is not Outcome.ACCEPTED or task is None:
            raise not_accepted(self._session, answer, outcome, "the upload")
        # The answer may leave out what we said ourselves.
        return replace(task, name=task.name or name, project_id=project_id)

    def find_submission(self, lookup: Lookup) -> None:
        """Return None: an upload can be asked for by its id only."""
        del lookup

    # --- tasks ---

    def find_tasks_of(self, upload: TaskReference) -> UploadProgress:
        """Read an upload and the tasks it lists."""
        answer = self._session.call(
            "GET", self._address(upload.project_id, assumed.upload_path(upload.id)), limit=assumed.RESULT_LIMIT
        )
        require_done(self._session, answer, "reading the upload")
        return self._progress(answer, upload)

    def _progress(self, answer: Answer, upload: TaskReference) -> UploadProgress:
        document = unwrapped(answer.document())
        if document is None:
            raise garbled(answer, origin=self._origin, expected="the upload asked for")
        state = upload_state(document)
        tasks = tuple(self._with_name(task) for task in tasks_of(document, project_id=upload.project_id))
        grows = may_grow(state, tasks)
        if not tasks and state is ServiceTaskState.COMPLETED:
            self._unseen.say(shown(upload.id))
        name = document.get("name")
        return UploadProgress(
            name if isinstance(name, str) else "", tasks, may_grow=grows, state=state or ServiceTaskState.RUNNING
        )

    def _with_name(self, task: Task) -> Task:
        """Return a task with its name, asked for once where the upload does not tell: it says which file it is of."""
        if task.name:
            return task
        with self._names_lock:
            name = self._names.get(task.id)
        if name is not None:
            return replace(task, name=name)
        try:
            named = self.get_task(task.id, project_id=task.project_id)
        except TaskMoved:
            return task
        with self._names_lock:
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names[task.id] = named.name
        return named

    def find_ready(self) -> Sequence[Task]:
        """Return nothing: there is no list."""
        return ()

    def find_ended(self, *, completed: bool) -> Sequence[Task]:
        """Return nothing: there is no list."""
        del completed
        return ()

    def get_task(self, task_id: str, *, project_id: str = "") -> Task:
        """Read one task."""
        return self._task(self._read(task_id, project_id), task_id, project_id)

    def _read(self, task_id: str, project_id: str) -> Answer:
        answer = self._session.call(
            "GET", self._address(project_id, assumed.task_path(task_id)), limit=assumed.RESULT_LIMIT
        )
        require_done(self._session, answer, "reading the task")
        return answer

    def _task(self, answer: Answer, task_id: str, project_id: str) -> Task:
        if answer.cut:
            # Only values are that long; starting the export says what is wrong with them.
            return Task(task_id, "", project_id, ServiceTaskState.PENDING_START)
        task = read_task(answer.document(), project_id=project_id)
        if task is None or task.id != task_id:
            raise garbled(answer, origin=self._origin, expected="the task asked for")
        return task

    def cancel_task(self, task_id: str) -> None:
        """Refuse: a task can be put aside only while people look at it (`discard_task`)."""
        raise TaskMoved(f"Send AI cannot cancel a task that is in progress: {shown(task_id)}")

    # --- what people do ---

    def complete_review(self, task: TaskReference) -> Task:
        """Say that people are done with a task."""
        return self._act(task, "complete")

    def discard_task(self, task: TaskReference) -> Task:
        """Put a task aside that people look at."""
        return self._act(task, "discard")

    def report_task(self, task: TaskReference, *, issues: Sequence[str], message: str) -> Task:
        """Report what is wrong with a task; 207 is a success too."""
        return self._act(task, "report", document=report_of(issues, message))

    def _act(self, task: TaskReference, operation: str, *, document: Any = None) -> Task:
        """Act on a task; what is returned is what the service says it is then, for the status says nothing."""
        address = self._address(task.project_id, assumed.task_path(task.id, operation))
        answer = self._session.call("POST", address, document=document, limit=assumed.RESULT_LIMIT)
        require_done(self._session, answer, f"to {operation} the task")
        changed = read_task(answer.document(), project_id=task.project_id)
        if changed is None or changed.id != task.id:
            return self.get_task(task.id, project_id=task.project_id)
        return changed

    def move_upload(self, upload: TaskReference, folder_id: str) -> UploadProgress:
        """Move an upload to another folder."""
        address = self._address(upload.project_id, assumed.move_path(upload.id, folder_id))
        answer = self._session.call("POST", address, limit=assumed.RESULT_LIMIT)
        if answer.status in assumed.NO_SUCH_CALL:
            address = self._address(upload.project_id, assumed.move_path(upload.id))
            answer = self._session.call("PUT", address, document={"folder_id": folder_id}, limit=assumed.RESULT_LIMIT)
        require_done(self._session, answer, "to move the upload")
        return self._progress(answer, upload)

    # --- export ---

    def start_export(self, task: Task) -> ExportSpecification:
        """Read the task's values. Raises TaskMoved where people have taken it back."""
        answer = self._read(task.id, task.project_id)
        if answer.cut:
            raise TaskFatal(f"the task's values are larger than {assumed.RESULT_LIMIT} bytes")
        found = self._task(answer, task.id, task.project_id)
        if found.state is not ServiceTaskState.PENDING_START:
            raise TaskMoved(f"the task is {found.state} at the service")
        return ExportSpecification(result=read_result(answer.document()))

    def download(self, file: ExportFile) -> AbstractContextManager[Iterator[bytes]]:
        """Refuse: results name no files."""
        raise TaskFatal(f"{shown(file.filename)}: Send AI has no files to be fetched")

    def complete_export(self, task_id: str) -> None:
        """Do nothing: the ledger alone says what is exported."""

    def cancel_export(self, task_id: str) -> None:
        """Do nothing: there is no lease."""

    def fail_export(self, task_id: str, message: str) -> None:
        """Do nothing: the service keeps its data, the ledger knows the failure."""

    # --- projects ---

    def projects(self) -> Sequence[Project]:
        """Refuse: no such call is documented."""
        raise UserError("Send AI does not list its projects", hint="a project's id is shown in its settings there")

    def upload_project(self, path: Path) -> Project:
        """Refuse: project files are Aluma's."""
        raise UserError(f"{path.name}: Send AI takes no project files", hint="projects are made in its web application")
