"""The Aluma Tasks API as a `ports.Service` (apis.md 1): which request each call is, and what its answer means.

Waits and retries for nobody. Wire documents are read in `aluma_wire`, assumptions named in `aluma_assumptions`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from agent.errors import FileRefused, TaskFatal, TaskMoved, TaskTransient
from agent.model import FileSource, Reason, ServiceTaskState
from agent.rules.retrying import Outcome, classify_submission
from agent.rules.tags import encode_tags
from agent.services import aluma_assumptions as assumed
from agent.services.aluma_wire import (
    matching,
    read_project,
    read_projects,
    read_specification,
    read_task,
    read_tasks,
)
from agent.services.answers import garbled, sentence, shown
from agent.services.downloading import LongerThanAnnounced, fetch
from agent.services.http import ServiceSession
from agent.services.trouble import TRANSPORT_ERRORS, is_timeout
from agent.services.uploading import UploadInterrupted, send_document
from agent.services.verdicts import (
    GONE,
    after_interruption,
    no_file,
    not_accepted,
    require_done,
    require_success,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any, BinaryIO

    from agent.model import (
        DocumentType,
        ExportFile,
        ExportSpecification,
        Lookup,
        Project,
        ServiceSettings,
        Task,
        Upload,
    )
    from agent.ports import Clock
    from agent.services.answers import Answer
    from agent.services.downloading import Download


@dataclass(slots=True)
class AlumaAbilities:
    """What the Tasks API can do (apis.md 4)."""

    server_side_lease: bool = True
    finds_lost_submissions: bool = True
    cancels_tasks: bool = True
    lists_tasks: bool = True
    names_outputs: bool = True
    splits_submissions: bool = False
    batch_limit: int = 1
    webhook: bool = False
    accepted_types: frozenset[DocumentType] | None = None
    size_limit: int | None = None
    result_lifetime: float | None = None
    first_poll: float = 0.0


class AlumaService:
    """The Aluma Tasks API; `ports.Service` is the contract."""

    def __init__(self, settings: ServiceSettings, *, clock: Clock, user_agent: str) -> None:
        self._clock = clock
        self._session = ServiceSession(settings, clock=clock, user_agent=user_agent)
        self._address = self._session.addresses
        self._origin = self._session.origin

    @property
    def abilities(self) -> AlumaAbilities:
        """Return what this service can do."""
        return AlumaAbilities()

    def check_credentials(self) -> None:
        """Fetch a new token."""
        self._session.check_credentials()

    def close(self) -> None:
        """Cut off what is under way and close the connections."""
        self._session.close()

    # --- submission ---

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        """Create a task (apis.md 1.4): raw body, tags in one header."""
        tags = [("task_name", upload.task_name), ("file_name", upload.file_name), *upload.tags.items()]
        headers = {"Content-Type": upload.content_type, "X-Aluma-Tags": encode_tags(tags)}
        address = self._address.of(assumed.TASKS, project_id=upload.project_id)
        try:
            answer = send_document(self._session, address, headers=headers, body=body, size=upload.size)
        except UploadInterrupted as interrupted:
            raise after_interruption(interrupted, size=upload.size) from interrupted
        task = read_task(answer.document()) if answer.is_success else None
        outcome = classify_submission(answer.status, has_task_id=task is not None)
        if outcome is not Outcome.ACCEPTED or task is None:
            raise not_accepted(self._session, answer, outcome, "the document")
        # The answer may leave out what we said ourselves.
        return replace(task, name=task.name or upload.task_name, project_id=task.project_id or upload.project_id)

    def find_submission(self, lookup: Lookup) -> Sequence[Task]:
        """List all states and match; the service's clock by its `Date`."""
        answer, tasks = self._list()
        date = answer.date
        offset = 0.0 if date is None else date - self._clock.now()
        return matching(tasks, lookup, clock_offset=offset)

    # --- tasks ---

    def find_ready(self) -> Sequence[Task]:
        """List what waits for export."""
        _, tasks = self._list(state=ServiceTaskState.PENDING_START, client_action=assumed.ACTION)
        ready = ServiceTaskState.PENDING_START
        return tuple(task for task in tasks if task.state is ready and task.client_action == assumed.ACTION)

    def find_ended(self, *, completed: bool) -> Sequence[Task]:
        """List each final state by itself; a list of everything would grow with 72 h of work."""
        states = [ServiceTaskState.FAILED, ServiceTaskState.TIMED_OUT, ServiceTaskState.CANCELED]
        if completed:
            states.append(ServiceTaskState.COMPLETED)
        found: dict[str, Task] = {}
        for state in states:
            _, tasks = self._list(state=state)
            found.update({task.id: task for task in tasks if task.state is state})
        return tuple(found.values())

    def _list(self, **filters: str) -> tuple[Answer, Sequence[Task]]:
        """List tasks. Anything but a list is trouble: taken for an empty one, it would send files again."""
        answer = self._session.call("GET", self._address.of(assumed.TASKS, **filters), limit=assumed.LIST_LIMIT)
        require_success(self._session, answer, "the list of tasks")
        tasks = read_tasks(answer.document())
        if tasks is None:
            raise garbled(answer, origin=self._origin, expected="a list of tasks")
        return answer, tasks

    def get_task(self, task_id: str, *, project_id: str = "") -> Task:
        """Read one task; ids are unique without their project."""
        del project_id
        answer = self._session.call("GET", self._address.of(assumed.task_path(task_id)))
        require_done(self._session, answer, "reading the task")
        task = read_task(answer.document())
        if task is None or task.id != task_id:
            raise garbled(answer, origin=self._origin, expected="the task asked for")
        return task

    def cancel_task(self, task_id: str) -> None:
        """Cancel a task; what the service cannot cancel raises TaskMoved."""
        answer = self._session.call("PUT", self._address.of(assumed.cancel_task_path(task_id)))
        if answer.status in assumed.NO_SUCH_CALL and answer.status not in GONE:
            raise TaskMoved("the service cannot cancel tasks")
        try:
            require_done(self._session, answer, "the canceling of the task")
        except TaskMoved:
            # Gone, or a service without this call, or in a final state: only the task itself tells.
            if self.get_task(task_id).state is not ServiceTaskState.CANCELED:
                raise TaskMoved(f"the task cannot be canceled: {sentence(answer)}") from None

    # --- export ---

    def start_export(self, task: Task) -> ExportSpecification:
        """Start the client action and read its specification."""
        answer = self._act(task.id, "start", limit=assumed.SPECIFICATION_LIMIT)
        if answer.cut:
            raise TaskFatal(f"the export specification is larger than {assumed.SPECIFICATION_LIMIT} bytes")
        document = answer.document()
        if document is None:
            raise garbled(answer, origin=self._origin, expected="an export specification")
        return read_specification(document)

    def complete_export(self, task_id: str) -> None:
        """Complete the client action."""
        self._act(task_id, "complete")

    def cancel_export(self, task_id: str) -> None:
        """Cancel the client action: the task waits for export again at once."""
        self._act(task_id, "cancel")

    def fail_export(self, task_id: str, message: str) -> None:
        """Fail the client action with a message."""
        self._act(task_id, "fail", document={"message": shown(message) or "the export failed"})

    def _act(self, task_id: str, call: str, *, document: Any = None, limit: int | None = None) -> Answer:
        address = self._address.of(assumed.action_path(task_id, call), action=assumed.ACTION)
        options: dict[str, Any] = {} if limit is None else {"limit": limit}
        answer = self._session.call("PUT", address, document=document, **options)
        require_done(self._session, answer, f"to {call} the export")
        return answer

    @contextmanager
    def download(self, file: ExportFile) -> Iterator[Iterator[bytes]]:
        """Fetch a file of a specification from the API's own origin."""
        if file.source is not FileSource.URL:
            raise TaskFatal(f"{shown(file.filename)}: not a file to be fetched")
        address = self._address.of_export(file.url)
        with fetch(self._session, address) as download:
            whole = HTTPStatus.OK <= download.status < HTTPStatus.MULTIPLE_CHOICES
            if not whole or download.status == HTTPStatus.PARTIAL_CONTENT:
                raise no_file(self._session, download.answer(), shown(file.filename))
            yield self._checked(download, shown(file.filename))

    def _checked(self, download: Download, name: str) -> Iterator[bytes]:
        """Yield the blocks: one cut short is the file's trouble, a silent or slow network the service's."""
        try:
            yield from download.blocks()
        except LongerThanAnnounced as error:
            raise TaskTransient(f"the download of {name} is longer than announced") from error
        except TRANSPORT_ERRORS as error:
            trouble = self._session.trouble(error)
            if is_timeout(error):
                raise trouble from error
            raise TaskTransient(f"the download of {name} broke off: {trouble.message}") from error

    # --- projects ---

    def projects(self) -> Sequence[Project]:
        """List the account's projects."""
        answer = self._session.call("GET", self._address.of(assumed.PROJECTS), limit=assumed.LIST_LIMIT)
        require_success(self._session, answer, "the list of projects")
        projects = read_projects(answer.document())
        if projects is None:
            raise garbled(answer, origin=self._origin, expected="a list of projects")
        return projects

    def upload_project(self, path: Path) -> Project:
        """Upload an .alproj file."""
        with path.open("rb") as file:
            content = file.read(assumed.PROJECT_LIMIT + 1)
        if len(content) > assumed.PROJECT_LIMIT:
            raise FileRefused(f"{path.name} is too large for a project file", reason=Reason.TOO_LARGE)
        answer = self._session.call(
            "POST",
            self._address.of(assumed.PROJECTS, name=path.stem),
            body=content,
            content_type=assumed.PROJECT_CONTENT_TYPE,
        )
        project = read_project(answer.document()) if answer.is_success else None
        if project is not None:
            return project
        if answer.is_success:
            raise garbled(answer, origin=self._origin, expected="the project")
        outcome = classify_submission(answer.status, has_task_id=False)
        if outcome is Outcome.UNKNOWN:  # uploading again is harmless
            raise self._session.unavailable(answer)
        raise not_accepted(self._session, answer, outcome, "the project file")
