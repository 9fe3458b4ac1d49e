"""The care of one watch folder: what was begun in its folders and not finished, after a crash and in ordinary running.

Filings that could not be done, interrupted exports, unknown outcomes, and what has been kept long enough. Each watch
folder has a thread of its own for it: one whose share is dead keeps no other waiting.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import FileBusy, LaneTrouble, LedgerUnavailable, ServiceTrouble, StaleRecord
from agent.model import FileState, LaneReason
from agent.runtime.copying import remove_abandoned
from agent.runtime.lanes import EXPORTS
from agent.runtime.recovery import make_folders, remove_left_behind
from agent.runtime.roots import recognise_inbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import FileRecord, TaskRecord, WatchFolder
    from agent.runtime.lanes import Lane
    from agent.runtime.parts import Parts

logger = logging.getLogger(__name__)

PAUSE = 1.0
PURGE_EVERY = 60.0
FILING_TURN = 10.0
"""Seconds after which filings let the rest have its turn: each that others hold takes as long as its patience."""
FILINGS = 1_000
"""Planned filings read at once, beside those that wait because others hold their files."""
REFILE_AFTER = 5.0
"""Seconds before a filing is tried again whose file was held by another program."""
ASK_AGAIN_AFTER = 10.0
"""Seconds before a task is asked for again whose answer left nothing to do: its lease may be another's, and ends."""
TROUBLE_OF_THE_SERVICE = frozenset(
    {
        LaneReason.SERVICE_UNREACHABLE,
        LaneReason.SERVICE_UNAVAILABLE,
        LaneReason.RATE_LIMITED,
        LaneReason.CREDENTIALS_REFUSED,
        LaneReason.SETUP_REFUSED,
        LaneReason.SERVICE_REFUSES_ALL,
    }
)
"""Reasons of a lane that keep nothing from being filed: what was accepted before, or refused, is moved all the same."""
OVER_WITH_A_FILING = frozenset(
    {
        LaneReason.DISK_FULL,
        LaneReason.NOT_WRITABLE,
        LaneReason.READ_ONLY,
        LaneReason.IO_ERROR,
        LaneReason.TOO_MANY_OPEN_FILES,
    }
)
"""Reasons of a lane that a filing refutes."""


