"""A service that accepts what it was sent later than anybody waited for an answer, and forgets nothing of it here.

Everything `MemoryService` does, and:

    service.script("submit", Late(OutcomeUnknown("504"), after=40.0))  # answer lost; the task comes 40 s later
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fakes.memory_service import AfterActing, MemoryService, Submission, _Entry

from agent.model import ServiceTaskState, Task

if TYPE_CHECKING:
    from typing import BinaryIO

    from agent.model import Upload


@dataclass(frozen=True)
class Late(AfterActing):
    """A scripted outcome of `submit`: the answer is lost, and the task is there only `after` that many seconds."""

    after: float = 0.0


@dataclass(frozen=True)
class _Coming:
    due: float
    list_delay: float
    upload: Upload
    content: bytes


class LateService(MemoryService):
    """A service some of whose tasks come late."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ever: dict[str, _Entry] = {}
        """Every task there ever was, by id, as it is or last was: also those the service has forgotten."""
        self._after = 0.0
        self._coming: list[_Coming] = []

    @property
    def is_owing(self) -> bool:
        """Tell whether a task is still to come."""
        return bool(self._coming)

    def submission_of(self, task_id: str) -> Submission:
        """Return what a task was made of."""
        return self.ever[task_id].submission

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        with self._lock:
            outcome = next(iter(self._scripts["submit"]), None)
            self._after = outcome.after if isinstance(outcome, Late) else 0.0
        return super().submit(upload, body)

    def _create(self, upload: Upload, content: bytes) -> Task:
        if not self._after:
            return self._created(upload, content)
        due, self._after = self._clock.now() + self._after, 0.0
        self._coming.append(_Coming(due, self.list_delay, upload, content))
        return Task("not yet", upload.task_name, upload.project_id, ServiceTaskState.QUEUED)

    def _created(self, upload: Upload, content: bytes) -> Task:
        task = super()._create(upload, content)
        self.ever[task.id] = self._entries[task.id]
        return task

    def _catch_up(self) -> None:
        now = self._clock.now()
        due = [coming for coming in self._coming if coming.due <= now]
        self._coming = [coming for coming in self._coming if coming.due > now]
        for coming in due:
            entry = self.ever[self._created(coming.upload, coming.content).id]
            # It came when it was due, not when somebody asked next.
            entry.task = replace(entry.task, created_at=float(int(coming.due)))
            entry.ready_at = coming.due + self.processing_time
            entry.listed_at = coming.due + coming.list_delay
        super()._catch_up()
