"""The mapping between rows and records, and text that any database takes.

Owns the order of the columns; must not know statements or connections.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

from agent.model import (
    Count,
    Event,
    FileRecord,
    FileSource,
    FileState,
    PlannedFile,
    Reason,
    Request,
    RootKind,
    RootRecord,
    Signature,
    TaskRecord,
    TaskState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Row: TypeAlias = tuple[Any, ...]

# --- text and documents ----------------------------------------------------------------------------------------------

_UNSTORABLE = re.compile("[\x00\x1a\ud800-\udfff]")
_ESCAPED = re.compile("\x1a([0-9a-f]{4})")


def escape(text: str) -> str:
    """Return the text as valid UTF-8 can hold it: a lone surrogate, NUL and SUB itself become SUB and four digits."""
    if text.isascii() and "\x1a" not in text and "\x00" not in text:
        return text
    return _UNSTORABLE.sub(lambda found: f"\x1a{ord(found[0]):04x}", text)


def unescape(text: str) -> str:
    """Return what `escape` was given."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "\x1a" in text else text


def document(value: Mapping[str, Any]) -> str:
    """Return a JSON document; in ASCII, so that lone surrogates pass too."""
    return json.dumps(dict(value), separators=(",", ":"))


def padded(values: Sequence[str]) -> list[str]:
    """Return the values, the last one repeated up to one of four lengths: few statements stay prepared."""
    length = next(size for size in (1, 16, 128, max(1000, len(values))) if size >= len(values))
    return [escape(value) for value in values] + [escape(values[-1])] * (length - len(values))


# --- files -----------------------------------------------------------------------------------------------------------

_FILE_LINE = (
    "key watch_folder relative_path identity size modified_seconds modified_nanoseconds state state_at first_seen_at"
    " version in_inbox detail reason unchanged_since look_at looks ready project_id task_name document_type claimed_by"
    " intent_at answered_at attempts sha256 task_id filing destination filed_at filed_in filed_as filed_identity"
)
FILE_COLUMNS = tuple(_FILE_LINE.split())
_FILE_STATES = {state.value: state for state in FileState}
_REASONS: dict[str | None, Reason | None] = {None: None} | {reason.value: reason for reason in Reason}


def file_row(record: FileRecord) -> Row:
    """Return the columns of a file in order.

    The time is two numbers: file systems keep years that do not fit 64 bits of nanoseconds.
    """
    signature = record.signature
    seconds, nanoseconds = divmod(signature.modified_ns, 1_000_000_000)
    return (
        record.key,
        escape(record.watch_folder),
        escape(record.relative_path),
        signature.identity,
        signature.size,
        seconds,
        nanoseconds,
        record.state.value,
        record.state_at,
        record.first_seen_at,
        record.version,
        int(record.in_inbox),
        escape(record.detail),
        record.reason.value if record.reason else None,
        record.unchanged_since,
        record.look_at,
        record.looks,
        int(record.ready),
        escape(record.project_id),
        escape(record.task_name),
        record.document_type,
        escape(record.claimed_by),
        record.intent_at,
        record.answered_at,
        record.attempts,
        record.sha256,
        escape(record.task_id),
        record.filing,
        escape(record.destination),
        record.filed_at,
        record.filed_in,
        escape(record.filed_as),
        record.filed_identity,
    )


def file_change(record: FileRecord) -> Row:
    """Return the parameters of UPDATE_FILE."""
    row = file_row(record)
    return (*row[1:], row[0], record.version - 1)


def file_record(row: Row) -> FileRecord:
    """Return the record of a row of `files`."""
    return FileRecord(
        row[0],
        unescape(row[1]),
        unescape(row[2]),
        Signature(row[3], row[4], row[5] * 1_000_000_000 + row[6]),
        _FILE_STATES[row[7]],
        row[8],
        row[9],
        row[10],
        bool(row[11]),
        unescape(row[12]),
        _REASONS[row[13]],
        row[14],
        row[15],
        row[16],
        bool(row[17]),
        unescape(row[18]),
        unescape(row[19]),
        row[20],
        unescape(row[21]),
        row[22],
        row[23],
        row[24],
        row[25],
        unescape(row[26]),
        row[27],
        unescape(row[28]),
        row[29],
        row[30],
        unescape(row[31]),
        row[32],
    )