class FolderCare:
    """Finishes what was begun in one watch folder; `step` runs in the thread that owns it."""

    def __init__(self, parts: Parts, folder: WatchFolder, *, submits: bool = True, was_killed: bool = False) -> None:
        self._parts = parts
        self._folder = folder
        self._submits = submits
        self._was_killed = was_killed
        self._clock = parts.clock
        self._next_purge = 0.0
        self._file_again: dict[str, float] = {}
        """When a filing is tried again whose file others held."""
        self._ask_again: dict[str, float] = {}
        """When a task is asked for again whose export could not be taken back yet."""
        self.is_prepared = False
        """Whether its folders are made and hold nothing a killed process left: nobody works in them before."""

    def prepare(self) -> None:
        """Make archive/ and error/, and remove what killed processes left half written. Raises LedgerUnavailable."""
        if self._submits:
            make_folders(self._folder)
        if self._folder.inbox is not None:
            remove_abandoned(self._parts.settings.state_dir, self._folder.inbox, self._parts.ledger)
        if self._was_killed:
            remove_left_behind(self._folder, self._parts.ledger)
        self.is_prepared = True

    def is_held_by_others(self, key: str) -> bool:
        """Tell whether a move was tried in vain: others hold the file, or it alone may not be moved."""
        return key in self._file_again

    def step(self) -> float:
        """Do what is due and return the seconds until the next look."""
        if not self.is_prepared:
            self.prepare()
        self._file_away()
        self._with_service()
        self._purge()
        return PAUSE

    # --- filings ----------------------------------------------------------------------------------------------------

    def _file_away(self) -> None:
        began = self._clock.monotonic()
        planned = self._parts.ledger.find_files(
            watch_folder=self._folder.name, to_file=True, limit=FILINGS + len(self._file_again)
        )
        self._forget_done({record.key for record in planned})
        if planned:
            recognise_inbox(self._folder, self._parts.ledger)
        # Those tried longest ago go first: many that others hold keep none from its turn.
        for record in sorted(planned, key=lambda record: self._file_again.get(record.key, 0.0)):
            now = self._clock.monotonic()
            if now - began > FILING_TURN:
                return
            if self._folder.inbox is None or self._file_again.get(record.key, 0.0) > now:
                continue
            if self._parts.files_in_hand.take(record.key):
                try:
                    self._carry_out(record)
                finally:
                    self._parts.files_in_hand.release(record.key)

    def _forget_done(self, planned: set[str]) -> None:
        for key in self._file_again.keys() - planned:
            del self._file_again[key]

    def _carry_out(self, record: FileRecord) -> None:
        """Carry out one filing that is still planned, if the lane lets it."""
        lane = self._parts.lanes.submission(self._folder.name)
        current = self._parts.ledger.file(record.key)
        if current is None or not current.filing or current.filed_at is not None:
            return
        if lane.state.reason not in TROUBLE_OF_THE_SERVICE and not lane.enter():
            return
        try:
            self._parts.file_away.carry_out(self._folder, current)
            self._file_again.pop(record.key, None)
            self._open(lane)
        except FileBusy as busy:
            lane.leave()
            self._say_why(record, busy.message)
            self._file_again[record.key] = self._clock.monotonic() + REFILE_AFTER
        except LaneTrouble as trouble:
            lane.failed(trouble)
        except StaleRecord:
            lane.leave()
        except BaseException:
            lane.leave()
            raise

    @staticmethod
    def _open(lane: Lane) -> None:
        """Open a lane that waited for what a filing needs, now that one was done."""
        if lane.state.reason in OVER_WITH_A_FILING:
            lane.succeeded()
        else:
            lane.leave()

    def _say_why(self, record: FileRecord, detail: str) -> None:
        current = self._parts.ledger.file(record.key)
        if current is not None and current.detail != detail and current.reason is None:
            self._parts.ledger.commit(replace(current, version=current.version + 1, detail=detail))

    # --- what the service is asked ----------------------------------------------------------------------------------

    def _with_service(self) -> None:
        ledger, name, service = self._parts.ledger, self._folder.name, self._parts.lanes.service
        interrupted = self._parts.exporting.interrupted(self._folder)
        unknown = ledger.find_files(watch_folder=name, states=[FileState.UNKNOWN], limit=1)
        if not (interrupted or unknown) or not service.enter():
            return
        try:
            asked = self._recover(interrupted)
            looked_up = self._parts.unknown.work(name)
        except ServiceTrouble as trouble:
            service.failed(trouble, of=EXPORTS if interrupted else "")
        except BaseException:
            service.leave()
            raise
        else:
            # Only an answer opens a lane; a step that asked nothing says nothing about the service.
            abilities = self._parts.service.abilities
            if (asked and abilities.server_side_lease) or (looked_up and abilities.finds_lost_submissions):
                service.succeeded()
            else:
                service.leave()
            self._open_lane_of(looked_up)
            if any(record.filing for record in looked_up):
                self._file_away()

    def _open_lane_of(self, records: Sequence[FileRecord]) -> None:
        """Open the lane that waited for a lost answer, now that it is known: the service had accepted the file."""
        lane = self._parts.lanes.submission(self._folder.name)
        if any(record.task_id for record in records) and lane.state.reason is LaneReason.SERVICE_UNAVAILABLE:
            lane.succeeded()

    def _recover(self, interrupted: Sequence[TaskRecord]) -> bool:
        """Take back exports that are in nobody's hand; return whether there were any: with a lease, that asks."""
        asked = False
        unexpected: list[Exception] = []
        now = self._clock.monotonic()
        self._ask_again = {task_id: at for task_id, at in self._ask_again.items() if at > now}
        for record in interrupted:
            if record.task_id in self._ask_again or not self._parts.tasks_in_hand.take(record.task_id):
                continue
            try:
                current = self._parts.ledger.task(record.task_id)
                if current is not None and (current.state, current.started_at) == (record.state, record.started_at):
                    self._parts.exporting.recover(self._folder, current)
                    asked = True
                    if self._parts.ledger.task(record.task_id) == current:
                        self._ask_again[record.task_id] = now + ASK_AGAIN_AFTER
            except (LaneTrouble, LedgerUnavailable):
                raise
            except Exception as error:  # noqa: BLE001 -- raised below: the tasks behind this one have their turn first
                unexpected.append(error)
            finally:
                self._parts.tasks_in_hand.release(record.task_id)
        if unexpected:
            raise ExceptionGroup("exports that could not be taken back", unexpected)
        return asked

    # --- what was kept long enough ----------------------------------------------------------------------------------

    def _purge(self) -> None:
        if self._clock.monotonic() < self._next_purge:
            return
        self._next_purge = self._clock.monotonic() + PURGE_EVERY
        lane = self._parts.lanes.submission(self._folder.name)
        if self._folder.inbox is not None and lane.state.reason is None:
            recognise_inbox(self._folder, self._parts.ledger)
            self._parts.purge.work(self._folder)
