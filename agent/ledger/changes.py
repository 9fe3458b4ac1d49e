"""What is done inside one transaction of the writer: records, claims, renames, deletions.

Owns the order of statements and the check that a row still is what its record says. Every function takes the writing
connection, may be run again after a rollback, and must not begin or end transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from agent.errors import StaleRecord
from agent.ledger import statements, tables
from agent.model import Event, FileRecord, RootRecord, TaskRecord

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from agent.ledger.tables import Row

Change: TypeAlias = FileRecord | TaskRecord | RootRecord | Event
Step: TypeAlias = "tuple[str, list[Row], bool]"

_NAMES_LOOKED_AT = 64


def steps_of(changes: Sequence[Change]) -> list[Step]:
    """Return statements with their rows, equal statements in a row together; made by the caller's thread."""
    steps: list[Step] = []
    for change in changes:
        statement, row, exact = _step_of(change)
        if steps and steps[-1][0] is statement:
            steps[-1][1].append(row)
        else:
            steps.append((statement, [row], exact))
    return steps


def _step_of(change: Change) -> tuple[str, Row, bool]:
    if isinstance(change, FileRecord):
        if change.version == 1:
            return statements.INSERT_FILE, tables.file_row(change), True
        return statements.UPDATE_FILE, tables.file_change(change), True
    if isinstance(change, TaskRecord):
        if change.version == 1:
            return statements.INSERT_TASK, tables.task_row(change), True
        return statements.UPDATE_TASK, tables.task_change(change), True
    if isinstance(change, RootRecord):
        return statements.PUT_ROOT, tables.root_row(change), False
    return statements.INSERT_EVENT, tables.event_row(change), False


def write(connection: sqlite3.Connection, steps: Sequence[Step]) -> None:
    """Write the rows. Raises StaleRecord where a new row exists already or an old one has another version."""
    for statement, rows, exact in steps:
        written = connection.executemany(statement, rows).rowcount
        if exact and written != len(rows):
            raise StaleRecord("somebody else changed a record since it was read")


def claim(connection: sqlite3.Connection, *, watch_folder: str, claimed_by: str, now: float) -> Row | None:
    """Take the oldest ready file whose name is not under way elsewhere in its project."""
    found = connection.execute(statements.OLDEST_READY, (watch_folder,)).fetchone()
    if found is None and _worth_looking_further(connection, watch_folder):
        found = connection.execute(statements.OLDEST_READY_OF_ALL, (watch_folder,)).fetchone()
    if found is None:
        return None
    row: Row = connection.execute(statements.CLAIM, (now, claimed_by, found[0])).fetchone()
    return row


def _worth_looking_further(connection: sqlite3.Connection, watch_folder: str) -> bool:
    """Tell whether a ready file beyond the oldest few may be free: by its name, of which there may be few."""
    if connection.execute(statements.READY_BEYOND, (watch_folder,)).fetchone() is None:
        return False
    name = connection.execute(statements.FIRST_READY_NAME, (watch_folder,)).fetchone()
    for _ in range(_NAMES_LOOKED_AT):
        if name is None:
            return False
        if connection.execute(statements.NAME_UNDER_WAY, name).fetchone() is None:
            return True
        name = connection.execute(statements.NEXT_READY_NAME, (watch_folder, *name)).fetchone()
    return True


def rename_watch_folder(connection: sqlite3.Connection, *, old: str, new: str) -> None:
    """Give every row the new name; a root known under the new name stays what it is."""
    for statement in statements.RENAMES:
        connection.execute(statement, (new, old))
    connection.execute(statements.RENAME_ROOTS, (new, old, new))
    connection.execute(statements.FORGET_ROOTS_OF, (old,))


def answer(connection: sqlite3.Connection, parameters: Row) -> None:
    """Answer a request. Raises StaleRecord where there is none without an answer."""
    if connection.execute(statements.ANSWER, parameters).rowcount != 1:
        raise StaleRecord("the request is answered already or does not exist")


def execute(statement: str, parameters: Sequence[object] = ()) -> Callable[[sqlite3.Connection], int]:
    """Return work that runs one statement and returns how many rows it changed."""
    return lambda connection: connection.execute(statement, tuple(parameters)).rowcount
