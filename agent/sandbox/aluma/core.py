"""The sandbox of the Aluma Tasks API itself: tasks and how they move (apis.md 1.2 to 1.4), without HTTP.

Lists are answered from an index by state. A task stays `running` until its document was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.model import ServiceTaskState as State
from agent.sandbox.aluma.declared import read_declared
from agent.sandbox.aluma.exporting import document_url, exported_files, make_specification
from agent.sandbox.aluma.problems import wrong_state
from agent.sandbox.aluma.records import (
    ACTIONS,
    EXPORT,
    PENDING,
    STATES,
    TaskEntry,
    insight,
    new_id,
    task_document,
)
from agent.sandbox.aluma.settings import AlumaProject, AlumaSettings
from agent.sandbox.aluma.tokens import Tokens
from agent.sandbox.driven import DrivenService, Job
from agent.sandbox.refusals import bad_request, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.sandbox.clock import WallClock
    from agent.sandbox.storage import StoredDocument


class AlumaSandbox(DrivenService):
    """The service's state. Any thread may call anything; what cannot be raises Refusal."""

    def __init__(self, settings: AlumaSettings, *, clock: WallClock) -> None:
        super().__init__(clock=clock)
        self.settings = settings
        self._tokens = Tokens(settings)
        self._projects = {project.id: project for project in settings.projects}
        self._tasks: dict[str, TaskEntry] = {}
        self._by_state: dict[State, dict[str, TaskEntry]] = {state: {} for state in State}
        self._by_collection: dict[str, TaskEntry] = {}

    # --- how tasks move -------------------------------------------------------------------------------------------

    def _enter(self, task: TaskEntry, state: State, at: float, *, lasts: float | None = None) -> None:
        del self._by_state[task.state][task.id]
        task.state = state
        task.generation += 1
        self._by_state[state][task.id] = task
        if lasts is not None:
            self._plan_end(task, at + lasts)

    def _plan_end(self, task: TaskEntry, at: float) -> None:
        """Let the state a task is in end at a time, unless it ended before."""
        generation = task.generation

        def end(at: float) -> None:
            if task.generation == generation:
                self._step(task, at)

        self._plan(at, end)

    def _step(self, task: TaskEntry, at: float) -> None:
        """Do what the end of the current state's time means."""
        if task.is_final:
            del self._tasks[task.id]
            del self._by_state[task.state][task.id]
        elif task.state is State.QUEUED:
            self._enter(task, State.RUNNING, at)
        elif task.state is State.PENDING_COMPLETE:
            self._enter(task, State.PENDING_START, at)
        elif task.outcome is not None:
            self._end(task, task.outcome, at, message=task.message)

    def _processed(self, task: TaskEntry, at: float) -> None:
        """Let a task go on whose processing time is over and whose document was read."""
        if task.contents is None:
            self._end(task, State.FAILED, at, message=task.job.message)
        else:
            self._enter(task, State.PENDING_START, at)

    def _time_out(self, task: TaskEntry, at: float) -> None:
        if not task.is_final:
            self._end(task, State.TIMED_OUT, at, message="The task took longer than its project allows.")

    def _end(self, task: TaskEntry, state: State, at: float, *, message: str = "") -> None:
        """Enter a final state: the data is deleted, the record stays for a while (seed 000)."""
        task.message = message
        task.job.contents = None
        task.specification = None
        del self._by_collection[task.file_collection_id]
        self._abandon(task.job)
        self._enter(task, state, at, lasts=self.settings.retention)

    # --- tokens and projects --------------------------------------------------------------------------------------

    def issue_token(self, client_id: str, client_secret: str) -> str:
        """Return a new access token. Raises TokenRefusal."""
        with self._changed:
            return self._tokens.issue(client_id, client_secret, now=self.now())

    def check_token(self, authorization: str | None) -> None:
        """Accept an Authorization header. Raises Refusal (401)."""
        with self._changed:
            self._tokens.check(authorization, now=self.now())

    def revoke_tokens(self) -> None:
        """Make every token invalid."""
        with self._changed:
            self._tokens.revoke_all()

    def projects(self) -> Sequence[AlumaProject]:
        """Return the projects, oldest first."""
        with self._changed:
            return tuple(self._projects.values())

    def project(self, project_id: str) -> AlumaProject:
        """Return one project. Raises Refusal (404)."""
        with self._changed:
            found = self._projects.get(project_id)
        if found is None:
            raise unknown("unknown-project", "There is no project with this id.")
        return found

    def add_project(self, name: str) -> AlumaProject:
        """Return a new project."""
        project = AlumaProject(new_id(), name)
        with self._changed:
            self._projects[project.id] = project
        return project

    # --- tasks ----------------------------------------------------------------------------------------------------

    def create_task(
        self, project: AlumaProject, *, tags: dict[str, str], content_type: str, document: StoredDocument
    ) -> dict[str, Any]:
        """Return the object of a new, queued task."""
        with self._up_to_date() as now:
            job = Job(
                new_id(),
                document,
                read=lambda path: read_declared(path, content_type, whole=self.settings.read_documents),
                finish=lambda at: self._processed(task, at),
                keeps_document=True,
            )
            task = TaskEntry(job, next(self._order), project, new_id(), now, tags, content_type)
            self._tasks[task.id] = task
            self._by_state[task.state][task.id] = task
            self._by_collection[task.file_collection_id] = task
            runs = now + self.settings.queue_delay
            self._plan_end(task, runs)
            self._start(job, due=runs + self.settings.processing_delay)
            if self.settings.task_timeout is not None:
                self._plan(now + self.settings.task_timeout, lambda at: self._time_out(task, at))
            return self._document(task)

    def list_tasks(self, *, state: str | None = None, client_action: str | None = None) -> list[dict[str, Any]]:
        """Return task objects, oldest first; None: whatever it is. Raises Refusal (400) for an unknown value."""
        if state is not None and state not in STATES:
            raise bad_request("state", "The state is none a task can have.")
        if client_action is not None:
            require_action(client_action, "client_action")
        with self._up_to_date() as now:
            if state is None and client_action is None:
                return self._listed(self._tasks.values(), now=now)
            states = PENDING if state is None else (State(state),)
            found = [task for each in states for task in self._by_state[each].values()]
            if client_action is not None:
                found = [task for task in found if task.client_action == client_action]
            found.sort(key=lambda task: task.sequence)
            return self._listed(found, now=now)

    def _listed(self, tasks: Iterable[TaskEntry], *, now: float) -> list[dict[str, Any]]:
        lag = self.faults.listing_lag
        return [self._document(task) for task in tasks if not lag or task.created <= now - lag]

    def get_task(self, task_id: str) -> dict[str, Any]:
        """Return one task object. Raises Refusal (404)."""
        with self._up_to_date():
            return self._document(self._find(task_id))

    def start(self, task_id: str, action: str) -> Any:
        """Take the lease and return the Export Specification. Raises Refusal (404, 409)."""
        with self._up_to_date() as now:
            task = self._find(task_id)
            require_state(task, State.PENDING_START, action)
            assert task.contents is not None  # no task waits for export before it was read
            if task.specification is None:
                task.document_file_id = new_id()
                folder = self.settings.export_folder
                replaced = self.faults.specification(task.file_name, document=document_url(task))
                own = make_specification(task, task.contents, folder_template=folder)
                task.specification = own if replaced is None else replaced
                task.exports = exported_files(task.specification, document_sha256=task.document.sha256)
            task.calls["start"] += 1
            self._enter(task, State.PENDING_COMPLETE, now, lasts=self.settings.lease)
            return task.specification

    def complete(self, task_id: str, action: str) -> None:
        """End the action as done; the task runs on to `completed`. Raises Refusal (404, 409)."""
        self._leave(task_id, action, outcome=State.COMPLETED, call="complete")

    def fail(self, task_id: str, action: str, message: str) -> None:
        """End the task; it runs on to `failed` (A-failca). Raises Refusal (404, 409)."""
        self._leave(task_id, action, outcome=State.FAILED, call="fail", message=message)

    def _leave(self, task_id: str, action: str, *, outcome: State, call: str, message: str = "") -> None:
        with self._up_to_date() as now:
            task = self._find(task_id)
            require_state(task, State.PENDING_COMPLETE, action)
            task.calls[call] += 1
            task.outcome = outcome
            task.message = message
            self._enter(task, State.RUNNING, now, lasts=self.settings.finish_delay)

    def cancel(self, task_id: str, action: str) -> None:
        """Give the lease back; the task waits again at once (A-cancelca). Raises Refusal (404, 409)."""
        with self._up_to_date() as now:
            task = self._find(task_id)
            require_state(task, State.PENDING_COMPLETE, action)
            task.calls["cancel"] += 1
            self._enter(task, State.PENDING_START, now)

    def end_leases(self) -> None:
        """End every lease before its time: each of these tasks waits for export again."""
        with self._up_to_date() as now:
            for task in list(self._by_state[State.PENDING_COMPLETE].values()):
                self._enter(task, State.PENDING_START, now)

    def cancel_task(self, task_id: str) -> None:
        """End the task as `canceled`. Raises Refusal (404, 409 where it is final)."""
        with self._up_to_date() as now:
            task = self._find(task_id)
            if task.is_final:
                raise wrong_state(f"The task is {task.state.value} and cannot be canceled.")
            task.calls["cancel_task"] += 1
            self._end(task, State.CANCELED, now)

    def document(self, collection_id: str, file_id: str) -> TaskEntry:
        """Return the task whose document this is. Raises Refusal (404)."""
        with self._up_to_date():
            task = self._by_collection.get(collection_id)
            if task is None or not file_id or task.document_file_id != file_id:
                raise unknown("unknown-file", "There is no such file, or it was deleted with its task's data.")
            return task

    def describe(self) -> list[dict[str, Any]]:
        """Return all that is known of every task, oldest first."""
        with self._up_to_date():
            return [insight(task) for task in self._tasks.values()]

    def _find(self, task_id: str) -> TaskEntry:
        task = self._tasks.get(task_id)
        if task is None:
            raise unknown("unknown-task", "There is no task with this id, or no longer.")
        return task

    def _document(self, task: TaskEntry) -> dict[str, Any]:
        return task_document(task, tags=self.settings.list_tags, message=self.settings.show_message)


def require_action(action: str, parameter: str) -> None:
    """Accept `export` and `validation`. Raises Refusal (400)."""
    if action not in ACTIONS:
        raise bad_request("action", f"{parameter} is neither export nor validation.")


def require_state(task: TaskEntry, state: State, action: str) -> None:
    """Accept a task in this state that waits for this action. Raises Refusal (409)."""
    if task.state is not state:
        raise wrong_state(f"The task is {task.state.value}, not {state.value}.")
    if action != EXPORT:
        raise wrong_state(f"The task waits for {EXPORT}, not {action}.")
