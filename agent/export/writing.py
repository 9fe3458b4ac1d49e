"""Write: stages every file of an export durably beside its target, then publishes them, what readers wait for last."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.errors import LocalTrouble, Stopping, TaskFatal, TaskTransient
from agent.export.planning import retarget, root_of
from agent.export.recognising import recognised
from agent.folders import publishing, system
from agent.folders.roots import require_ours
from agent.model import FileSource, LaneReason, OnConflict, RootKind
from agent.rules.naming import base_name, for_display, is_staged_name, relative_parent

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from agent.model import ExportFile, ExportSettings, PlannedFile, TaskRecord, WatchFolder
    from agent.ports import Clock, Ledger, Service

logger = logging.getLogger(__name__)

LEASE_SHARE = 0.8
"""What would outlast this share of the lease is cancelled (design.md §4)."""


@dataclass(slots=True)
class Pace:
    """How long one export has been written, in monotonic seconds: since `began`, `waited` of it for the service."""

    began: float
    waited: float = 0.0

    def trouble(self, now: float) -> LocalTrouble | TaskTransient:
        """Return whose fault it is that the lease does not suffice."""
        if self.waited >= (now - self.began) / 2:
            message = "writing the export takes longer than its lease"
            return TaskTransient(message, hint="look at the network's speed")
        return LocalTrouble(
            f"the output took {now - self.began - self.waited:.0f} s to be written to: longer than the lease",
            reason=LaneReason.IO_ERROR,
            hint="look whether its disk or share answers; it goes on by itself",
        )


class Writing:
    """Turns planned files into visible, durable ones."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        service: Service,
        clock: Clock,
        entropy: Callable[[], int],
        min_free: int,
        stop: threading.Event,
    ) -> None:
        self._ledger = ledger
        self._service = service
        self._clock = clock
        self._entropy = entropy
        self._min_free = min_free
        self._stop = stop
        self._full_at: dict[str, tuple[str, int]] = {}
        """Below which root an export of that watch folder met a full disk, and the bytes it had there by then."""

    def space_needed(self, folder: WatchFolder) -> Mapping[Path, int]:
        """Return the bytes that must be free in folders before an export begins (design.md §4, after a full disk)."""
        full, amount = self._full_at.get(folder.name, ("output", 0))
        needed = {root_of(folder, "output"): self._min_free}
        if full == "output" or folder.export.archive is not None:
            needed[root_of(folder, full)] = self._min_free + amount
        return needed

    def stage(
        self, folder: WatchFolder, record: TaskRecord, files: Sequence[ExportFile], *, give_up_at: float
    ) -> TaskRecord:
        """Stage every planned file, commit their identities, and return the record.

        `give_up_at`: monotonic time at which the lease is too old. Raises TaskTrouble, LaneTrouble, Stopping; then
        nothing staged is left.
        """
        staged: list[PlannedFile] = []
        amounts = {planned.root: Amount() for planned in record.plan}
        pace = Pace(self._clock.monotonic())
        try:
            for index, planned in enumerate(record.plan):
                staged.append(planned)
                file = files[index % len(files)]
                amount = amounts[planned.root]
                staged[-1] = self._stage_one(folder, planned, file, amount=amount, pace=pace, give_up_at=give_up_at)
            # Names too: a staged file that a power loss took would later count as published and taken by a reader.
            self._sync(folder, [(planned.root, planned.staged) for planned in staged])
            # A share that went away leaves an empty folder behind: what was written there is not in the output.
            require_ours(root_of(folder, "output"), kind=RootKind.OUTPUT, ledger_id=self._ledger.ledger_id)
            changed = record.change(plan=tuple(staged), staged=True)
            self._ledger.commit(changed)
        except BaseException as error:
            if isinstance(error, LocalTrouble) and error.reason is LaneReason.DISK_FULL:
                self._full_at[folder.name] = (staged[-1].root, _on_the_disk_of(staged[-1].root, folder, amounts))
            for planned in staged:
                publishing.discard(root_of(folder, planned.root), planned.staged)
            raise
        self._full_at.pop(folder.name, None)
        return changed

    def _stage_one(
        self,
        folder: WatchFolder,
        planned: PlannedFile,
        file: ExportFile,
        *,
        amount: Amount,
        pace: Pace,
        give_up_at: float,
    ) -> PlannedFile:
        asked_at = self._clock.monotonic()
        with self._chunks(folder, file) as chunks:
            pace.waited += self._clock.monotonic() - asked_at
            result = publishing.stage(
                root_of(folder, planned.root),
                planned.staged,
                amount.counted(self._in_time(chunks, pace=pace, give_up_at=give_up_at)),
                file_mode=folder.export.file_mode,
                folder_mode=folder.export.folder_mode,
                min_free=self._min_free,
            )
        return replace(planned, identity=result.identity, size=result.size, sha256=result.sha256)

    def _chunks(self, folder: WatchFolder, file: ExportFile) -> AbstractContextManager[Iterator[bytes]]:
        if file.source is FileSource.CONTENT:
            return nullcontext(iter([content_bytes(file, folder.export)]))
        return self._service.download(file)

    def _in_time(self, chunks: Iterator[bytes], *, pace: Pace, give_up_at: float) -> Iterator[bytes]:
        """Pass chunks on while the lease lasts; what outlasts it is blamed on whoever took longer, network or disk."""
        while True:
            asked_at = self._clock.monotonic()
            try:
                chunk = next(chunks, None)
            except TaskTransient:
                self._require_running()  # a stop cuts downloads off: the task is not to blame
                raise
            self._require_running()
            now = self._clock.monotonic()
            pace.waited += now - asked_at
            if now > give_up_at:
                raise pace.trouble(now)
            if chunk is None:
                return
            yield chunk

    def _require_running(self) -> None:
        if self._stop.is_set():
            raise Stopping("the agent stops")

    def _sync(self, folder: WatchFolder, places: Iterable[tuple[str, str]]) -> None:
        """Make the names of files durable, given as root and path."""
        parents = sorted({(root, relative_parent(path)) for root, path in places})
        for root in sorted({root for root, _ in parents}):
            publishing.sync_folders(root_of(folder, root), [parent for other, parent in parents if other == root])

    def publish(self, folder: WatchFolder, record: TaskRecord) -> TaskRecord:
        """Make every staged file visible, downloads first, durable, and return the record as `published`.

        May be repeated after a crash: a file that is neither staged nor at its target was published and then taken by
        a reader. Raises TaskFatal and LaneTrouble; what is visible by then stays, and publishing goes on next time.
        """
        record = self._recognise(folder, record)
        if folder.export.on_conflict is OnConflict.FAIL:
            self._require_free(folder, record)
        while True:
            clashed = next((file.root for file in in_order(record.plan) if not self._publish_one(folder, file)), None)
            if clashed is None:
                break
            if clashed == "output" and folder.export.on_conflict is OnConflict.FAIL:
                self._require_free(folder, record)
            record = self._plan_anew(folder, record, clashed)
        self._sync(folder, [(planned.root, planned.target) for planned in record.plan])
        changed = record.change(published=True)
        self._ledger.commit(changed)
        return changed

    def _recognise(self, folder: WatchFolder, record: TaskRecord) -> TaskRecord:
        """Return the record with the identities its files have now; a damaged one has all of them written anew."""
        try:
            plan = recognised(folder, record.plan)
        except TaskTransient:
            self.discard(folder, record)
            self._ledger.commit(record.change(staged=False))
            raise
        if plan == record.plan:
            return record
        changed = record.change(plan=plan)
        self._ledger.commit(changed)
        return changed

    def _require_free(self, folder: WatchFolder, record: TaskRecord) -> None:
        """Raise TaskFatal where a stranger's file has come to stand at a target, before any of ours is visible."""
        for planned in record.plan:
            lying = publishing.target_state(root_of(folder, planned.root), planned.target)
            if planned.root == "output" and lying.exists and lying.identity != planned.identity:
                raise TaskFatal(f"{for_display(planned.target)} exists already and on_conflict is fail")

    def _publish_one(self, folder: WatchFolder, planned: PlannedFile) -> bool:
        """Publish one file; return False where a stranger's file has taken its name."""
        root = root_of(folder, planned.root)
        at_target = publishing.target_state(root, planned.target)
        if at_target.exists and at_target.identity == planned.identity:
            return True
        at_stage = publishing.target_state(root, planned.staged)
        if not at_stage.exists or at_stage.identity != planned.identity:
            self._require_root(folder, planned)
            logger.info("%s: %s was taken by a reader already", folder.name, for_display(planned.target))
            return True
        overwrite = folder.export.on_conflict is OnConflict.OVERWRITE and planned.root == "output"
        try:
            publishing.publish(
                root,
                planned.staged,
                planned.target,
                identity=planned.identity,
                replace=publishing.ANY_PLAIN_FILE if overwrite else None,
                wait=self._wait,
            )
        except FileExistsError:
            return False
        return True

    def _require_root(self, folder: WatchFolder, planned: PlannedFile) -> None:
        """Raise LocalTrouble where a file may be missing only because its share or disk is: nothing was taken then."""
        if planned.root == "output":
            require_ours(root_of(folder, "output"), kind=RootKind.OUTPUT, ledger_id=self._ledger.ledger_id)
            return
        place = root_of(folder, planned.root)
        if not place.joinpath(*planned.target.split("/")).parent.is_dir():
            raise LocalTrouble(
                f"{place} is not there",
                reason=LaneReason.OUTPUT_MISSING,
                hint="look whether its share or disk is mounted; it goes on by itself",
            )

    def _plan_anew(self, folder: WatchFolder, record: TaskRecord, root: str) -> TaskRecord:
        """Give all files below one root a new suffix; those visible already are renamed with the rest."""
        affected = [planned for planned in record.plan if planned.root == root]
        targets = retarget(
            folder, root, [planned.wanted for planned in affected], now=self._clock.now(), entropy=self._entropy
        )
        moved = {planned.wanted: target for planned, target in zip(affected, targets, strict=True)}
        plan = []
        for planned in record.plan:
            if planned.root != root:
                plan.append(planned)
                continue
            visible = publishing.target_state(root_of(folder, root), planned.target)
            is_ours = visible.exists and visible.identity == planned.identity
            stands = planned.target if is_ours else planned.staged
            plan.append(replace(planned, target=moved[planned.wanted], staged=stands))
        changed = record.change(plan=tuple(plan))
        self._ledger.commit(changed)
        return changed

    def _wait(self, seconds: float) -> None:
        """Wait for a scanner or indexer to let go of a file, not beyond the agent's stop."""
        self._clock.wait(self._stop, seconds)

    def discard(self, folder: WatchFolder, record: TaskRecord) -> None:
        """Remove what a task that will not be exported has staged, and what of it is visible: half is nothing."""
        for planned in record.plan:
            root = root_of(folder, planned.root)
            for path in (planned.staged, planned.target):
                if is_staged_name(base_name(path)) or self._is_ours(root, path, planned):
                    publishing.discard(root, path, identity=planned.identity)

    def _is_ours(self, root: Path, path: str, planned: PlannedFile) -> bool:
        try:
            lying = publishing.target_state(root, path)
        except (TaskFatal, LocalTrouble) as error:
            logger.info("%s is left as it is: %s", for_display(path), error.message)
            return False
        return lying.exists and (lying.identity, lying.size) == (planned.identity, planned.size)


