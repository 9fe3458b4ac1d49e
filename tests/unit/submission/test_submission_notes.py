"""The note beside a file in error/: key and value lines a script can read, whatever the file or the service says."""

from __future__ import annotations

import pytest

from agent.model import FileRecord, FileState, Reason, Signature
from agent.submission.notes import WHAT_TO_DO, error_note


def record(**values: object) -> FileRecord:
    known = FileRecord("k" * 32, "invoices", "sub/a.pdf", Signature("1:2", 3, 4), FileState.REJECTED, 0.0, 0.0)
    return known.change(**({"reason": Reason.EMPTY, "detail": "the file has no bytes"} | values))


def test_the_note_says_reason_and_what_to_do_first_then_when_attempts_and_task() -> None:
    text = error_note(record(attempts=2, task_id="task-1"), at=1_700_000_000.0)
    assert text.splitlines() == [
        "reason: empty: the file has no bytes",
        "what to do: write the file again and drop it into the inbox",
        "file: sub/a.pdf",
        "watch folder: invoices",
        "when: 2023-11-14T22:13:20+00:00",
        "attempts: 2",
        "task: task-1",
        f"id: {'k' * 32}",
    ]


def test_a_file_that_never_became_a_task_says_so() -> None:
    assert "task: none" in error_note(record(), at=0.0).splitlines()


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_says_what_to_do(reason: Reason) -> None:
    assert f"what to do: {WHAT_TO_DO[reason]}\n" in error_note(record(reason=reason), at=0.0)


@pytest.mark.parametrize(
    "hostile", ["one\ntask: forged", "one\r\nid: forged", "a\x1b[2Jb", "\u202egnp", "x\udcff", "a\u2028task: b"]
)
def test_nothing_the_service_or_a_name_says_makes_a_line_or_moves_a_cursor(hostile: str) -> None:
    text = error_note(record(detail=hostile, relative_path=hostile), at=0.0)
    assert len(text.splitlines()) == 8
    text.encode("utf-8")
    assert "\x1b" not in text
    assert "\u202e" not in text
