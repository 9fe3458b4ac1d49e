"""What an agent is made of, handed to its loops: built by `app`, owned by `agent`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.runtime.in_hand import InHand

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from agent.export.exporting import Exporting
    from agent.export.polling import Polling
    from agent.model import Settings
    from agent.ports import Clock, Ledger, Service
    from agent.runtime.lanes import Lanes
    from agent.submission.asking import Asking
    from agent.submission.batches import Batches
    from agent.submission.file_away import FileAway
    from agent.submission.follow import Follow
    from agent.submission.purge import Purge
    from agent.submission.submit import Submit
    from agent.submission.unknown import Unknown


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
    batches: Batches
    file_away: FileAway
    unknown: Unknown
    follow: Follow
    asking: Asking
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
