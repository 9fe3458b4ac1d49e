"""How a ledger is made, checked and opened; the only place that decides a file is no ledger.

Owns the file's name, rights and first check. The caller holds the lock of the state_dir while it opens with `create`
or to change; `open_ledger_readonly` needs none.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from agent.errors import LedgerDamaged, LedgerError, LedgerMissing, LedgerTooNew, LedgerUnavailable
from agent.ledger import statements
from agent.ledger.connections import RESTORE_HINT, connect_reader, connect_writer, meaning
from agent.ledger.migrations import APPLICATION_ID, VERSION, migrate, schema_version
from agent.ledger.network import network_file_system
from agent.ledger.sqlite import SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEDGER_NAME = "ledger.sqlite3"

_HEADER = b"SQLite format 3\x00"
_HEADER_BYTES = 100
_MEBIBYTE = 1024 * 1024
_CHECKED_AFTER_A_CRASH = 256 * _MEBIBYTE
_CHECKED_ALWAYS = 16 * _MEBIBYTE
"""Sizes up to which `quick_check` runs at opening (about 0.3 s for 100 MB); larger ones only on demand (`check`)."""


def ledger_exists(state_dir: Path) -> bool:
    """Tell whether there is a file that should be a ledger."""
    return os.path.lexists(state_dir / LEDGER_NAME)


def open_ledger(
    state_dir: Path,
    *,
    create: bool,
    network: Callable[[Path], str | None] = network_file_system,
) -> SqliteLedger:
    """Open the ledger for the agent; with `create`, make the folder (0700, where its parent exists) and the ledger.

    Raises LedgerMissing, LedgerDamaged, LedgerTooNew, LedgerUnavailable, or LedgerError on a network file system.
    """
    path = state_dir / LEDGER_NAME
    if create:
        make_state_dir(state_dir)
    elif not ledger_exists(state_dir):
        raise _missing(path)
    if found := network(state_dir):
        raise LedgerError(
            f"the state_dir {state_dir} lies on {found}, where a ledger breaks",
            hint="Set state_dir to a folder on a local disk; inboxes and outputs may stay on the share.",
        )
    try:
        if not ledger_exists(state_dir):
            _make_ledger(path)
        _check(path)
        with closing(connect_writer(path)) as connection:
            migrate(connection)
        _protect(path)
    except (sqlite3.Error, OSError) as error:
        raise meaning(error, path) from error
    return SqliteLedger(path)


def open_ledger_readonly(state_dir: Path) -> SqliteLedger:
    """Open the ledger beside a running agent: for reading, `ask` and `put_note`; nothing is checked or migrated.

    Raises as `open_ledger`; LedgerError where an older version wrote it.
    """
    path = state_dir / LEDGER_NAME
    if not ledger_exists(state_dir):
        raise _missing(path)
    try:
        _check_header(path)
        with closing(connect_reader(path)) as connection:
            version = _checked_version(connection, path)
    except (sqlite3.Error, OSError) as error:
        raise meaning(error, path) from error
    if version < VERSION:
        raise LedgerError(
            f"the ledger {path} was written by an older version of fsagent (schema {version}, this one has {VERSION})",
            hint="Restart the agent with this version: it brings the ledger up to date.",
        )
    return SqliteLedger(path, attached=True)


def _missing(path: Path) -> LedgerMissing:
    return LedgerMissing(
        f"there is no ledger {path}",
        hint="Restore it from a backup; or start anew with 'fsagent adopt --all': nothing in archive/ is sent then.",
    )


def make_state_dir(state_dir: Path) -> None:
    """Make the state_dir (0700) where its parent exists. Raises LedgerUnavailable."""
    if state_dir.is_dir():
        return
    try:
        state_dir.mkdir(mode=0o700)
    except FileExistsError as error:
        raise LedgerUnavailable(
            f"the state_dir {state_dir} is no folder", hint="Move away what has its name, or set state_dir."
        ) from error
    except OSError as error:
        raise LedgerUnavailable(
            f"the state_dir {state_dir} cannot be made: {error.strerror}",
            hint="Make its parent folder, see that this account may write there, or set state_dir.",
        ) from error


def _make_ledger(path: Path) -> None:
    """Make a whole ledger beside the place and move it there: a crash leaves none, never half of one.

    Two at a time cannot be here: the lock of the state_dir is held.
    """
    new = path.with_name(path.name + ".new")
    for leftover in (new, new.with_name(new.name + "-wal"), new.with_name(new.name + "-shm")):
        leftover.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(connect_writer(new)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(connection)
        connection.execute(statements.PUT_LEDGER_ID, (secrets.token_hex(16),))
    _make_name_durable(path.parent)
    new.rename(path)  # closing the last connection has synced the file and removed its log
    _sync_folder(path.parent)


def _make_name_durable(state_dir: Path) -> None:
    """See that a power loss leaves the folder there in which a ledger is about to be, whoever made it."""
    try:
        _sync_folder(state_dir.parent)
    except PermissionError:
        return  # a folder this account may walk through and not read: it has made nothing in it
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some file systems know no fsync of folders
            raise


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows has no handle for it to give; NTFS journals the rename
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _protect(path: Path) -> None:
    """Take rights from others that a copy or a restore may have given; the log's files inherit them."""
    if os.name != "nt" and path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _check(path: Path) -> None:
    _check_header(path)
    after_a_crash = path.with_name(path.name + "-wal").exists()
    size = path.stat().st_size
    with closing(connect_reader(path)) as connection:
        _checked_version(connection, path)
        if size > (_CHECKED_AFTER_A_CRASH if after_a_crash else _CHECKED_ALWAYS):
            return
        complaint = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if complaint != "ok":
        raise _damaged(path, complaint)


def _check_header(path: Path) -> None:
    """Look at the file without SQLite, which takes an empty file for an empty database and may not miss cut pages."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    if len(header) < _HEADER_BYTES or not header.startswith(_HEADER):
        raise _damaged(path, "it is not a database")
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    # While there is a log the file may rightly be shorter: a checkpoint writes page 1 before the last ones.
    logged = path.with_name(path.name + "-wal")
    if size < page * pages and not (logged.exists() and logged.stat().st_size):
        raise _damaged(path, f"it is cut: {size} of {page * pages} bytes")


def _checked_version(connection: sqlite3.Connection, path: Path) -> int:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise _damaged(path, "it is another program's database")
    version = schema_version(connection)
    if version > VERSION:
        raise LedgerTooNew(
            f"the ledger {path} was written by a newer version of fsagent (schema {version}, this one knows {VERSION})",
            hint="Install that version again, or restore the backup made before it was installed.",
        )
    if version < 1:
        raise _damaged(path, "it has no tables")
    return version


def _damaged(path: Path, why: str) -> LedgerDamaged:
    return LedgerDamaged(f"the ledger {path} is damaged: {why}", hint=RESTORE_HINT)
