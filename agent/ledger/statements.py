"""Every statement of the ledger, in the SQL that SQLite and PostgreSQL share (ON CONFLICT, RETURNING).

`?` marks a parameter and stands for nothing else. Must not open connections or decide anything. The WHERE clause of
a partial index stands word for word in the statements that need it, else it is not used.
"""

# ruff: noqa: S608 -- only column names and counts are put into the text; every value is a parameter

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from agent.ledger.tables import FILE_COLUMNS, TASK_COLUMNS, escape
from agent.model import FileState, TaskState

if TYPE_CHECKING:
    from collections.abc import Sequence


def marks(count: int) -> str:
    """Return that many parameter marks."""
    return ", ".join("?" * count)


# --- files -----------------------------------------------------------------------------------------------------------

_FILES = ", ".join(FILE_COLUMNS)
INSERT_FILE = f"INSERT INTO files ({_FILES}) VALUES ({marks(len(FILE_COLUMNS))}) ON CONFLICT DO NOTHING"
UPDATE_FILE = f"UPDATE files SET {', '.join(f'{name} = ?' for name in FILE_COLUMNS[1:])} WHERE key = ? AND version = ?"


SELECT_FILES = f"SELECT {_FILES} FROM files"
FILE_BY_KEY = f"{SELECT_FILES} WHERE key = ?"
_TO_LOOK_AT = "ready = 0 AND state IN ('waiting', 'stalled', 'ignored') AND look_at IS NOT NULL AND watch_folder = ?"
DUE_FOR_LOOK = f"{SELECT_FILES} WHERE {_TO_LOOK_AT} AND look_at <= ? ORDER BY look_at LIMIT ?"
NEXT_LOOK = f"SELECT MIN(look_at) FROM files WHERE {_TO_LOOK_AT}"
_OLDEST_OF_STATE = f"SELECT {_FILES} FROM files WHERE state = '%s' ORDER BY first_seen_at, key LIMIT 1"
OLDEST_WAITING = (
    f"SELECT * FROM ({_OLDEST_OF_STATE % 'waiting'}) a UNION ALL SELECT * FROM ({_OLDEST_OF_STATE % 'stalled'}) b"
    " ORDER BY first_seen_at, key LIMIT 1"
)
INBOX_PAGE = (
    "SELECT relative_path, key, state FROM files WHERE in_inbox = 1 AND watch_folder = ?"
    " AND (relative_path, key) > (?, ?) ORDER BY relative_path, key LIMIT ?"
)
FORGET_SETTLING = (
    "UPDATE files SET unchanged_since = NULL, look_at = NULL, looks = 0, ready = 0, version = version + 1"
    " WHERE in_inbox = 1 AND (unchanged_since IS NOT NULL OR look_at IS NOT NULL OR looks <> 0 OR ready <> 0)"
)
FILE_COUNTS = (
    "SELECT watch_folder, state, COUNT(*), MIN(state_at) FROM files"
    " WHERE in_inbox = 1 OR (filed_at IS NOT NULL AND task_id = '')"
    " GROUP BY watch_folder, state ORDER BY watch_folder, state"
)


def files_in_inbox(count: int) -> str:
    """Return the statement of find_in_inbox for that many (padded) paths."""
    return (
        f"{SELECT_FILES} WHERE in_inbox = 1 AND watch_folder = ? AND relative_path IN ({marks(count)})"
        " ORDER BY first_seen_at DESC, key DESC"
    )


_TAKEN_AWAY = "state = 'gone' AND task_id <> '' AND filing = '' AND filed_at IS NULL"
"""Sent, and gone from the inbox before it could be filed."""


def files_sent(count: int) -> str:
    """Return the statement of find_sent for that many (padded) identities; parameters twice, folder first."""
    of_these = f"watch_folder = ? AND identity IN ({marks(count)})"
    return (
        f"{SELECT_FILES} WHERE in_inbox = 1 AND state IN ('sending', 'unknown', 'held', 'submitted') AND {of_these}"
        f" UNION ALL {SELECT_FILES} WHERE {_TAKEN_AWAY} AND {of_these} ORDER BY in_inbox, first_seen_at, key"
    )


# A claim looks at the oldest few first. Where all of those are blocked by their names (a thousand subfolders with one
# `scan.pdf` each), the names decide whether looking further is worth while: else every idle worker would walk them all.
_READY = "f.ready = 1 AND f.claimed_by = '' AND f.watch_folder = ?"
_OLDEST = "f.modified_seconds, f.modified_nanoseconds, f.key"


def _blocked(of: str) -> str:
    return (
        f"SELECT 1 FROM files o WHERE o.project_id = {of}.project_id AND o.task_name = {of}.task_name"
        " AND o.state IN ('sending', 'unknown')"
    )


