"""Typless' asynchronous extraction as a `ports.Service` (apis.md 3): which request each call is, what answers mean.

Waits and retries for nobody. Wire documents are read in `typless_wire`, assumptions named in `typless_assumptions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import TaskFatal, TaskMoved, TaskTransient, UserError
from agent.model import ExportSpecification, ServiceTaskState, Task
from agent.rules.naming import base_name
from agent.rules.retrying import Outcome, classify_submission
from agent.services import typless_assumptions as assumed
from agent.services.answers import garbled, sentence, shown
from agent.services.bodies import FilePart, document_with_file
from agent.services.http import ServiceSession
from agent.services.tokens import StaticKey
from agent.services.typless_cache import Polled
from agent.services.typless_wire import (
    extraction_id_of,
    read_ids,
    read_poll,
    read_result,
)
from agent.services.uploading import UploadInterrupted, send_document
from agent.services.verdicts import after_interruption, not_accepted, require_success

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from agent.model import (
        DocumentType,
        ExportFile,
        Lookup,
        Project,
        ServiceSettings,
        Upload,
    )
    from agent.ports import Clock
    from agent.services.answers import Answer


@dataclass(slots=True)
class TyplessAbilities:
    """What Typless can do (apis.md 4)."""

    finds_lost_submissions: bool
    server_side_lease: bool = False
    cancels_tasks: bool = False
    lists_tasks: bool = False
    names_outputs: bool = False
    splits_submissions: bool = False
    batch_limit: int = 1
    webhook: bool = True
    accepted_types: frozenset[DocumentType] | None = assumed.ACCEPTED_TYPES
    size_limit: int | None = assumed.SIZE_LIMIT
    result_lifetime: float | None = assumed.RESULT_LIFETIME
    first_poll: float = assumed.FIRST_POLL


class TyplessService:
    """Typless; `ports.Service` is the contract. A task is an extraction, a project a document type."""

    def __init__(self, settings: ServiceSettings, *, clock: Clock, user_agent: str) -> None:
        self._settings = settings
        key = StaticKey(settings.api_key, scheme="Token")
        self._session = ServiceSession(settings, clock=clock, user_agent=user_agent, key=key)
        self._address = self._session.addresses
        self._origin = self._session.origin
        self._polled = Polled()

    @property
    def abilities(self) -> TyplessAbilities:
        """Return what this service can do."""
        return TyplessAbilities(finds_lost_submissions=self._settings.lookup_by_customer)

    def check_credentials(self) -> None:
        """Poll for an extraction nobody has: nothing is made, and the key is judged first."""
        answer = self._session.call("GET", self._address.of(assumed.POLL, extraction_id=assumed.NOBODYS))
        if answer.status not in assumed.UNKNOWN_ID or answer.document() is None:
            require_success(self._session, answer, "the question whether the key is good")

    def close(self) -> None:
        """Cut off what is under way and close the connections."""
        self._session.close()

    # --- submission ---

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        """Start an extraction (apis.md 3.2): a JSON document with the file in base64, streamed."""
        members = {"file_name": base_name(upload.file_name), "document_type_name": upload.project_id}
        customer = self._customer(upload.customer, upload.key)
        if customer:
            members["customer"] = customer
        file = FilePart(upload.file_name, body, upload.size, encoded=True)
        document = document_with_file(members, member="file", file=file)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        address = self._address.of(assumed.SUBMIT)
        try:
            answer = send_document(self._session, address, headers=headers, body=document, size=document.size)
        except UploadInterrupted as interrupted:
            raise after_interruption(interrupted, size=document.size) from interrupted
        identifier = extraction_id_of(answer.document()) if answer.is_success else None
        outcome = classify_submission(answer.status, has_task_id=identifier is not None)
        if outcome is not Outcome.ACCEPTED or identifier is None:
            raise not_accepted(self._session, answer, outcome, "the document")
        return Task(identifier, upload.task_name, upload.project_id, ServiceTaskState.RUNNING, created_at=answer.date)

    def _customer(self, customer: str, key: str) -> str:
        return assumed.own_customer(customer, key) if self._settings.lookup_by_customer else customer

    def find_submission(self, lookup: Lookup) -> Sequence[Task] | None:
        """List what this submission's own customer waits for; None where that was not asked for, or cannot be."""
        if not self._settings.lookup_by_customer:
            return None
        path = assumed.awaiting_poll_path(self._settings.url)
        customer = self._customer(lookup.customer, lookup.key)
        answer = self._session.call("GET", self._address.of(path, customer=customer), limit=assumed.RESULT_LIMIT)
        if answer.status in assumed.NO_SUCH_CALL:
            return None
        require_success(self._session, answer, "the list of extractions")
        identifiers = read_ids(answer.document())
        if identifiers is None:
            # Taken for an empty one, it would send files again.
            raise garbled(answer, origin=self._origin, expected="a list of extractions")
        running = ServiceTaskState.RUNNING
        return tuple(Task(identifier, lookup.task_name, lookup.project_id, running) for identifier in identifiers)

    # --- tasks ---

    def find_ready(self) -> Sequence[Task]:
        """Return nothing: there is no list."""
        return ()

    def find_ended(self, *, completed: bool) -> Sequence[Task]:
        """Return nothing: there is no list."""
        del completed
        return ()

    def get_task(self, task_id: str, *, project_id: str = "") -> Task:
        """Poll for one extraction; a result is kept for its export."""
        answer = self._poll(task_id)
        if answer.cut:
            # Only results are that long; starting the export says what is wrong with it.
            return Task(task_id, "", project_id, ServiceTaskState.PENDING_START)
        poll = read_poll(answer.document())
        if poll is None:
            raise garbled(answer, origin=self._origin, expected="the extraction asked for")
        if poll.state is ServiceTaskState.PENDING_START:
            self._polled.keep(task_id, answer)
        return Task(task_id, poll.file_name, project_id, poll.state, message=poll.message)

    def _poll(self, task_id: str) -> Answer:
        kept = self._polled.find(task_id)
        if kept is not None:
            return kept
        address = self._address.of(assumed.POLL, extraction_id=task_id)
        answer = self._session.call("GET", address, limit=assumed.RESULT_LIMIT)
        if answer.status in assumed.UNKNOWN_ID:
            raise TaskMoved(f"the service does not know the extraction: {sentence(answer)}", gone=True)
        require_success(self._session, answer, "polling for the extraction")
        return answer

    def cancel_task(self, task_id: str) -> None:
        """Refuse: there is no such call."""
        raise TaskMoved(f"Typless cannot cancel an extraction: {shown(task_id)}")

    # --- export ---

    def start_export(self, task: Task) -> ExportSpecification:
        """Return the result, polled for again where it is not kept. Raises TaskMoved where it has expired since."""
        answer = self._poll(task.id)
        if answer.cut:
            raise TaskFatal(f"the result is larger than {assumed.RESULT_LIMIT} bytes")
        document = answer.document()
        poll = read_poll(document)
        if poll is None:
            raise garbled(answer, origin=self._origin, expected="the extraction asked for")
        if poll.state is not ServiceTaskState.PENDING_START:
            raise TaskMoved(f"the extraction is {poll.state} at the service")
        try:
            result = read_result(document)
        except TaskTransient:
            self._polled.forget(task.id)  # the next attempt may find more
            raise
        self._polled.keep(task.id, answer)
        return ExportSpecification(result=result)

    def download(self, file: ExportFile) -> AbstractContextManager[Iterator[bytes]]:
        """Refuse: results name no files."""
        raise TaskFatal(f"{shown(file.filename)}: Typless has no files to be fetched")

    def complete_export(self, task_id: str) -> None:
        """Give up the kept result; the ledger alone says what is exported."""
        self._polled.forget(task_id)

    def cancel_export(self, task_id: str) -> None:
        """Do nothing: there is no lease, and the result is kept for the next attempt."""

    def fail_export(self, task_id: str, message: str) -> None:
        """Give up the kept result; the service deletes its own by itself."""
        del message
        self._polled.forget(task_id)

    # --- projects ---

    def projects(self) -> Sequence[Project]:
        """Refuse: no such call is documented."""
        raise UserError(
            "Typless does not list its document types", hint="a document type's name is shown in its web application"
        )

    def upload_project(self, path: Path) -> Project:
        """Refuse: project files are Aluma's."""
        raise UserError(
            f"{path.name}: Typless takes no project files", hint="document types are made in its web application"
        )
