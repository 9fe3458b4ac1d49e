"""Detect and settle: turns sightings into rows of the ledger, and rows at rest into files ready to be sent.

Events are hints, the scan is the truth; both end in `take`. Nothing is kept in memory, so a backlog of any size costs
none.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.errors import FileBusy, StaleRecord
from agent.folders import system
from agent.folders.scanning import scan
from agent.folders.trouble import any_local_trouble
from agent.model import Event, FileRecord, FileState, Irregular, Sighting
from agent.rules.filters import WAITS_FOR, FilterVerdict, ready_file_for
from agent.rules.naming import fill_placeholders, for_display
from agent.rules.settling import Observation, Verdict
from agent.rules.tags import as_told
from agent.submission.coming_back import without_copies_under_way
from agent.submission.missing import UNSENT, Missing, back, gone, sight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.folders.scanning import ScanOutcome
    from agent.ports import Clock, Ledger
    from agent.submission.inbox import Inbox

logger = logging.getLogger(__name__)

PAGE = 500
"""Rows looked up and committed at once."""
READY_FILE_PAUSE = 1.0
"""Seconds between two looks for a ready file at first, beside the hint of its own arrival."""


class Detect:
    """The detection of one inbox; owned by one thread."""

    def __init__(self, inbox: Inbox, *, ledger: Ledger, clock: Clock, new_key: Callable[[], str]) -> None:
        self._inbox = inbox
        self._folder = inbox.folder
        self._ledger = ledger
        self._clock = clock
        self._new_key = new_key
        self._missing = Missing(inbox, ledger=ledger, clock=clock)
        self.unmatched = 0
        """Files of the last scan that no include matches, for status."""
        self._unreadable: set[str] = set()

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
            raise any_local_trouble(error, "read the inbox", self._inbox.root) from error
        self._say_unreadable({unreadable.sentence for unreadable in walk.outcome.unreadable})
        self.unmatched = unmatched
        if walk.outcome.complete:
            self._missing.look()
        return walk.outcome

    def _say_unreadable(self, sentences: set[str]) -> None:
        """Log what cannot be read once, not with every scan."""
        for sentence in sorted(sentences - self._unreadable):
            logger.warning("%s: %s", self._folder.name, sentence)
        self._unreadable = sentences

    def look_at(self, relative_paths: Iterable[str]) -> bool:
        """Look at single paths that events hinted at; return whether a file became ready."""
        sightings = []
        announcing = set()
        for relative_path in relative_paths:
            if self._inbox.name_filter.is_ready_file(relative_path):
                announcing.add(relative_path.casefold())
                continue
            if not self._inbox.wants(relative_path):
                continue
            try:
                sighting = self._sight(relative_path)
            except FileBusy as busy:
                logger.debug("%s: %s", self._folder.name, busy.message)
                continue
            if sighting is not None:
                sightings.append(sighting)
        if announcing:
            self._look_at_announced(announcing)
        return self.take(sightings)

    def look_at_due(self) -> bool:
        """Look again at every file whose time has come; return whether one became ready."""
        found = False
        while True:
            due = self._ledger.due_for_look(self._folder.name, now=self._clock.monotonic(), limit=PAGE)
            if not due:
                return found
            rows = self._ledger.find_in_inbox(self._folder.name, list({record.relative_path for record in due}))
            changes: list[FileRecord | Event] = []
            for record in due:
                changes += self._look_at_record(record, rows.get(record.relative_path, ()))
            found = self._commit(changes) or found
            if len(due) < PAGE:
                return found

    def _look_at_record(self, record: FileRecord, rows: Sequence[FileRecord]) -> list[FileRecord | Event]:
        """Return what a look at one row that is due changes; `rows` are all of its path."""
        try:
            sighting = self._sight(record.relative_path)
        except FileBusy as busy:
            seen_before = Sighting(record.relative_path, record.signature)
            return self._observe(record, seen_before, unreadable=busy.message)
        if sighting is None:
            # Absence in one look means nothing: the scan decides whether it is gone.
            return [record.change(look_at=None)]
        if _is_known_by_another(record, sighting, rows):
            detail = "it was replaced before it was sent: what lies there by now is a file of its own"
            return list(gone(record, detail, now=self._clock.now()))
        return self._observe(record, sighting)

    def _sight(self, relative_path: str) -> Sighting | None:
        return sight(self._inbox, relative_path, ledger_id=self._ledger.ledger_id)

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
            new = without_copies_under_way(new, ledger=self._ledger, watch_folder=self._folder.name)
            sent = self._sent_under_other_names(new)
            changes: list[FileRecord | Event] = []
            for sighting in new:
                known = sent.get(sighting.signature.identity)
                if known is not None and known.signature == sighting.signature:
                    # Renamed, or brought back, after it was sent: the same file, never a second task (faults.md 6).
                    if known.state is FileState.GONE:
                        changes += back(known, sighting, now=self._clock.now())
                    elif not self._lies_there(known):
                        changes.append(known.change(relative_path=sighting.relative_path))
                    continue
                row = next((row for row in rows.get(sighting.relative_path, ()) if row.state in UNSENT), None)
                if row is None:
                    changes += self._take_new(sighting)
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
                return sighting.irregular is not None or self._is_anothers_link(sighting)
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
        try:
            sighting = self._sight(record.relative_path)
        except FileBusy:
            return True  # perhaps: until that can be seen, it has no other name
        return sighting is not None and sighting.signature == record.signature

    def _take_new(self, sighting: Sighting) -> list[FileRecord | Event]:
        """Return the rows of a file the ledger had not in the inbox a moment ago.

        Looked at once more: one that was sent and filed since it was seen would leave the row of a ghost.
        """
        try:
            there = self._sight(sighting.relative_path)
        except FileBusy:
            return []
        if there is None or there.signature.identity != sighting.signature.identity:
            return []
        row, event = self._first_seen(there)
        first, *further = self._observe(row, there, is_new=True)
        return [first, event, *further]

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

    def _observe(
        self, row: FileRecord, sighting: Sighting, *, is_new: bool = False, unreadable: str = ""
    ) -> list[FileRecord | Event]:
        """Return what one look changes; `unreadable` says why there was none, `sighting` is the last one's then."""
        version = row.version if is_new else row.version + 1
        if sighting.irregular is not None:
            return self._ignore(row, sighting, irregular_sentence(sighting.irregular), version=version)
        monotonic = self._clock.monotonic()
        seen, verdict = self._inbox.tracker.observe(sighting, monotonic, before=Observation.of(row))
        detail = ""
        if verdict is Verdict.READY and (
            held := unreadable or self._held(sighting, is_old=self._inbox.tracker.is_stalled(seen, monotonic))
        ):
            if held is Irregular.HARD_LINK:
                return self._ignore(row, sighting, HARD_LINK_SENTENCE, version=version)
            detail = held
            seen, verdict = self._inbox.tracker.judge(seen, monotonic, held=held)
        look_at = seen.look_at
        if verdict is Verdict.READY and (missing := self._missing_ready_file(row.relative_path)):
            detail, verdict = missing, Verdict.WAITING
            # Rarer with time, or ten thousand that wait would be looked at, and written down, every second.
            look_at = monotonic + max(READY_FILE_PAUSE, min(self._folder.poll_interval, (monotonic - seen.since) / 4))
        is_ready = verdict is Verdict.READY
        state = self._state(row, verdict, is_same=row.signature == sighting.signature)
        now = self._clock.now()
        changed = row.change(
            **_identified(row, sighting),
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
        if self._has_other_names(sighting):
            if is_old:
                return Irregular.HARD_LINK if self._is_anothers_link(sighting) else ""
            return "the file has more than one name (hard links)"
        if system.is_held_for_writing(self._inbox.root.joinpath(*sighting.relative_path.split("/"))):
            return "another program has the file open for writing"
        return ""

    def _has_other_names(self, sighting: Sighting) -> bool:
        return sighting.links > 1 and self._folder.hard_links == "check" and system.HARD_LINKS_CARRY_OWNERS

    def _is_anothers_link(self, sighting: Sighting) -> bool:
        """Return whether a file with other names is neither ours nor the inbox owner's; asked anew with every scan."""
        owners = {os.getuid(), self._inbox.root.stat().st_uid} if hasattr(os, "getuid") else set()
        return self._has_other_names(sighting) and sighting.owner not in owners

    def _missing_ready_file(self, relative_path: str) -> str:
        if self._folder.ready_file is None:
            return ""
        ready_file = ready_file_for(self._folder.ready_file, relative_path)
        name = for_display(ready_file.rsplit("/", 1)[-1])
        try:
            return f"{WAITS_FOR}{name}" if self._sight(ready_file) is None else ""
        except FileBusy as busy:
            return f"{WAITS_FOR}{name}: {busy.message}"

    def _look_at_announced(self, ready_files: set[str]) -> None:
        """Make every file due now that waits for one of these ready files (folded paths)."""
        template = self._folder.ready_file
        if template is None:
            return
        waiting = self._ledger.find_files(watch_folder=self._folder.name, states=[FileState.WAITING], in_inbox=True)
        now = self._clock.monotonic()
        self._commit(
            [
                row.change(look_at=now)
                for row in waiting
                if not row.ready and ready_file_for(template, row.relative_path).casefold() in ready_files
            ]
        )

    def _ignore(self, row: FileRecord, sighting: Sighting, detail: str, *, version: int) -> list[FileRecord | Event]:
        now = self._clock.now()
        changed = row.change(
            **_identified(row, sighting),
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


HARD_LINK_SENTENCE = (
    "the file has other names (hard links) and belongs to somebody else; put a copy here, or set `hard_links: allow`"
)


def _identified(row: FileRecord, sighting: Sighting) -> dict[str, Any]:
    """Return which bytes a row is about: the digest of others would vouch for what never was sent."""
    is_same = row.signature == sighting.signature
    return {"signature": sighting.signature, "sha256": row.sha256 if is_same else ""}


def _is_known_by_another(record: FileRecord, sighting: Sighting, rows: Sequence[FileRecord]) -> bool:
    """Return whether another row stands for what lies at a row's path now: two would send it twice.

    It was made while this row was sent or unknown, and nothing came of that. Of two unsent rows the newer one stays.
    """
    is_newer = True
    for other in rows:
        if other.key == record.key:
            is_newer = False
        elif other.state in UNSENT:
            if is_newer:
                return True
        elif other.signature == sighting.signature:
            return True
    return False


def irregular_sentence(irregular: Irregular) -> str:
    """Return why an entry that is no plain file stays where it lies."""
    return f"a {irregular.value.replace('_', ' ')} is never opened, moved or sent; put the file itself here"
