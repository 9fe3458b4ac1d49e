"""The sending loop: claims files fairly between watch folders and takes each through submit and file away."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

from agent.errors import (
    FileBusy,
    FileRefused,
    LaneTrouble,
    LocalTrouble,
    ServiceTrouble,
    ServiceUnavailable,
    SetupRefused,
)
from agent.folders import system
from agent.model import FileState, LaneReason, Reason
from agent.rules.retrying import RefusalStreak
from agent.rules.sizes import readable
from agent.runtime.lanes import SUBMISSIONS
from agent.submission.outcomes import refuses_all
from agent.submission.preparing import is_of_the_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from agent.model import FileRecord
    from agent.runtime.lanes import Lane
    from agent.runtime.parts import Parts
    from agent.submission.inbox import Inbox

logger = logging.getLogger(__name__)

IDLE = 1.0
"""Seconds between two looks for work without being woken."""
OVER_WITH_THE_LAST_FILE = frozenset(
    {
        LaneReason.SERVICE_UNREACHABLE,
        LaneReason.SERVICE_UNAVAILABLE,
        LaneReason.RATE_LIMITED,
        LaneReason.CREDENTIALS_REFUSED,
        LaneReason.DISK_FULL,
        LaneReason.NOT_WRITABLE,
        LaneReason.READ_ONLY,
        LaneReason.IO_ERROR,
        LaneReason.TOO_MANY_OPEN_FILES,
    }
)
"""What a lane without work, its service in order, waits for no longer; a wrong set-up is wrong until a file passes."""


class Sending:
    """What the sending workers share: whose turn it is, and how often the service refused in a row."""

    def __init__(self, parts: Parts, inboxes: Sequence[Inbox], *, nudge: Callable[[str], None]) -> None:
        self._parts = parts
        self._inboxes = list(inboxes)
        self._nudge = nudge
        """Wakes who cares for what a worker leaves behind in a watch folder."""
        self._working: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._turn = 0
        self._streaks: dict[str, RefusalStreak] = {}
        self._kept: dict[str, list[str]] = {}
        """Keys of files kept back while everything is refused, so that each try takes another one."""
        self._unread: dict[str, list[str]] = {}
        """Keys of files the disk did not give: tried again when no other is left, or they would be tried for ever."""

    def step(self) -> float:
        """Send one file and return the seconds to wait before the next try; 0 while there is work."""
        service = self._parts.lanes.service
        if not service.enter():
            return min(IDLE, max(0.05, service.wait_seconds()))
        try:
            claimed = self._claim()
        except BaseException:
            service.leave()
            raise
        if claimed is None:
            service.leave()
            return IDLE
        inbox, record = claimed
        with self._lock:
            self._working[inbox.folder.name] += 1
        in_hand = [record.key]
        try:
            self._work(inbox, record, service, in_hand)
        finally:
            with self._lock:
                self._working[inbox.folder.name] -= 1
            for key in in_hand:
                self._parts.files_in_hand.release(key)
        return 0.0

    def working_in(self, watch_folders: Collection[str]) -> int:
        """Return how many workers have a file of these watch folders."""
        with self._lock:
            return sum(self._working[name] for name in watch_folders)

    def _claim(self) -> tuple[Inbox, FileRecord] | None:
        """Claim the oldest file of the folder whose turn it is, else of the next that has one.

        Workers claim side by side, so that their claims share one commit of the ledger.
        """
        count = len(self._inboxes)
        with self._lock:
            turn = self._turn
            self._turn = (turn + 1) % count
        for offset in range(count):
            position = (turn + offset) % count
            inbox = self._inboxes[position]
            lane = self._parts.lanes.submission(inbox.folder.name)
            if not lane.enter():
                continue
            try:
                self._require_space()
                record = self._parts.ledger.claim(
                    inbox.folder.name, claimed_by=self._parts.agent_id, now=self._parts.clock.now()
                )
                if record is None:
                    self._nothing_to_send(inbox.folder.name, lane)
                    continue
            except LocalTrouble as trouble:
                lane.failed(trouble)
                continue
            except BaseException:
                lane.leave()
                raise
            self._parts.files_in_hand.hold(record.key)
            with self._lock:
                self._turn = (position + 1) % count  # folders without work pass their turns to nobody in particular
            return inbox, record
        return None

    def _require_space(self) -> None:
        """Raise LocalTrouble where the ledger's disk has less than `min_free`: what cannot be noted is not sent."""
        settings = self._parts.settings
        if settings.min_free and (free := system.free_space(settings.state_dir)) < settings.min_free:
            raise LocalTrouble(
                f"{readable(free)} are free where the ledger lies ({settings.state_dir}), min_free asks for"
                f" {readable(settings.min_free)}",
                reason=LaneReason.DISK_FULL,
                hint="make room there, or lower min_free; the agent goes on by itself",
            )

    def _nothing_to_send(self, name: str, lane: Lane) -> None:
        """Let go what was kept back; open a lane whose trouble keeps nothing waiting any more.

        Else status would speak of it until the next file comes, perhaps for days.
        """
        with self._lock:
            kept = self._kept.pop(name, [])
            unread = self._unread.pop(name, [])
        if kept or unread:
            self._parts.submit.preparing.let_go([*kept, *unread])
        is_over = lane.state.reason in OVER_WITH_THE_LAST_FILE and self._parts.lanes.service.state.reason is None
        if is_over and not unread and not self._is_under_way(name):
            lane.succeeded()
        else:
            lane.leave()

    def _is_under_way(self, name: str) -> bool:
        ledger = self._parts.ledger
        states = [FileState.SENDING, FileState.UNKNOWN]
        return bool(
            ledger.find_files(watch_folder=name, states=states, limit=1)
            or ledger.find_files(watch_folder=name, to_file=True, limit=1)
        )

    def _sent(self, inbox: Inbox, record: FileRecord, further: list[str]) -> Sequence[FileRecord]:
        """Send one claimed file, or with it the others of its folder, whose keys go into `further`."""
        if self._parts.batches.wants(inbox, record):

            def hold(key: str) -> None:
                self._parts.files_in_hand.hold(key)
                further.append(key)

            return self._parts.batches.work(inbox, record, hold=hold)
        return [self._parts.submit.work(inbox, record, stays=lambda: self._count_refusal(inbox.folder.name))]

    def _work(self, inbox: Inbox, record: FileRecord, service: Lane, further: list[str]) -> None:
        lane = self._parts.lanes.submission(inbox.folder.name)
        try:
            for each in self._sent(inbox, record, further):
                self._judge(each, lane, service, inbox.folder.name)
                if each.filing and each.filed_at is None:
                    self._parts.file_away.carry_out(inbox.folder, each)
        except FileRefused:  # kept in the inbox: the service refuses everything
            service.succeeded(of=SUBMISSIONS)
            with self._lock:
                self._kept.setdefault(inbox.folder.name, []).append(record.key)
            self._refused(lane, inbox.folder.name)
        except FileBusy as busy:
            logger.info("%s: %s: filed later: %s", inbox.folder.name, record.relative_path, busy.message)
            self._nudge(inbox.folder.name)
        except LaneTrouble as trouble:
            if is_of_the_disk(trouble):
                with self._lock:
                    self._unread.setdefault(inbox.folder.name, []).extend(further)
            self._blame(trouble, lane, service)
            self._nudge(inbox.folder.name)
        except BaseException:
            lane.leave()
            service.leave()
            self._nudge(inbox.folder.name)
            raise

    def _judge(self, record: FileRecord, lane: Lane, service: Lane, name: str) -> None:
        """Say what the outcome tells about the lanes."""
        if record.state is FileState.UNKNOWN:
            service.leave()
            lane.failed(
                ServiceUnavailable(
                    record.detail,
                    reason=LaneReason.SERVICE_UNAVAILABLE,
                    hint="the file is looked for at the service before it is sent again",
                )
            )
            self._nudge(name)
        elif record.reason is Reason.REFUSED_BY_SERVICE:
            service.succeeded(of=SUBMISSIONS)
            self._refused(lane, name)
        elif record.task_id:
            with self._lock:
                self._streaks[name] = RefusalStreak()
                kept = self._kept.pop(name, [])
            self._parts.submit.preparing.let_go(kept)
            service_was_waiting = service.succeeded(of=SUBMISSIONS)
            # What waited with the lane goes on at once; else nothing is left behind, and a step of the care for each
            # file would cost a third of the speed.
            if lane.succeeded() or service_was_waiting:
                self._nudge(name)
        else:
            service.leave()
            lane.leave()

    def _count_refusal(self, name: str) -> bool:
        """Count one more refused file and return whether it stays: ten in a row went to error/ before it."""
        with self._lock:
            before = self._streaks.get(name, RefusalStreak())
            self._streaks[name] = before.refused()
        return before.stops

    def _refused(self, lane: Lane, name: str) -> None:
        with self._lock:
            streak = self._streaks[name]
        if streak.stops:
            trouble = refuses_all()
            trouble.retry_after = self._parts.settings.retry.max
            lane.failed(trouble)
        else:
            lane.succeeded()

    def _blame(self, trouble: LaneTrouble, lane: Lane, service: Lane) -> None:
        """Let the lane wait whose trouble it is."""
        lane.failed(trouble)
        if isinstance(trouble, ServiceTrouble) and not isinstance(trouble, SetupRefused):
            service.failed(trouble, of=SUBMISSIONS)
        elif isinstance(trouble, LocalTrouble):
            service.leave()
        else:
            service.succeeded(of=SUBMISSIONS)