CLAIM_WINDOW = 64
OLDEST_READY = (
    f"SELECT key FROM (SELECT f.key, f.project_id, f.task_name FROM files f WHERE {_READY}"
    f" ORDER BY {_OLDEST} LIMIT {CLAIM_WINDOW}) w WHERE NOT EXISTS ({_blocked('w')} AND o.key <> w.key) LIMIT 1"
)
READY_BEYOND = f"SELECT 1 FROM files f WHERE {_READY} ORDER BY {_OLDEST} LIMIT 1 OFFSET {CLAIM_WINDOW}"
FIRST_READY_NAME = (
    f"SELECT f.project_id, f.task_name FROM files f WHERE {_READY} ORDER BY f.project_id, f.task_name LIMIT 1"
)
NEXT_READY_NAME = (
    f"SELECT f.project_id, f.task_name FROM files f WHERE {_READY} AND (f.project_id, f.task_name) > (?, ?)"
    " ORDER BY f.project_id, f.task_name LIMIT 1"
)
NAME_UNDER_WAY = (
    "SELECT 1 FROM files WHERE project_id = ? AND task_name = ? AND state IN ('sending', 'unknown')"
    " AND ready = 0 LIMIT 1"
)
OLDEST_READY_OF_ALL = (
    f"SELECT f.key FROM files f WHERE {_READY} AND NOT EXISTS ({_blocked('f')} AND o.key <> f.key)"
    f" ORDER BY {_OLDEST} LIMIT 1"
)
CLAIM = (
    "UPDATE files SET state = 'sending', state_at = ?, claimed_by = ?, ready = 0, intent_at = NULL,"
    f" version = version + 1 WHERE key = ? RETURNING {_FILES}"
)

# --- tasks -----------------------------------------------------------------------------------------------------------

INSERT_TASK = (
    f"INSERT INTO tasks ({', '.join(TASK_COLUMNS)}) VALUES ({marks(len(TASK_COLUMNS))}) ON CONFLICT DO NOTHING"
)
UPDATE_TASK = (
    f"UPDATE tasks SET {', '.join(f'{name} = ?' for name in TASK_COLUMNS[1:])} WHERE task_id = ? AND version = ?"
)
SELECT_TASKS = f"SELECT {', '.join(TASK_COLUMNS)} FROM tasks"
TASK_BY_ID = f"{SELECT_TASKS} WHERE task_id = ?"
TASK_COUNTS = (
    "SELECT watch_folder, state, COUNT(*), MIN(state_at) FROM tasks"
    " GROUP BY watch_folder, state ORDER BY watch_folder, state"
)


def tasks_by_id(count: int) -> str:
    """Return the statement of known_tasks for that many (padded) ids."""
    return f"{SELECT_TASKS} WHERE task_id IN ({marks(count)})"


# --- files and tasks that meet conditions ----------------------------------------------------------------------------


Selection: TypeAlias = tuple[tuple[str, tuple[Any, ...]], ...]
"""Statements with their parameters, one for each state where an index over one state gives the order; to be merged."""


def select_files(
    *,
    watch_folder: str | None,
    states: Sequence[FileState],
    relative_path: str | None,
    below: str,
    key_prefix: str,
    sha256: str,
    task_id: str,
    in_inbox: bool | None,
    to_file: bool | None,
    filed_from: float | None,
    filed_before: float | None,
    filing: str,
    limit: int,
    newest_first: bool,
) -> Selection:
    """Return what answers `Ledger.find_files`.

    A condition with an index of its own leaves few rows, which are sorted; else each state is read in the order of
    its index, so that the newest twenty of a million cost twenty.
    """
    narrow = _narrow(relative_path, below=below, key_prefix=key_prefix, sha256=sha256, task_id=task_id)
    if to_file:
        narrow.append(("filing <> '' AND filed_at IS NULL", ()))
    wide: list[tuple[str, Sequence[Any]]] = []
    if to_file is False:
        wide.append(("NOT (filing <> '' AND filed_at IS NULL)", ()))
    wide += [
        (f"filed_at IS NOT NULL AND filed_at {comparison} ?", (time,))
        for comparison, time in ((">=", filed_from), ("<", filed_before))
        if time is not None
    ]
    if filing:
        wide.append(("filing = ?", (filing,)))
    if in_inbox is not None:
        wide.append((f"in_inbox = {int(in_inbox)}", ()))
    if watch_folder is not None:
        wide.append((f"{_hidden('watch_folder') if narrow else 'watch_folder'} = ?", (escape(watch_folder),)))
    filed_in_folder = filed_before is not None and bool(filing) and watch_folder is not None
    return _selection(
        SELECT_FILES,
        [*narrow, *wide],
        is_narrow=bool(narrow) or filed_in_folder,
        states=[state.value for state in states],
        all_states=[state.value for state in FileState],
        order=("state_at", "key"),
        limit=limit,
        newest_first=newest_first,
    )


