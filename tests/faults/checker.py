"""The checker: whether the promise was kept, judged from outside after whatever happened to a site.

One function for every sweep, soak and model test, whichever service is played. It believes the bytes in the folders and
what the service saw, and holds the ledger against both.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from system.sites import MARKER, sha256, tree

from agent.model import FileState
from agent.rules.naming import error_note_name
from faults.expected_results import ENDED, expected_files, is_part, names_outputs

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from agent.model import FileRecord

NOTE = ".error.txt"
_CLASH = re.compile(r"(-\d{8}T\d{6}Z-[0-9a-f]{4})+(?=(\.[^.]*)?$)")
_STATE_FILES = re.compile(r"ledger\.sqlite3(-wal|-shm)?|agent\.(lock|holder\.json)")


class Judged(Protocol):
    """What is judged: the folders of one watch folder, what the service and the ledger say about it."""

    inbox: Path
    archive: Path
    error: Path
    output: Path
    state_dir: Path

    def describe(self) -> list[dict[str, Any]]: ...

    def complaints(self) -> list[str]: ...

    def is_done(self) -> bool: ...

    def records(self) -> Sequence[FileRecord]: ...


def judge(
    site: Judged,
    *,
    sent: Iterable[bytes],
    kept: Iterable[bytes] = (),
    taken: Iterable[bytes] = (),
    failed: Container[str] = (),
) -> list[str]:
    """Return every way in which a site that came to rest breaks the promise; empty: it was kept.

    `sent` are the contents dropped that were to be sent, each as often as it was dropped; `kept` those dropped that
    were not: they lie in the inbox or in error/; `taken` those somebody took away or wrote over. `failed` are the ids
    of tasks that were not to be exported: they were failed or cancelled. No agent may be running.
    """
    wanted = Counter(sha256(content) for content in sent)
    unsent = Counter(sha256(content) for content in kept)
    away = Counter(sha256(content) for content in taken)
    everything = site.describe()
    tasks = [task for task in everything if task["id"] not in failed]
    return [
        *_tasks_are_the_files(tasks, wanted),
        *_bytes_are_kept(site, wanted + unsent - away),
        *_outputs_are_the_exports(site, tasks),
        *_nothing_temporary_is_left(site),
        *_ledger_agrees(site, everything),
    ]


def _difference(found: Counter[Any], wanted: Counter[Any], *, extra: str, missing: str) -> list[str]:
    return [f"{extra}: {thing} ({times} times)" for thing, times in sorted((found - wanted).items())] + [
        f"{missing}: {thing} ({times} times)" for thing, times in sorted((wanted - found).items())
    ]


def _tasks_are_the_files(tasks: list[dict[str, Any]], wanted: Counter[str]) -> list[str]:
    complaints = _difference(
        Counter(task["sha256"] for task in tasks if not is_part(task)),
        wanted,
        extra="sent too often",
        missing="never became a task",
    )
    keys = Counter(key for task in tasks if not is_part(task) for key in _keys(task))
    complaints += [f"{times} tasks with the key {key}" for key, times in keys.items() if times > 1 or not key]
    for task in tasks:
        is_complete = task["calls"].get("complete", 0) == 1 and task["state"] == "completed"
        if not (is_complete if names_outputs(task) else task["state"] in ENDED):
            complaints.append(f"task {task['name']!r} is {task['state']} after {task['calls']}")
    return complaints


def _keys(task: dict[str, Any]) -> list[str | None]:
    """Return the key a task was sent with; none where the service has no place for it, or several files share one."""
    if names_outputs(task):
        return [task["tags"].get("fsagent_key")]
    return [task["tags"]["fsagent_key"]] if "fsagent_key" in task["tags"] else []


def lying(site: Judged) -> dict[str, str]:
    """Return the digest of every document in inbox, archive and error by its path; notes and markers left out."""
    found = {}
    for root in {site.inbox, site.archive, site.error}:
        for path in tree(root).values():
            is_note = path.name.endswith(NOTE) and path.with_name(path.name.removesuffix(NOTE)).exists()
            if path.name != MARKER and not is_note:
                found[path.as_posix()] = sha256(path.read_bytes())
    return found


def _bytes_are_kept(site: Judged, wanted: Counter[str]) -> list[str]:
    return _difference(
        Counter(lying(site).values()),
        wanted,
        extra="lies in too many places",
        missing="lost from inbox, archive, error",
    )


def _plain(path: str) -> str:
    """Return a path without the suffixes that taken names give: one here, one more where it is exported."""
    return _CLASH.sub("", path)


def _outputs_are_the_exports(site: Judged, tasks: list[dict[str, Any]]) -> list[str]:
    wanted: Counter[tuple[str, str]] = Counter()
    sources = {} if all(names_outputs(task) for task in tasks) else _folders_of_sources(site)
    for task in tasks:
        if not names_outputs(task):
            folder = sources.get((task["sha256"], task["file_name"]), PurePosixPath("?"))
            wanted.update((_plain(str(folder / name)), sha256(content)) for name, content in expected_files(task))
        elif task["calls"].get("complete"):
            folder = PurePosixPath(Path(task["tags"]["file_path"]).relative_to(site.inbox).as_posix())
            for file in task["exports"]:
                wanted[_plain(str(folder / file["folder"] / file["filename"])), file["sha256"]] += 1
    found = Counter(
        (_plain(name), sha256(path.read_bytes()))
        for name, path in tree(site.output).items()
        if not name.startswith("error/")
    )
    return _difference(found, wanted, extra="in the output, but no export", missing="export not in the output")


def _folders_of_sources(site: Judged) -> dict[tuple[str, str], PurePosixPath]:
    """Return where each source lay in the inbox, by digest and name: the services that name no outputs are not told."""
    found = {}
    for path, digest in lying(site).items():
        root = next(root for root in (site.archive, site.error, site.inbox) if Path(path).is_relative_to(root))
        relative = PurePosixPath(_plain(Path(path).relative_to(root).as_posix()))
        found[digest, relative.name] = relative.parent
    return found


def _nothing_temporary_is_left(site: Judged) -> list[str]:
    roots = {site.inbox, site.archive, site.error, site.output}
    hidden = {path.as_posix() for root in roots for path in tree(root).values() if path.name.startswith(".")}
    hidden |= {path.as_posix() for path in tree(site.state_dir).values() if not _STATE_FILES.fullmatch(path.name)}
    return [f"left behind: {path}" for path in sorted(hidden)]


def _ledger_agrees(site: Judged, tasks: list[dict[str, Any]]) -> list[str]:
    complaints = [f"integrity check: {complaint}" for complaint in site.complaints()]
    if not site.is_done():
        complaints.append("the ledger says that something is still under way")
    records = site.records()
    complaints += [complaint for record in records for complaint in _record_agrees(site, record)]
    complaints += _what_was_filed_is_known(site, records)
    known = {record.task_id: record for record in records if record.task_id}
    for task in tasks:
        record = known.get(task["id"])
        if record is None:
            # A file knows the first of its tasks only.
            complaints += [] if is_part(task) else [f"the ledger does not know the task {task['name']!r}"]
        # A task found again after a lost answer has no digest in the ledger: nobody counted the bytes that arrived.
        elif record.key not in (_keys(task) or [record.key]) or record.sha256 not in ("", task["sha256"]):
            complaints.append(f"the ledger gives the task {task['name']!r} to another file, {record.relative_path!r}")
    there = {task["id"] for task in tasks} | {task.get("upload_id") for task in tasks}
    complaints += [f"the service never had the task {task_id}" for task_id in known.keys() - there]
    return complaints


def _record_agrees(site: Judged, record: FileRecord) -> list[str]:
    if record.state is FileState.GONE or record.filed_in == "deleted":
        return []
    root = {"": site.inbox, "archive": site.archive, "error": site.error, "inbox": site.inbox}[record.filed_in]
    path = root.joinpath(*record.lies_at.split("/"))
    says = f"the ledger says {record.state.value}, {record.relative_path!r} in {root.name}/{record.lies_at}"
    if not path.exists():
        return [f"{says}; it is not there"]
    if record.sha256 and sha256(path.read_bytes()) != record.sha256:
        return [f"{says}; other bytes are there"]
    if record.filed_in == "error" and not path.with_name(error_note_name(path.name)).exists():
        return [f"{says}; no note is beside it"]
    return []


def _what_was_filed_is_known(site: Judged, records: Sequence[FileRecord]) -> list[str]:
    """Name what lies in archive or error and no row has filed there: the ledger lost sight of it."""
    roots = {"archive": site.archive, "error": site.error}
    known = {
        roots[record.filed_in].joinpath(*record.lies_at.split("/")).as_posix()
        for record in records
        if record.filed_in in roots
    }
    return [
        f"the ledger does not know that it filed {path}"
        for path in sorted(lying(site))
        if path not in known and any(Path(path).is_relative_to(root) for root in roots.values())
    ]
