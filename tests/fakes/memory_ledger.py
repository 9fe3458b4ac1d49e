"""The Ledger in memory: the whole contract of `agent.ports.Ledger`, nothing durable.

`trouble` set to a LedgerError makes every change fail with it, as a full disk does; None: it works again.
"""

from __future__ import annotations

import copy
import json
import secrets
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from agent.errors import LedgerUnavailable, StaleRecord
from agent.model import (
    Count,
    Event,
    FileRecord,
    FileState,
    Request,
    RootKind,
    RootRecord,
    TaskRecord,
    TaskState,
)
from agent.rules.lifecycle import check_transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from agent.errors import LedgerError

T = TypeVar("T")

_SETTLING = (FileState.WAITING, FileState.STALLED, FileState.IGNORED)
_UNDER_WAY = (FileState.SENDING, FileState.UNKNOWN)
_SENT = (FileState.SENDING, FileState.UNKNOWN, FileState.HELD, FileState.SUBMITTED)
_ENDED = (FileState.ARCHIVED, FileState.DUPLICATE, FileState.REJECTED)


class _Tables:
    """The rows that one commit changes together."""

    def __init__(self) -> None:
        self.files: dict[str, FileRecord] = {}
        self.tasks: dict[str, TaskRecord] = {}
        self.roots: dict[tuple[str, RootKind], RootRecord] = {}
        self.events: list[Event] = []
        self.next_event = 1

    def put(self, record: FileRecord | TaskRecord | RootRecord | Event) -> None:
        if isinstance(record, FileRecord):
            self.files[record.key] = record
        elif isinstance(record, TaskRecord):
            self.tasks[record.task_id] = record
        elif isinstance(record, RootRecord):
            self.roots[record.watch_folder, record.kind] = record
        else:
            self.events.append(replace(record, id=self.next_event))
            self.next_event += 1


def _was_taken_away(file: FileRecord) -> bool:
    return file.state is FileState.GONE and bool(file.task_id) and not file.filing and file.filed_at is None


