"""Text that comes back as it was, and statements that use the index made for them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ledger import statements
from agent.ledger.connections import connect_reader
from agent.ledger.opening import open_ledger
from agent.ledger.tables import escape, padded, unescape
from agent.model import FileState, TaskState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

ANY_TEXT = st.text(
    st.characters(categories=("L", "N", "P", "Z", "C", "S", "M")) | st.sampled_from("\x00\x1a\ud800\udcff01af")
)


@given(ANY_TEXT)
def test_any_text_comes_back_from_valid_utf_8_without_nul(text: str) -> None:
    stored = escape(text).encode("utf-8")
    assert b"\x00" not in stored
    assert unescape(stored.decode("utf-8")) == text


@given(ANY_TEXT, ANY_TEXT)
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)


def test_the_escape_is_four_digits_behind_sub() -> None:
    assert escape("a\udcffb\x1ac") == "a\x1adcffb\x1a001ac"
    assert escape("plain é 📄.pdf") == "plain é 📄.pdf"


@pytest.mark.parametrize(("count", "length"), [(1, 1), (2, 16), (16, 16), (17, 128), (129, 1000), (1001, 1001)])
def test_lists_are_padded_to_few_lengths(count: int, length: int) -> None:
    values = [str(number) for number in range(count)]
    assert padded(values) == values + [values[-1]] * (length - count)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    with (
        closing(open_ledger(tmp_path_factory.mktemp("state"), create=True)) as ledger,
        closing(connect_reader(ledger.path)) as connection,
    ):
        yield connection


def indexes_of(connection: sqlite3.Connection, statement: str, parameters: tuple[Any, ...]) -> list[str]:
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert not [
        line for line in plan if line.startswith(("SCAN files", "SCAN tasks", "SCAN events")) and "INDEX" not in line
    ]
    return [line.split(" INDEX ")[1].split()[0] for line in plan if " INDEX " in line]


def files(**conditions: Any) -> tuple[str, tuple[Any, ...]]:
    known: dict[str, Any] = {
        "watch_folder": None, "states": (), "relative_path": None, "below": "", "key_prefix": "", "sha256": "",
        "task_id": "", "in_inbox": None, "to_file": None, "filed_from": None, "filed_before": None, "filing": "",
        "limit": 20, "newest_first": False,
    }  # fmt: skip
    return statements.select_files(**(known | conditions))[0]


def tasks(**conditions: Any) -> tuple[str, tuple[Any, ...]]:
    known: dict[str, Any] = {
        "watch_folder": None, "states": (), "file_key": "", "upload_id": "", "is_open": None, "is_started": False,
        "limit": 20, "newest_first": True,
    }  # fmt: skip
    return statements.select_tasks(**(known | conditions))[0]


WIDE = {"watch_folder": "w", "states": [FileState.ARCHIVED]}
WIDE_TASK = {"watch_folder": "w", "states": [TaskState.EXPORTED]}


@pytest.mark.parametrize(
    ("selection", "index"),
    [
        (files(), "files_by_state"),
        (files(newest_first=True), "files_by_state"),
        (files(**WIDE), "files_by_folder"),
        (files(**WIDE, in_inbox=True), "files_counted"),
        (files(**WIDE, relative_path="a"), "files_by_path"),
        (files(**WIDE, below="a"), "files_by_path"),
        (files(**WIDE, key_prefix="a"), "sqlite_autoindex_files_1"),
        (files(**WIDE, sha256="a"), "files_by_content"),
        (files(**WIDE, task_id="a"), "files_by_task"),
        (files(**WIDE, to_file=True), "files_to_file"),
        (files(**WIDE, filing="archive", to_file=False, in_inbox=False, filed_before=1.0), "files_filed"),
        (tasks(), "tasks_by_state"),
        (tasks(**WIDE_TASK), "tasks_by_folder"),
        (tasks(**WIDE_TASK, file_key="a"), "tasks_by_file"),
        (tasks(**WIDE_TASK, upload_id="a"), "tasks_by_upload"),
        (tasks(**WIDE_TASK, is_open=True), "tasks_open"),
        (tasks(**WIDE_TASK, is_started=True), "tasks_started"),
        ((statements.files_in_inbox(1), ("w", "a")), "files_in_inbox"),
        ((statements.files_sent(1), ("w", "a", "w", "a")), "files_sent"),
        ((statements.files_sent(1), ("w", "a", "w", "a")), "files_taken_away"),
        ((statements.INBOX_PAGE, ("w", "", "", 1)), "files_in_inbox"),
        ((statements.DUE_FOR_LOOK, ("w", 1.0, 1)), "files_to_look_at"),
        ((statements.NEXT_LOOK, ("w",)), "files_to_look_at"),
        ((statements.OLDEST_WAITING, ()), "files_waiting"),
        ((statements.FILE_COUNTS, ()), "files_counted"),
        ((statements.TASK_COUNTS, ()), "tasks_counted"),
        ((statements.OLDEST_READY, ("w",)), "files_ready"),
        ((statements.OLDEST_READY, ("w",)), "files_under_way"),
        ((statements.OLDEST_READY_OF_ALL, ("w",)), "files_ready"),
        ((statements.READY_BEYOND, ("w",)), "files_ready"),
        ((statements.FIRST_READY_NAME, ("w",)), "files_ready_by_name"),
        ((statements.NEXT_READY_NAME, ("w", "p", "n")), "files_ready_by_name"),
        ((statements.NAME_UNDER_WAY, ("p", "n")), "files_under_way"),
        ((statements.HISTORY_OF_FILE, ("k", 1)), "events_by_file"),
        ((statements.HISTORY_OF_TASK, ("t", 1)), "events_by_task"),
        ((statements.PURGEABLE_FILES, ("gone", 0.0, "", 1.0, 1.0, 1.0, 1)), "files_by_state"),
        ((statements.PURGEABLE_TASKS, (0.0, "", 1.0, 1)), "tasks_ended"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_question_is_answered_by_its_index(
    connection: sqlite3.Connection, selection: tuple[str, tuple[Any, ...]], index: str
) -> None:
    assert index in indexes_of(connection, *selection)
