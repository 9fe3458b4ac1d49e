"""The sandbox of Send AI itself: uploads, their tasks, and how both move (apis.md 2.2, 2.3), without HTTP."""

from __future__ import annotations

import hmac
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from agent.sandbox.contents import find_values, glance_at, read_contents
from agent.sandbox.driven import DrivenService, Job
from agent.sandbox.refusals import Refusal, unauthorized, unknown
from agent.sandbox.sendai.assumptions import INBOX_FOLDER, STATUS_FORBIDDEN
from agent.sandbox.sendai.records import (
    TaskEntry,
    UploadEntry,
    created_document,
    make_pages,
    new_id,
    task_document,
    task_insight,
    upload_document,
    upload_insight,
)
from agent.sandbox.sendai.settings import Fate, SendaiSettings, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.sandbox.clock import WallClock
    from agent.sandbox.sendai.records import SentFile
    from agent.sandbox.storage import StoredDocument

_UNLOCKABLE = (TaskStatus.COMPLETED, TaskStatus.DISCARDED, TaskStatus.FILTERED)
_UNFINISHED = (TaskStatus.PROCESSING, TaskStatus.REVIEWING)


class SendaiSandbox(DrivenService):
    """The service's state. Any thread may call anything; what cannot be raises Refusal."""

    def __init__(self, settings: SendaiSettings, *, clock: WallClock) -> None:
        super().__init__(clock=clock)
        self.settings = settings
        self._read = read_contents if settings.read_documents else glance_at
        self._uploads: dict[str, UploadEntry] = {}
        self._tasks: dict[str, TaskEntry] = {}
        self._fates = list(settings.fates)

    # --- who may --------------------------------------------------------------------------------------------------

    def check_key(self, authorization: str | None, scope: str) -> None:
        """Accept an Authorization header. Raises Refusal (401, 403)."""
        if authorization is None:
            raise unauthorized("The Authorization header is missing.")
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(key.encode(), self.settings.api_key.encode()):
            raise unauthorized("The API key is not valid.")
        if scope not in self.settings.scopes:
            raise Refusal(STATUS_FORBIDDEN, "missing-scope", f"The API key lacks the scope {scope}.")

    def check_project(self, *, team_id: str | None, project_id: str | None) -> None:
        """Accept what a path names; None: it names none. Raises Refusal (403)."""
        if team_id not in (None, self.settings.team_id):
            raise Refusal(STATUS_FORBIDDEN, "no-access", "The API key does not belong to this team.")
        if project_id is not None and project_id not in self.settings.projects:
            raise Refusal(STATUS_FORBIDDEN, "no-access", "The API key has no access to this project.")

    # --- uploads --------------------------------------------------------------------------------------------------

    def create_upload(
        self, project_id: str, *, name: str, meta: list[dict[str, str]], files: list[SentFile]
    ) -> dict[str, Any]:
        """Return the answer to a new upload of at least one file."""
        with self._up_to_date() as now:
            shown = now + self.settings.split_delay
            upload = UploadEntry(
                id=new_id("upl", next(self._order)),
                name=name or files[0].name,
                project_id=project_id,
                meta=meta,
                created=now,
                shown=shown,
                folder_id=INBOX_FOLDER,
                files=files,
            )
            self._uploads[upload.id] = upload
            for file in files:
                documents = [(file.name, file.document), *file.attachments]
                for part, (part_name, document) in enumerate(documents, 1):
                    self._add_task(upload, file, part, part_name, document)
            if self.settings.create_payload:
                return {"payload": upload_document(upload, self.settings, now=now)}
            return created_document(upload)

    def _add_task(self, upload: UploadEntry, file: SentFile, part: int, name: str, document: StoredDocument) -> None:
        task = TaskEntry(new_id("task", next(self._order)), name, upload, file, part)
        upload.tasks.append(task)
        self._tasks[task.id] = task
        job = Job(task.id, document, self._read, finish=lambda _: self._processed(task, job))
        self._start(job, due=upload.shown + self.settings.processing_delay)

    def _processed(self, task: TaskEntry, job: Job) -> None:
        """Decide what a task becomes whose document was read."""
        if task.status is not TaskStatus.PROCESSING:
            return
        if job.contents is None:
            task.status, task.message = TaskStatus.FAILED, job.message
            return
        task.pages = make_pages(find_values(task.name, job.contents), pages=job.contents.pages)
        task.replaced = self.faults.specification(task.name, document="")
        task.status = self._fate(task).status

    def _fate(self, task: TaskEntry) -> Fate:
        fitting = [fate for fate in self._fates if fnmatchcase(task.name, fate.file_name)]
        return fitting[-1] if fitting else Fate(task.name, TaskStatus.COMPLETED)

    def get_upload(self, upload_id: str) -> dict[str, Any]:
        """Return an upload's payload. Raises Refusal (404)."""
        with self._up_to_date() as now:
            upload = self._upload(upload_id)
            upload.calls["get"] += 1
            return upload_document(upload, self.settings, now=now)

    def move_upload(self, upload_id: str, folder_id: str) -> dict[str, Any]:
        """Put an upload into another folder and return its payload. Raises Refusal (404)."""
        with self._up_to_date() as now:
            upload = self._upload(upload_id)
            upload.calls["move"] += 1
            upload.folder_id = folder_id
            return upload_document(upload, self.settings, now=now)

    def _upload(self, upload_id: str) -> UploadEntry:
        upload = self._uploads.get(upload_id)
        if upload is None:
            raise unknown("unknown-upload", "There is no upload with this id.")
        return upload

    # --- tasks ----------------------------------------------------------------------------------------------------

    def get_task(self, task_id: str) -> Any:
        """Return a task's payload. Raises Refusal (404)."""
        with self._up_to_date():
            task = self._task(task_id)
            task.calls["get"] += 1
            return task_document(task)

    def complete_task(self, task_id: str) -> tuple[Any, bool]:
        """Let a reviewed task go on; return its payload, and whether it goes. Raises Refusal (404)."""
        with self._up_to_date() as now:
            task = self._task(task_id)
            goes = task.status is TaskStatus.REVIEWING
            if goes:
                task.calls["complete"] += 1
                self._set(task, TaskStatus.PROCESSING)
                generation = task.generation
                self._plan(now + self.settings.review_delay, lambda _: self._reviewed(task, generation))
            return task_document(task), goes

    def _reviewed(self, task: TaskEntry, generation: int) -> None:
        if task.generation == generation:
            self._set(task, self._fate(task).after_review)

    def discard_task(self, task_id: str) -> Any:
        """Put a reviewed task aside; return its payload. Raises Refusal (404)."""
        with self._up_to_date():
            task = self._task(task_id)
            if task.status is TaskStatus.REVIEWING:
                task.calls["discard"] += 1
                self._set(task, TaskStatus.DISCARDED)
            return task_document(task)

    def report_task(self, task_id: str, *, issues: list[dict[str, str]], message: str) -> Any:
        """Note what is wrong with a task; return its payload. Raises Refusal (404)."""
        with self._up_to_date():
            task = self._task(task_id)
            task.calls["report"] += 1
            task.issues += issues
            if message:
                task.message = message
            return task_document(task)

    def unlock_task(self, task_id: str) -> Any:
        """Let a task be reviewed again while others of its upload are not done. Raises Refusal (404)."""
        with self._up_to_date():
            task = self._task(task_id)
            if task.status in _UNLOCKABLE and any(other.status in _UNFINISHED for other in task.upload.tasks):
                task.calls["unlock"] += 1
                self._set(task, TaskStatus.REVIEWING)
            return task_document(task)

    def _task(self, task_id: str) -> TaskEntry:
        task = self._tasks.get(task_id)
        if task is None:
            raise unknown("unknown-task", "There is no task with this id.")
        return task

    @staticmethod
    def _set(task: TaskEntry, status: TaskStatus) -> None:
        task.status = status
        task.generation += 1

    # --- tests ----------------------------------------------------------------------------------------------------

    def add_fate(self, fate: Fate) -> None:
        """Decide what becomes of files of a name from now on."""
        with self._changed:
            self._fates.append(fate)

    def set_status(self, task_id: str, status: TaskStatus) -> None:
        """Do to a task what somebody did at the service's own screen. Raises Refusal (404)."""
        with self._up_to_date() as now:
            task = self._task(task_id)
            task.opened = now
            self._set(task, status)

    def describe(self) -> list[dict[str, Any]]:
        """Return all that is known of every task, oldest first, those not shown yet too."""
        with self._up_to_date():
            return [task_insight(task) for task in self._tasks.values()]

    def describe_uploads(self) -> Sequence[dict[str, Any]]:
        """Return all that is known of every upload, oldest first."""
        with self._up_to_date():
            return [upload_insight(upload) for upload in self._uploads.values()]
