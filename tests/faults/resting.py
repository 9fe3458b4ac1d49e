"""The end of a story of the model test: faults cease, everything comes to rest, and the checker judges all of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from system.sites import sha256

from agent.model import FileState
from faults.checker import judge
from faults.model import FIRST, GIVE_UP, MOST_ROUNDS, SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.model import FileRecord
    from faults.model import World

UNDER_WAY = frozenset({FileState.WAITING, FileState.SENDING, FileState.UNKNOWN, FileState.HELD, FileState.SUBMITTED})


def bring_to_rest(world: World) -> None:
    """End all faults, bring back the whole configuration, and work until nothing is left to do."""
    world.service.end_of_faults()
    world.reconfigure(settle=1.0, connections=1, skip=False, second=True, renamed=False)
    rests = 0
    for _ in range(MOST_ROUNDS):
        world.round()
        for record in world.held():
            world.resolve(record, reject=False)
        world.retry_exports()
        if not _open_rows(world):
            # What is not whole waits in the inbox until it is given up.
            rests += 1
            world.bench.clock.advance(GIVE_UP)
            if rests > 2 and not world.inbox_files():
                return
        world.bench.clock.advance(3.0)
    raise AssertionError(f"does not come to rest: {_open_rows(world)}, {world.inbox_files()}")


def _open_rows(world: World) -> list[str]:
    rows = [
        f"{record.watch_folder}: {record.relative_path} {record.state.value}: {record.detail}"
        for record in world.bench.files()
        if record.state in UNDER_WAY or _is_moving(record)
    ]
    return rows + [
        f"task {task.task_id} {task.state.value}: {task.detail}" for task in world.bench.ledger.find_tasks(is_open=True)
    ]


def _is_moving(record: FileRecord) -> bool:
    return bool(record.filing) and record.filed_at is None


class Rest:
    """One watch folder at rest, as the checker looks at it."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self.inbox: Path = world.place(name)
        self.archive: Path = world.place(name, "archive")
        self.error: Path = world.place(name, "error")
        self.output: Path = world.place(name, "output")
        self.state_dir: Path = world.bench.settings.state_dir

    def describe(self) -> list[dict[str, Any]]:
        """Return the tasks that files of this watch folder became."""
        service, ledger = self._world.service, self._world.bench.ledger
        described = []
        for task_id, entry in service.ever.items():
            content, upload = entry.submission.content, entry.submission.upload
            if self._world.documents[content].folder != self._name:
                continue
            row = ledger.task(task_id)
            if row is None and service.is_beyond_finding(task_id):
                continue
            file_path = upload.tags["file_path"]
            if row is not None and self._world.documents[content].has_moved:
                file_path = str(self.inbox / row.source_folder)
            exports = entry.specification.files if entry.specification else ()
            described.append(
                {
                    "id": task_id,
                    "name": entry.task.name,
                    "state": entry.task.state.value,
                    "sha256": sha256(content),
                    "tags": {**upload.tags, "file_path": file_path},
                    "calls": Counter(entry.actions),
                    "exports": [
                        {
                            "folder": file.folder,
                            "filename": file.filename,
                            "sha256": sha256(service.files[file.url] if file.url else file.content.encode()),
                        }
                        for file in exports
                    ],
                }
            )
        return described

    def complaints(self) -> list[str]:
        """Return what the ledger's integrity check says."""
        return list(self._world.bench.ledger.check())

    def is_done(self) -> bool:
        """Tell whether nothing is under way."""
        return not _open_rows(self._world)

    def records(self) -> Sequence[FileRecord]:
        """Return the ledger's files of this watch folder."""
        return [record for record in self._world.bench.files() if record.watch_folder == self._name]


def judged(world: World) -> list[str]:
    """Return every way in which a world at rest breaks the promise."""
    _put_back_what_readers_took(world)
    lying = {place: Counter[bytes]() for place in ("inbox", "archive", "error")}
    for _, place, path in world.lying(*lying):
        lying[place][path.read_bytes()] += 1
    wrong = world.holds()
    failed = {task_id for task_id in world.service.ever if world.service.has_failed(task_id)}
    for name in (FIRST, SECOND):
        sent: list[bytes] = []
        kept: list[bytes] = []
        taken: list[bytes] = []
        for content, document in world.documents.items():
            if document.folder != name:
                continue
            tasks = [task_id for task_id in world.service.tasks_of(content) if task_id not in failed]
            sent += [content] * len(tasks)
            kept += [content] * (document.there - len(tasks))
            taken += [content] * (len(tasks) - document.there)
            wrong += _is_where_it_belongs(world, content, len(tasks), lying)
        wrong += [
            f"{name}: {what}" for what in judge(Rest(world, name), sent=sent, kept=kept, taken=taken, failed=failed)
        ]
    return wrong + _failed_rightly(world, failed)


def _is_where_it_belongs(world: World, content: bytes, tasks: int, lying: dict[str, Counter[bytes]]) -> list[str]:
    """Judge one content by the number of its tasks that did not fail."""
    document = world.documents[content]
    wrong = []
    archived, rejected = lying["archive"][content], lying["error"][content]
    has_failed = world.service.failed.intersection(world.service.tasks_of(content))
    if lying["inbox"][content]:
        wrong.append(f"lies in the inbox still: {content!r}")
    if archived + rejected != document.there:
        wrong.append(f"{content!r} lies in archive/ {archived} and in error/ {rejected} times, not {document.there}")
    if (
        document.is_whole
        and rejected
        and not (has_failed or content in world.service.refused or content in world.rejected)
    ):
        wrong.append(f"in error/ without a reason: {content!r}")
    # How a task ended that the service has forgotten since, nobody can know: its source stays (design.md §3.6).
    forgotten = sum(world.service.has_forgotten(task_id) for task_id in has_failed)
    # A twin that was skipped stays in archive/ though the task of the other failed later: that one lies in error/.
    skipped = archived - 1 + bool(has_failed) if world.may_skip else 0
    if archived and tasks + forgotten < archived - skipped:
        wrong.append(f"archived {archived} times with {tasks} tasks: {content!r}")
    if tasks > document.dropped:
        wrong.append(f"{tasks} tasks of {document.dropped} files: {content!r}")
    return wrong


def _failed_rightly(world: World, failed: set[str]) -> list[str]:
    """Only what a fault made fail, or what was written over while it was sent, has failed."""
    wrong = []
    for task_id in failed - world.service.failed:
        content = world.service.submission_of(task_id).content
        document = world.documents[content]
        if document.dropped == document.there:
            wrong.append(f"{task_id} was given up though nobody touched its file: {content!r}")
    return wrong + [
        f"{task_id} failed and was completed" for task_id in failed if "complete" in world.service.ever[task_id].actions
    ]


def _put_back_what_readers_took(world: World) -> None:
    """Put every export a reader took back under a name of its own, which the checker reads as a clash name."""
    for number, (folder, relative_path, content) in enumerate(world.taken):
        path = world.place(folder, "output") / relative_path
        path.with_name(f"{path.stem}-20000101T000000Z-{number:04x}{path.suffix}").write_bytes(content)
    world.taken.clear()
