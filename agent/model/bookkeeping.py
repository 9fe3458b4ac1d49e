"""What the ledger keeps beside files and tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.model.states import LaneReason


class RootKind(StrEnum):
    """Which of a watch folder's two roots."""

    INBOX = "inbox"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class RootRecord:
    """What the ledger remembers of a root folder, to know it again; `identity` as in Signature."""

    watch_folder: str
    kind: RootKind
    path: str
    identity: str
    marked: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history; `name` is a short verb phrase, `detail` a sentence."""

    at: float
    watch_folder: str
    name: str
    detail: str = ""
    file_key: str = ""
    task_id: str = ""
    id: int = 0  # given by the ledger


@dataclass(frozen=True, slots=True)
class Request:
    """What a command asks of the running agent; `answer` is set once `done_at` is."""

    id: int
    command: str
    arguments: Mapping[str, Any]
    asked_at: float
    done_at: float | None = None
    ok: bool = False
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LaneState:
    """Whether a lane works; `lane` is "service" or "<watch folder>/submission" or "<watch folder>/export"."""

    lane: str
    reason: LaneReason | None = None
    detail: str = ""
    hint: str = ""
    since: float | None = None
    retry_at: float | None = None
