"""Deletion of what ended long ago, in transactions so small that nobody waits for them.

Owns the walk over candidates; they are read without the write lock and deleted only where they still are what they
were. A crash in between leaves rows that the next purge takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from agent.ledger import changes, statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from agent.ledger.tables import Row

_BATCH = 500
_FROM_THE_BEGINNING = (float("-inf"), "")


class _Read(Protocol):
    def __call__(self, statement: str, *parameters: object) -> list[Row]: ...


class _Change(Protocol):
    def __call__(self, work: Callable[[sqlite3.Connection], int]) -> int: ...


def purge(*, read: _Read, change: _Change, before: float) -> int:
    """Delete files that were filed or are gone and whose task ended, such tasks, their events, answered requests.

    Files go first: a task stays as long as its file, an event as long as its file or task.
    """
    deleted = 0
    thrice = (before, before, before)
    for state in statements.ENDED_FILE_STATES:
        for page in _pages(read, statements.PURGEABLE_FILES, (state.value,), _FROM_THE_BEGINNING, thrice):
            keys = [key for _, key in page]
            deleted += change(changes.execute(statements.purge_files(len(keys)), (*keys, *thrice)))
    for page in _pages(read, statements.PURGEABLE_TASKS, (), _FROM_THE_BEGINNING, (before,)):
        ids = [task_id for _, task_id in page]
        deleted += change(changes.execute(statements.purge_tasks(len(ids)), (*ids, before)))
    young = read(statements.FIRST_YOUNG_EVENT, before) or read(statements.ID_AFTER_EVENTS)
    for page in _pages(read, statements.PURGEABLE_EVENTS, (), (0,), young[0]):
        deleted += change(changes.execute(statements.purge_events(len(page)), [row[0] for row in page]))
    return deleted + change(changes.execute(statements.PURGE_REQUESTS, (before,)))


def _pages(
    read: _Read, statement: str, head: tuple[Any, ...], place: tuple[Any, ...], tail: tuple[Any, ...]
) -> Iterator[list[Row]]:
    """Yield pages of rows; a row is the place after which the next page begins."""
    while page := read(statement, *head, *place, *tail, _BATCH):
        yield page
        place = page[-1]
