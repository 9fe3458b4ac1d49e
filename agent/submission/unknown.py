"""Unknown outcomes: finds out whether a submission whose answer was lost became a task, before anything is sent again.

Proven order (faults.md 6): look up, keep looking for a quiet time longer than any late acceptance plus the lag of the
listing, and only then send again. What cannot be decided is held for the operator.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import LocalTrouble
from agent.folders import system
from agent.model import Event, FileState, Lookup
from agent.rules.naming import for_display
from agent.submission.outcomes import accepted, cancel, superseded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.model import FileRecord, RetrySettings, Task
    from agent.ports import Clock, Ledger, Service

logger = logging.getLogger(__name__)

FORGOTTEN_AFTER = 60 * 3600.0
"""Seconds after which the service may have forgotten a task it finished (it does at about 72 h, seed 000)."""

RIVALS = 1_000_000
"""Files of unknown outcome looked through: a rival that is not seen would have its task taken for another's."""
CLOCK_SLACK = 5.0
"""Seconds our clock may go back unnoticed: as much as the look-up allows (apis.md 1.4)."""
FIRST_LOOK = 1.0
LAST_PAUSE = 60.0
"""Seconds between two look-ups: doubling from the first to the last."""
MOST_DOUBLINGS = 6
"""Beyond LAST_PAUSE; a wait of days makes thousands of looks, and no float holds two to the power of that."""


Attempt = tuple[str, int]
"""A file's key, and which of its submissions."""


def _attempt(record: FileRecord) -> Attempt:
    return record.key, record.attempts


@dataclass(slots=True)
class _Search:
    """What is remembered of looking for one lost answer; monotonic seconds."""

    quiet_since: float | None = None
    """The first complete listing without it."""
    looks: int = 0
    due: float = 0.0


