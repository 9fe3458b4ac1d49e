"""The agent: starts every loop in its thread, lets them run, and brings all of them to an orderly end."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agent.errors import LedgerUnavailable
from agent.model import FileState, RootKind, TaskState
from agent.rules.filters import WAITS_FOR
from agent.rules.naming import for_display
from agent.runtime.aftercare import Aftercare
from agent.runtime.asking import AskingLoop
from agent.runtime.control import STATUS_NOTE, Control
from agent.runtime.detecting import Detecting
from agent.runtime.exporting import ExportLoop
from agent.runtime.folder_care import FolderCare
from agent.runtime.lanes import WEB_LANE
from agent.runtime.operations import Operations
from agent.runtime.recovery import end_cleanly, recover
from agent.runtime.roots import RootGuard
from agent.runtime.sending import Sending
from agent.runtime.supervising import Supervisor
from agent.runtime.troubles import SERVICE_NOTE
from agent.runtime.workers import Worker
from agent.submission.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.model import FileRecord, TaskRecord, WatchFolder
    from agent.runtime.parts import Parts

logger = logging.getLogger(__name__)

WORKERS_PER_CONNECTION = 3
"""While one file of a connection is under way, another is checked and a third is filed; the disk is waited for side by
side, so that the ledger's commits and the folders' syncs are shared."""
GRACE = 20.0
"""Seconds that requests under way get once the agent is told to stop (design.md §7)."""

OPEN_TASKS = 1_000_000
"""Open tasks of a watch folder looked through: held ones say nothing about the others."""
WAITING_FILES = 10_000
"""Files of a watch folder looked through for one that is worth waiting for."""
BUSY = (FileState.WAITING, FileState.SENDING, FileState.UNKNOWN)
UNFINISHED = (
    FileState.STALLED,
    FileState.HELD,
    FileState.UNKNOWN,
    FileState.WAITING,
    FileState.SENDING,
    FileState.SUBMITTED,
)


def _ended_without_a_word(task: TaskRecord, since: float) -> bool:
    """Return whether a task ended since then, not as it should, and no source in error/ speaks of it."""
    is_new = task.ended_at is not None and task.ended_at >= since
    return is_new and (task.state is TaskState.ENDED_UNKNOWN or not task.file_key)


def _line(what: str, where: str, name: str, detail: str) -> str:
    return f"{what:<9} {where}: {for_display(name)}" + (f": {for_display(detail)}" if detail else "")


class Agent:
    """One running agent; `start`, then `stop`."""

    def __init__(self, parts: Parts, *, submits: bool = True, exports: bool = True) -> None:
        self._parts = parts
        self.submits = submits
        self.exports = exports
        folders = parts.settings.watch_folders
        self._inboxes = [Inbox.of(folder) for folder in folders if folder.inbox is not None and submits]
        self._detecting: list[Detecting] = []
        self._workers: list[Worker] = []
        self._sending_workers: list[Worker] = []
        self._sending: Sending | None = None
        self._cares: dict[str, FolderCare] = {}
        self._care_workers: dict[str, Worker] = {}
        self._supervisor = Supervisor(parts, add=self._add, hanging=self._replace_workers)
        self._control: Control | None = None
        self._asking: AskingLoop | None = None
        self._export_loop: ExportLoop | None = None
        self._export_worker: Worker | None = None

    # --- start ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Recover, then start every thread. Raises LedgerError."""
        parts = self._parts
        was_killed = recover(parts.settings, parts.ledger)
        parts.ledger.put_note(SERVICE_NOTE, {"result_lifetime": parts.service.abilities.result_lifetime})
        for folder in parts.settings.watch_folders:
            care = FolderCare(parts, folder, submits=self.submits, was_killed=was_killed)
            self._cares[folder.name] = care
            self._care_workers[folder.name] = self._add(f"care of {folder.name}", care.step)
        for inbox in self._inboxes:
            self._add_detecting(inbox)
        if self._inboxes:
            self._sending = Sending(parts, self._inboxes, nudge=self._wake_care)
            self._add_sending(self._workers_wanted)
        aftercare = Aftercare(parts, made_ready=self._wake_sending)
        self._add("aftercare", aftercare.step)
        outputs = [folder for folder in parts.settings.watch_folders if folder.output is not None]
        if self.exports and outputs:
            watch = self._supervisor.watch_output
            roots = {
                folder.name: watch(folder, is_prepared=self._preparation_of(folder), changed=self._wake_export)
                for folder in outputs
            }
            self._export_loop = ExportLoop(parts, roots=roots, wake=self._wake_export)
            self._export_worker = self._add("export", self._export_loop.step)
        if not parts.service.abilities.lists_tasks:
            self._add_asking()
        self._add("supervisor", self._supervisor.step)
        operations = Operations(
            parts.settings,
            ledger=parts.ledger,
            clock=parts.clock,
            file_away=parts.file_away,
            files_in_hand=parts.files_in_hand,
            silence=self._supervisor.silence,
            service=parts.service,
        )
        control = Control(parts, operations, rescan=self.rescan, live=self.live_status, changed=self._wake_all)
        self._control = control
        control.apply_pauses()
        aftercare.recover_uploads(at_start=True)
        self._add("control", control.step)
        for worker in self._workers:
            worker.start()

    def _add_detecting(self, inbox: Inbox) -> None:
        lane = self._parts.lanes.submission(inbox.folder.name)
        guard = RootGuard(inbox.folder, RootKind.INBOX, ledger=self._parts.ledger, lane=lane)
        is_prepared = self._preparation_of(inbox.folder)
        detecting = Detecting(self._parts, inbox, guard, found=self._wake_sending, is_prepared=is_prepared)
        worker = self._add(f"detecting {inbox.folder.name}", detecting.step)
        detecting.wake = worker.wake
        self._detecting.append(detecting)
        self._supervisor.watch_inbox(inbox, answers_again=detecting.answers_again)

    def _add_asking(self) -> None:
        self._asking = AskingLoop(self._parts, made_ready=self._wake_export, exports=self._parts.exports)
        self._asking.wake = self._add("asking", self._asking.step).wake

    def tell(self, task_id: str) -> bool:
        """Take the service's word that a task has ended; return whether it is one of ours."""
        return self._asking is not None and self._asking.tell(task_id)

    def _preparation_of(self, folder: WatchFolder) -> Callable[[], bool]:
        care = self._cares[folder.name]
        return lambda: care.is_prepared

    @property
    def _workers_wanted(self) -> int:
        return WORKERS_PER_CONNECTION * max(1, self._parts.settings.service.connections)

    def _add_sending(self, count: int) -> list[Worker]:
        assert self._sending is not None, "nothing is sent"
        added = [
            self._add(f"sending {len(self._sending_workers) + number + 1}", self._sending.step)
            for number in range(count)
        ]
        self._sending_workers += added
        return added

    def _replace_workers(self, silent: frozenset[str]) -> None:
        """Begin a worker for each that hangs with a file of a silent watch folder."""
        if self._sending is None:
            return
        free = len(self._sending_workers) - self._sending.working_in(silent)
        for worker in self._add_sending(max(0, self._workers_wanted - free)):
            worker.start()

    def _add(self, name: str, step: Any) -> Worker:
        worker = Worker(name, step, clock=self._parts.clock, stop=self._parts.stop)
        self._workers.append(worker)
        return worker

    # --- waking -----------------------------------------------------------------------------------------------------

    def _wake_sending(self) -> None:
        for worker in self._sending_workers:
            worker.wake()

    def _wake_care(self, watch_folder: str) -> None:
        self._care_workers[watch_folder].wake()

    def _wake_export(self) -> None:
        if self._export_worker is not None:
            self._export_worker.wake()

    def _wake_all(self) -> None:
        for worker in self._workers:
            if worker.name != "control":
                worker.wake()

    def rescan(self, folder: str = "") -> None:
        """Scan one inbox, or all, now."""
        for detecting in self._detecting:
            if not folder or detecting.name == folder:
                detecting.rescan()

    # --- status -----------------------------------------------------------------------------------------------------

    def live_status(self) -> dict[str, Any]:
        """Return what only the running process knows; JSON values."""
        parts = self._parts
        return {
            "lanes": [asdict(state) for state in parts.lanes.states() if state.reason is not None],
            "inboxes": {
                detecting.name: {
                    "observer": detecting.observer,
                    "detail": detecting.observer_detail,
                    "unmatched": detecting.unmatched,
                    "unreadable": detecting.unreadable,
                    "unreadable_count": detecting.unreadable_count,
                    "scans": detecting.scans,
                }
                for detecting in self._detecting
            },
            "failures": {worker.name: worker.failure for worker in self._workers if worker.failure},
        }

    def hurry(self) -> None:
        """Have the end of every task known soon, also of those another exporter was faster with (`run --once`)."""
        self._parts.follow.hurries = True

    def is_idle(self) -> bool:
        """Return whether everything there was is worked off (`run --once`): nothing waits, moves or is on its way."""
        if any(detecting.scans == 0 for detecting in self._detecting):
            return False
        ledger = self._parts.ledger
        if len(self._parts.files_in_hand) or len(self._parts.tasks_in_hand):
            return False
        for folder in self._parts.settings.watch_folders if self.submits else ():
            # Mostly one row says enough: this is asked ten times a second, of a backlog of any size.
            for limit in (1, WAITING_FILES):
                under_way = [
                    *ledger.find_files(watch_folder=folder.name, states=BUSY, limit=limit),
                    *ledger.find_files(watch_folder=folder.name, to_file=True, limit=limit),
                ]
                if any(self._may_go_on(record, folder) for record in under_way):
                    return False
        if not self.exports or self._export_loop is None:
            return True
        return not self._own_open_tasks() and self._export_loop.polls > 0

    def _may_go_on(self, record: FileRecord, folder: WatchFolder) -> bool:
        """Return whether a file is waited for: for its ready file, or where others hold it, not beyond `stalled_after`.

        Only one that was looked at, or tried to be moved, in vain: a slow machine gives up nothing.
        """
        clock = self._parts.clock
        if record.filing and record.filed_at is None:
            is_recent = clock.now() - record.state_at < folder.stalled_after
            return is_recent or not self._cares[folder.name].is_held_by_others(record.key)
        if record.state is not FileState.WAITING or record.unchanged_since is None:
            return True
        is_recent = clock.monotonic() - record.unchanged_since < folder.stalled_after
        return is_recent or not record.detail.startswith(WAITS_FOR)

    def _own_open_tasks(self) -> bool:
        """Return whether an export may still come; a held one waits for the operator, without an output none comes."""
        return any(
            not record.held
            for folder in self._parts.settings.watch_folders
            if folder.output is not None
            for record in self._parts.ledger.find_tasks(watch_folder=folder.name, is_open=True, limit=OPEN_TASKS)
        )

    def unfinished(self, *, since: float) -> list[str]:
        """Return a line for each file or task that `run --once` leaves undone, or that went to error/ `since` then."""
        ledger = self._parts.ledger
        lines: list[str] = []
        if self.submits:
            lines += [
                _line(record.state.value, record.watch_folder, record.relative_path, record.detail)
                for record in ledger.find_files(states=UNFINISHED)
            ]
            lines += [
                _line("error", record.watch_folder, record.relative_path, f"{record.reason}: {record.detail}")
                for record in ledger.find_files(states=[FileState.REJECTED], newest_first=True)
                if record.state_at >= since
            ]
            lines += [
                f"unread    {detecting.name}: {detecting.unreadable}"
                + (f", and {detecting.unreadable_count - 1} more" if detecting.unreadable_count > 1 else "")
                for detecting in self._detecting
                if detecting.unreadable
            ]
        if self.exports:
            lines += self._unfinished_tasks(since=since)
        lines += [
            _line("waits", lane.lane, lane.reason.value, lane.detail)
            for lane in self._parts.lanes.states()
            if lane.reason is not None and lane.lane != WEB_LANE
        ]
        return lines

    def _unfinished_tasks(self, *, since: float) -> list[str]:
        ledger = self._parts.ledger
        only_submit = {folder.name for folder in self._parts.settings.watch_folders if folder.output is None}
        lines = [
            _line("held" if task.held else "open", task.watch_folder, f"task {task.task_id} ({task.name})", task.detail)
            for task in ledger.find_tasks(is_open=True)
            if task.watch_folder not in only_submit
        ]
        lines += [
            _line(task.state.value, task.watch_folder, f"task {task.task_id} ({task.name})", task.detail)
            for task in ledger.find_tasks(states=[TaskState.FAILED, TaskState.ENDED_UNKNOWN], newest_first=True)
            if _ended_without_a_word(task, since)
        ]
        return lines

    # --- stop -------------------------------------------------------------------------------------------------------

    def stop(self) -> bool:
        """Stop every thread; return whether all ended in time. What did not is left to recovery."""
        parts = self._parts
        parts.stop.set()
        if self._export_loop is not None:
            self._export_loop.close()
        deadline = parts.clock.monotonic() + GRACE
        ended = [worker.join(max(0.1, deadline - parts.clock.monotonic())) for worker in self._workers]
        for detecting in self._detecting:  # each watcher belongs to its thread, which sets it up at any time
            detecting.close()
        never = threading.Event()
        while self._is_in_hand() and parts.clock.monotonic() < deadline:
            parts.clock.wait(never, 0.05)
        clean = all(ended) and not self._is_in_hand()
        if self._control is not None:
            self._control.close()
        parts.service.close()
        if not clean:
            logger.warning("some requests did not end in time: the next start takes them up")
        try:
            self._note_end(clean=clean)
        except LedgerUnavailable as trouble:  # a full disk, say: no reason to end otherwise than in order
            logger.warning("its end could not be noted, the next start looks for what was left: %s", trouble.message)
        parts.ledger.close()
        return clean

    def _is_in_hand(self) -> bool:
        """Return whether an export or an operator's command is under way still."""
        is_commanded = self._control is not None and self._control.is_busy()
        return is_commanded or len(self._parts.tasks_in_hand) > 0

    def _note_end(self, *, clean: bool) -> None:
        if clean:
            end_cleanly(self._parts.ledger)
        self._parts.ledger.put_note(STATUS_NOTE, {"stopped": True, "at": self._parts.clock.now()})
