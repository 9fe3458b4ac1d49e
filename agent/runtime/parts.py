"""What an agent is made of, handed to its loops: built by `app`, owned by `agent`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.export.exporting import Exporting
    from agent.export.polling import Polling
    from agent.model import Settings
    from agent.ports import Clock, Ledger, Service
    from agent.runtime.lanes import Lanes
    from agent.submission.file_away import FileAway
    from agent.submission.follow import Follow
    from agent.submission.purge import Purge
    from agent.submission.submit import Submit
    from agent.submission.unknown import Unknown


class InHand:
    """Keys of rows a worker of this process holds; what is not in hand and looks busy was left by a crash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[str] = set()

    def take(self, key: str) -> bool:
        """Take a key; return False where somebody has it."""
        with self._lock:
            if key in self._keys:
                return False
            self._keys.add(key)
            return True

    def release(self, key: str) -> None:
        """Give a key back."""
        with self._lock:
            self._keys.discard(key)

    def __contains__(self, key: str) -> bool:
        """Return whether somebody has the key."""
        with self._lock:
            return key in self._keys

    def __len__(self) -> int:
        """Return how many are in hand."""
        with self._lock:
            return len(self._keys)


@dataclass(frozen=True, slots=True)
class Parts:
    """The edges and stages of one agent."""

    settings: Settings
    ledger: Ledger
    service: Service
    clock: Clock
    lanes: Lanes
    stop: threading.Event
    submit: Submit
    file_away: FileAway
    unknown: Unknown
    follow: Follow
    purge: Purge
    polling: Polling
    exporting: Exporting
    new_key: Callable[[], str]
    agent_id: str
    files_in_hand: InHand = field(default_factory=InHand)
    tasks_in_hand: InHand = field(default_factory=InHand)

    def exports(self, watch_folder: str) -> bool:
        """Return whether a watch folder has an output."""
        folder = self.settings.watch_folder(watch_folder)
        return folder is not None and folder.output is not None
