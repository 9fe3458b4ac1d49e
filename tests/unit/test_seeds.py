"""`packaging/docs/seeds.md` is true: what it names exists, no row lacks its test, no state or end point its row."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import agent
from agent.services import sendai_assumptions, typless_assumptions

REPOSITORY = Path(agent.__file__).parent.parent
TEXT = (REPOSITORY / "packaging/docs/seeds.md").read_text(encoding="utf-8")
NOT_DONE = "*not done:* "
REFERENCE = re.compile(r"`((?:agent|tests|packaging)/[\w/.]+)(?:::([\w.]+))?`")
WORDS = {
    "000": (
        *("queued", "running", "pending:start_client_action", "pending:complete_client_action"),
        *("completed", "failed", "timed-out", "canceled"),
    ),
    "002": tuple(
        f"PUT /tasks/{{id}}/{call}_client_action?action=export" for call in ("start", "complete", "cancel", "fail")
    ),
    "003": (
        *("POST /upload", "GET /upload/{id}", "PUT /upload/{id}/move"),
        *("GET /task/{task_id}", "POST /task/{task_id}/complete", "POST /task/{task_id}/discard"),
        *("upload.create", "upload.read", "upload.edit"),
        *sorted({*sendai_assumptions.UPLOAD_STATES, *sendai_assumptions.TASK_STATES} - {"IN_REVIEW"}),
    ),
    "004": ("extraction_id", "error", "result", "status", "code", "message", "details", *typless_assumptions.STATES),
}
"""What the seeds print: states, end points, permissions, members. IN_REVIEW stands in no seed."""


class Row(NamedTuple):
    number: str
    asked: str
    done: str
    shown: str


def rows() -> list[Row]:
    lines = [line for line in TEXT.splitlines() if re.match(r"\| \d", line)]
    return [Row(*(cell.strip() for cell in line.strip("|").split(" | "))) for line in lines]


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the functions and classes of a module, methods as Class.method."""
    found = set()
    for node in ast.parse((REPOSITORY / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return frozenset(found)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.number)
def test_what_a_row_names_exists(row: Row) -> None:
    missing = [
        f"{path}::{name}"
        for path, name in REFERENCE.findall(row.done + row.shown)
        if not (REPOSITORY / path).is_file() or (name and name not in names_in(path))
    ]
    assert not missing


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.number)
def test_a_row_says_where_it_is_done_and_what_shows_it_or_why_it_is_not_done(row: Row) -> None:
    code, tests = ([path for path, _ in REFERENCE.findall(cell)] for cell in (row.done, row.shown))
    assert all(path.startswith("agent/") for path in code)
    assert all(re.fullmatch(r"tests/.*/test_\w+\.py", path) for path in tests)
    if row.done.startswith(NOT_DONE):
        assert len(row.done) > len(NOT_DONE) + 20
        assert not code
    else:
        assert code
        assert tests


@pytest.mark.parametrize("seed", ["000", "001", "002", "003", "004"])
def test_every_seed_has_its_rows_numbered_in_order(seed: str) -> None:
    numbers = [row.number for row in rows() if row.number.startswith(seed)]
    assert numbers == [f"{seed}.{number}" for number in range(1, len(numbers) + 1)]
    assert len(numbers) > 10


@pytest.mark.parametrize(("seed", "word"), [(seed, word) for seed, words in WORDS.items() for word in words])
def test_every_state_end_point_and_member_has_its_row(seed: str, word: str) -> None:
    assert f"`{word}`" in " ".join(row.asked for row in rows() if row.number.startswith(seed))
