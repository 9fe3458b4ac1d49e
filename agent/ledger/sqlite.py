"""The Ledger in one SQLite file.

Owns nothing but the division of work: reads go to a lent connection of the calling thread, changes to the one writer.
Must not decide about states; `agent.ports.Ledger` is the contract.
"""

from __future__ import annotations

import heapq
import json
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from agent.errors import LedgerUnavailable
from agent.ledger import changes, purging, statements, tables
from agent.ledger.connections import Readers
from agent.ledger.writer import Writer
from agent.model import FileState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from agent.ledger.changes import Change
    from agent.ledger.statements import Selection
    from agent.ledger.tables import Row
    from agent.model import Count, Event, FileRecord, Request, RootKind, RootRecord, TaskRecord, TaskState

T = TypeVar("T")

_PAGE = 1000


class SqliteLedger:
    """A Ledger. Several processes may have one file open; `attached` ones read, ask and leave notes only."""

    def __init__(self, path: Path, *, attached: bool = False) -> None:
        self.path = path
        self._attached = attached
        self._readers = Readers(path)
        self._writer = Writer(path)
        self._ledger_id = ""

    @property
    def transactions(self) -> int:
        """Return how many transactions this process committed: fewer than commits where those were gathered."""
        return self._writer.transactions

    @property
    def ledger_id(self) -> str:
        """Return the id made with the ledger; it never changes, so it is read once."""
        if not self._ledger_id:
            self._ledger_id = self._one(statements.LEDGER_ID)[0]
        return self._ledger_id

    # --- changes

    def commit(self, *records: Change) -> None:
        """Write all or nothing."""
        if records:
            steps = changes.steps_of(records)
            self._change(lambda connection: changes.write(connection, steps))

    def claim(self, watch_folder: str, *, claimed_by: str, now: float) -> FileRecord | None:
        """Take the oldest ready file of a watch folder."""
        row = self._change(
            partial(
                changes.claim,
                watch_folder=tables.escape(watch_folder),
                claimed_by=tables.escape(claimed_by),
                now=now,
            )
        )
        return tables.file_record(row) if row else None

    def forget_settling(self) -> None:
        """Set the settling columns of files in the inbox back to those of a file never looked at."""
        self._change(changes.execute(statements.FORGET_SETTLING))

    def rename_watch_folder(self, old: str, new: str) -> None:
        """Give every row of `old` the name `new`; roots known as `new` stay."""
        if old != new:
            self._change(partial(changes.rename_watch_folder, old=tables.escape(old), new=tables.escape(new)))

    def ask(self, command: str, arguments: Mapping[str, Any], *, now: float) -> int:
        """Leave a request for the running agent, from any process, and return its id."""
        parameters = (command, tables.document(arguments), now)
        return self._writer.run(lambda connection: int(connection.execute(statements.ASK, parameters).fetchone()[0]))

    def answer(self, request_id: int, *, ok: bool, answer: Mapping[str, Any], now: float) -> None:
        """Answer a request. Raises StaleRecord where it has an answer or was purged."""
        self._change(partial(changes.answer, parameters=(now, int(ok), tables.document(answer), request_id)))

    def put_note(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep one JSON document under a name, from any process."""
        self._writer.run(changes.execute(statements.PUT_NOTE, (tables.escape(name), tables.document(value))))

    def purge(self, *, before: float) -> int:
        """Delete what ended before that time, in small transactions; return rows."""
        return purging.purge(read=self._all, change=self._change, before=before)

    def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._attached:
            raise LedgerUnavailable(
                f"the ledger {self.path} was opened for reading; the running agent alone changes it"
            )
        return self._writer.run(work)

    # --- files

    def file(self, key: str) -> FileRecord | None:
        """Return one file by its key."""
        row = self._one(statements.FILE_BY_KEY, key)
        return tables.file_record(row) if row else None

    def find_in_inbox(self, watch_folder: str, relative_paths: Sequence[str]) -> Mapping[str, Sequence[FileRecord]]:
        """Return the rows in the inbox for each path, the one seen last first."""
        if not relative_paths:
            return {}
        paths = tables.padded(relative_paths)
        found: dict[str, list[FileRecord]] = {}
        for row in self._all(statements.files_in_inbox(len(paths)), tables.escape(watch_folder), *paths):
            record = tables.file_record(row)
            found.setdefault(record.relative_path, []).append(record)
        return found

    def find_sent(self, watch_folder: str, identities: Sequence[str]) -> Mapping[str, FileRecord]:
        """Return rows that were or may have been sent, by identity; of several one in the inbox, the last one seen."""
        if not identities:
            return {}
        wanted = tables.padded(identities)
        of_these = (tables.escape(watch_folder), *wanted)
        records = self._files(statements.files_sent(len(wanted)), *of_these, *of_these)
        return {record.signature.identity: record for record in records}

    def inbox_paths(self, watch_folder: str) -> Iterator[tuple[str, str, FileState]]:
        """Yield every row in the inbox, in pages: no transaction stays open between them."""
        folder = tables.escape(watch_folder)
        last_path = last_key = ""
        while page := self._all(statements.INBOX_PAGE, folder, last_path, last_key, _PAGE):
            for path, key, state in page:
                yield tables.unescape(path), key, FileState(state)
            last_path, last_key, _ = page[-1]

    def due_for_look(self, watch_folder: str, *, now: float, limit: int) -> Sequence[FileRecord]:
        """Return settling rows whose time to be looked at has come."""
        return self._files(statements.DUE_FOR_LOOK, tables.escape(watch_folder), now, limit)

    def next_look(self, watch_folder: str) -> float | None:
        """Return when the next settling row is to be looked at."""
        row = self._one(statements.NEXT_LOOK, tables.escape(watch_folder))
        at: float | None = row[0]
        return at

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
        """Return files that meet every condition given; ordered by state_at, then key."""
        selection = statements.select_files(
            watch_folder=watch_folder,
            states=states,
            relative_path=relative_path,
            below=below,
            key_prefix=key_prefix,
            sha256=sha256,
            task_id=task_id,
            in_inbox=in_inbox,
            to_file=to_file,
            filed_from=filed_from,
            filed_before=filed_before,
            filing=filing,
            limit=limit,
            newest_first=newest_first,
        )
        return self._merged(
            selection, tables.file_record, lambda record: (record.state_at, record.key), limit, newest_first
        )

    def file_counts(self) -> Sequence[Count]:
        """Return counts of files in the inbox, or filed and with no task, per watch folder and state."""
        return [tables.count_record(row) for row in self._all(statements.FILE_COUNTS)]

    def oldest_waiting(self) -> FileRecord | None:
        """Return the file that has waited longest."""
        files = self._files(statements.OLDEST_WAITING)
        return files[0] if files else None

    # --- tasks

    def task(self, task_id: str) -> TaskRecord | None:
        """Return one task by its id."""
        row = self._one(statements.TASK_BY_ID, tables.escape(task_id))
        return tables.task_record(row) if row else None

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
        """Return tasks that meet every condition given; ordered by opened_at, then id."""
        selection = statements.select_tasks(
            watch_folder=watch_folder,
            states=states,
            file_key=file_key,
            upload_id=upload_id,
            is_open=is_open,
            is_started=is_started,
            limit=limit,
            newest_first=newest_first,
        )
        return self._merged(
            selection, tables.task_record, lambda record: (record.opened_at, record.task_id), limit, newest_first
        )

    def known_tasks(self, task_ids: Sequence[str]) -> Mapping[str, TaskRecord]:
        """Return the rows of these ids."""
        records: list[TaskRecord] = []
        for start in range(0, len(task_ids), _PAGE):
            ids = tables.padded(task_ids[start : start + _PAGE])
            records += [tables.task_record(row) for row in self._all(statements.tasks_by_id(len(ids)), *ids)]
        return {record.task_id: record for record in records}

    def task_counts(self) -> Sequence[Count]:
        """Return counts of tasks per watch folder and state."""
        return [tables.count_record(row) for row in self._all(statements.TASK_COUNTS)]

    # --- the rest

    def history(self, *, file_key: str = "", task_id: str = "", limit: int = 1000) -> Sequence[Event]:
        """Return events of a file or task, oldest first; with neither, the newest, newest first."""
        task = tables.escape(task_id)
        if file_key and task:
            rows = self._all(statements.HISTORY_OF_EITHER, file_key, task, limit)
        elif file_key:
            rows = self._all(statements.HISTORY_OF_FILE, file_key, limit)
        elif task:
            rows = self._all(statements.HISTORY_OF_TASK, task, limit)
        else:
            rows = self._all(statements.HISTORY, limit)
        return [tables.event_record(row) for row in rows]

    def root(self, watch_folder: str, kind: RootKind) -> RootRecord | None:
        """Return what is known of a root."""
        row = self._one(statements.ROOT, tables.escape(watch_folder), kind.value)
        return tables.root_record(row) if row else None

    def find_roots(self, kind: RootKind, path: str) -> Sequence[RootRecord]:
        """Return the roots known at a path, ordered by watch folder."""
        return [tables.root_record(row) for row in self._all(statements.ROOTS_AT, kind.value, tables.escape(path))]

    def open_requests(self) -> Sequence[Request]:
        """Return requests without an answer, oldest first."""
        return [tables.request_record(row) for row in self._all(statements.OPEN_REQUESTS)]

    def request(self, request_id: int) -> Request | None:
        """Return one request."""
        row = self._one(statements.REQUEST, request_id)
        return tables.request_record(row) if row else None

    def note(self, name: str) -> Mapping[str, Any] | None:
        """Return the JSON document of that name."""
        row = self._one(statements.NOTE, tables.escape(name))
        if row is None:
            return None
        value: dict[str, Any] = json.loads(row[0])
        return value

    def check(self) -> Sequence[str]:
        """Run SQLite's integrity check; a database too broken for it raises LedgerDamaged."""
        return [row[0] for row in self._all("PRAGMA integrity_check") if row[0] != "ok"]

    def close(self) -> None:
        """Finish what was handed over, then close; every later call raises LedgerUnavailable."""
        self._readers.close()
        self._writer.close()

    # --- reading

    def _all(self, statement: str, *parameters: object) -> list[Row]:
        with self._readers.lend() as connection:
            return connection.execute(statement, parameters).fetchall()

    def _one(self, statement: str, *parameters: object) -> Any:
        with self._readers.lend() as connection:
            return connection.execute(statement, parameters).fetchone()

    def _files(self, statement: str, *parameters: object) -> list[FileRecord]:
        return [tables.file_record(row) for row in self._all(statement, *parameters)]

    def _merged(
        self,
        selection: Selection,
        record_of: Callable[[Row], T],
        order: Callable[[T], Any],
        limit: int,
        newest_first: bool,
    ) -> list[T]:
        """Return what the statements find, of one moment, in one order."""
        with self._readers.lend() as connection:
            connection.execute("BEGIN")
            parts = [connection.execute(statement, parameters).fetchall() for statement, parameters in selection]
            connection.execute("COMMIT")
        sorted_parts = [[record_of(row) for row in part] for part in parts if part]
        return list(islice(heapq.merge(*sorted_parts, key=order, reverse=newest_first), limit))