def _narrow(
    relative_path: str | None, *, below: str, key_prefix: str, sha256: str, task_id: str
) -> list[tuple[str, Sequence[Any]]]:
    """Return the conditions that each have an index of their own."""
    narrow: list[tuple[str, Sequence[Any]]] = []
    if relative_path is not None:
        narrow.append(("relative_path = ?", (escape(relative_path),)))
    if below:
        first, last = f"{escape(below)}/", f"{escape(below)}0"  # `0` follows `/`
        narrow.append(("relative_path >= ? AND relative_path < ?", (first, last)))
    if key_prefix:
        narrow.append(("key >= ? AND key < ?", (key_prefix, key_prefix + "\U0010ffff")))
    if sha256:
        narrow.append(("sha256 <> '' AND sha256 = ?", (sha256,)))
    if task_id:
        narrow.append(("task_id <> '' AND task_id = ?", (escape(task_id),)))
    return narrow


def select_tasks(
    *,
    watch_folder: str | None,
    states: Sequence[TaskState],
    file_key: str,
    upload_id: str,
    is_open: bool | None,
    is_started: bool,
    limit: int,
    newest_first: bool,
) -> Selection:
    """Return what answers `Ledger.find_tasks`; open tasks, started ones and those of one file are few."""
    conditions: list[tuple[str, Sequence[Any]]] = []
    if file_key:
        conditions.append(("file_key <> '' AND file_key = ?", (file_key,)))
    if upload_id:
        conditions.append(("upload_id <> '' AND upload_id = ?", (escape(upload_id),)))
    if is_open is not None:
        conditions.append(("ended_at IS NULL" if is_open else "ended_at IS NOT NULL", ()))
    if is_started:
        conditions.append(("started_at IS NOT NULL", ()))
    if watch_folder is not None:
        conditions.append(
            (f"{_hidden('watch_folder') if file_key or upload_id else 'watch_folder'} = ?", (escape(watch_folder),))
        )
    return _selection(
        SELECT_TASKS,
        conditions,
        is_narrow=bool(file_key or upload_id or is_open or is_started),
        states=[state.value for state in states],
        all_states=[state.value for state in TaskState],
        order=("opened_at", "task_id"),
        limit=limit,
        newest_first=newest_first,
    )


def _selection(
    select: str,
    conditions: Sequence[tuple[str, Sequence[Any]]],
    *,
    is_narrow: bool,
    states: Sequence[str],
    all_states: Sequence[str],
    order: tuple[str, str],
    limit: int,
    newest_first: bool,
) -> Selection:
    direction = " DESC" if newest_first else ""
    tail = f" ORDER BY {order[0]}{direction}, {order[1]}{direction} LIMIT ?"
    where = [text for text, _ in conditions]
    parameters = [value for _, values in conditions for value in values]
    if is_narrow:
        if states:
            where.append(f"{_hidden('state')} IN ({marks(len(states))})")
            parameters.extend(states)
        return ((f"{select} WHERE {' AND '.join(where)}{tail}", (*parameters, limit)),)
    text = f"{select} WHERE {' AND '.join(['state = ?', *where])}{tail}"
    return tuple((text, (state, *parameters, limit)) for state in dict.fromkeys(states or all_states))


def _hidden(column: str) -> str:
    """Return the column so that no index over it is used: without statistics the planner likes two wide columns better
    than one narrow one, and reads a million rows.
    """
    return f"{column} || ''"


# --- events, roots, requests, notes ----------------------------------------------------------------------------------

_EVENTS = "at, watch_folder, name, detail, file_key, task_id"
INSERT_EVENT = f"INSERT INTO events ({_EVENTS}) VALUES ({marks(6)})"
_SELECT_EVENTS = f"SELECT {_EVENTS}, id FROM events"
_OF_FILE = "file_key <> '' AND file_key = ?"
_OF_TASK = "task_id <> '' AND task_id = ?"
HISTORY = f"{_SELECT_EVENTS} ORDER BY id DESC LIMIT ?"
HISTORY_OF_FILE = f"{_SELECT_EVENTS} WHERE {_OF_FILE} ORDER BY id LIMIT ?"
HISTORY_OF_TASK = f"{_SELECT_EVENTS} WHERE {_OF_TASK} ORDER BY id LIMIT ?"
HISTORY_OF_EITHER = f"{_SELECT_EVENTS} WHERE {_OF_FILE} UNION {_SELECT_EVENTS} WHERE {_OF_TASK} ORDER BY id LIMIT ?"

