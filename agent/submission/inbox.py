"""One watch folder's inbox with the rules compiled for it: what every stage of the way in is handed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.rules.filters import Filter, FilterVerdict
from agent.rules.settling import SettleTracker

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import WatchFolder


@dataclass(frozen=True, slots=True)
class Inbox:
    """A watch folder that has an inbox."""

    folder: WatchFolder
    root: Path
    name_filter: Filter
    tracker: SettleTracker

    @classmethod
    def of(cls, folder: WatchFolder) -> Inbox:
        """Compile the rules of a watch folder that has an inbox."""
        assert folder.inbox is not None, f"{folder.name} has no inbox"
        return cls(
            folder,
            folder.inbox,
            Filter(folder.include, folder.exclude, ready_file=folder.ready_file),
            SettleTracker(folder.settle, folder.stalled_after, folder.give_up_after),
        )

    @property
    def excluded(self) -> tuple[Path, ...]:
        """Folders below the inbox that are never looked into: archive and error."""
        return tuple(path for path in (self.folder.archive, self.folder.error) if path is not None)

    def wants(self, relative_path: str) -> bool:
        """Return whether a name is looked at: what no include matches only where it would go to error/."""
        verdict = self.name_filter.judge(relative_path)
        if verdict is FilterVerdict.UNMATCHED:
            return self.folder.unmatched == "error"
        return verdict is FilterVerdict.TAKE
