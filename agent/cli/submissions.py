"""The files of one `fsagent submit`: copied once, followed through the ledger, and what became of each in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.app import entropy
from agent.cli.rendering import one_line
from agent.errors import AgentError, LaneTrouble, Stopping
from agent.folders.roots import look_at_root
from agent.model import LaneReason, RootKind
from agent.runtime.control import STATUS_NOTE
from agent.runtime.copying import copying, remove_abandoned
from agent.runtime.fates import NOT_SEEN, Fate, fate_of
from agent.runtime.lanes import SERVICE_LANE, export_lane, submission_lane
from agent.submission.drop import Dropped, drop
from agent.submission.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from agent.model import WatchFolder
    from agent.ports import Clock, Ledger

NOT_COPIED = Fate("not copied")


@dataclass(slots=True)
class _File:
    source: Path
    dropped: Dropped | None = None
    fate: Fate = field(default=NOT_COPIED)


class Submissions:
    """Some files on their way; `on_change` gets a line for people and how many files are over."""

    def __init__(
        self,
        folder: WatchFolder,
        files: Sequence[Path],
        *,
        state_dir: Path,
        clock: Clock,
        on_change: Callable[[str, int], None],
    ) -> None:
        self._inbox = Inbox.of(folder)
        self._state_dir = state_dir
        self._clock = clock
        self._on_change = on_change
        self._files = [_File(path) for path in files]
        self._is_dropped = False
        self._began = clock.now()
        self._waits: dict[str, str] = {}

    @property
    def watch_folder(self) -> str:
        """The watch folder's name."""
        return self._inbox.folder.name

    @property
    def are_over(self) -> bool:
        """Whether nothing more will happen to any file by itself."""
        return all(file.fate.is_over for file in self._files)

    def drop(self, ledger: Ledger) -> None:
        """Copy the files into the inbox, once; what cannot be copied is over. Raises LocalTrouble."""
        if self._is_dropped:
            return
        self._is_dropped = True
        remove_abandoned(self._state_dir, self._inbox.root, ledger)
        with copying(self._state_dir, self._inbox.root) as staged:
            for file in self._files:
                self._drop_one(file, ledger, staged)

    def _drop_one(self, file: _File, ledger: Ledger, staged: str) -> None:
        try:
            self._require_root(ledger)
            file.dropped = drop(self._inbox, file.source, staged=staged, clock=self._clock, entropy=entropy)
        except Stopping:
            raise
        except AgentError as error:
            message = f"{error.message}; {error.hint}" if error.hint else error.message
            self._set(file, Fate("not copied", one_line(message), is_over=True))
        else:
            self._set(file, Fate(NOT_SEEN))

    def _require_root(self, ledger: Ledger) -> None:
        """Raise LaneTrouble where the inbox is another agent's, or a folder in the place of the one whose disk is away.

        What was copied there would be sent by the other one, or lie below the disk once that is back.
        """
        name, root = self._inbox.folder.name, self._inbox.root
        known = ledger.root(name, RootKind.INBOX)
        look = look_at_root(root, kind=RootKind.INBOX, watch_folder=name, ledger_id=ledger.ledger_id, known=known)
        if look.reason in {LaneReason.OWNED_BY_OTHER_AGENT, LaneReason.ROOT_CHANGED}:
            raise LaneTrouble(look.detail, reason=look.reason, hint=look.hint)

    def look(self, ledger: Ledger) -> bool:
        """Look once at every file in the ledger; return whether all are over."""
        for file in self._files:
            if file.dropped is not None and not file.fate.is_over:
                self._set(file, fate_of(ledger, file.dropped))
        self._look_at_lanes(ledger.note(STATUS_NOTE) or {})
        return self.are_over

    def results(self, unfinished: str) -> list[dict[str, Any]]:
        """Return a document for each file; `unfinished` is the sentence of those that are not over."""
        return [self._result(file, unfinished) for file in self._files]

    def _result(self, file: _File, unfinished: str) -> dict[str, Any]:
        fate = file.fate
        parts = [fate.message] if fate.message else []
        if not fate.is_over:
            place = self._inbox.root / file.dropped.relative_path if file.dropped else file.source
            parts += [*self._waits.values(), unfinished.replace("PATH", one_line(str(place)))]
        return {
            "file": str(file.source),
            "relative_path": file.dropped.relative_path if file.dropped else None,
            "state": fate.state,
            "ok": fate.ok,
            "task_id": fate.task_id or None,
            "message": "; ".join(parts),
        }

    def _set(self, file: _File, fate: Fate) -> None:
        if fate == file.fate:
            return
        file.fate = fate
        message = f": {one_line(fate.message)}" if fate.message else ""
        self._tell(f"{one_line(file.source.name)}: {fate.state}{message}")

    def _look_at_lanes(self, status: Mapping[str, Any]) -> None:
        """Tell why nothing moves, once for each reason; a status from before is a former agent's."""
        if status.get("at", 0.0) < self._began:
            return
        before, self._waits = self._waits, dict(self._troubles(status))
        for lane, sentence in self._waits.items():
            if before.get(lane, "") != sentence:
                self._tell(sentence)

    def _troubles(self, status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        name = self._inbox.folder.name
        mine = {SERVICE_LANE, submission_lane(name), export_lane(name)}
        for lane in status.get("lanes", ()):
            if lane["lane"] in mine:
                yield lane["lane"], one_line(f"{lane['lane']} waits: {lane['reason']}: {lane['detail']}")

    def _tell(self, line: str) -> None:
        self._on_change(line, sum(file.fate.is_over for file in self._files))
