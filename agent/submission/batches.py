"""Batches: the files of one folder that settled together are one upload, named after the folder (`batch: folder`).

The rule of `submit` holds for all files of an upload at once: their intents are durable in one commit before its first
byte leaves, and so is what became of them.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

from agent.errors import FileBusy, FileRefused, LaneTrouble, OutcomeUnknown, StaleRecord
from agent.model import Event, FileRecord, FileState
from agent.rules.filters import WAITS_FOR
from agent.rules.form_names import file_name_in_form
from agent.rules.naming import base_name, for_display, relative_parent
from agent.submission.hashing import HashingReader
from agent.submission.outcomes import accepted, changed_while_sent
from agent.submission.preparing import Prepared, is_of_the_disk, is_unchanged
from agent.submission.uploading import upload_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.model import Task, TaskRecord
    from agent.ports import Clock, Ledger, Service, UploadService
    from agent.submission.inbox import Inbox
    from agent.submission.submit import Submit

logger = logging.getLogger(__name__)

FOLDER_LIMIT = 10_000
"""Files of one folder looked at; what is beyond comes with the next upload."""
SETTLING_PAUSE = 0.5
"""Seconds until a file is looked at again whose folder is not complete yet."""
NOT_COMPLETE = "its folder is not complete yet: the files of a folder are sent together"
"""Said of files that have settled themselves: whatever time they are looked at again, they keep no other waiting."""
GATHERING_TRIES = 20
"""Times a folder is looked at anew because one of its files changed hands meanwhile."""
WAITING = FileState.WAITING


class Batches:
    """Sends the files of a folder together; one instance serves every worker."""

    def __init__(
        self, *, ledger: Ledger, service: Service, clock: Clock, submit: Submit, stop: threading.Event
    ) -> None:
        self._ledger = ledger
        self._service = service
        self._clock = clock
        self._submit = submit
        self._stop = stop
        self._gathering = threading.Lock()
        """Held while a folder's files are gathered: two workers never share them out between them."""
        self._gathered: set[str] = set()
        """Files of uploads under way: what else a worker of this process has claimed, the next to gather takes over."""
        self._alone: set[str] = set()
        """Files sent each by itself: of an upload refused as a whole, to find the one to blame; or hard to read."""

    def wants(self, inbox: Inbox, record: FileRecord) -> bool:
        """Return whether a file is sent with the others of its folder."""
        is_batched = inbox.folder.batch == "folder" and self._service.abilities.batch_limit > 1
        return is_batched and bool(relative_parent(record.relative_path)) and record.key not in self._alone

    def work(self, inbox: Inbox, record: FileRecord, *, hold: Callable[[str], None]) -> Sequence[FileRecord]:
        """Send a claimed file with the ready ones of its folder; return the records as the ledger has them.

        `hold` is told the key of each further file. Raises as `Submit.work` does, with all of them put back.
        """
        together = self._gather(inbox, record, hold)
        if isinstance(together, FileRecord):
            return [together]
        try:
            # A place first: the files of uploads that wait for one would be more than a process may have open.
            with self._submit.connections.hold(inbox.folder.name):
                if self._stop.is_set():
                    return [self._submit.preparing.put_back(each, "") for each in together]
                return self._send_together(inbox, together)
        finally:
            with self._gathering:
                self._gathered -= {each.key for each in together}

    def _send_together(self, inbox: Inbox, together: Sequence[FileRecord]) -> Sequence[FileRecord]:
        with ExitStack() as open_files:
            results = self._prepared(inbox, together, open_files)
            prepared = [each for each in results if isinstance(each, Prepared)]
            turned_back = [each for each in results if not isinstance(each, Prepared)]
            if not prepared:
                return turned_back
            try:
                return [*turned_back, *self._send(inbox, prepared)]
            except LaneTrouble as trouble:
                self._put_back(prepared, trouble.message)
                raise
            except (FileRefused, FileBusy) as refused:
                return [*turned_back, *self._one_by_one(inbox, prepared, refused)]

    def _prepared(
        self, inbox: Inbox, together: Sequence[FileRecord], open_files: ExitStack
    ) -> list[Prepared | FileRecord]:
        """Return each file ready to be sent, or its record. Raises LaneTrouble, with all that may be sent put back."""
        results: list[Prepared | FileRecord] = []
        for number, each in enumerate(together):
            try:
                results.append(self._submit.preparing.prepare(inbox, each, open_files))
            except LaneTrouble as trouble:
                if is_of_the_disk(trouble):
                    self._alone.add(each.key)  # perhaps it will never be read, and the others need not wait for it
                self._put_back([one for one in results if isinstance(one, Prepared)], "")
                for untried in together[number + 1 :]:
                    self._submit.preparing.put_back(untried, "")
                raise
        return results

    # --- gathering --------------------------------------------------------------------------------------------------

    def _gather(self, inbox: Inbox, record: FileRecord, hold: Callable[[str], None]) -> list[FileRecord] | FileRecord:
        """Claim the files beside one, by name, also those other workers claimed just now for the same purpose.

        Return the record alone where another worker took it over, or where others of the folder are still settling.
        """
        with self._gathering:
            for _ in range(GATHERING_TRIES):
                current = self._ledger.file(record.key)
                if current is None or current.version != record.version:
                    return record
                beside = self._beside(inbox, record)
                settling = [each for each in beside if each.state is WAITING and not _may_be_sent(each)]
                if settling:
                    return self._put_off(record, settling)
                try:
                    others = _told_apart(record, beside)
                    return self._claim(record, others[: self._service.abilities.batch_limit - 1], hold)
                except StaleRecord:
                    continue  # one of them was seen to change, or claimed, at this moment
            return self._put_off(record, [])

    def _beside(self, inbox: Inbox, record: FileRecord) -> list[FileRecord]:
        """Return the other files of a folder that go into the next upload, by name, those still settling too."""
        folder = relative_parent(record.relative_path)
        found = self._ledger.find_files(
            watch_folder=inbox.folder.name,
            states=[FileState.WAITING, FileState.SENDING],
            below=folder,
            in_inbox=True,
            limit=FOLDER_LIMIT,
        )
        return sorted(
            (
                each
                for each in found
                if relative_parent(each.relative_path) == folder
                and each.key != record.key
                and each.key not in self._alone
                and (each.state is WAITING or self._is_only_claimed(each, record))
            ),
            key=lambda each: each.relative_path,
        )

    def _is_only_claimed(self, each: FileRecord, record: FileRecord) -> bool:
        """Return whether a worker of this process has claimed a file and comes here next: nothing of it is begun."""
        return each.intent_at is None and each.claimed_by == record.claimed_by and each.key not in self._gathered

    def _claim(self, record: FileRecord, beside: Sequence[FileRecord], hold: Callable[[str], None]) -> list[FileRecord]:
        now = self._clock.now()
        claimed = [
            each.change(
                state=FileState.SENDING, state_at=now, claimed_by=record.claimed_by, ready=False, intent_at=None
            )
            for each in beside
        ]
        if claimed:
            self._ledger.commit(*claimed)
        for each in claimed:
            hold(each.key)
        together = sorted([record, *claimed], key=lambda each: each.relative_path)
        self._gathered |= {each.key for each in together}
        return together

    def _put_off(self, record: FileRecord, settling: Sequence[FileRecord]) -> FileRecord:
        """Let a file wait for its folder; with one beside that waits for its ready file, it waits for that too."""
        lacking = next((f"{each.detail}: " for each in settling if each.detail.startswith(WAITS_FOR)), "")
        changed = record.change(
            state=FileState.WAITING,
            claimed_by="",
            ready=False,
            look_at=self._clock.monotonic() + SETTLING_PAUSE,
            detail=lacking + NOT_COMPLETE,
        )
        self._ledger.commit(changed)
        return changed

    # --- sending ----------------------------------------------------------------------------------------------------

    def _send(self, inbox: Inbox, prepared: Sequence[Prepared]) -> list[FileRecord]:
        now = self._clock.now()
        records = [
            each.record.change(
                intent_at=now, attempts=each.record.attempts + 1, document_type=each.checked.kind.value, detail=""
            )
            for each in prepared
        ]
        name = base_name(relative_parent(records[0].relative_path))
        events = [Event(now, each.watch_folder, "sending", f"upload {name}", each.key) for each in records]
        self._ledger.commit(*records, *events)
        bodies = [HashingReader(each.opened.file) for each in prepared]
        parts = [(upload_of(inbox, each), cast("BinaryIO", body)) for each, body in zip(prepared, bodies, strict=True)]
        try:
            task = cast("UploadService", self._service).submit_together(name, parts)
        except OutcomeUnknown as unknown:
            return [self._submit.record_unknown(each, unknown.message) for each in records]
        digests = [body.sha256 for body in bodies]
        unchanged = [is_unchanged(each.opened, record) for each, record in zip(prepared, records, strict=True)]
        return self._accepted(records, task, digests, unchanged)

    def _accepted(
        self, records: Sequence[FileRecord], task: Task, digests: Sequence[str], unchanged: Sequence[bool]
    ) -> list[FileRecord]:
        """Record that all became one upload, the first bringing the upload's row."""
        logger.info("%s: %d files submitted as upload %s", records[0].watch_folder, len(records), task.id)
        now = self._clock.now()
        answers = [
            (record, partial(_rows, task=task, now=now, digest=digest, is_same=is_same, is_first=record is records[0]))
            for record, digest, is_same in zip(records, digests, unchanged, strict=True)
        ]
        return self._submit.record_all_surely(answers)

    # --- not accepted -----------------------------------------------------------------------------------------------

    def _put_back(self, prepared: Sequence[Prepared], detail: str) -> list[FileRecord]:
        return [self._submit.preparing.put_back(each.record, detail) for each in prepared]

    def _one_by_one(
        self, inbox: Inbox, prepared: Sequence[Prepared], refused: FileRefused | FileBusy
    ) -> list[FileRecord]:
        """Give back the files of an upload that was refused as a whole, to be sent one by one."""
        names = ", ".join(for_display(base_name(each.record.relative_path)) for each in prepared)
        logger.warning("%s: upload of %s refused: %s", inbox.folder.name, names, refused.message)
        self._alone |= {each.record.key for each in prepared}
        return self._put_back(prepared, f"its upload was refused as a whole: {refused.message}")


def _may_be_sent(record: FileRecord) -> bool:
    """Tell whether a waiting file has settled itself, and waits for its turn or for others of its folder only."""
    return record.ready or record.detail.endswith(NOT_COMPLETE)


def _told_apart(record: FileRecord, beside: Sequence[FileRecord]) -> list[FileRecord]:
    """Leave out files that travel under the name of another: whose a task is, its name alone would tell.

    Names that are no UTF-8, or hold what may not stand in a form, may look the same there; the next upload takes them.
    """
    named = {file_name_in_form(record.relative_path)}
    told_apart = []
    for each in beside:
        name = file_name_in_form(each.relative_path)
        if name not in named:
            named.add(name)
            told_apart.append(each)
    return told_apart


def _rows(
    record: FileRecord, *, task: Task, now: float, digest: str, is_same: bool, is_first: bool
) -> tuple[FileRecord, *tuple[TaskRecord | Event, ...]]:
    """Return the rows of one file of an accepted upload; only the first brings the upload's own."""
    file, upload, event = accepted(record, task, now=now, sha256=digest)
    file = file if is_same else changed_while_sent(file)
    return (file, replace(upload, name=task.name or upload.name), event) if is_first else (file, event)
