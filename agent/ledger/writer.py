"""The one thread that writes, with group commit: what gathers while a commit is under way shares the next one.

Owns the writing connection, transactions and checkpoints. Must not know records: work is a function of a connection.
A commit costs one fsync however many share it; nobody is told "done" before that fsync.
"""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from agent.errors import LedgerError, LedgerUnavailable
from agent.ledger.connections import BUSY_SECONDS, connect_writer, meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")

_IDLE_SECONDS = 2.0
"""Quiet time after which the write-ahead log is emptied."""

_CLOSE_SECONDS = 30.0

# What speaks against the record, not against the ledger: only its own caller hears of it.
_OF_THE_ITEM = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
)


@dataclass(eq=False, slots=True)
class _Item:
    work: Callable[[sqlite3.Connection], Any]
    future: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


class Writer:
    """Runs work inside transactions, in order of arrival; starts its thread with the first.

    Work may be run twice (once rolled back), so it has no effect but on its connection.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connect: Callable[[Path], sqlite3.Connection] = connect_writer
        self._idle_seconds = _IDLE_SECONDS
        self._arrival = threading.Condition()
        self._items: list[_Item] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        self.transactions = 0
        """Transactions committed so far."""

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run the work in a transaction and return its result once that is durable.

        What the work raises is raised here, with nothing of it written; LedgerUnavailable where the ledger cannot
        be written.
        """
        item = _Item(work)
        with self._arrival:
            if self._closed:
                raise LedgerUnavailable(f"the ledger {self._path} is closed")
            if self._thread is None:
                self._thread = self._begin_thread()
            self._items.append(item)
            self._arrival.notify()
        result: T = item.future.result()
        return result

    def _begin_thread(self) -> threading.Thread:
        """Return the thread, begun: who hands over to one that is not would wait for ever."""
        thread = threading.Thread(target=self._serve, name="ledger-writer", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise LedgerUnavailable(
                f"the ledger {self._path} cannot be written: {error}",
                hint="raise the limit of processes and threads of this account or service",
            ) from error
        return thread

    def close(self) -> None:
        """Finish what was handed over, empty the write-ahead log and close the connection.

        Raises LedgerUnavailable where the disk hangs; what was not finished was not acknowledged either.
        """
        with self._arrival:
            self._closed = True
            self._arrival.notify()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)
            if self._thread.is_alive():
                raise LedgerUnavailable(f"the ledger {self._path} did not finish its writes in {_CLOSE_SECONDS:.0f} s")

    def _serve(self) -> None:
        untidy = False
        while True:
            with self._arrival:
                arrived = self._arrival.wait_for(
                    lambda: self._items or self._closed, timeout=self._idle_seconds if untidy else None
                )
                items, self._items = self._items, []
            if items:
                self._commit(items)
                untidy = True
                continue
            self._tidy()
            untidy = False
            if arrived:
                self._drop_connection()
                return

    def _commit(self, items: Sequence[_Item]) -> None:
        try:
            outcomes = self._write(items)
        except Exception as error:  # noqa: BLE001 -- whatever it is, each caller must hear of it, and the thread lives
            explained = self._explained(error)  # first: what is dropped may give the disk room
            self._drop_connection()
            if isinstance(explained, LedgerUnavailable) and explained.is_full:
                self._make_room()
            for item in items:
                item.future.set_exception(_another(explained))
            return
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, _Failure):
                item.future.set_exception(outcome.error)
            else:
                item.future.set_result(outcome)

    def _write(self, items: Sequence[_Item]) -> list[Any]:
        """Try all without savepoints, which would double the statements; where one fails, all again, each by itself."""
        if self._connection is None:
            self._connection = self._connect(self._path)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes: list[Any] = [item.work(connection) for item in items]
        except Exception as error:
            if _of_the_ledger(error):
                raise  # and the connection is dropped, which rolls back
            connection.execute("ROLLBACK")
            if len(items) == 1:
                return [_Failure(self._explained(error))]
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._write_alone(connection, item) for item in items]
        connection.execute("COMMIT")
        self.transactions += 1
        return outcomes

    def _write_alone(self, connection: sqlite3.Connection, item: _Item) -> Any:
        connection.execute("SAVEPOINT item")
        try:
            outcome = item.work(connection)
        except Exception as error:
            if _of_the_ledger(error):
                raise
            connection.execute("ROLLBACK TO item")
            outcome = _Failure(self._explained(error))
        connection.execute("RELEASE item")
        return outcome

    def _explained(self, error: Exception) -> Exception:
        """Return what an error means to whoever handed the work over."""
        if isinstance(error, _OF_THE_ITEM):
            explained: Exception = LedgerError(f"the ledger {self._path} cannot hold this record: {error}")
        elif isinstance(error, sqlite3.Error | OSError):
            explained = meaning(error, self._path)
        else:
            return error
        explained.__cause__ = error
        return explained

    def _make_room(self) -> None:
        """Give a full disk back what the write-ahead log takes: up to 16 MB, perhaps the very ones that are missing."""
        with suppress(sqlite3.Error):  # whether it can be opened is for the next who writes to say
            self._connection = self._connect(self._path)
            self._tidy()

    def _tidy(self) -> None:
        """Empty the write-ahead log where no reader needs it; what cannot be done now is done by a later checkpoint."""
        if self._connection is None:
            return
        try:
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        except sqlite3.Error:
            self._drop_connection()

    def _drop_connection(self) -> None:
        """Close the connection, which rolls back; after an I/O error nothing it holds in memory may be trusted."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _another(error: Exception) -> Exception:
    """Return an error like this for one caller; several threads must not raise the same object."""
    if not isinstance(error, LedgerError):
        return error
    another = copy(error)
    another.__cause__ = error.__cause__
    return another


def _of_the_ledger(error: Exception) -> bool:
    return isinstance(error, sqlite3.Error) and not isinstance(error, _OF_THE_ITEM)
