"""What an administrator is told of the status document: each reason in words, since when, and what to do.

A reason has `reason` (a public word), `where` ("agent", "service" or a watch folder), `lane`, `detail`, `hint`,
`since`, `retry_at` and `count`. Decides which of them make the agent degraded; finds nothing out that the document has
not, but examples from the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.model import FileState, LaneReason, TaskState
from agent.rules.naming import for_display
from agent.runtime.lanes import SERVICE_LANE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.model import FileRecord, Settings
    from agent.ports import Ledger

Document = dict[str, Any]

STOPPED = frozenset({"stopped", "died", "never_run", "ledger_missing"})
"""States of the agent in which nothing works."""
DEGRADING = frozenset(
    {reason.value for reason in LaneReason}
    | {"hanging", "failure", "stalled", "held", "held_exports", "unknown", "result_expires"}
)
"""Reasons for which a running agent is degraded; files in error/ are news, not a trouble of the agent."""

ID_SHOWN = 8
SERVICE_NOTE = "service"
"""What the agent notes about the service for those who look without asking it."""
OPEN_TASKS = 100_000
"""Open tasks of a watch folder looked through."""
MOVES = 1_000
"""Files on their way to archive/ or error/ looked through; more that wait long are not counted."""
EXPIRY_SHARE = 0.75
"""The share of a result's lifetime after which an open task is told: a weekend is longer than the rest."""


def troubles(document: Document, settings: Settings, ledger: Ledger | None, note: Mapping[str, Any]) -> list[Document]:
    """Return every reason, the one that stops most first."""
    found = [*_of_agent(document["agent"]), *_of_lanes(document, note)]
    found += [
        _reason("failure", "agent", f"{worker}: {message}", hint="the log says more; the step is tried again")
        for worker, message in note.get("failures", {}).items()
    ]
    found += _of_pauses(document)
    found += _of_inboxes(note)
    if ledger is not None:
        for folder in document["watch_folders"]:
            if folder["configured"]:
                found += _of_files(folder, settings, ledger)
                found += _not_moved(folder, settings, ledger, now=document["at"])
        found += _expiring(document, settings, ledger)
    return found


def _reason(
    reason: str,
    where: str,
    detail: str,
    *,
    hint: str = "",
    since: float | None = None,
    retry_at: float | None = None,
    lane: str = "",
    count: int | None = None,
) -> Document:
    return {
        "reason": reason,
        "where": where,
        "lane": lane,
        "detail": detail,
        "hint": hint,
        "since": since,
        "retry_at": retry_at,
        "count": count,
    }


def _of_agent(agent: Document) -> Iterator[Document]:
    if agent["state"] in STOPPED or agent["state"] == "hanging":
        yield _reason(agent["state"], "agent", agent["detail"], hint=agent["hint"], since=agent["seen_at"])


def _of_lanes(document: Document, note: Mapping[str, Any]) -> Iterator[Document]:
    """Yield what lanes wait for, the service first; pauses are told by folder, not by lane."""
    lanes = sorted(note.get("lanes", ()), key=lambda lane: (lane["lane"] != SERVICE_LANE, lane["lane"]))
    names = {folder["name"] for folder in document["watch_folders"]}
    for lane in lanes:
        if lane["reason"] == LaneReason.PAUSED:
            continue
        name = str(lane["lane"])
        folder = name.rpartition("/")[0]
        yield _reason(
            str(lane["reason"]),
            folder if folder in names else name,
            lane["detail"],
            hint=lane["hint"],
            since=lane["since"],
            retry_at=lane["retry_at"],
            lane=name,
        )


def _of_inboxes(note: Mapping[str, Any]) -> Iterator[Document]:
    """Yield the inboxes of which the last scan could not read everything."""
    for name, inbox in note.get("inboxes", {}).items():
        count = inbox.get("unreadable_count", 0)
        if count:
            detail = inbox["unreadable"] + (f", and {count - 1} more" if count > 1 else "")
            hint = "give the agent's account the right to read it; until then nothing in it is seen"
            yield _reason(LaneReason.NOT_READABLE.value, name, detail, hint=hint, count=count)


def _of_pauses(document: Document) -> Iterator[Document]:
    for folder in document["watch_folders"]:
        if folder["paused"]:
            hint = f"to go on: fsagent resume {folder['name']}"
            yield _reason(LaneReason.PAUSED.value, folder["name"], "paused by the operator", hint=hint)


