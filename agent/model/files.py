"""Source files: what is seen of them in an inbox and what the ledger knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.model.states import FileState, Reason


@dataclass(frozen=True, slots=True)
class Signature:
    """What identifies the very bytes of a file at one moment: `identity` is "device:file id", both in hexadecimal."""

    identity: str
    size: int
    modified_ns: int


class Irregular(StrEnum):
    """Why a directory entry is never opened."""

    SYMLINK = "symlink"
    JUNCTION = "junction"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"
    HARD_LINK = "hard_link"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One file (or irregular entry) seen in an inbox; nothing was opened."""

    relative_path: str
    signature: Signature
    links: int = 1
    owner: int | None = None  # numeric user id on POSIX
    born_at: float | None = None  # birth time on Windows
    irregular: Irregular | None = None

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return self.signature.size


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One row of the ledger about one source file; `key` is its fsagent_key.

    A change is a new record made by `change()`: it carries the version the row will have, and the ledger refuses it
    (StaleRecord) unless the row still has the version before.
    """

    key: str
    watch_folder: str
    relative_path: str
    signature: Signature
    state: FileState
    state_at: float
    first_seen_at: float
    version: int = 1
    in_inbox: bool = True
    detail: str = ""  # why it is in this state, one sentence for people
    reason: Reason | None = None
    # settling; monotonic seconds of the process that wrote them
    unchanged_since: float | None = None
    look_at: float | None = None
    looks: int = 0
    ready: bool = False
    # submission
    project_id: str = ""
    task_name: str = ""
    document_type: str = ""
    claimed_by: str = ""
    intent_at: float | None = None  # service-independent UTC of the last intent to send
    answered_at: float | None = None
    attempts: int = 0
    sha256: str = ""
    task_id: str = ""
    # filing: the destination is in the ledger before anything moves
    filing: str = ""  # where it is to go: "" | archive | error | inbox (a retry)
    destination: str = ""  # relative to that folder's root
    filed_at: float | None = None  # None while a filing is planned and not done
    filed_in: str = ""  # where it lies now: "" (inbox) | archive | error | deleted
    filed_as: str = ""  # relative to that folder's root
    filed_identity: str = ""

    @property
    def lies_at(self) -> str:
        """Where the file lies now, relative to the folder that `filed_in` names."""
        return self.filed_as or self.relative_path

    @property
    def lying_signature(self) -> Signature:
        """What identifies the file where it lies now; a copy to another device has an identity of its own."""
        return replace(self.signature, identity=self.filed_identity or self.signature.identity)

    def change(self, **changes: Any) -> FileRecord:
        """Return the record as it will be after the next commit."""
        return replace(self, version=self.version + 1, **changes)


@dataclass(frozen=True, slots=True)
class Count:
    """How many files or tasks are in one state; `oldest_at` is the oldest `state_at` among them."""

    watch_folder: str
    state: str
    count: int
    oldest_at: float | None
