"""The outside world as the stages see it; the docstrings are the contract, the same for real things and fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from agent.model import (
        Count,
        DocumentType,
        Event,
        ExportFile,
        ExportSpecification,
        FileRecord,
        FileState,
        Lookup,
        Project,
        Request,
        RootKind,
        RootRecord,
        Task,
        TaskRecord,
        TaskReference,
        TaskState,
        Upload,
        UploadProgress,
    )


class Clock(Protocol):
    """Two times: UTC for records, monotonic for waiting. Tests drive both."""

    def now(self) -> float:
        """Return UTC unix seconds; may jump."""

    def monotonic(self) -> float:
        """Return seconds that never jump and mean nothing outside this process."""

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Wait until the event is set or the seconds are over; return whether it is set."""


class Abilities(Protocol):
    """What a service can do; workers ask this, never for its type (apis.md §4)."""

    server_side_lease: bool
    """start/complete/cancel/fail exist; else the ledger alone says what is exported."""
    finds_lost_submissions: bool
    """`find_submission` can tell whether a lost submission exists."""
    cancels_tasks: bool
    """`cancel_task` may work; it still may refuse."""
    lists_tasks: bool
    """`find_ready` and `find_ended` list what waits; else each task is asked for by its id, in its time."""
    names_outputs: bool
    """Specifications name files; else they hold a `Result`, and the agent names the files."""
    splits_submissions: bool
    """What `submit` returns is an upload; its tasks appear later (`UploadService.find_tasks_of`)."""
    batch_limit: int
    """Files one upload may hold; 1: no batches."""
    webhook: bool
    """The service can tell that a task ended (`webhook_secret`)."""
    accepted_types: frozenset[DocumentType] | None
    """Contents it is known to take; None where that is not documented in full."""
    size_limit: int | None
    """Bytes of the largest file it takes, where that is known."""
    result_lifetime: float | None
    """Seconds from a task's end until its result is deleted, where the service does that by itself."""
    first_poll: float
    """Seconds after a submission before which asking for its task is of no use."""


class Service(Protocol):
    """A document-processing service.

    Every method may raise ServiceTrouble (the service as a whole; nothing happened that needs undoing unless the
    method says otherwise) and is safe to call from several threads. None retries by itself but for one renewal of the
    token; waiting is the caller's business. After ServiceTrouble with `retry_after`, every further call fails at once
    with the same until that time is over.
    """

    @property
    def abilities(self) -> Abilities:
        """Return what this service can do."""

    def check_credentials(self) -> None:
        """Obtain a token or make the cheapest authorised call; may be repeated. Raises CredentialsRefused."""

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        """Send one file and return the task it became. NOT safe to repeat.

        `body` is at its start and is read once (twice after a renewed token, it must seek) in blocks, never whole.
        Raises FileRefused (this file, refused_by_service), OutcomeUnknown (a task may exist), ServiceTrouble
        (surely no task exists), and whatever reading `body` raises (surely no task exists, unless all was read).
        """

    def find_submission(self, lookup: Lookup) -> Sequence[Task] | None:
        """Return the tasks in any state that this submission may have made, oldest first; None: cannot be told.

        By fsagent_key where tags are listed, else by name, project and time with 5 s of slack; an unreadable time
        counts as inside. The caller leaves out tasks its ledger knows. Safe to repeat.
        """

    def find_ready(self) -> Sequence[Task]:
        """Return the account's tasks that wait for export, oldest first; none where the service has no list."""

    def find_ended(self, *, completed: bool) -> Sequence[Task]:
        """Return tasks that failed, timed out or were canceled (with `completed`: those too); as `find_ready`."""

    def get_task(self, task_id: str, *, project_id: str = "") -> Task:
        """Return one task. Raises TaskMoved(gone=True) where the service does not know it."""

    def cancel_task(self, task_id: str) -> None:
        """Ask that a task be canceled; canceled already is success. Raises TaskMoved where it cannot be."""

    def start_export(self, task: Task) -> ExportSpecification:
        """Take the export's lease and return what is to be written.

        Raises TaskMoved where somebody else was faster, TaskFatal where the specification makes no sense. After
        ServiceTrouble the lease may be ours, unless `nothing_done`: the caller reads the task and cancels.
        """

    def download(self, file: ExportFile) -> AbstractContextManager[Iterator[bytes]]:
        """Stream one file of a specification whose source is `url`, in blocks of at most 1 MiB.

        Raises TaskFatal (another origin, before any connection is made there), TaskTransient (404, wrong length,
        cut), ServiceTrouble; while iterating too.
        """

    def complete_export(self, task_id: str) -> None:
        """Tell the service that the export is durable: it deletes its copy. Raises TaskMoved; may be repeated."""

    def cancel_export(self, task_id: str) -> None:
        """Give the lease back. Raises TaskMoved; may be repeated."""

    def fail_export(self, task_id: str, message: str) -> None:
        """End the task as failed; irreversible. Raises TaskMoved; may be repeated."""

    def projects(self) -> Sequence[Project]:
        """Return the account's projects."""

    def upload_project(self, path: Path) -> Project:
        """Upload an .alproj file. Raises FileRefused where the service refuses it."""

    def close(self) -> None:
        """Close connections; requests under way end with ServiceTrouble or OutcomeUnknown."""


