"""Poll: which of the tasks that wait for export are ours to export, and into which watch folder's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.model import ExportScope, FileState, ServiceTaskState, Task, TaskRecord, TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agent.model import WatchFolder
    from agent.ports import Clock, Ledger, Service


READY = ServiceTaskState.PENDING_START
OPEN_TASKS = 100_000
"""Open tasks of one watch folder read at once."""
OPEN_FILES = 1_000_000
"""Files that wait for an answer looked through."""


class Polling:
    """Finds tasks that wait for export and decides whose they are."""

    def __init__(self, *, ledger: Ledger, service: Service, clock: Clock) -> None:
        self._ledger = ledger
        self._service = service
        self._clock = clock

    def work(self, folders: Sequence[WatchFolder]) -> list[tuple[WatchFolder, TaskRecord, Task]]:
        """Return the exports that may be started now, oldest first. Raises ServiceTrouble and LedgerUnavailable."""
        if not self._service.abilities.lists_tasks:
            return self._recorded(folders)
        tasks = self._service.find_ready()
        if not tasks:
            return []
        by_name = {folder.name: folder for folder in folders}
        by_project = {folder.project_id: folder for folder in folders if folder.export.scope is ExportScope.PROJECT}
        found = []
        lost: Collection[tuple[str, str]] | None = None
        for task, known in self._with_records(tasks):
            folder = by_name.get(known.watch_folder) if known else by_project.get(task.project_id)
            if folder is None or folder.output is None:
                continue
            if known is None:
                # Read after the list: what was listed and is of ours has waited for its answer since before.
                lost = self._lost_answers() if lost is None else lost
                if (task.project_id, task.name) in lost:
                    continue
            record = known or self._adopt(folder, task)
            if self._is_due(folder, record):
                found.append((folder, record, task))
        return found

    def _recorded(self, folders: Sequence[WatchFolder]) -> list[tuple[WatchFolder, TaskRecord, Task]]:
        """Return what the ledger knows to be ready: each task was asked for by its id."""
        found = []
        for folder in folders:
            processing = self._ledger.find_tasks(
                watch_folder=folder.name, states=[TaskState.PROCESSING], limit=OPEN_TASKS
            )
            found += [
                (folder, record, Task(record.task_id, record.name, record.project_id, READY))
                for record in processing
                if record.service_state == READY.value and self._is_due(folder, record)
            ]
        return sorted(found, key=lambda each: each[1].opened_at)

    def _with_records(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, TaskRecord | None]]:
        for start in range(0, len(tasks), 500):
            page = tasks[start : start + 500]
            known = self._ledger.known_tasks([task.id for task in page])
            for task in page:
                yield task, known.get(task.id)

    def _lost_answers(self) -> Collection[tuple[str, str]]:
        """Return project and name of what waits for its answer: a task called so may turn out to be ours."""
        states = [FileState.SENDING, FileState.UNKNOWN, FileState.HELD]
        pending = self._ledger.find_files(states=states, limit=OPEN_FILES)
        return {(file.project_id, file.task_name) for file in pending}

    def _adopt(self, folder: WatchFolder, task: Task) -> TaskRecord:
        """Record a task that somebody else submitted to a project this watch folder exports."""
        now = self._clock.now()
        record = TaskRecord(
            task_id=task.id,
            watch_folder=folder.name,
            project_id=task.project_id,
            name=task.name,
            state=TaskState.PROCESSING,
            state_at=now,
            opened_at=now,
            service_state=task.state.value,
            seen_at=now,
            asked_at=now,
        )
        self._ledger.commit(record)
        return record

    def _is_due(self, folder: WatchFolder, record: TaskRecord) -> bool:
        if record.held or record.state in {TaskState.EXPORTING, TaskState.ENDED_UNKNOWN}:
            return False
        if record.retry_at is None:
            return True
        left = record.retry_at - self._clock.now()
        # Longer than was ever waited for: the clock was set back since.
        return left <= 0 or left > folder.export.retry_delay