class Unknown:
    """Resolves unknown outcomes; the quiet time of each runs on this process's monotonic clock."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        service: Service,
        clock: Clock,
        retry: RetrySettings,
        inbox_of: Callable[[str], Path | None],
        customer_of: Callable[[str], str] = lambda _name: "",
        resubmits: bool = False,
    ) -> None:
        self._inbox_of = inbox_of
        self._customer_of = customer_of
        self._resubmits = resubmits
        """Whether what cannot be looked up is sent again after the quiet time: the operator prefers twice to late."""
        self._ledger = ledger
        self._service = service
        self._clock = clock
        self._retry = retry
        # By watch folder, each with a thread of its own; within it by key and attempt: a file that was sent again and
        # is unknown again has its whole quiet time before it.
        self._searches: dict[str, dict[Attempt, _Search]] = {}

    def work(self, watch_folder: str) -> Sequence[FileRecord]:
        """Look once for every unknown outcome of a watch folder that is due; return those records as they stand now.

        One thread for each watch folder. Raises ServiceTrouble: then nothing was decided, and the quiet time of none
        has gone by.
        """
        now = self._clock.monotonic()
        records = self._ledger.find_files(watch_folder=watch_folder, states=[FileState.UNKNOWN])
        before = self._searches.get(watch_folder, {})
        searches = {_attempt(record): before.get(_attempt(record)) or _Search() for record in records}
        self._searches[watch_folder] = searches
        found = []
        for record in records:
            search = searches[_attempt(record)]
            if now < search.due:
                continue
            resolved = self._look_up(record, search)
            found.append(resolved or record)
            if resolved is None:
                search.due = self._next_look(search, now=now)
                search.looks += 1
        return found

    def _next_look(self, search: _Search, *, now: float) -> float:
        """Return when to look again: at growing intervals, and at the very end of the quiet time."""
        doubled: float = FIRST_LOOK * 2 ** min(search.looks, MOST_DOUBLINGS)
        due = now + min(LAST_PAUSE, doubled, max(FIRST_LOOK, self._retry.unknown_wait / 4))
        over = due if search.quiet_since is None else search.quiet_since + self._retry.unknown_wait
        return min(due, over) if over > now else due

    def _look_up(self, record: FileRecord, search: _Search) -> FileRecord | None:
        """Return the record as decided; None while it stays unknown."""
        now = self._clock.now()
        sent_at = record.intent_at if record.intent_at is not None else record.state_at
        if now - sent_at > FORGOTTEN_AFTER:
            return self._hold(record, "it was sent more than 60 hours ago: the service may have forgotten the task")
        if now < sent_at - CLOCK_SLACK:
            return self._hold(record, "the clock was set back since it was sent: its task cannot be told by its time")
        tasks = self._service.find_submission(
            Lookup(
                key=record.key,
                project_id=record.project_id,
                task_name=record.task_name,
                sent_from=sent_at,
                sent_until=now,
                customer=self._customer_of(record.watch_folder),
            )
        )
        if tasks is None and not self._resubmits:
            return self._hold(record, "this service cannot be asked whether the file arrived")
        tasks = tasks or ()
        known = self._ledger.known_tasks([task.id for task in tasks])
        candidates = [task for task in tasks if task.id not in known]
        if candidates:
            return self._found(record, candidates)
        if search.quiet_since is None:
            search.quiet_since = self._clock.monotonic()
        if self._clock.monotonic() - search.quiet_since < self._retry.unknown_wait:
            return None
        return self._send_again(record)

    def _found(self, record: FileRecord, tasks: Sequence[Task]) -> FileRecord:
        rivals = [other for other in self._rivals(record) if other.key != record.key]
        if rivals:
            return self._hold(record, f"the task could also be that of {for_display(rivals[0].relative_path)}")
        if len(tasks) > 1:
            ids = ", ".join(task.id for task in tasks)
            shown = for_display(record.relative_path)
            logger.error("%s: %s became several tasks: %s", record.watch_folder, shown, ids)
            event = Event(self._clock.now(), record.watch_folder, "several tasks", ids, record.key)
            self._ledger.commit(event)
        task, now = tasks[0], self._clock.now()
        if self._has_changed(record):
            is_canceled = cancel(self._service, record, task)
            rows = superseded(record, task, now=now, sha256="", is_canceled=is_canceled)
        else:
            rows = accepted(record, task, now=now, sha256="")
        self._ledger.commit(*rows)
        logger.info("%s: %s had arrived as task %s", record.watch_folder, for_display(record.relative_path), task.id)
        return rows[0]

    def _has_changed(self, record: FileRecord) -> bool:
        """Return whether the file was written to since it was sent: perhaps while, and then nobody knows what arrived.

        One that was taken away or replaced as a whole arrived as it was.
        """
        inbox = self._inbox_of(record.watch_folder)
        if inbox is None:
            return False
        try:
            sighting = system.sight(inbox, record.relative_path)
        except LocalTrouble:
            return False  # its folder is away: filing looks once more
        if sighting is None or sighting.signature.identity != record.signature.identity:
            return False
        return sighting.signature != record.signature

    def _rivals(self, record: FileRecord) -> Sequence[FileRecord]:
        """Return other files of the same name and project whose outcome nobody knows either."""
        unknown = self._ledger.find_files(states=[FileState.UNKNOWN, FileState.HELD], limit=RIVALS)
        return [
            other for other in unknown if (other.project_id, other.task_name) == (record.project_id, record.task_name)
        ]

    def _send_again(self, record: FileRecord) -> FileRecord:
        detail = f"no task of it appeared within {self._retry.unknown_wait:g} s: it is sent again"
        logger.info("%s: %s: %s", record.watch_folder, for_display(record.relative_path), detail)
        now = self._clock.now()
        changed = record.change(
            state=FileState.WAITING,
            claimed_by="",
            state_at=now,
            ready=False,
            look_at=self._clock.monotonic(),
            intent_at=None,
            detail=detail,
        )
        self._ledger.commit(changed, Event(now, record.watch_folder, "sent again", detail, record.key))
        return changed

    def _hold(self, record: FileRecord, detail: str) -> FileRecord:
        logger.error("%s: %s is held: %s", record.watch_folder, for_display(record.relative_path), detail)
        now = self._clock.now()
        changed = record.change(state=FileState.HELD, state_at=now, detail=detail)
        self._ledger.commit(changed, Event(now, record.watch_folder, "held", detail, record.key))
        return changed