class UploadService(Service, Protocol):
    """A service that makes tasks of uploads, where people may have to look at them (`splits_submissions`)."""

    def submit_together(self, name: str, parts: Sequence[tuple[Upload, BinaryIO]]) -> Task:
        """Send files as one upload of that name, as `submit` does one; at most `batch_limit` of one project."""

    def find_tasks_of(self, upload: TaskReference) -> UploadProgress:
        """Return the tasks an upload became so far. Raises TaskMoved(gone=True) where it is not known."""

    def complete_review(self, task: TaskReference) -> Task:
        """Say that people are done with a task; return it as the service shows it then. Raises TaskMoved."""

    def discard_task(self, task: TaskReference) -> Task:
        """Put a task aside that people look at; return it as the service shows it then. Raises TaskMoved."""

    def report_task(self, task: TaskReference, *, issues: Sequence[str], message: str) -> Task:
        """Report what is wrong with a task; return it as the service shows it then. Raises TaskMoved."""

    def move_upload(self, upload: TaskReference, folder_id: str) -> UploadProgress:
        """Move an upload to another folder of the service. Raises TaskMoved."""


class Ledger(Protocol):
    """What was seen, sent and exported: the queue, and the only truth after a crash.

    Any thread may call anything. `commit` and every method that changes something return once the change is durable
    (survives power loss), and raise LedgerUnavailable where it is not; then nothing of it happened. Reads see every
    change committed before they began. Writers gather: what arrives while a commit is under way shares the next one.
    """

    @property
    def ledger_id(self) -> str:
        """Return the id written into root markers: 32 hexadecimal digits, made with the ledger."""

    def commit(self, *changes: FileRecord | TaskRecord | RootRecord | Event) -> None:
        """Write all or nothing.

        A FileRecord or TaskRecord with version 1 is new, with version n replaces the row of version n-1; else
        StaleRecord, and nothing of the call is written. A RootRecord replaces what was known of that root. An
        Event is appended; it gets its id here. A second row with the same key or task id raises StaleRecord.
        """

    def claim(self, watch_folder: str, *, claimed_by: str, now: float) -> FileRecord | None:
        """Take the oldest ready file (by modification time, then key) of a watch folder and return it as `sending`.

        Left out: files whose task name is `sending` or `unknown` elsewhere in the same project, and files claimed.
        `now` becomes `state_at`; ready becomes False; `intent_at` None. None: nothing to do.
        """

    def file(self, key: str) -> FileRecord | None:
        """Return one file by its key."""

    def task(self, task_id: str) -> TaskRecord | None:
        """Return one task by its id."""

    def find_in_inbox(self, watch_folder: str, relative_paths: Sequence[str]) -> Mapping[str, Sequence[FileRecord]]:
        """Return the rows with `in_inbox` for each of up to 1,000 paths, newest first; paths without are left out."""

    def find_sent(self, watch_folder: str, identities: Sequence[str]) -> Mapping[str, FileRecord]:
        """Return rows that were or may have been sent, by up to 1,000 identities: not to be sent again.

        With `in_inbox`: sending, unknown, held or submitted; without: gone with a task before they could be filed.
        """

    def inbox_paths(self, watch_folder: str) -> Iterator[tuple[str, str, FileState]]:
        """Yield (relative path, key, state) of every row with `in_inbox`, in pages, memory does not grow."""

    def due_for_look(self, watch_folder: str, *, now: float, limit: int) -> Sequence[FileRecord]:
        """Return unsent rows, not ready, whose `look_at` (monotonic) is not after `now`, by look_at.

        Unsent: `waiting`, `stalled` or `ignored`.
        """

    def next_look(self, watch_folder: str) -> float | None:
        """Return the smallest `look_at` of those rows; None where there is none."""

    def forget_settling(self) -> None:
        """Set settling columns back: a process that starts cannot use another one's monotonic clock."""

    def find_files(
        self,
        *,
        watch_folder: str | None = None,
        states: Sequence[FileState] = (),
        relative_path: str | None = None,
        below: str = "",
        key_prefix: str = "",
        sha256: str = "",
        task_id: str = "",
        in_inbox: bool | None = None,
        to_file: bool | None = None,
        filed_from: float | None = None,
        filed_before: float | None = None,
        filing: str = "",
        limit: int = 1000,
        newest_first: bool = False,
    ) -> Sequence[FileRecord]:
        """Return files that meet every condition given; ordered by state_at, then key.

        `below`: of paths in that folder, at any depth. `to_file`: True for rows with a filing planned and not yet done
        (`filing` set, `filed_at` None).
        """

    def find_tasks(
        self,
        *,
        watch_folder: str | None = None,
        states: Sequence[TaskState] = (),
        file_key: str = "",
        upload_id: str = "",
        is_open: bool | None = None,
        is_started: bool = False,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> Sequence[TaskRecord]:
        """Return tasks that meet every condition given, by opened_at, then id.

        `is_open`: `ended_at` is None; `is_started`: only those whose `started_at` is not None.
        """

    def known_tasks(self, task_ids: Sequence[str]) -> Mapping[str, TaskRecord]:
        """Return the rows there are of these ids, by id."""

    def history(self, *, file_key: str = "", task_id: str = "", limit: int = 1000) -> Sequence[Event]:
        """Return events of a file or task (both: of either), oldest first; with neither, the newest, newest first."""

    def file_counts(self) -> Sequence[Count]:
        """Return counts of files in the inbox, or filed and with no task, per watch folder and state."""

    def task_counts(self) -> Sequence[Count]:
        """Return counts of tasks per watch folder and state."""

    def oldest_waiting(self) -> FileRecord | None:
        """Return the file that has waited longest (first_seen_at) among waiting and stalled ones."""

    def root(self, watch_folder: str, kind: RootKind) -> RootRecord | None:
        """Return what is known of a root."""

    def find_roots(self, kind: RootKind, path: str) -> Sequence[RootRecord]:
        """Return the roots known at a path, each under the name of a watch folder, ordered by it."""

    def rename_watch_folder(self, old: str, new: str) -> None:
        """Give every row of `old` the name `new`; nothing where `old` has none."""

    def ask(self, command: str, arguments: Mapping[str, Any], *, now: float) -> int:
        """Leave a request for the running agent and return its id."""

    def open_requests(self) -> Sequence[Request]:
        """Return requests without an answer, oldest first."""

    def answer(self, request_id: int, *, ok: bool, answer: Mapping[str, Any], now: float) -> None:
        """Answer a request."""

    def request(self, request_id: int) -> Request | None:
        """Return one request."""

    def put_note(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep one JSON document under a name (the agent's status, pauses), replacing the one before."""

    def note(self, name: str) -> Mapping[str, Any] | None:
        """Return the JSON document of that name."""

    def purge(self, *, before: float) -> int:
        """Delete what ended before that time (files with their ended tasks, events, requests) and return the rows."""

    def check(self) -> Sequence[str]:
        """Run the database's integrity check and return its complaints; empty: sound."""

    def close(self) -> None:
        """Finish what was handed over, then close; every later call raises LedgerUnavailable."""
