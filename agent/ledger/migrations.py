"""The ledger's schema, one numbered migration after the other; a migration that was released is never edited again.

Owns the shape of the tables and the version in `user_version`; must not know records. Types are chosen so that
PostgreSQL reads them the same way: BIGINT and DOUBLE PRECISION are 64 bits wide there too, booleans are SMALLINT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

APPLICATION_ID = 0x66736167
"""`fsag`, in SQLite's header: tells a ledger from somebody else's database."""

# Every index serves one question of `agent.ports.Ledger`, so that it stays quick with a million rows; what only rows
# in some states are asked for is a partial index, which costs the others nothing.
_FIRST = (
    """CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)""",
    """CREATE TABLE files (
        key TEXT PRIMARY KEY,
        watch_folder TEXT NOT NULL,
        relative_path TEXT NOT NULL,
        identity TEXT NOT NULL,
        size BIGINT NOT NULL,
        modified_seconds BIGINT NOT NULL,
        modified_nanoseconds BIGINT NOT NULL,
        state TEXT NOT NULL,
        state_at DOUBLE PRECISION NOT NULL,
        first_seen_at DOUBLE PRECISION NOT NULL,
        version BIGINT NOT NULL,
        in_inbox SMALLINT NOT NULL,
        detail TEXT NOT NULL,
        reason TEXT,
        unchanged_since DOUBLE PRECISION,
        look_at DOUBLE PRECISION,
        looks BIGINT NOT NULL,
        ready SMALLINT NOT NULL,
        project_id TEXT NOT NULL,
        task_name TEXT NOT NULL,
        document_type TEXT NOT NULL,
        claimed_by TEXT NOT NULL,
        intent_at DOUBLE PRECISION,
        answered_at DOUBLE PRECISION,
        attempts BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        task_id TEXT NOT NULL,
        filing TEXT NOT NULL,
        destination TEXT NOT NULL,
        filed_at DOUBLE PRECISION,
        filed_in TEXT NOT NULL,
        filed_as TEXT NOT NULL,
        filed_identity TEXT NOT NULL
    )""",
    """CREATE INDEX files_by_state ON files (state, state_at, key)""",
    """CREATE INDEX files_by_folder ON files (watch_folder, state, state_at, key)""",
    """CREATE INDEX files_by_path ON files (relative_path, state_at)""",
    """CREATE INDEX files_in_inbox ON files (watch_folder, relative_path, key, state) WHERE in_inbox = 1""",
    """CREATE INDEX files_sent ON files (watch_folder, identity)
        WHERE in_inbox = 1 AND state IN ('sending', 'unknown', 'held', 'submitted')""",
    """CREATE INDEX files_counted ON files (watch_folder, state, state_at, key)
        WHERE in_inbox = 1 OR (filed_at IS NOT NULL AND task_id = '')""",
    """CREATE INDEX files_ready ON files
        (watch_folder, modified_seconds, modified_nanoseconds, key, project_id, task_name)
        WHERE ready = 1 AND claimed_by = ''""",
    """CREATE INDEX files_ready_by_name ON files (watch_folder, project_id, task_name)
        WHERE ready = 1 AND claimed_by = ''""",
    """CREATE INDEX files_to_look_at ON files (watch_folder, look_at)
        WHERE ready = 0 AND state IN ('waiting', 'stalled', 'ignored') AND look_at IS NOT NULL""",
    """CREATE INDEX files_waiting ON files (state, first_seen_at, key) WHERE state = 'waiting' OR state = 'stalled'""",
    """CREATE INDEX files_under_way ON files (project_id, task_name) WHERE state IN ('sending', 'unknown')""",
    """CREATE INDEX files_by_content ON files (sha256, watch_folder) WHERE sha256 <> ''""",
    """CREATE INDEX files_to_file ON files (state_at, key) WHERE filing <> '' AND filed_at IS NULL""",
    """CREATE INDEX files_filed ON files (watch_folder, filing, filed_at) WHERE filed_at IS NOT NULL""",
    """CREATE TABLE tasks (
        task_id TEXT PRIMARY KEY,
        watch_folder TEXT NOT NULL,
        project_id TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        state_at DOUBLE PRECISION NOT NULL,
        opened_at DOUBLE PRECISION NOT NULL,
        version BIGINT NOT NULL,
        file_key TEXT NOT NULL,
        source_folder TEXT NOT NULL,
        service_state TEXT NOT NULL,
        detail TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        retry_at DOUBLE PRECISION,
        held SMALLINT NOT NULL,
        started_at DOUBLE PRECISION,
        plan TEXT NOT NULL,
        staged SMALLINT NOT NULL,
        published SMALLINT NOT NULL,
        seen_at DOUBLE PRECISION NOT NULL,
        asked_at DOUBLE PRECISION NOT NULL,
        ended_at DOUBLE PRECISION
    )""",
    """CREATE INDEX tasks_by_state ON tasks (state, opened_at, task_id)""",
    """CREATE INDEX tasks_by_folder ON tasks (watch_folder, state, opened_at, task_id)""",
    """CREATE INDEX tasks_counted ON tasks (watch_folder, state, state_at)""",
    """CREATE INDEX tasks_open ON tasks (watch_folder, opened_at, task_id) WHERE ended_at IS NULL""",
    """CREATE INDEX tasks_ended ON tasks (ended_at, task_id) WHERE ended_at IS NOT NULL""",
    """CREATE INDEX tasks_by_file ON tasks (file_key) WHERE file_key <> ''""",
    """CREATE TABLE roots (
        watch_folder TEXT NOT NULL,
        kind TEXT NOT NULL,
        path TEXT NOT NULL,
        identity TEXT NOT NULL,
        marked SMALLINT NOT NULL,
        PRIMARY KEY (watch_folder, kind)
    )""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at DOUBLE PRECISION NOT NULL,
        watch_folder TEXT NOT NULL,
        name TEXT NOT NULL,
        detail TEXT NOT NULL,
        file_key TEXT NOT NULL,
        task_id TEXT NOT NULL
    )""",
    """CREATE INDEX events_by_file ON events (file_key, id) WHERE file_key <> ''""",
    """CREATE INDEX events_by_task ON events (task_id, id) WHERE task_id <> ''""",
    """CREATE TABLE requests (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        command TEXT NOT NULL,
        arguments TEXT NOT NULL,
        asked_at DOUBLE PRECISION NOT NULL,
        done_at DOUBLE PRECISION,
        ok SMALLINT NOT NULL,
        answer TEXT NOT NULL
    )""",
    """CREATE INDEX requests_open ON requests (id) WHERE done_at IS NULL""",
    """CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)""",
)

# Uploads that become several tasks, and files that do.
_UPLOADS = (
    """ALTER TABLE tasks ADD COLUMN upload_id TEXT NOT NULL DEFAULT ''""",
    """ALTER TABLE tasks ADD COLUMN number BIGINT NOT NULL DEFAULT 1""",
    """CREATE INDEX tasks_by_upload ON tasks (upload_id) WHERE upload_id <> ''""",
    """CREATE INDEX files_taken_away ON files (watch_folder, identity)
        WHERE state = 'gone' AND task_id <> '' AND filing = '' AND filed_at IS NULL""",
    """CREATE INDEX files_by_task ON files (task_id) WHERE task_id <> ''""",
)

# Exports whose lease we may hold without working on them.
_STARTED = ("""CREATE INDEX tasks_started ON tasks (watch_folder, opened_at, task_id) WHERE started_at IS NOT NULL""",)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _UPLOADS, _STARTED)
"""Statements of each migration; the first brings an empty database to version 1."""

VERSION = len(MIGRATIONS)
"""The schema this program reads and writes."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to VERSION, each step in a transaction of its own; a crash leaves a whole version behind."""
    while schema_version(connection) < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = schema_version(connection)  # another process may have been here before the lock was ours
            for statement in MIGRATIONS[version] if version < VERSION else ():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {min(version + 1, VERSION)}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of the schema in the database; 0: empty."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
