"""Connections to the SQLite file: how each is set up, a pool of reading ones, and what SQLite's errors mean.

Owns every `sqlite3.connect`. Must not know records. One connection of the process writes (writer.py), the others are
`query_only`; only the writing one makes checkpoints while the ledger is open.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent.errors import LedgerDamaged, LedgerError, LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_SECONDS = 10.0
"""How long a connection waits for another process that writes."""

CHECKPOINT_PAGES = 4000
"""The write-ahead log is copied into the database whenever it has grown by this many pages (16 MB)."""

RESTORE_HINT = (
    "Restore it from a backup; or move it away and run 'fsagent adopt --all' to start anew: files in the inboxes are"
    " then sent, nothing in archive/ is."
)

_PERHAPS_NO_ROOM = frozenset(
    {
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_CLOSE,
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    }
)
_PROBE_BYTES = 64 * 1024
_ERROR_DISK_QUOTA_EXCEEDED = 1295

_KEPT_IDLE = 8
_CLOSE_SECONDS = 10.0


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the file for writing: what COMMIT acknowledges survives power loss (WAL with FULL)."""
    return _connect(
        path,
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = OFF",
        "cache_size = -8000",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
    )


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open the file for queries only."""
    return _connect(path, "query_only = ON", "wal_autocheckpoint = 0")


def _connect(path: Path, *pragmas: str) -> sqlite3.Connection:
    # mode=rw: a ledger that was deleted must be missed, not replaced by an empty one. Connections wander between
    # threads, one at a time.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def meaning(error: Exception, path: Path) -> LedgerError:
    """Return the error of our tree that an error of SQLite or of the file system stands for."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerDamaged(f"the ledger {path} is damaged: {error}", hint=RESTORE_HINT)
    if no_room := _no_room(error, path):
        return LedgerUnavailable(
            f"the ledger {path} cannot be written: {no_room}",
            hint="Free space on its disk, or have the quota raised; work then goes on.",
            is_full=True,
        )
    if primary == sqlite3.SQLITE_BUSY:
        return LedgerUnavailable(f"the ledger {path} is locked by another process")
    said = getattr(error, "strerror", None) or error
    return LedgerUnavailable(
        f"the ledger {path} cannot be used now: {said}", hint="Look at its disk and at the rights of its folder."
    )


def _no_room(error: Exception, path: Path) -> str:
    """Return in words that an error comes from a full disk or a quota that is used up; "" where it does not.

    SQLite knows one errno of these, ENOSPC. The others are I/O errors to it, or a file that cannot be opened, and
    Python does not tell which errno they had: a file beside the ledger meets the same one.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return _room_words(error)
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return "the disk is full"
    if code in _PERHAPS_NO_ROOM or code & 0xFF == sqlite3.SQLITE_CANTOPEN:
        probe = path.with_name(path.name + ".probe")
        try:
            _fill(probe)
        except OSError as met:
            return _room_words(met)
    return ""


def _room_words(error: Exception) -> str:
    number, code = getattr(error, "errno", None), getattr(error, "winerror", None)
    if number == getattr(errno, "EDQUOT", -1) or code == _ERROR_DISK_QUOTA_EXCEEDED:
        return "the disk quota of the agent's account is used up"
    return "the disk is full" if number == errno.ENOSPC else ""


def _fill(probe: Path) -> None:
    """Write a little to the disk, and take it away again. Raises OSError."""
    handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        try:
            # Random: a file system that compresses would find room for zeros.
            os.write(handle, os.urandom(_PROBE_BYTES))
            os.fsync(handle)  # with a share or delayed allocation the quota is asked here only
        finally:
            os.close(handle)
    finally:
        probe.unlink(missing_ok=True)


class Readers:
    """Reading connections, made when needed and lent to one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._returned = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._lent: set[sqlite3.Connection] = set()
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection. Raises LedgerUnavailable or LedgerDamaged for what SQLite raises inside."""
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)
        except sqlite3.Error as error:
            raise meaning(error, self._path) from error

    def _take(self) -> sqlite3.Connection:
        with self._returned:
            if self._closed:
                raise LedgerUnavailable(f"the ledger {self._path} is closed")
            connection = self._idle.pop() if self._idle else connect_reader(self._path)
            self._lent.add(connection)
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with self._returned:
            self._lent.discard(connection)
            if self._closed or len(self._idle) >= _KEPT_IDLE:
                connection.close()
            else:
                self._idle.append(connection)
            self._returned.notify_all()

    def close(self) -> None:
        """Close all; queries under way end first, those that last are interrupted."""
        with self._returned:
            self._closed = True
            if not self._returned.wait_for(lambda: not self._lent, _CLOSE_SECONDS):
                for connection in self._lent:
                    connection.interrupt()
                self._returned.wait_for(lambda: not self._lent, _CLOSE_SECONDS)
            while self._idle:
                self._idle.pop().close()