def _of_files(folder: Document, settings: Settings, ledger: Ledger) -> Iterator[Document]:
    """Yield what waits for a person, each with one example to look at."""
    name, names = folder["name"], _names(settings, folder["name"])
    if folder["stalled"] and (first := _first(ledger, names, FileState.STALLED)):
        hint = f"type: fsagent why {first.key[:ID_SHOWN]}"
        yield _example("stalled", name, folder["stalled"], first, hint=hint)
    if folder["held"] and (first := _first(ledger, names, FileState.HELD)):
        hint = f"decide: fsagent resolve {first.key[:ID_SHOWN]} with --submitted TASK, --resubmit or --reject"
        yield _example("held", name, folder["held"], first, hint=hint)
    if folder["unknown"] and (first := _first(ledger, names, FileState.UNKNOWN)):
        hint = "nothing: the agent looks for them at the service and decides"
        yield _example("unknown", name, folder["unknown"], first, hint=hint)
    if folder["held_exports"]:
        yield from _held_exports(folder, names, ledger)


def _not_moved(folder: Document, settings: Settings, ledger: Ledger, *, now: float) -> Iterator[Document]:
    """Yield the files that were sent or refused and are long kept from being moved, though their lane works."""
    configured = settings.watch_folder(folder["name"])
    if configured is None or folder["submission"]["state"] != "ok":
        return  # the lane tells why
    stuck = [
        record
        for name in _names(settings, folder["name"])
        for record in ledger.find_files(watch_folder=name, to_file=True, limit=MOVES)
        if now - record.state_at >= configured.stalled_after
    ]
    if stuck:
        oldest = stuck[0]
        detail = f"{len(stuck)} not moved to archive/ or error/, the oldest {for_display(oldest.relative_path)}"
        if oldest.detail and oldest.reason is None:  # else it says why the file was refused
            detail += f": {oldest.detail}"
        hint = (
            "give the agent's account the right to move them, or close what holds them; none is sent twice; type:"
            f" fsagent why {oldest.key[:ID_SHOWN]}"
        )
        yield _reason("stalled", folder["name"], detail, hint=hint, since=oldest.state_at, count=len(stuck))


def _held_exports(folder: Document, names: tuple[str, ...], ledger: Ledger) -> Iterator[Document]:
    for name in names:
        for task in ledger.find_tasks(watch_folder=name, states=[TaskState.PROCESSING], is_open=True, limit=OPEN_TASKS):
            if task.held:
                detail = f"{folder['held_exports']} held, such as task {task.task_id}: {task.detail}"
                hint = f"mend what it says, then: fsagent retry {task.task_id}"
                count = folder["held_exports"]
                yield _reason("held_exports", folder["name"], detail, hint=hint, since=task.state_at, count=count)
                return


def _expiring(document: Document, settings: Settings, ledger: Ledger) -> Iterator[Document]:
    """Yield the watch folders with results that may soon be deleted at the service, fetched or not."""
    lifetime = (ledger.note(SERVICE_NOTE) or {}).get("result_lifetime")
    if lifetime is None:
        return
    now = document["at"]
    for folder in settings.watch_folders:
        waiting = [
            task
            for task in ledger.find_tasks(watch_folder=folder.name, is_open=True, limit=OPEN_TASKS)
            if now - task.opened_at > EXPIRY_SHARE * lifetime and task.state is not TaskState.SUPERSEDED
        ]
        if waiting:
            oldest = waiting[0]
            detail = (
                f"{len(waiting)} results not fetched yet, the oldest of task {oldest.task_id} ({oldest.name}): the"
                f" service deletes a result {lifetime / 3600:g} hours after it is ready"
            )
            hint = "let an agent run that reaches the service; what is deleted goes to error/ and can be sent again"
            yield _reason("result_expires", folder.name, detail, hint=hint, since=oldest.opened_at, count=len(waiting))


def _example(reason: str, where: str, count: int, record: FileRecord, *, hint: str) -> Document:
    detail = f"{count} {reason}, the oldest {for_display(record.relative_path)}"
    if record.detail:
        detail += f": {record.detail}"
    return _reason(reason, where, detail, hint=hint, since=record.state_at, count=count)


def _first(ledger: Ledger, names: tuple[str, ...], state: FileState) -> FileRecord | None:
    for name in names:
        found = ledger.find_files(watch_folder=name, states=[state], in_inbox=True, limit=1)
        if found:
            return found[0]
    return None


def _names(settings: Settings, name: str) -> tuple[str, ...]:
    folder = settings.watch_folder(name)
    return (folder.name, *folder.formerly) if folder else (name,)
