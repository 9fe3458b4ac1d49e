"""A service in memory that makes tasks of uploads, where people look at some: `ports.UploadService`, as Send AI.

`submit` returns the upload; its tasks appear after `splitting_time` seconds, one for each file, or those that `split`
names. A test puts a task before people with `show(task_id, ServiceTaskState.REVIEWING)`, ends one with `end`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError, TaskMoved
from agent.model import ServiceTaskState, Task, UploadProgress
from fakes.memory_abilities import SPLITS_UPLOADS
from fakes.memory_service import MemoryService, Submission, _Entry, _read_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import BinaryIO

    from agent.model import TaskReference, Upload


@dataclass(frozen=True)
class Part:
    """One file of an upload as it arrived."""

    upload: Upload
    content: bytes


@dataclass
class MemoryUpload:
    """One upload as the service keeps it; `shows_tasks_at` is when its tasks can be seen."""

    id: str
    name: str
    project_id: str
    parts: tuple[Part, ...]
    task_ids: tuple[str, ...]
    shows_tasks_at: float
    folder_id: str = ""


class MemoryUploadService(MemoryService):
    """The service; safe for any thread."""

    def __init__(self, *arguments: Any, splitting_time: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **{"abilities": SPLITS_UPLOADS, **options})
        self.splitting_time = splitting_time
        self.split: Callable[[Upload], Sequence[str]] = lambda upload: (PurePosixPath(upload.file_name).name,)
        """The names of the tasks one file becomes: a mail, and its attachments."""
        self._uploads: dict[str, MemoryUpload] = {}
        self.reports: list[tuple[str, tuple[str, ...], str]] = []
        """Reported tasks: id, issues, message."""

    # --- for tests ---

    def uploads(self) -> Sequence[MemoryUpload]:
        """Return all uploads, oldest first."""
        with self._lock:
            return list(self._uploads.values())

    def tasks_of(self, upload_id: str) -> Mapping[str, Task]:
        """Return the tasks of an upload by name, whether they can be seen yet or not."""
        with self._lock:
            self._catch_up()
            tasks = (self._entries[task_id].task for task_id in self._uploads[upload_id].task_ids)
            return {task.name: task for task in tasks}

    # --- ports.UploadService ---

    def _create(self, upload: Upload, content: bytes) -> Task:
        return self._accept(upload.task_name, (Part(upload, content),))

    def submit_together(self, name: str, parts: Sequence[tuple[Upload, BinaryIO]]) -> Task:
        assert 1 <= len(parts) <= self.abilities.batch_limit
        with self._lock:
            self._enter("submit_together", name)
            outcome = self._next("submit_together")
        if isinstance(outcome, AgentError):
            raise self._heed(outcome)
        read = tuple(Part(upload, _read_exactly(body, upload.size)) for upload, body in parts)
        with self._lock:
            self._require_project(parts[0][0].project_id)
            task = self._accept(name, read)
            if outcome is not None:
                raise self._heed(outcome.error)
            return task

    def get_task(self, task_id: str, *, project_id: str = "") -> Task:
        assert project_id, "the paths of this service need the project"
        return super().get_task(task_id, project_id=project_id)

    def find_tasks_of(self, upload: TaskReference) -> UploadProgress:
        with self._acting("find_tasks_of", upload.id):
            return self._progress(self._upload(upload.id))

    def complete_review(self, task: TaskReference) -> Task:
        with self._acting("complete_review", task.id):
            entry = self._find(task.id)
            if entry.task.state is ServiceTaskState.REVIEWING:
                entry.task = replace(entry.task, state=ServiceTaskState.RUNNING)
                entry.ready_at = self._clock.now() + self.processing_time
            return entry.task

    def discard_task(self, task: TaskReference) -> Task:
        with self._acting("discard_task", task.id):
            entry = self._find(task.id)
            if entry.task.state is ServiceTaskState.REVIEWING:
                self._end(entry, ServiceTaskState.DISCARDED, "")
            return entry.task

    def report_task(self, task: TaskReference, *, issues: Sequence[str], message: str) -> Task:
        with self._acting("report_task", task.id):
            self.reports.append((task.id, tuple(issues), message))
            return self._find(task.id).task

    def move_upload(self, upload: TaskReference, folder_id: str) -> UploadProgress:
        with self._acting("move_upload", upload.id):
            kept = self._upload(upload.id)
            kept.folder_id = folder_id
            return self._progress(kept)

    # --- inside ---

    def _accept(self, name: str, parts: tuple[Part, ...]) -> Task:
        now = self._clock.now()
        identifier = f"upload-{len(self._uploads) + 1:04}"
        task_ids: list[str] = []
        for part in parts:
            submission = Submission(identifier, part.upload, part.content, now)
            self.submissions.append(submission)
            task_ids += [self._add_task(task_name, submission, identifier) for task_name in self.split(part.upload)]
        project_id = parts[0].upload.project_id
        kept = MemoryUpload(identifier, name, project_id, parts, tuple(task_ids), now + self.splitting_time)
        self._uploads[identifier] = kept
        return Task(identifier, name, project_id, ServiceTaskState.RUNNING, created_at=float(int(now)))

    def _add_task(self, name: str, submission: Submission, upload_id: str) -> str:
        self._count += 1
        now = submission.at
        identifier = f"task-{self._count:04}"
        task = Task(
            id=identifier,
            name=name,
            project_id=submission.upload.project_id,
            state=ServiceTaskState.RUNNING,
            created_at=float(int(now)),
            tags={"upload_id": upload_id},
        )
        self._entries[identifier] = _Entry(task, submission, now + self.processing_time, now)
        return identifier

    def _upload(self, upload_id: str) -> MemoryUpload:
        if upload_id not in self._uploads:
            raise TaskMoved("the service does not know the upload", gone=True)
        return self._uploads[upload_id]

    def _progress(self, upload: MemoryUpload) -> UploadProgress:
        if self._clock.now() < upload.shows_tasks_at:
            return UploadProgress(upload.name, (), may_grow=True)
        tasks = tuple(self._entries[task_id].task for task_id in upload.task_ids)
        state = _state_of({task.state for task in tasks})
        return UploadProgress(upload.name, tasks, may_grow=state is ServiceTaskState.RUNNING, state=state)


def _state_of(states: set[ServiceTaskState]) -> ServiceTaskState:
    """Return what an upload as a whole is (apis.md 2.3)."""
    for state in (ServiceTaskState.RUNNING, ServiceTaskState.REVIEWING):
        if state in states:
            return state
    return ServiceTaskState.FAILED if states <= {ServiceTaskState.FAILED} else ServiceTaskState.COMPLETED