class Amount:
    """Counts the bytes of an export while they are written."""

    def __init__(self) -> None:
        self.total = 0

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass chunks on; one that could not be written counts too."""
        for chunk in chunks:
            self.total += len(chunk)
            yield chunk


def _on_the_disk_of(full: str, folder: WatchFolder, amounts: Mapping[str, Amount]) -> int:
    """Return the bytes an export had on the disk one of its roots lies on."""
    there = root_of(folder, full)
    return sum(amount.total for root, amount in amounts.items() if system.same_device(root_of(folder, root), there))


def in_order(plan: Sequence[PlannedFile]) -> list[PlannedFile]:
    """Return the copies for the archive first, then downloads, then `content` files: a reader waits for those."""
    return sorted(plan, key=lambda planned: (planned.root == "output", planned.source is FileSource.CONTENT))


def content_bytes(file: ExportFile, settings: ExportSettings) -> bytes:
    """Return the bytes of a `content` file: newlines and encoding as configured.

    Raises TaskTransient where the encoding has no such character: the operator can mend that, failing the task would
    delete its data.
    """
    newline = {"native": os.linesep, "lf": "\n", "crlf": "\r\n"}[settings.newline]
    text = file.content.replace("\r\n", "\n").replace("\n", newline)
    try:
        return text.encode(settings.encoding)
    except UnicodeEncodeError as error:
        character = text[error.start]
        raise TaskTransient(
            f"{for_display(file.filename)} has the character U+{ord(character):04X}, which {settings.encoding} has not",
            hint="set export.encoding to utf-8 or utf-8-sig",
        ) from error