PUT_ROOT = (
    "INSERT INTO roots (watch_folder, kind, path, identity, marked) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (watch_folder, kind) DO UPDATE"
    " SET path = excluded.path, identity = excluded.identity, marked = excluded.marked"
)
_SELECT_ROOTS = "SELECT watch_folder, kind, path, identity, marked FROM roots"
ROOT = f"{_SELECT_ROOTS} WHERE watch_folder = ? AND kind = ?"
ROOTS_AT = f"{_SELECT_ROOTS} WHERE kind = ? AND path = ? ORDER BY watch_folder"
FORGET_ROOTS_OF = "DELETE FROM roots WHERE watch_folder = ?"

RENAMES = (
    "UPDATE files SET watch_folder = ?, version = version + 1 WHERE watch_folder = ?",
    "UPDATE tasks SET watch_folder = ?, version = version + 1 WHERE watch_folder = ?",
    "UPDATE events SET watch_folder = ? WHERE watch_folder = ?",
)
"""New name, old name. The version goes up: whoever holds a record would write the old name back."""
RENAME_ROOTS = (
    "UPDATE roots SET watch_folder = ? WHERE watch_folder = ?"
    " AND NOT EXISTS (SELECT 1 FROM roots n WHERE n.watch_folder = ? AND n.kind = roots.kind)"
)

_REQUESTS = "SELECT id, command, arguments, asked_at, done_at, ok, answer FROM requests"
ASK = "INSERT INTO requests (command, arguments, asked_at, ok, answer) VALUES (?, ?, ?, 0, '{}') RETURNING id"
OPEN_REQUESTS = f"{_REQUESTS} WHERE done_at IS NULL ORDER BY id"
REQUEST = f"{_REQUESTS} WHERE id = ?"
ANSWER = "UPDATE requests SET done_at = ?, ok = ?, answer = ? WHERE id = ? AND done_at IS NULL"

PUT_NOTE = "INSERT INTO notes (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
NOTE = "SELECT value FROM notes WHERE name = ?"

PUT_LEDGER_ID = "INSERT INTO about (name, value) VALUES ('ledger_id', ?) ON CONFLICT DO NOTHING"
LEDGER_ID = "SELECT value FROM about WHERE name = 'ledger_id'"

# --- purging: candidates are read without the write lock, and deleted only where they still are what they were --------

ENDED_FILE_STATES = (FileState.ARCHIVED, FileState.DUPLICATE, FileState.REJECTED, FileState.GONE)
_FILE_ENDED = (
    "state_at < ? AND (state = 'gone' OR (in_inbox = 0 AND filed_at IS NOT NULL AND filed_at < ?))"
    " AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.file_key <> '' AND t.file_key = files.key"
    " AND (t.ended_at IS NULL OR t.ended_at >= ?))"
)
PURGEABLE_FILES = (
    f"SELECT state_at, key FROM files WHERE state = ? AND (state_at, key) > (?, ?) AND {_FILE_ENDED}"
    " ORDER BY state_at, key LIMIT ?"
)
_TASK_ENDED = (
    "ended_at IS NOT NULL AND ended_at < ? AND NOT EXISTS (SELECT 1 FROM files f WHERE f.key = tasks.file_key)"
)
PURGEABLE_TASKS = (
    f"SELECT ended_at, task_id FROM tasks WHERE (ended_at, task_id) > (?, ?) AND {_TASK_ENDED}"
    " ORDER BY ended_at, task_id LIMIT ?"
)
# Ids ascend with time but for jumps of the clock: the first young event ends the walk, what is behind it comes later.
FIRST_YOUNG_EVENT = "SELECT id FROM events WHERE at >= ? ORDER BY id LIMIT 1"
ID_AFTER_EVENTS = "SELECT COALESCE(MAX(id), 0) + 1 FROM events"
PURGEABLE_EVENTS = (
    "SELECT id FROM events WHERE id > ? AND id < ?"
    " AND NOT EXISTS (SELECT 1 FROM files f WHERE f.key = events.file_key)"
    " AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.task_id = events.task_id) ORDER BY id LIMIT ?"
)
PURGE_REQUESTS = "DELETE FROM requests WHERE done_at IS NOT NULL AND done_at < ?"


def purge_files(count: int) -> str:
    """Return the statement that deletes that many files, given by key, where they still are ended."""
    return f"DELETE FROM files WHERE key IN ({marks(count)}) AND {_FILE_ENDED}"


def purge_tasks(count: int) -> str:
    """Return the statement that deletes that many tasks, given by id, where they still are ended."""
    return f"DELETE FROM tasks WHERE task_id IN ({marks(count)}) AND {_TASK_ENDED}"


def purge_events(count: int) -> str:
    """Return the statement that deletes that many events."""
    return f"DELETE FROM events WHERE id IN ({marks(count)})"
