"""A service that keeps book of what faults did to it, and lets things happen while an upload is under way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from agent.errors import FileRefused, TaskFatal
from agent.model import FINAL_SERVICE_STATES, ServiceTaskState
from faults.late_service import LateService

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from agent.model import ExportSpecification, Task, Upload

FAILED_STATES = FINAL_SERVICE_STATES - {ServiceTaskState.COMPLETED}


class WatchedService(LateService):
    """A service for tests that have to know afterwards why it said no."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.refused: set[bytes] = set()
        """Contents it refused at least once."""
        self.failed: set[str] = set()
        """Tasks that a fault made fail: nobody has to export them."""
        self.meanwhile: list[Callable[[], object]] = []
        """What happens while the next upload is under way: sent, and not yet answered."""
        self.before_complete: Callable[[str], object] = lambda _task_id: None

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        try:
            return super().submit(upload, body)
        except FileRefused:
            body.seek(0)
            self.refused.add(body.read())
            raise

    def _create(self, upload: Upload, content: bytes) -> Task:
        happening, self.meanwhile = self.meanwhile, []
        for happen in happening:
            happen()
        return super()._create(upload, content)

    def start_export(self, task: Task) -> ExportSpecification:
        try:
            return super().start_export(task)
        except TaskFatal:
            self.failed.add(task.id)
            raise

    def complete_export(self, task_id: str) -> None:
        self.before_complete(task_id)
        super().complete_export(task_id)

    def fail(self, task_id: str) -> None:
        """Let a task fail as if its document could not be processed."""
        self.failed.add(task_id)
        self.end(task_id, ServiceTaskState.FAILED, message="unreadable")

    def end_of_faults(self) -> None:
        """Behave well from here on."""
        self._scripts.clear()
        self.meanwhile.clear()
        self.processing_time = 0.0

    def tasks_of(self, content: bytes) -> list[str]:
        """Return every task a content ever became."""
        return [task_id for task_id, entry in self.ever.items() if entry.submission.content == content]

    def has_failed(self, task_id: str) -> bool:
        """Tell whether a task ended badly."""
        return self.ever[task_id].task.state in FAILED_STATES

    def has_forgotten(self, task_id: str) -> bool:
        """Tell whether a task ended so long ago that nobody can ask for it any more."""
        return task_id not in self._entries

    def shown_with(self, key: str) -> list[str]:
        """Return the tasks a person who looks at the service finds for a file's key."""
        self.tasks()
        return [task_id for task_id, entry in self._entries.items() if entry.submission.upload.key == key]

    def is_beyond_finding(self, task_id: str) -> bool:
        """Tell whether a task ended badly and is forgotten: where nobody learned of it, its file may be sent again."""
        return self.has_failed(task_id) and self.has_forgotten(task_id)

    def keys(self) -> Counter[str]:
        """Return how many tasks each file's key became."""
        return Counter(
            entry.submission.upload.key for task_id, entry in self.ever.items() if not self.is_beyond_finding(task_id)
        )
