from __future__ import annotations

from itertools import pairwise

import pytest

from agent.model import FileRecord, FileState, Signature, TaskState
from agent.rules.lifecycle import (
    FILE_TRANSITIONS,
    NEXT_STEP,
    TASK_TRANSITIONS,
    after_restart,
    check_transition,
)

ALL_STATES: list[FileState | TaskState] = [*FileState, *TaskState]


def file_in(state: FileState, **changes: object) -> FileRecord:
    record = FileRecord("key", "invoices", "a.pdf", Signature("1:2", 3, 4), state, state_at=0.0, first_seen_at=0.0)
    return record.change(**changes)


def test_every_state_has_its_transitions_and_says_what_comes_next() -> None:
    assert set(FILE_TRANSITIONS) == set(FileState)
    assert set(TASK_TRANSITIONS) == set(TaskState)
    assert set(NEXT_STEP) == set(ALL_STATES)


@pytest.mark.parametrize(
    "path",
    [
        "waiting sending submitted archived",
        "waiting stalled waiting sending unknown submitted archived rejected",
        "waiting sending unknown waiting sending rejected",
        "waiting sending unknown held submitted",
        "waiting sending unknown held rejected",
        "waiting sending waiting",
        "waiting stalled rejected",
        "ignored waiting sending duplicate gone",
        "submitted rejected gone",
    ],
)
def test_a_file_may_live_like_this(path: str) -> None:
    states = [FileState(name) for name in path.split()]
    for before, after in pairwise(states):
        check_transition(before, after)


@pytest.mark.parametrize(
    "path",
    ["processing exporting exported", "processing exporting processing exporting failed", "processing superseded"],
)
def test_a_task_may_live_like_this(path: str) -> None:
    states = [TaskState(name) for name in path.split()]
    for before, after in pairwise(states):
        check_transition(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FileState.UNKNOWN, FileState.SENDING),
        (FileState.SUBMITTED, FileState.WAITING),
        (FileState.ARCHIVED, FileState.WAITING),
        (FileState.REJECTED, FileState.SENDING),
        (FileState.IGNORED, FileState.SENDING),
        (TaskState.FAILED, TaskState.EXPORTING),
        (TaskState.SUPERSEDED, TaskState.EXPORTING),
        (TaskState.SUPERSEDED, TaskState.EXPORTED),
        (FileState.WAITING, TaskState.PROCESSING),
    ],
)
def test_what_would_send_or_export_twice_is_no_transition(
    before: FileState | TaskState, after: FileState | TaskState
) -> None:
    with pytest.raises(ValueError, match=f"{before} may not become {after}"):
        check_transition(before, after)


@pytest.mark.parametrize("state", ALL_STATES)
def test_staying_in_a_state_is_always_allowed(state: FileState | TaskState) -> None:
    check_transition(state, state)


def test_what_was_sent_or_may_have_been_never_waits_to_be_sent_but_through_unknown_or_held() -> None:
    sent = {FileState.SUBMITTED, FileState.ARCHIVED, FileState.DUPLICATE, FileState.REJECTED}
    assert not any(FILE_TRANSITIONS[state] & {FileState.WAITING, FileState.SENDING} for state in sent)


def test_an_upload_cut_by_a_crash_is_looked_for() -> None:
    assert after_restart(file_in(FileState.SENDING, intent_at=5.0)) is FileState.UNKNOWN


def test_a_claim_without_an_intent_goes_back_to_waiting() -> None:
    assert after_restart(file_in(FileState.SENDING)) is FileState.WAITING


@pytest.mark.parametrize("state", sorted(set(FileState) - {FileState.SENDING}))
def test_every_other_file_is_where_it_was_after_a_crash(state: FileState) -> None:
    assert after_restart(file_in(state, intent_at=5.0)) is state


def test_every_state_after_a_crash_is_an_allowed_transition() -> None:
    for state in FileState:
        for intent_at in (None, 5.0):
            check_transition(state, after_restart(file_in(state, intent_at=intent_at)))