class MemoryLedger:
    """A Ledger without a file."""

    def __init__(self) -> None:
        self.trouble: LedgerError | None = None
        self._id = secrets.token_hex(16)
        self._lock = threading.RLock()
        self._tables = _Tables()
        self._requests: dict[int, Request] = {}
        self._next_request = 1
        self._notes: dict[str, str] = {}
        self._closed = False

    @property
    def ledger_id(self) -> str:
        return self._read(lambda: self._id)

    # --- changes

    def commit(self, *changes: FileRecord | TaskRecord | RootRecord | Event) -> None:
        if not changes:
            return

        def put_all() -> None:
            versions = {(type(r), _id(r)): self._version(r) for r in changes if isinstance(r, FileRecord | TaskRecord)}
            for record in changes:
                if isinstance(record, FileRecord | TaskRecord):
                    place = type(record), _id(record)
                    if versions[place] != record.version - 1:
                        raise StaleRecord("somebody else changed a record since it was read")
                    versions[place] = record.version
            for record in changes:
                self._check_life(record)
                self._tables.put(record)

        self._change(put_all)

    def claim(self, watch_folder: str, *, claimed_by: str, now: float) -> FileRecord | None:
        def take() -> FileRecord | None:
            under_way = {
                (file.project_id, file.task_name, file.key) for file in self._files() if file.state in _UNDER_WAY
            }
            free = [
                file
                for file in self._files()
                if file.watch_folder == watch_folder
                and file.ready
                and not file.claimed_by
                and not any(
                    (file.project_id, file.task_name) == (project, name) and file.key != key
                    for project, name, key in under_way
                )
            ]
            if not free:
                return None
            oldest = min(free, key=lambda file: (file.signature.modified_ns, file.key))
            claimed = oldest.change(
                state=FileState.SENDING, state_at=now, claimed_by=claimed_by, ready=False, intent_at=None
            )
            self._tables.files[claimed.key] = claimed
            return claimed

        return self._change(take)

    def forget_settling(self) -> None:
        def forget() -> None:
            for file in list(self._files()):
                if file.in_inbox and (file.unchanged_since, file.look_at, file.looks, file.ready) != (
                    None,
                    None,
                    0,
                    False,
                ):
                    self._tables.files[file.key] = file.change(unchanged_since=None, look_at=None, looks=0, ready=False)

        self._change(forget)

    def rename_watch_folder(self, old: str, new: str) -> None:
        def rename() -> None:
            tables = self._tables
            for file in [file for file in self._files() if file.watch_folder == old]:
                tables.files[file.key] = file.change(watch_folder=new)
            for task in [task for task in self._tasks() if task.watch_folder == old]:
                tables.tasks[task.task_id] = task.change(watch_folder=new)
            tables.events = [replace(e, watch_folder=new) if e.watch_folder == old else e for e in tables.events]
            for kind in RootKind:
                root = tables.roots.pop((old, kind), None)
                if root is not None:
                    tables.roots.setdefault((new, kind), replace(root, watch_folder=new))

        self._change(rename if old != new else lambda: None)

    def ask(self, command: str, arguments: Mapping[str, Any], *, now: float) -> int:
        def put() -> int:
            request_id, self._next_request = self._next_request, self._next_request + 1
            self._requests[request_id] = Request(request_id, command, _as_json(arguments), now)
            return request_id

        return self._change(put)

    def answer(self, request_id: int, *, ok: bool, answer: Mapping[str, Any], now: float) -> None:
        def put() -> None:
            request = self._requests.get(request_id)
            if request is None or request.done_at is not None:
                raise StaleRecord("the request is answered already or does not exist")
            self._requests[request_id] = replace(request, done_at=now, ok=ok, answer=_as_json(answer))

        self._change(put)

    def put_note(self, name: str, value: Mapping[str, Any]) -> None:
        def put() -> None:
            self._notes[name] = json.dumps(dict(value))

        self._change(put)

    def purge(self, *, before: float) -> int:
        def delete() -> int:
            tables, size = self._tables, self._size()
            blocking = {t.file_key for t in self._tasks() if t.ended_at is None or t.ended_at >= before}
            tables.files = {f.key: f for f in self._files() if not _has_ended(f, before) or f.key in blocking}
            tables.tasks = {
                task.task_id: task
                for task in self._tasks()
                if task.ended_at is None or task.ended_at >= before or task.file_key in tables.files
            }
            young = next((event.id for event in tables.events if event.at >= before), tables.next_event)
            tables.events = [
                event
                for event in tables.events
                if event.id >= young or event.file_key in tables.files or event.task_id in tables.tasks
            ]
            self._requests = {r.id: r for r in self._requests.values() if r.done_at is None or r.done_at >= before}
            return size - self._size()

        return self._change(delete)

    # --- files

    def file(self, key: str) -> FileRecord | None:
        return self._read(lambda: self._tables.files.get(key))

    def find_in_inbox(self, watch_folder: str, relative_paths: Sequence[str]) -> Mapping[str, Sequence[FileRecord]]:
        def find() -> dict[str, list[FileRecord]]:
            wanted = set(relative_paths)
            found: dict[str, list[FileRecord]] = {}
            for file in sorted(self._files(), key=lambda file: (file.first_seen_at, file.key), reverse=True):
                if file.in_inbox and file.watch_folder == watch_folder and file.relative_path in wanted:
                    found.setdefault(file.relative_path, []).append(file)
            return found

        return self._read(find)

    def find_sent(self, watch_folder: str, identities: Sequence[str]) -> Mapping[str, FileRecord]:
        def find() -> dict[str, FileRecord]:
            sent = [
                file
                for file in self._files()
                if file.watch_folder == watch_folder
                and ((file.in_inbox and file.state in _SENT) or _was_taken_away(file))
                and file.signature.identity in set(identities)
            ]
            sent.sort(key=lambda file: (file.in_inbox, file.first_seen_at, file.key))
            return {file.signature.identity: file for file in sent}

        return self._read(find)

    def inbox_paths(self, watch_folder: str) -> Iterator[tuple[str, str, FileState]]:
        files = self._read(lambda: [f for f in self._files() if f.in_inbox and f.watch_folder == watch_folder])
        for file in sorted(files, key=lambda file: (file.relative_path, file.key)):
            yield file.relative_path, file.key, file.state

    def due_for_look(self, watch_folder: str, *, now: float, limit: int) -> Sequence[FileRecord]:
        due = [(at, file) for at, file in self._looks(watch_folder) if at <= now]
        return [file for _, file in sorted(due, key=lambda pair: pair[0])[:limit]]

    def next_look(self, watch_folder: str) -> float | None:
        return min((at for at, _ in self._looks(watch_folder)), default=None)

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
        def meets(file: FileRecord) -> bool:
            return (
                watch_folder in (None, file.watch_folder)
                and (not states or file.state in states)
                and relative_path in (None, file.relative_path)
                and (not below or file.relative_path.startswith(f"{below}/"))
                and file.key.startswith(key_prefix)
                and sha256 in ("", file.sha256)
                and task_id in ("", file.task_id)
                and in_inbox in (None, file.in_inbox)
                and to_file in (None, bool(file.filing) and file.filed_at is None)
                and (filed_before is None or (file.filed_at is not None and file.filed_at < filed_before))
                and (filed_from is None or (file.filed_at is not None and file.filed_at >= filed_from))
                and filing in ("", file.filing)
            )

        files = self._read(lambda: [file for file in self._files() if meets(file)])
        return sorted(files, key=lambda file: (file.state_at, file.key), reverse=newest_first)[:limit]

    def file_counts(self) -> Sequence[Count]:
        return self._read(
            lambda: _counts(f for f in self._files() if f.in_inbox or (f.filed_at is not None and not f.task_id))
        )

    def oldest_waiting(self) -> FileRecord | None:
        waiting = self._read(lambda: [f for f in self._files() if f.state in (FileState.WAITING, FileState.STALLED)])
        return min(waiting, key=lambda file: (file.first_seen_at, file.key), default=None)

    # --- tasks

    def task(self, task_id: str) -> TaskRecord | None:
        return self._read(lambda: self._tables.tasks.get(task_id))

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
        def meets(task: TaskRecord) -> bool:
            return (
                watch_folder in (None, task.watch_folder)
                and (not states or task.state in states)
                and file_key in ("", task.file_key)
                and upload_id in ("", task.upload_id)
                and is_open in (None, task.ended_at is None)
                and (task.started_at is not None or not is_started)
            )

        tasks = self._read(lambda: [task for task in self._tasks() if meets(task)])
        return sorted(tasks, key=lambda task: (task.opened_at, task.task_id), reverse=newest_first)[:limit]

    def known_tasks(self, task_ids: Sequence[str]) -> Mapping[str, TaskRecord]:
        return self._read(lambda: {i: self._tables.tasks[i] for i in task_ids if i in self._tables.tasks})

    def task_counts(self) -> Sequence[Count]:
        return self._read(lambda: _counts(self._tasks()))

    # --- the rest

    def history(self, *, file_key: str = "", task_id: str = "", limit: int = 1000) -> Sequence[Event]:
        def find() -> list[Event]:
            if not file_key and not task_id:
                return self._tables.events[::-1][:limit]
            return [
                event
                for event in self._tables.events
                if (file_key and event.file_key == file_key) or (task_id and event.task_id == task_id)
            ][:limit]

        return self._read(find)

    def root(self, watch_folder: str, kind: RootKind) -> RootRecord | None:
        return self._read(lambda: self._tables.roots.get((watch_folder, kind)))

    def find_roots(self, kind: RootKind, path: str) -> Sequence[RootRecord]:
        roots = self._read(lambda: list(self._tables.roots.values()))
        return sorted((r for r in roots if (r.kind, r.path) == (kind, path)), key=lambda root: root.watch_folder)

    def open_requests(self) -> Sequence[Request]:
        return self._read(lambda: [copy.deepcopy(r) for r in self._requests.values() if r.done_at is None])

    def request(self, request_id: int) -> Request | None:
        return self._read(lambda: copy.deepcopy(self._requests.get(request_id)))

    def note(self, name: str) -> Mapping[str, Any] | None:
        def find() -> dict[str, Any] | None:
            value: dict[str, Any] | None = json.loads(self._notes.get(name, "null"))
            return value

        return self._read(find)

    def check(self) -> Sequence[str]:
        return self._read(list)

    def close(self) -> None:
        with self._lock:
            self._closed = True

    # --- inside

    def _files(self) -> Iterable[FileRecord]:
        return self._tables.files.values()

    def _tasks(self) -> Iterable[TaskRecord]:
        return self._tables.tasks.values()

    def _version(self, record: FileRecord | TaskRecord) -> int:
        """Return the version of the row now; 0: there is none."""
        if isinstance(record, FileRecord):
            known_file = self._tables.files.get(record.key)
            return known_file.version if known_file else 0
        known_task = self._tables.tasks.get(record.task_id)
        return known_task.version if known_task else 0

    def _check_life(self, record: FileRecord | TaskRecord | RootRecord | Event) -> None:
        """Fail the test of a stage that records a change of state the rules do not allow."""
        before: FileRecord | TaskRecord | None = None
        if isinstance(record, FileRecord):
            before = self._tables.files.get(record.key)
        elif isinstance(record, TaskRecord):
            before = self._tables.tasks.get(record.task_id)
        if before is not None and isinstance(record, FileRecord | TaskRecord):
            check_transition(before.state, record.state)

    def _size(self) -> int:
        tables = self._tables
        return len(tables.files) + len(tables.tasks) + len(tables.events) + len(self._requests)

    def _looks(self, watch_folder: str) -> list[tuple[float, FileRecord]]:
        return self._read(
            lambda: [
                (file.look_at, file)
                for file in self._files()
                if file.watch_folder == watch_folder
                and file.state in _SETTLING
                and not file.ready
                and file.look_at is not None
            ]
        )

    def _read(self, query: Callable[[], T]) -> T:
        with self._lock:
            if self._closed:
                raise LedgerUnavailable("the ledger is closed")
            return query()

    def _change(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._closed:
                raise LedgerUnavailable("the ledger is closed")
            if self.trouble is not None:
                raise copy.copy(self.trouble)
            return work()


def _id(record: FileRecord | TaskRecord) -> str:
    return record.key if isinstance(record, FileRecord) else record.task_id


def _has_ended(file: FileRecord, before: float) -> bool:
    if file.state_at >= before:
        return False
    filed = file.state in _ENDED and not file.in_inbox and file.filed_at is not None and file.filed_at < before
    return filed or file.state is FileState.GONE


def _counts(records: Iterable[FileRecord] | Iterable[TaskRecord]) -> list[Count]:
    times: dict[tuple[str, str], list[float]] = {}
    for record in records:
        times.setdefault((record.watch_folder, record.state.value), []).append(record.state_at)
    return [Count(folder, state, len(at), min(at)) for (folder, state), at in sorted(times.items())]


def _as_json(value: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return document