# --- tasks -----------------------------------------------------------------------------------------------------------

_TASK_LINE = (
    "task_id watch_folder project_id name state state_at opened_at version file_key source_folder service_state detail"
    " attempts retry_at held started_at plan staged published seen_at asked_at ended_at upload_id number"
)
TASK_COLUMNS = tuple(_TASK_LINE.split())
_TASK_STATES = {state.value: state for state in TaskState}


def _planned(plan: Iterable[PlannedFile]) -> str:
    return json.dumps([asdict(planned) for planned in plan], separators=(",", ":"))


def _plan(text: str) -> tuple[PlannedFile, ...]:
    return tuple(PlannedFile(**(planned | {"source": FileSource(planned["source"])})) for planned in json.loads(text))


def task_row(record: TaskRecord) -> Row:
    """Return the columns of a task in order."""
    return (
        escape(record.task_id),
        escape(record.watch_folder),
        escape(record.project_id),
        escape(record.name),
        record.state.value,
        record.state_at,
        record.opened_at,
        record.version,
        record.file_key,
        escape(record.source_folder),
        escape(record.service_state),
        escape(record.detail),
        record.attempts,
        record.retry_at,
        int(record.held),
        record.started_at,
        _planned(record.plan) if record.plan else "[]",
        int(record.staged),
        int(record.published),
        record.seen_at,
        record.asked_at,
        record.ended_at,
        escape(record.upload_id),
        record.number,
    )


def task_change(record: TaskRecord) -> Row:
    """Return the parameters of UPDATE_TASK."""
    row = task_row(record)
    return (*row[1:], row[0], record.version - 1)


def task_record(row: Row) -> TaskRecord:
    """Return the record of a row of `tasks`."""
    return TaskRecord(
        unescape(row[0]),
        unescape(row[1]),
        unescape(row[2]),
        unescape(row[3]),
        _TASK_STATES[row[4]],
        row[5],
        row[6],
        row[7],
        row[8],
        unescape(row[9]),
        unescape(row[10]),
        unescape(row[11]),
        row[12],
        row[13],
        bool(row[14]),
        row[15],
        () if row[16] == "[]" else _plan(row[16]),
        bool(row[17]),
        bool(row[18]),
        row[19],
        row[20],
        row[21],
        unescape(row[22]),
        row[23],
    )


# --- the rest --------------------------------------------------------------------------------------------------------


def event_row(event: Event) -> Row:
    """Return the columns of an event without its id, which the database gives."""
    return (
        event.at,
        escape(event.watch_folder),
        event.name,
        escape(event.detail),
        event.file_key,
        escape(event.task_id),
    )


def event_record(row: Row) -> Event:
    """Return the event of a row of `events`, its id last."""
    return Event(row[0], unescape(row[1]), row[2], unescape(row[3]), row[4], unescape(row[5]), row[6])


def root_row(record: RootRecord) -> Row:
    """Return the columns of a root in order."""
    return (
        escape(record.watch_folder),
        record.kind.value,
        escape(record.path),
        record.identity,
        int(record.marked),
    )


def root_record(row: Row) -> RootRecord:
    """Return the record of a row of `roots`."""
    return RootRecord(unescape(row[0]), RootKind(row[1]), unescape(row[2]), row[3], bool(row[4]))


def request_record(row: Row) -> Request:
    """Return the record of a row of `requests`."""
    return Request(row[0], row[1], json.loads(row[2]), row[3], row[4], bool(row[5]), json.loads(row[6]))


def count_record(row: Row) -> Count:
    """Return one line of the counts."""
    return Count(unescape(row[0]), row[1], row[2], row[3])
