"""Detect and settle: turns sightings into rows of the ledger, and rows at rest into files ready to be sent.

Events are hints, the scan is the truth; both end in `take`. Nothing is kept in memory but the paths missing once, so a
backlog of any size costs none.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import FileBusy, LocalTrouble, StaleRecord
from agent.folders import filing, system
from agent.folders.roots import require_ours
from agent.folders.scanning import scan
from agent.folders.trouble import local_trouble
from agent.model import Event, FileRecord, FileState, Irregular, RootKind
from agent.rules.filters import FilterVerdict, ready_file_for
from agent.rules.naming import fill_placeholders, for_display
from agent.rules.settling import Observation, Verdict
from agent.rules.tags import as_told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.folders.scanning import ScanOutcome
    from agent.model import Sighting
    from agent.ports import Clock, Ledger
    from agent.submission.inbox import Inbox

logger = logging.getLogger(__name__)

PAGE = 500
"""Rows looked up and committed at once."""
READY_FILE_PAUSE = 1.0
"""Seconds between two looks for a ready file, beside the hint of its own arrival."""

SENT = frozenset({FileState.SENDING, FileState.UNKNOWN, FileState.HELD, FileState.SUBMITTED})
UNSENT = frozenset({FileState.WAITING, FileState.STALLED, FileState.IGNORED})
MAY_GO_MISSING = UNSENT | {FileState.SUBMITTED}
"""States in which a file somebody takes away is simply gone; one that is sent, unknown or held is still decided."""


class Detect:
    """The detection of one inbox; owned by one thread."""

    def __init__(self, inbox: Inbox, *, ledger: Ledger, clock: Clock, new_key: Callable[[], str]) -> None:
        self._inbox = inbox
        self._folder = inbox.folder
        self._ledger = ledger
        self._clock = clock
        self._new_key = new_key
        self._missing_once: set[str] = set()
        self.unmatched = 0
        """Files of the last scan that no include matches, for status."""
        self.last_scan: ScanOutcome | None = None

    # --- sightings ----------------------------------------------------------------------------------------------------

    def scan(self) -> ScanOutcome:
        """Walk the inbox once and take in everything. Raises LocalTrouble where the root cannot be read."""
        unmatched = 0

        def wants(relative_path: str) -> bool:
            nonlocal unmatched
            if self._inbox.wants(relative_path):
                return True
            if self._inbox.name_filter.judge(relative_path) is FilterVerdict.UNMATCHED:
                unmatched += 1
            return False

        walk = scan(
            self._inbox.root,
            recursive=self._folder.recursive,
            wants=wants,
            skips_folder=self._inbox.name_filter.skips_folder,
            excluded=self._inbox.excluded,
            batch=PAGE,
        )
        try:
            for sightings in walk:
                self.take(sightings)
        except OSError as error:
            trouble = local_trouble(error, "the inbox cannot be read", self._inbox.root)
            if trouble is None:
                raise
            raise trouble from error
        for unreadable in walk.outcome.unreadable:
            logger.warning("%s: %s: %s", self._folder.name, for_display(unreadable.relative_path), unreadable.error)
        self.unmatched = unmatched
        self.last_scan = walk.outcome
        if walk.outcome.complete:
            self._look_for_missing()
        return walk.outcome

    def look_at(self, relative_paths: Iterable[str]) -> bool:
        """Look at single paths that events hinted at; return whether a file became ready."""
        sightings = []
        for relative_path in relative_paths:
            if self._inbox.name_filter.is_ready_file(relative_path):
                self._look_at_all_that_wait()
                continue
            if not self._inbox.wants(relative_path):
                continue
            sighting = system.sight(self._inbox.root, relative_path)
            if sighting is not None:
                sightings.append(sighting)
        return self.take(sightings)

    def look_at_due(self) -> bool:
        """Look again at every file whose time has come; return whether one became ready."""
        found = False
        while True:
            due = self._ledger.due_for_look(self._folder.name, now=self._clock.monotonic(), limit=PAGE)
            if not due:
                return found
            changes: list[FileRecord | Event] = []
            for record in due:
                sighting = system.sight(self._inbox.root, record.relative_path)
                if sighting is None:
                    # Absence in one look means nothing: the scan decides whether it is gone.
                    changes.append(record.change(look_at=None))
                else:
                    changes += self._observe(record, sighting)
            found = self._commit(changes) or found
            if len(due) < PAGE:
                return found

    def next_look(self) -> float | None:
        """Return the monotonic time of the next look that is due; None: nothing waits."""
        return self._ledger.next_look(self._folder.name)

    def take(self, sightings: Sequence[Sighting]) -> bool:
        """Take in what was seen; return whether a file became ready."""
        if not sightings:
            return False
        found = False
        for start in range(0, len(sightings), PAGE):
            page = {sighting.relative_path: sighting for sighting in sightings[start : start + PAGE]}
            rows = self._ledger.find_in_inbox(self._folder.name, list(page))
            new = [sighting for path, sighting in page.items() if not self._is_known(sighting, rows.get(path, ()))]
            sent = self._sent_under_other_names(new)
            changes: list[FileRecord | Event] = []
            for sighting in new:
                known = sent.get(sighting.signature.identity)
                if known is not None and known.signature == sighting.signature:
                    # Renamed after it was sent: the same file, never a second task (faults.md 6).
                    if not self._lies_there(known):
                        changes.append(known.change(relative_path=sighting.relative_path))
                    continue
                row = next((row for row in rows.get(sighting.relative_path, ()) if row.state in UNSENT), None)
                if row is None:
                    row, event = self._first_seen(sighting)
                    first, *further = self._observe(row, sighting, is_new=True)
                    changes += [first, event, *further]
                elif row.look_at is None or row.signature != sighting.signature or row.state is FileState.IGNORED:
                    changes += self._observe(row, sighting)
            found = self._commit(changes) or found
        return found

    def _is_known(self, sighting: Sighting, rows: Sequence[FileRecord]) -> bool:
        """Return whether a sighting says nothing new: a file that was dealt with or waits for its next look."""
        for row in rows:
            if row.signature != sighting.signature:
                continue
            if row.state is FileState.IGNORED:
                return sighting.irregular is not None or sighting.links > 1
            if row.state not in UNSENT or row.ready or row.look_at is not None:
                return True
        return False

    def _sent_under_other_names(self, sightings: Sequence[Sighting]) -> dict[str, FileRecord]:
        identities = [sighting.signature.identity for sighting in sightings if sighting.irregular is None]
        if not identities:
            return {}
        return dict(self._ledger.find_sent(self._folder.name, identities))

    def _lies_there(self, record: FileRecord) -> bool:
        """Return whether a file still has the name the ledger knows: then another name is a second one (hard link)."""
        sighting = system.sight(self._inbox.root, record.relative_path)
        return sighting is not None and sighting.signature == record.signature

    def _first_seen(self, sighting: Sighting) -> tuple[FileRecord, Event]:
        now = self._clock.now()
        record = FileRecord(
            key=self._new_key(),
            watch_folder=self._folder.name,
            relative_path=sighting.relative_path,
            signature=sighting.signature,
            state=FileState.WAITING,
            state_at=now,
            first_seen_at=now,
            project_id=self._folder.project_id,
        )
        return record, Event(now, self._folder.name, "seen", "", record.key)

    # --- settling -----------------------------------------------------------------------------------------------------

    def _observe(self, row: FileRecord, sighting: Sighting, *, is_new: bool = False) -> list[FileRecord | Event]:
        """Return what one look changes."""
        version = row.version if is_new else row.version + 1
        if sighting.irregular is not None:
            return self._ignore(row, sighting, irregular_sentence(sighting.irregular), version=version)
        monotonic = self._clock.monotonic()
        seen, verdict = self._inbox.tracker.observe(sighting, monotonic, before=Observation.of(row))
        detail = ""
        if verdict is Verdict.READY and (
            held := self._held(sighting, is_old=self._inbox.tracker.is_stalled(seen, monotonic))
        ):
            if held is Irregular.HARD_LINK:
                return self._ignore(row, sighting, HARD_LINK_SENTENCE, version=version)
            detail = held
            seen, verdict = self._inbox.tracker.judge(seen, monotonic, held=held)
        look_at = seen.look_at
        if verdict is Verdict.READY and (missing := self._missing_ready_file(row.relative_path)):
            detail, verdict = missing, Verdict.WAITING
            look_at = monotonic + READY_FILE_PAUSE
        is_ready = verdict is Verdict.READY
        state = self._state(row, verdict, is_same=row.signature == sighting.signature)
        now = self._clock.now()
        changed = row.change(
            signature=sighting.signature,
            state=state,
            state_at=row.state_at if state is row.state else now,
            unchanged_since=seen.since,
            look_at=None if is_ready else look_at,
            looks=seen.looks,
            claimed_by="",
            ready=is_ready,
            detail=detail or (row.detail if state is FileState.STALLED else ""),
            project_id=self._folder.project_id,
            # As the service will show it: names that differ only here could both claim one lost answer.
            task_name=as_told(fill_placeholders(self._folder.task_name, row.relative_path, self._folder.name)),
        )
        changes: list[FileRecord | Event] = [replace(changed, version=version)]
        if state is FileState.STALLED and row.state is not FileState.STALLED:
            changes.append(Event(now, self._folder.name, "stalled", detail, row.key))
            logger.warning("%s: %s: stalled: %s", self._folder.name, for_display(row.relative_path), detail)
        return changes

    def _state(self, row: FileRecord, verdict: Verdict, *, is_same: bool) -> FileState:
        if verdict is Verdict.STALLED or (row.state is FileState.STALLED and is_same):
            return FileState.STALLED
        return FileState.WAITING

    def _held(self, sighting: Sighting, *, is_old: bool) -> str:
        """Return who or what keeps a file at rest from being sent; "" where nothing does."""
        if sighting.links > 1 and self._folder.hard_links == "check" and system.HARD_LINKS_CARRY_OWNERS:
            if is_old:
                owners = {os.getuid(), self._inbox.root.stat().st_uid} if hasattr(os, "getuid") else set()
                return "" if sighting.owner in owners else Irregular.HARD_LINK
            return "the file has more than one name (hard links)"
        if system.is_held_for_writing(self._inbox.root.joinpath(*sighting.relative_path.split("/"))):
            return "another program has the file open for writing"
        return ""

    def _missing_ready_file(self, relative_path: str) -> str:
        if self._folder.ready_file is None:
            return ""
        ready_file = ready_file_for(self._folder.ready_file, relative_path)
        if system.sight(self._inbox.root, ready_file) is not None:
            return ""
        return f"waits for {ready_file.rsplit('/', 1)[-1]}"

    def _ignore(self, row: FileRecord, sighting: Sighting, detail: str, *, version: int) -> list[FileRecord | Event]:
        now = self._clock.now()
        changed = row.change(
            signature=sighting.signature,
            state=FileState.IGNORED,
            state_at=now,
            unchanged_since=None,
            look_at=None,
            ready=False,
            detail=detail,
        )
        logger.info("%s: %s: ignored: %s", self._folder.name, for_display(row.relative_path), detail)
        return [replace(changed, version=version), Event(now, self._folder.name, "ignored", detail, row.key)]

    def _commit(self, changes: Sequence[FileRecord | Event]) -> bool:
        """Commit what was observed; return whether a file became ready."""
        if not changes:
            return False
        try:
            self._ledger.commit(*changes)
        except StaleRecord:
            changes = self._commit_one_by_one(changes)
        return any(isinstance(change, FileRecord) and change.ready for change in changes)

    def _commit_one_by_one(self, changes: Sequence[FileRecord | Event]) -> list[FileRecord | Event]:
        """Commit all but the rows that a worker claimed meanwhile: what it finds decides about those."""
        committed: list[FileRecord | Event] = []
        for record in changes:
            if not isinstance(record, FileRecord):
                continue
            events = [event for event in changes if isinstance(event, Event) and event.file_key == record.key]
            try:
                self._ledger.commit(record, *events)
            except StaleRecord:
                logger.debug("%s: %s changed hands", self._folder.name, for_display(record.relative_path))
            else:
                committed.append(record)
        return committed

    # --- what is not there any more -----------------------------------------------------------------------------------

    def _look_at_all_that_wait(self) -> None:
        """Make every file that waits for its ready file due now."""
        waiting = self._ledger.find_files(watch_folder=self._folder.name, states=[FileState.WAITING], in_inbox=True)
        now = self._clock.monotonic()
        self._commit([row.change(look_at=now) for row in waiting if not row.ready])

    def _look_for_missing(self) -> None:
        """Record as gone what two complete scans in a row did not find. Raises LocalTrouble: the root went away."""
        missing = set()
        for relative_path, key, state in self._ledger.inbox_paths(self._folder.name):
            if state not in MAY_GO_MISSING:
                continue
            sighting = system.sight(self._inbox.root, relative_path)
            if sighting is not None and (state in UNSENT or not self._was_replaced(key, sighting)):
                continue
            missing.add(key)
        if missing:
            require_ours(self._inbox.root, kind=RootKind.INBOX, ledger_id=self._ledger.ledger_id)
        for key in missing & self._missing_once:
            self._gone(key)
        self._missing_once = missing

    def _was_replaced(self, key: str, sighting: Sighting) -> bool:
        """Return whether the name of a file that was sent stands for other bytes now."""
        record = self._ledger.file(key)
        return record is not None and record.signature != sighting.signature

    def _was_filed(self, record: FileRecord) -> bool:
        """Return whether a file that was sent lies in archive/ already: a crash kept the ledger from knowing."""
        archive = self._folder.archive
        if not record.destination or archive is None:
            return False
        try:
            return bool(filing.find_filed(archive, record.destination, record.signature, record.sha256))
        except (FileBusy, LocalTrouble) as error:
            logger.debug("%s: %s: %s", self._folder.name, for_display(record.relative_path), error.message)
            return True

    def _gone(self, key: str) -> None:
        record = self._ledger.file(key)
        if record is None or record.state not in MAY_GO_MISSING or self._was_filed(record):
            return
        now = self._clock.now()
        when = "before it could be filed" if record.state is FileState.SUBMITTED else "before it was sent"
        detail = f"it was moved, deleted or replaced by somebody else {when}"
        changed = record.change(
            state=FileState.GONE,
            state_at=now,
            in_inbox=False,
            ready=False,
            look_at=None,
            filing="",
            destination="",
            detail=detail,
        )
        self._ledger.commit(changed, Event(now, self._folder.name, "gone", detail, key, record.task_id))
        logger.info("%s: %s: gone: %s", self._folder.name, for_display(record.relative_path), detail)


HARD_LINK_SENTENCE = (
    "the file has other names (hard links) and belongs to somebody else: perhaps one its dropper may not read"
)


def irregular_sentence(irregular: Irregular) -> str:
    """Return why an entry that is no plain file stays where it lies."""
    return f"a {irregular.value.replace('_', ' ')} is never opened, moved or sent; put the file itself here"
