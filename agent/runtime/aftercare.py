"""The aftercare loop: everything that was begun and is not finished, after a crash and in ordinary running alike.

Filings that could not be done, uploads nobody holds any more, unknown outcomes, ends of tasks, interrupted exports,
and what has been kept long enough.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import FileBusy, LaneTrouble, ServiceTrouble, StaleRecord
from agent.model import Event, FileState, LaneReason, TaskState
from agent.rules.lifecycle import after_restart
from agent.rules.naming import for_display

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.model import FileRecord, WatchFolder
    from agent.runtime.lanes import Lane
    from agent.runtime.parts import Parts

logger = logging.getLogger(__name__)

PAUSE = 1.0
FOLLOW_EVERY = 15.0
"""Seconds between two looks for ended tasks (design.md §3.6: 30 at most); sooner where `poll_max` is shorter."""
PURGE_EVERY = 60.0
FILING_TURN = 10.0
"""Seconds after which filings let the rest have its turn: each that others hold takes as long as its patience."""
REFILE_AFTER = 5.0
"""Seconds before a filing is tried again whose file was held by another program."""
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


class Aftercare:
    """Finishes what was begun; `step` runs in the thread that owns it."""

    def __init__(self, parts: Parts, *, made_ready: Callable[[], None], follows: bool = True) -> None:
        self._parts = parts
        self._made_ready = made_ready
        self._follows = follows
        self._clock = parts.clock
        self._follow_every = min([FOLLOW_EVERY, *(folder.export.poll_max for folder in parts.settings.watch_folders)])
        self._next_follow = 0.0
        self._next_purge = 0.0
        self._file_again: dict[str, float] = {}
        """When a filing is tried again whose file others held."""
        self._left_before: set[str] = set()
        self.follows_done = 0
        """Looks for ended tasks so far."""

    def step(self) -> float:
        """Do what is due and return the seconds until the next look."""
        self.recover_uploads()
        self._file_away()
        if self._follows and self._parts.lanes.service.enter():
            self._with_service()
        self._purge()
        return PAUSE

    def recover_uploads(self, *, at_start: bool = False) -> None:
        """Give back what says `sending` and is in nobody's hand: a crash, or a ledger that could not be written.

        A worker takes in hand what it claimed a moment before: once workers run, two steps have to agree.
        """
        left = {
            record.key
            for record in self._parts.ledger.find_files(states=[FileState.SENDING])
            if record.key not in self._parts.files_in_hand
        }
        for key in left if at_start else left & self._left_before:
            current = self._parts.ledger.file(key)
            if current is None or current.state is not FileState.SENDING or key in self._parts.files_in_hand:
                continue
            state = after_restart(current)
            now = self._clock.now()
            detail = "the agent stopped before it was sent" if state is FileState.WAITING else LOST_ANSWER
            changed = current.change(
                state=state, claimed_by="", state_at=now, detail=detail, look_at=self._clock.monotonic(), ready=False
            )
            event = Event(now, current.watch_folder, f"recovered as {state.value}", detail, current.key)
            self._parts.ledger.commit(changed, event)
            logger.info("%s: %s: %s", current.watch_folder, for_display(current.relative_path), detail)
            self._made_ready()
        self._left_before = left

    def _file_away(self) -> None:
        began = self._clock.monotonic()
        planned = self._parts.ledger.find_files(to_file=True)
        # Those tried longest ago go first: many that others hold keep none from its turn.
        for record in sorted(planned, key=lambda record: self._file_again.get(record.key, 0.0)):
            now = self._clock.monotonic()
            if now - began > FILING_TURN:
                return
            folder = self._parts.settings.watch_folder(record.watch_folder)
            if folder is None or folder.inbox is None or self._file_again.get(record.key, 0.0) > now:
                continue
            if self._parts.files_in_hand.take(record.key):
                try:
                    self._carry_out(folder, record)
                finally:
                    self._parts.files_in_hand.release(record.key)

    def _carry_out(self, folder: WatchFolder, record: FileRecord) -> None:
        """Carry out one filing that is still planned, if the lane lets it."""
        lane = self._parts.lanes.submission(folder.name)
        current = self._parts.ledger.file(record.key)
        if current is None or not current.filing or current.filed_at is not None:
            return
        if lane.state.reason not in TROUBLE_OF_THE_SERVICE and not lane.enter():
            return
        try:
            self._parts.file_away.carry_out(folder, current)
            self._file_again.pop(record.key, None)
            self._open(lane)
        except FileBusy as busy:
            lane.leave()
            self._file_again[record.key] = self._clock.monotonic() + REFILE_AFTER
            self._say_why(record, busy.message)
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

    def _open_lanes_of(self, records: Sequence[FileRecord]) -> None:
        """Open the lanes that waited for a lost answer, now that it is known: the service had accepted the file."""
        for record in records:
            lane = self._parts.lanes.submission(record.watch_folder)
            if record.task_id and lane.state.reason is LaneReason.SERVICE_UNAVAILABLE:
                lane.succeeded()

    def _say_why(self, record: FileRecord, detail: str) -> None:
        current = self._parts.ledger.file(record.key)
        if current is not None and current.detail != detail and current.reason is None:
            self._parts.ledger.commit(replace(current, version=current.version + 1, detail=detail))

    def _with_service(self) -> None:
        service = self._parts.lanes.service
        try:
            asked = self._recover_exports()
            looked_up = self._parts.unknown.work()
            self._open_lanes_of(looked_up)
            if any(record.filing for record in looked_up):
                self._file_away()
            asked = asked or bool(looked_up)
            if self._clock.monotonic() >= self._next_follow:
                asked = self._parts.follow.work(exports=self._parts.exports) or asked
                self._next_follow = self._clock.monotonic() + self._follow_every
                self.follows_done += 1
        except ServiceTrouble as trouble:
            service.failed(trouble)
        except BaseException:
            service.leave()
            raise
        else:
            # Only an answer opens a lane; a step that asked nothing says nothing about the service.
            if asked:
                service.succeeded()
            else:
                service.leave()

    def _recover_exports(self) -> bool:
        """Take back exports that are in nobody's hand; return whether the service was asked."""
        asked = False
        for record in self._parts.ledger.find_tasks(states=[TaskState.EXPORTING]):
            folder = self._parts.settings.watch_folder(record.watch_folder)
            if folder is None or not self._parts.tasks_in_hand.take(record.task_id):
                continue
            try:
                current = self._parts.ledger.task(record.task_id)
                if current is not None and current.state is TaskState.EXPORTING:
                    self._parts.exporting.recover(folder, current)
                    asked = True
            finally:
                self._parts.tasks_in_hand.release(record.task_id)
        return asked

    def _purge(self) -> None:
        if self._clock.monotonic() < self._next_purge:
            return
        self._next_purge = self._clock.monotonic() + PURGE_EVERY
        for folder in self._parts.settings.watch_folders:
            if folder.inbox is not None and self._parts.lanes.submission(folder.name).state.reason is None:
                self._parts.purge.work(folder)
        self._forget()

    def _forget(self) -> None:
        """Forget what is finished, but nothing that a later purge of archive/ or error/ has to know."""
        settings = self._parts.settings
        if settings.history_keep is None:
            return
        keeps = [keep for folder in settings.watch_folders for keep in (folder.archive_keep, folder.error_keep)]
        keep = max([settings.history_keep, *(keep + PURGE_EVERY for keep in keeps if keep is not None)])
        self._parts.ledger.purge(before=self._clock.now() - keep)


LOST_ANSWER = "the agent stopped while it was sent: the service is asked whether it arrived"
