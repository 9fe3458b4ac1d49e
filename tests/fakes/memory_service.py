"""A whole document-processing service in memory: `ports.Service` with a driven clock and scriptable outcomes.

It behaves like the Tasks API (states, lease, retention, lists); `tests/contract` holds it to the same suite as the
real client. A test scripts what goes wrong:

    service.script("submit", ServiceUnavailable(...))        # instead of acting
    service.script("submit", AfterActing(OutcomeUnknown(...)))  # the task exists, the answer is lost
    service.script("submit", None, FileRefused(...))         # the first as usual, the second refused

and looks at `submissions`, `calls` and `tasks()` afterwards. With other abilities it plays another service:

    MemoryService(clock, abilities=ASKED_BY_ID)  # as Typless: no lease, no lists, results in place of named files

What it can do is in `memory_abilities`; `memory_uploads` has one that makes several tasks of an upload.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.errors import (
    AgentError,
    CredentialsRefused,
    FileBusy,
    FileRefused,
    ServiceTrouble,
    ServiceUnavailable,
    SetupRefused,
    TaskFatal,
    TaskMoved,
    TaskTransient,
)
from agent.model import (
    FINAL_SERVICE_STATES,
    ExportFile,
    ExportSpecification,
    FileSource,
    LaneReason,
    Project,
    Reason,
    Result,
    ResultField,
    ServiceTaskState,
    Task,
)
from fakes.memory_abilities import MemoryAbilities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from agent.model import Lookup, Upload
    from agent.ports import Clock

BLOCK = 64 * 1024
SLACK = 5.0
RETENTION = 72 * 3600.0


@dataclass(frozen=True)
class AfterActing:
    """A scripted outcome: the call takes effect, then raises this."""

    error: AgentError


Outcome = AgentError | AfterActing | None


@dataclass(frozen=True)
class Submission:
    """What one accepted POST brought."""

    task_id: str
    upload: Upload
    content: bytes
    at: float


@dataclass
class _Entry:
    task: Task
    submission: Submission
    ready_at: float
    listed_at: float
    lease_until: float | None = None
    ended_at: float | None = None
    specification: ExportSpecification | None = None
    actions: list[str] = field(default_factory=list)


class MemoryService:
    """The service; safe for any thread. Times in seconds of `clock`."""

    def __init__(
        self,
        clock: Clock,
        *,
        project_ids: Sequence[str] = ("project-1",),
        processing_time: float = 0.0,
        lease: float = 1800.0,
        list_delay: float = 0.0,
        lists_tags: bool = False,
        abilities: MemoryAbilities | None = None,
    ) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._projects = [Project(identifier, identifier.title()) for identifier in project_ids]
        self._entries: dict[str, _Entry] = {}
        self._scripts: defaultdict[str, deque[Outcome]] = defaultdict(deque)
        self._quiet: ServiceTrouble | None = None
        self._quiet_until = 0.0
        self._closed = False
        self._count = 0
        self.processing_time = processing_time
        self.lease = lease
        self.list_delay = list_delay
        self.lists_tags = lists_tags
        self.refuses_credentials = False
        self.abilities = replace(abilities or MemoryAbilities())
        self.specify: Callable[[Task, Submission], ExportSpecification] = self._specify
        self.files: dict[str, bytes] = {}
        """What `download` serves, by url."""
        self.calls: list[tuple[str, str]] = []
        """Every call in order: its name, and the task, file or project it was about."""
        self.submissions: list[Submission] = []
        """Every submission that made a task, in order."""

    # --- for tests ---

    def script(self, call: str, *outcomes: Outcome) -> None:
        """Give the next calls of that name these outcomes, one after the other; then it behaves again."""
        with self._lock:
            self._scripts[call].extend(outcomes)

    def tasks(self) -> Sequence[Task]:
        """Return all tasks as they are now, oldest first."""
        with self._lock:
            self._catch_up()
            return [entry.task for entry in self._entries.values()]

    def actions(self, task_id: str) -> Sequence[str]:
        """Return which of start, complete, cancel and fail a task met, in order."""
        with self._lock:
            return tuple(self._entries[task_id].actions)

    def end(self, task_id: str, state: ServiceTaskState, *, message: str = "") -> None:
        """Let a task end as if the service had decided so."""
        with self._lock:
            self._end(self._entries[task_id], state, message)

    def show(self, task_id: str, state: ServiceTaskState, *, message: str = "") -> None:
        """Put a task into a state that is no end, REVIEWING for example; processing does not go on from there."""
        with self._lock:
            entry = self._entries[task_id]
            entry.task = replace(entry.task, state=state, message=message)

    def named(self, call: str) -> Sequence[str]:
        """Return what the calls of one name were about."""
        with self._lock:
            return [about for name, about in self.calls if name == call]

    # --- ports.Service ---

    def check_credentials(self) -> None:
        with self._acting("check_credentials", ""):
            pass

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        with self._lock:
            self._enter("submit", upload.file_name)
            outcome = self._next("submit")
        if isinstance(outcome, AgentError):
            raise self._heed(outcome)
        content = _read_exactly(body, upload.size)
        with self._lock:
            self._require_project(upload.project_id)
            task = self._create(upload, content)
            if outcome is not None:
                raise self._heed(outcome.error)
            return task

    def find_submission(self, lookup: Lookup) -> Sequence[Task] | None:
        with self._acting("find_submission", lookup.key):
            if not self.abilities.finds_lost_submissions:
                return None
            listed = [entry for entry in self._entries.values() if entry.listed_at <= self._clock.now()]
            if self.lists_tags or not self.abilities.lists_tasks:
                return [self._shown(entry) for entry in listed if entry.submission.upload.key == lookup.key]
            return [
                self._shown(entry)
                for entry in listed
                if (entry.task.name, entry.task.project_id) == (lookup.task_name, lookup.project_id)
                and _is_inside(entry.task.created_at, lookup)
            ]

    def find_ready(self) -> Sequence[Task]:
        with self._acting("find_ready", ""):
            return self._list(ServiceTaskState.PENDING_START)

    def find_ended(self, *, completed: bool) -> Sequence[Task]:
        states = FINAL_SERVICE_STATES if completed else FINAL_SERVICE_STATES - {ServiceTaskState.COMPLETED}
        with self._acting("find_ended", ""):
            return self._list(*states)

    def get_task(self, task_id: str, *, project_id: str = "") -> Task:
        del project_id
        with self._acting("get_task", task_id):
            return self._shown(self._find(task_id))

    def cancel_task(self, task_id: str) -> None:
        with self._acting("cancel_task", task_id):
            entry = self._find(task_id)
            if entry.task.state is ServiceTaskState.CANCELED:
                return
            if not self.abilities.cancels_tasks:
                raise TaskMoved("the service cannot cancel tasks")
            if entry.task.state in FINAL_SERVICE_STATES:
                raise TaskMoved(f"the task is {entry.task.state}")
            self._end(entry, ServiceTaskState.CANCELED, "")

    def start_export(self, task: Task) -> ExportSpecification:
        with self._acting("start_export", task.id):
            entry = self._act(task.id, "start", ServiceTaskState.PENDING_START)
            if self.abilities.server_side_lease:
                entry.task = replace(entry.task, state=ServiceTaskState.PENDING_COMPLETE)
                entry.lease_until = self._clock.now() + self.lease
            if entry.specification is None:
                entry.specification = self.specify(entry.task, entry.submission)
            return entry.specification

    @contextmanager
    def download(self, file: ExportFile) -> Iterator[Iterator[bytes]]:
        with self._acting("download", file.url):
            if "://" in file.url or file.url.startswith("//"):
                raise TaskFatal(f"another origin: {file.url}")
            if file.url not in self.files:
                raise TaskTransient(f"404: {file.url}")
            content = self.files[file.url]
        yield (content[start : start + BLOCK] for start in range(0, len(content), BLOCK))

    def complete_export(self, task_id: str) -> None:
        with self._acting("complete_export", task_id):
            if (entry := self._leased(task_id, "complete")) is not None:
                self._end(entry, ServiceTaskState.COMPLETED, "")

    def cancel_export(self, task_id: str) -> None:
        with self._acting("cancel_export", task_id):
            if (entry := self._leased(task_id, "cancel")) is not None:
                entry.task = replace(entry.task, state=ServiceTaskState.PENDING_START)
                entry.lease_until = None

    def fail_export(self, task_id: str, message: str) -> None:
        with self._acting("fail_export", task_id):
            if (entry := self._leased(task_id, "fail")) is not None:
                self._end(entry, ServiceTaskState.FAILED, message)

    def projects(self) -> Sequence[Project]:
        with self._acting("projects", ""):
            return tuple(self._projects)

    def upload_project(self, path: Path) -> Project:
        with self._acting("upload_project", path.name):
            if not path.read_bytes():
                raise FileRefused("the project file is empty", reason=Reason.REFUSED_BY_SERVICE)
            project = Project(f"project-{len(self._projects) + 1}", path.stem, self._clock.now())
            self._projects.append(project)
            return project

    def close(self) -> None:
        self._closed = True

    # --- inside ---

    @contextmanager
    def _acting(self, call: str, about: str) -> Iterator[None]:
        """Run a call under the lock with its scripted outcome: raised instead of acting, or after it."""
        with self._lock:
            self._enter(call, about)
            outcome = self._next(call)
            if isinstance(outcome, AgentError):
                raise self._heed(outcome)
            yield
            if outcome is not None:
                raise self._heed(outcome.error)

    def _enter(self, call: str, about: str) -> None:
        self.calls.append((call, about))
        if self._closed:
            raise ServiceUnavailable("closed", reason=LaneReason.SERVICE_UNAVAILABLE)
        left = self._quiet_until - self._clock.monotonic()
        if self._quiet is not None and left > 0:
            quiet = self._quiet
            raise ServiceUnavailable(quiet.message, reason=quiet.reason, hint=quiet.hint, retry_after=left)
        if self.refuses_credentials:
            raise CredentialsRefused("wrong client id or secret", reason=LaneReason.CREDENTIALS_REFUSED)
        self._catch_up()

    def _next(self, call: str) -> Outcome:
        script = self._scripts[call]
        return script.popleft() if script else None

    def _require_project(self, project_id: str) -> None:
        if project_id not in {project.id for project in self._projects}:
            raise SetupRefused("unknown project", reason=LaneReason.SETUP_REFUSED)

    def _heed(self, error: AgentError) -> AgentError:
        if isinstance(error, ServiceTrouble) and error.retry_after:
            self._quiet = error
            self._quiet_until = self._clock.monotonic() + error.retry_after
        return error

    def _catch_up(self) -> None:
        """Let pass what the time has brought: processing, ends of leases, forgetting."""
        now = self._clock.now()
        for entry in list(self._entries.values()):
            if entry.task.state in {ServiceTaskState.QUEUED, ServiceTaskState.RUNNING} and entry.ready_at <= now:
                entry.task = replace(entry.task, state=ServiceTaskState.PENDING_START, client_action="export")
            if entry.lease_until is not None and entry.lease_until <= now:
                entry.task = replace(entry.task, state=ServiceTaskState.PENDING_START)
                entry.lease_until = None
            if self.abilities.server_side_lease and entry.ended_at is not None and entry.ended_at + RETENTION <= now:
                del self._entries[entry.task.id]
            life = self.abilities.result_lifetime
            if life is not None and entry.task.state is ServiceTaskState.PENDING_START and entry.ready_at + life <= now:
                self._end(entry, ServiceTaskState.EXPIRED, "")

    def _create(self, upload: Upload, content: bytes) -> Task:
        self._count += 1
        now = self._clock.now()
        task = Task(
            id=f"task-{self._count:04}",
            name=upload.task_name,
            project_id=upload.project_id,
            state=ServiceTaskState.QUEUED if self.abilities.server_side_lease else ServiceTaskState.RUNNING,
            created_at=float(int(now)),
            file_collection_id=f"collection-{self._count:04}",
        )
        submission = Submission(task.id, upload, content, now)
        self.submissions.append(submission)
        self._entries[task.id] = _Entry(task, submission, now + self.processing_time, now + self.list_delay)
        return task

    def _specify(self, task: Task, submission: Submission) -> ExportSpecification:
        if not self.abilities.names_outputs:
            values = (ResultField("name", task.name, 0.9, 1), ResultField("size", str(len(submission.content))))
            return ExportSpecification(result=Result({"id": task.id, "name": task.name}, values))
        stem = PurePosixPath(submission.upload.file_name).stem
        url = f"/file_collections/{task.file_collection_id}/files/document"
        self.files[url] = submission.content
        return ExportSpecification(
            (
                (
                    ExportFile("", f"{stem}.csv", FileSource.CONTENT, content=f"name\n{task.name}\n"),
                    ExportFile("", submission.upload.file_name, FileSource.URL, url=url),
                ),
            )
        )

    def _list(self, *states: ServiceTaskState) -> Sequence[Task]:
        now = self._clock.now()
        entries = self._entries.values() if self.abilities.lists_tasks else ()
        return [self._shown(entry) for entry in entries if entry.task.state in states and entry.listed_at <= now]

    def _shown(self, entry: _Entry) -> Task:
        if not self.lists_tags:
            return entry.task
        return replace(entry.task, tags={"task_name": entry.task.name, **entry.submission.upload.tags})

    def _find(self, task_id: str) -> _Entry:
        if task_id not in self._entries:
            raise TaskMoved("the service does not know the task", gone=True)
        return self._entries[task_id]

    def _act(self, task_id: str, action: str, state: ServiceTaskState) -> _Entry:
        entry = self._find(task_id)
        if entry.task.state is not state:
            raise TaskMoved(f"the task is {entry.task.state}")
        entry.actions.append(action)
        return entry

    def _leased(self, task_id: str, action: str) -> _Entry | None:
        """Return the task whose lease ends with this action; None where there are no leases, and nothing happens."""
        if self.abilities.server_side_lease:
            return self._act(task_id, action, ServiceTaskState.PENDING_COMPLETE)
        if task_id in self._entries:
            self._entries[task_id].actions.append(action)
        return None

    def _end(self, entry: _Entry, state: ServiceTaskState, message: str) -> None:
        entry.task = replace(entry.task, state=state, client_action="", message=message)
        entry.lease_until = None
        entry.ended_at = self._clock.now()


def _read_exactly(body: BinaryIO, size: int) -> bytes:
    """Read a body in blocks. Raises FileBusy where its length is another."""
    content = bytearray()
    while block := body.read(BLOCK):
        content += block
    if len(content) != size:
        raise FileBusy("the file changed while it was sent")
    return bytes(content)


def _is_inside(created_at: float | None, lookup: Lookup) -> bool:
    return created_at is None or lookup.sent_from - SLACK <= created_at <= lookup.sent_until + SLACK
