"""The Aluma Tasks API as a `ports.Service` (apis.md 1): which request each call is, and what its answer means.

Waits and retries for nobody. Wire documents are read in `aluma_wire`, assumptions named in `aluma_assumptions`.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from agent.errors import (
    AgentError,
    FileRefused,
    OutcomeUnknown,
    TaskFatal,
    TaskMoved,
    TaskTransient,
)
from agent.model import FileSource, Reason, ServiceTaskState
from agent.rules.retrying import (
    ControlOutcome,
    Outcome,
    classify_control,
    classify_interruption,
    classify_submission,
)
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
from agent.services.answers import garbled, sentence, setup_refused, shown
from agent.services.downloading import fetch
from agent.services.http import ServiceSession
from agent.services.trouble import TRANSPORT_ERRORS, is_timeout
from agent.services.uploading import UploadInterrupted, send_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any, BinaryIO

    from agent.model import (
        ExportFile,
        ExportSpecification,
        Lookup,
        Project,
        ServiceSettings,
        Task,
        TaskReference,
        Upload,
    )
    from agent.ports import Clock
    from agent.services.answers import Answer
    from agent.services.downloading import Download

log = logging.getLogger(__name__)

_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_NOT_NOW = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(slots=True)
class AlumaAbilities:
    """What the Tasks API can do (apis.md 4)."""

    server_side_lease: bool = True
    finds_lost_submissions: bool = True
    cancels_tasks: bool = True


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
            raise self._interrupted(interrupted, upload) from interrupted
        task = read_task(answer.document()) if answer.is_success else None
        outcome = classify_submission(answer.status, has_task_id=task is not None)
        if outcome is Outcome.ACCEPTED and task is not None:
            return task
        raise self._not_accepted(outcome, answer)

    def _interrupted(self, interrupted: UploadInterrupted, upload: Upload) -> AgentError:
        outcome = classify_interruption(
            sent=interrupted.sent,
            size=upload.size,
            proxied=interrupted.proxied,
            connected=interrupted.connected,
        )
        if outcome is Outcome.SERVICE:
            return interrupted.trouble
        return OutcomeUnknown(f"sent, but no answer: {interrupted.trouble.message}", hint=interrupted.trouble.hint)

    def _not_accepted(self, outcome: Outcome, answer: Answer) -> AgentError:
        if outcome is Outcome.SERVICE:
            return self._session.unavailable(answer)
        if outcome is Outcome.SETUP:
            return setup_refused(answer, origin=self._origin, what="the document")
        if outcome is Outcome.FILE:
            return FileRefused(
                f"the service refuses it: {sentence(answer)}",
                reason=Reason.REFUSED_BY_SERVICE,
                hint="correct the document or the project's settings, then drop it into the inbox again",
            )
        said = "without a task id" if answer.is_success else sentence(answer)
        return OutcomeUnknown(f"sent, but the answer does not say whether a task exists: {answer.status} {said}")

    def find_submission(self, lookup: Lookup) -> Sequence[Task]:
        """List all states and match; the service's clock by its `Date`."""
        answer, tasks = self._list()
        date = answer.date
        offset = 0.0 if date is None else date - self._clock.now()
        return matching(tasks, lookup, clock_offset=offset)

    # --- tasks ---

    def find_ready(self, own: Sequence[TaskReference]) -> Sequence[Task]:
        """List what waits for export; `own` is not needed, the service lists by state."""
        del own
        _, tasks = self._list(state=ServiceTaskState.PENDING_START, client_action=assumed.ACTION)
        ready = ServiceTaskState.PENDING_START
        return tuple(task for task in tasks if task.state is ready and task.client_action == assumed.ACTION)

    def find_ended(self, own: Sequence[TaskReference], *, completed: bool) -> Sequence[Task]:
        """List each final state by itself; a list of everything would grow with 72 h of work."""
        del own
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
        self._require_success(answer, "the list of tasks")
        tasks = read_tasks(answer.document())
        if tasks is None:
            raise garbled(answer, origin=self._origin, expected="a list of tasks")
        return answer, tasks

    def get_task(self, task_id: str) -> Task:
        """Read one task."""
        answer = self._session.call("GET", self._address.of(assumed.task_path(task_id)))
        self._require_done(answer, "reading the task")
        task = read_task(answer.document())
        if task is None or task.id != task_id:
            raise garbled(answer, origin=self._origin, expected="the task asked for")
        return task

    def cancel_task(self, task_id: str) -> None:
        """Cancel a task; what the service cannot cancel raises TaskMoved."""
        answer = self._session.call("PUT", self._address.of(assumed.cancel_task_path(task_id)))
        if answer.status in assumed.NO_SUCH_CALL and answer.status not in _GONE:
            raise TaskMoved("the service cannot cancel tasks")
        try:
            self._require_done(answer, "the canceling of the task")
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
        self._require_done(answer, f"to {call} the export")
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
                self._refuse_download(download.answer(), shown(file.filename))
            yield self._checked(download, shown(file.filename))

    def _checked(self, download: Download, name: str) -> Iterator[bytes]:
        """Yield the blocks: one cut short is the file's trouble, a silent or slow network the service's."""
        try:
            yield from download.blocks()
        except TRANSPORT_ERRORS as error:
            trouble = self._session.trouble(error)
            if is_timeout(error):
                raise trouble from error
            raise TaskTransient(f"the download of {name} broke off: {trouble.message}") from error

    def _refuse_download(self, answer: Answer, name: str) -> None:
        if answer.status in _GONE:
            raise TaskTransient(f"the service has no file for {name}: {sentence(answer)}")
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise self._session.credentials_refused(answer, "a token fresh from it")
        outcome = classify_control(answer.status)
        if outcome is ControlOutcome.SERVICE:
            raise self._session.unavailable(answer)
        if outcome is ControlOutcome.SETUP:
            raise setup_refused(answer, origin=self._origin, what=f"the download of {name}")
        raise TaskTransient(f"the service does not hand out {name}: {sentence(answer)}")

    # --- projects ---

    def projects(self) -> Sequence[Project]:
        """List the account's projects."""
        answer = self._session.call("GET", self._address.of(assumed.PROJECTS), limit=assumed.LIST_LIMIT)
        self._require_success(answer, "the list of projects")
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
        if outcome is Outcome.FILE:
            raise FileRefused(f"the service refuses it: {sentence(answer)}", reason=Reason.REFUSED_BY_SERVICE)
        if outcome is Outcome.SETUP:
            raise setup_refused(answer, origin=self._origin, what="the upload of projects")
        raise self._session.unavailable(answer)

    # --- meanings ---

    def _require_done(self, answer: Answer, what: str) -> None:
        """Let a success through. Raises TaskMoved, SetupRefused, ServiceUnavailable."""
        outcome = classify_control(answer.status)
        if outcome is ControlOutcome.MOVED:
            raise TaskMoved(f"the service refuses {what}: {sentence(answer)}", gone=answer.status in _GONE)
        if outcome is not ControlOutcome.DONE:
            self._require_success(answer, what)

    def _require_success(self, answer: Answer, what: str) -> None:
        """Let a success through. Raises SetupRefused for other 4xx than "not now", else ServiceUnavailable."""
        if answer.is_success:
            return
        refused = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
        if refused and answer.status not in _NOT_NOW:
            raise setup_refused(answer, origin=self._origin, what=what)
        raise self._session.unavailable(answer)
