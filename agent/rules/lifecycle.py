"""The lives of a file and of a task: which state may follow which, what a crash makes of a file, and what comes next.

States are public names (design.md §3, `model.states`). Carries nothing out: stages do, and record what they did.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.model import FileState, TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.model import FileRecord

_IN_INBOX = frozenset({FileState.WAITING, FileState.STALLED, FileState.IGNORED, FileState.GONE})

FILE_TRANSITIONS: Mapping[FileState, frozenset[FileState]] = MappingProxyType(
    {
        FileState.WAITING: _IN_INBOX | {FileState.SENDING, FileState.DUPLICATE, FileState.REJECTED},
        FileState.STALLED: _IN_INBOX | {FileState.SENDING, FileState.DUPLICATE, FileState.REJECTED},
        FileState.IGNORED: _IN_INBOX,
        # Claimed: opened and checked once more, so everything a look can say may still come of it.
        FileState.SENDING: _IN_INBOX
        | {FileState.SUBMITTED, FileState.UNKNOWN, FileState.HELD, FileState.DUPLICATE, FileState.REJECTED},
        # Never straight to sending: a claim looks after files of the same task name first.
        FileState.UNKNOWN: frozenset({FileState.SUBMITTED, FileState.WAITING, FileState.HELD, FileState.GONE}),
        FileState.HELD: frozenset({FileState.SUBMITTED, FileState.WAITING, FileState.REJECTED, FileState.GONE}),
        # Rejected at once where its task ended badly before the file was filed away.
        FileState.SUBMITTED: frozenset({FileState.ARCHIVED, FileState.REJECTED, FileState.GONE}),
        FileState.ARCHIVED: frozenset({FileState.REJECTED, FileState.GONE}),
        FileState.DUPLICATE: frozenset({FileState.GONE}),
        # A retry puts the file into the inbox as a new one with a new key: the old key has a task already.
        FileState.REJECTED: frozenset({FileState.GONE}),
        # Brought back after it was sent and taken away before it could be filed: filed now, never sent again.
        FileState.GONE: frozenset({FileState.WAITING, FileState.SUBMITTED}),
    }
)

TASK_TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = MappingProxyType(
    {
        TaskState.PROCESSING: frozenset(
            {
                TaskState.REVIEWING,
                TaskState.DISCARDED,
                TaskState.SPLIT,
                TaskState.EXPORTING,
                TaskState.EXPORTED,
                TaskState.FAILED,
                TaskState.SUPERSEDED,
                TaskState.ENDED_UNKNOWN,
            }
        ),
        # People are done with it, put it aside, or it ends while they look.
        TaskState.REVIEWING: frozenset(
            {
                TaskState.PROCESSING,
                TaskState.DISCARDED,
                TaskState.EXPORTING,
                TaskState.FAILED,
                TaskState.ENDED_UNKNOWN,
            }
        ),
        TaskState.EXPORTING: frozenset(
            {
                TaskState.PROCESSING,  # cancelled, or the lease was lost
                TaskState.EXPORTED,
                TaskState.FAILED,
                TaskState.SUPERSEDED,
                TaskState.ENDED_UNKNOWN,
            }
        ),
        # The service may hand a task out again after its completion got lost, or end it badly after all.
        TaskState.EXPORTED: frozenset({TaskState.EXPORTING, TaskState.FAILED}),
        TaskState.FAILED: frozenset(),
        TaskState.SUPERSEDED: frozenset({TaskState.ENDED_UNKNOWN}),
        TaskState.ENDED_UNKNOWN: frozenset(),
        TaskState.DISCARDED: frozenset(),
        TaskState.SPLIT: frozenset(),
    }
)

NEXT_STEP: Mapping[FileState | TaskState, str] = MappingProxyType(
    {
        FileState.WAITING: "It is sent once it has not changed for `settle`, is whole and nobody holds it.",
        FileState.STALLED: "It stays, is looked at again, and is sent as soon as it is whole and can be read.",
        FileState.IGNORED: "Nothing: it is left where it lies. Put a copy of the file into the inbox instead.",
        FileState.SENDING: "Its upload ends, and the answer decides.",
        FileState.UNKNOWN: "It is looked for at the service; none found for `retry.unknown_wait`: it is sent again.",
        FileState.HELD: "You decide: `fsagent resolve` with --submitted TASK, --resubmit or --reject.",
        FileState.SUBMITTED: "It is moved to the archive; its task goes on at the service.",
        FileState.ARCHIVED: "Nothing for the file; its task says more.",
        FileState.DUPLICATE: "Nothing: the same content was accepted before.",
        FileState.REJECTED: "Nothing by itself: correct it and drop it into the inbox again, or run `fsagent retry`.",
        FileState.GONE: "Nothing: somebody else took it away. Put back, it is taken up anew.",
        TaskState.PROCESSING: "The service works on it, or waits for people; its export is fetched when it is ready.",
        TaskState.REVIEWING: "People look at it at the service; once they are done, its result is fetched.",
        TaskState.EXPORTING: "Its files are written to the output, then the service is told.",
        TaskState.EXPORTED: "Nothing: its files are in the output.",
        TaskState.FAILED: "Nothing by itself: `fsagent retry` sends the source as a new task.",
        TaskState.SUPERSEDED: "Its export is failed and never written: the file was replaced while it was sent.",
        TaskState.ENDED_UNKNOWN: "Nothing by itself: see at the service how it ended; `fsagent retry` sends it again.",
        TaskState.DISCARDED: "Nothing: it was put aside at the service; the source stays in the archive.",
        TaskState.SPLIT: "Nothing for the upload; its tasks say more.",
    }
)
"""For `why`: one sentence for each state, about what comes next."""


def check_transition(before: FileState | TaskState, after: FileState | TaskState) -> None:
    """Raise ValueError unless a record in state `before` may come into state `after`; staying is always allowed."""
    if before is after:
        return
    allowed: frozenset[FileState] | frozenset[TaskState]
    allowed = FILE_TRANSITIONS[before] if isinstance(before, FileState) else TASK_TRANSITIONS[before]
    if type(before) is not type(after) or after not in allowed:
        raise ValueError(f"{before} may not become {after}")


def after_restart(record: FileRecord) -> FileState:
    """Return the state a file is in once the process that worked on it is dead.

    An upload whose intent was written may have arrived and is looked for; without one, no byte has left.
    """
    if record.state is FileState.SENDING:
        return FileState.WAITING if record.intent_at is None else FileState.UNKNOWN
    return record.state
