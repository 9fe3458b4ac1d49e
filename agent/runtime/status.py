"""The status document: one composition of the same numbers for text, JSON, the live table and the web page.

Reads the ledger, its notes and who holds the lock; asks no service, looks into no inbox, changes nothing. Times are UTC
unix seconds. Keys are public: `fsagent status --help` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.errors import LedgerMissing
from agent.model import FileState, TaskState
from agent.runtime.control import STATUS_NOTE
from agent.runtime.lanes import SERVICE_LANE, export_lane, submission_lane
from agent.runtime.lock import StateLock
from agent.runtime.operations import paused
from agent.runtime.recovery import refuse_without_ledger
from agent.runtime.troubles import DEGRADING, STOPPED, troubles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agent.model import Settings, WatchFolder
    from agent.ports import Ledger

Document = dict[str, Any]

HANGS_AFTER = 15.0
"""Seconds without a sign of life (one comes every 2 s) after which a running agent is said to hang."""
MOST_ROWS = 100_000
"""Rows looked through for what no count tells; more errors or open tasks than that are not told apart."""

KEYS: Mapping[str, str] = {
    FileState.WAITING: "waiting",
    FileState.STALLED: "stalled",
    FileState.SENDING: "sending",
    FileState.UNKNOWN: "unknown",
    FileState.HELD: "held",
    FileState.IGNORED: "ignored",
    TaskState.PROCESSING: "processing",
    TaskState.REVIEWING: "reviewing",
    TaskState.EXPORTING: "exporting",
    TaskState.EXPORTED: "exported",
    TaskState.FAILED: "failed",
    TaskState.SUPERSEDED: "superseded",
    TaskState.ENDED_UNKNOWN: "ended_unknown",
    TaskState.DISCARDED: "discarded",
}
"""States that are counted, and under which key."""
COUNTS = (*KEYS.values(), "held_exports", "errors", "unmatched")
"""Keys of the numbers each watch folder and `totals` have."""


def compose_status(settings: Settings, ledger: Ledger | None, *, is_running: bool, now: float) -> Document:
    """Return health and its reasons, the agent, the service, every watch folder and the oldest waiting file.

    `ledger` is None before the first run. Raises LedgerError where the ledger cannot be read.
    """
    note: Mapping[str, Any] = (ledger.note(STATUS_NOTE) if ledger is not None else None) or {}
    agent = _agent(settings, note, has_ledger=ledger is not None, is_running=is_running, now=now)
    if agent["state"] in STOPPED:
        note = {}  # what it says is over
    lanes = {str(lane["lane"]): lane for lane in note.get("lanes", ())}
    folders = _folders(settings, ledger, note, lanes, works=agent["state"] not in STOPPED)
    document: Document = {
        "health": "",
        "reasons": [],
        "at": now,
        "agent": agent,
        "service": {
            "type": settings.service.type.value,
            "url": settings.service.url,
            **_lane(lanes.get(SERVICE_LANE), works=agent["state"] not in STOPPED),
        },
        "state_dir": str(settings.state_dir),
        "configuration": str(settings.source) if settings.source else None,
        "watch_folders": folders,
        "totals": {key: _sum(folder[key] for folder in folders) for key in COUNTS},
        "oldest_waiting": _oldest(ledger, now=now),
    }
    document["reasons"] = troubles(document, settings, ledger, note)
    reasons = {reason["reason"] for reason in document["reasons"]}
    document["health"] = _health(agent["state"], reasons)
    return document


def _health(agent_state: str, reasons: set[str]) -> str:
    if agent_state in STOPPED:
        return "stopped"
    return "degraded" if reasons & DEGRADING else "ok"


# --- the agent -------------------------------------------------------------------------------------------------------


def _agent(settings: Settings, note: Mapping[str, Any], *, has_ledger: bool, is_running: bool, now: float) -> Document:
    """Return the agent's process and its state: running, starting, hanging, or one of STOPPED."""
    holder = StateLock(settings.state_dir).holder() if is_running else {}
    seen_at = note.get("at")
    state, detail, hint = _agent_state(settings, note, holder, has_ledger=has_ledger, is_running=is_running, now=now)
    return {
        "state": state,
        "detail": detail,
        "hint": hint,
        "pid": holder.get("pid"),
        "user": holder.get("user"),
        "host": holder.get("host"),
        "since": holder.get("since"),
        "seen_at": seen_at,
    }


def _agent_state(
    settings: Settings,
    note: Mapping[str, Any],
    holder: Mapping[str, Any],
    *,
    has_ledger: bool,
    is_running: bool,
    now: float,
) -> tuple[str, str, str]:
    """Return state, sentence and hint."""
    if is_running:
        return _running_state(note, holder, now=now)
    if not has_ledger:
        return _never_run(settings)
    if note and not note.get("stopped"):
        # What ends in order says so; the lock is free, so the process is gone.
        return "died", "the agent ended without stopping (killed, crashed, or power loss)", "start it: fsagent run"
    return "stopped", "no agent runs", "start it: fsagent run"


def _running_state(note: Mapping[str, Any], holder: Mapping[str, Any], *, now: float) -> tuple[str, str, str]:
    is_its_own = bool(note) and not note.get("stopped") and holder.get("pid") in {None, note.get("pid")}
    alive_at = float(note["at"]) if is_its_own else float(holder.get("since", now))
    silence = now - alive_at
    if silence > HANGS_AFTER:
        what = "gives no sign of life" if is_its_own else "has not finished starting"
        hint = "look whether its disks and shares answer, and at its log; then restart it"
        return "hanging", f"the agent runs but {what} for {silence:.0f} s", hint
    if not is_its_own:
        return "starting", "the agent is starting", ""
    return "running", "the agent runs", ""


def _never_run(settings: Settings) -> tuple[str, str, str]:
    if not settings.state_dir.is_dir():
        detail = f"no agent has run yet: there is no state_dir {settings.state_dir}"
    else:
        detail = f"no agent has run yet: there is no ledger in {settings.state_dir}"
    try:
        refuse_without_ledger(settings)
    except LedgerMissing as missing:
        return "ledger_missing", missing.message, missing.hint
    return "never_run", detail, "look whether all is set up: fsagent check; then start it: fsagent run"


# --- watch folders ---------------------------------------------------------------------------------------------------


def _folders(
    settings: Settings,
    ledger: Ledger | None,
    note: Mapping[str, Any],
    lanes: Mapping[str, Mapping[str, Any]],
    *,
    works: bool,
) -> list[Document]:
    """Return every configured watch folder in order, then what the ledger has of others."""
    counts = _counts(settings, ledger)
    names, everything = paused(ledger) if ledger is not None else (set(), False)
    rows = []
    for folder in settings.watch_folders:
        row = _folder(folder, note.get("inboxes", {}).get(folder.name, {}), lanes, works=works)
        row["paused"] = everything or folder.name in names
        row |= counts.pop(folder.name, dict.fromkeys(COUNTS, 0))
        row["unmatched"] = row["observed"].pop("unmatched", None)
        rows.append(row)
    for name in sorted(counts):
        off = _lane(None, works=False)
        row = {"name": name, "configured": False, "inbox": None, "output": None, "submission": off, "export": off}
        rows.append({**row, "observed": {}, "paused": False, **counts[name], "unmatched": None})
    return rows


def _folder(
    folder: WatchFolder,
    observed: Mapping[str, Any],
    lanes: Mapping[str, Mapping[str, Any]],
    *,
    works: bool,
) -> Document:
    submission = _lane(lanes.get(submission_lane(folder.name)), works=works)
    export = _lane(lanes.get(export_lane(folder.name)), works=works)
    return {
        "name": folder.name,
        "configured": True,
        "inbox": str(folder.inbox) if folder.inbox else None,
        "output": str(folder.output) if folder.output else None,
        "submission": submission if folder.inbox else {**submission, "state": "off"},
        "export": export if folder.output else {**export, "state": "off"},
        "observed": {key: observed[key] for key in ("observer", "detail", "unmatched") if key in observed},
    }


def _lane(lane: Mapping[str, Any] | None, *, works: bool) -> Document:
    """Return one lane: ok, waits, paused, or unknown while no agent runs."""
    lane = lane or {}
    reason = lane.get("reason")
    state = "unknown" if not works else "ok" if reason is None else "paused" if reason == "paused" else "waits"
    return {
        "state": state,
        "reason": reason,
        "detail": lane.get("detail", ""),
        "hint": lane.get("hint", ""),
        "since": lane.get("since"),
        "retry_at": lane.get("retry_at"),
    }


def _counts(settings: Settings, ledger: Ledger | None) -> dict[str, Document]:
    """Return the numbers of every watch folder the ledger knows, under its present name."""
    counts: dict[str, Document] = {}
    if ledger is None:
        return counts

    def of(name: str) -> Document:
        folder = settings.watch_folder(name)  # renamed since the agent ran: `formerly`
        return counts.setdefault(folder.name if folder else name, dict.fromkeys(COUNTS, 0))

    states = set()
    for count in (*ledger.file_counts(), *ledger.task_counts()):
        states.add(count.state)
        if (key := KEYS.get(count.state)) is not None:
            of(count.watch_folder)[key] += count.count
    if states & {FileState.REJECTED, TaskState.FAILED}:
        _count_errors(ledger, of)
    if TaskState.PROCESSING in states:
        for task in ledger.find_tasks(states=[TaskState.PROCESSING], is_open=True, limit=MOST_ROWS):
            of(task.watch_folder)["held_exports"] += task.held
    return counts


def _count_errors(ledger: Ledger, of: Callable[[str], Document]) -> None:
    """Count what lies in error/ or is on its way there, and failed tasks that have no source here to lie there."""
    for record in ledger.find_files(states=[FileState.REJECTED], limit=MOST_ROWS):
        if record.filing == "error" and record.filed_in != "deleted":
            of(record.watch_folder)["errors"] += 1
    for task in ledger.find_tasks(states=[TaskState.FAILED], limit=MOST_ROWS):
        if not task.file_key:
            of(task.watch_folder)["errors"] += 1


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _oldest(ledger: Ledger | None, *, now: float) -> Document | None:
    record = ledger.oldest_waiting() if ledger is not None else None
    if record is None:
        return None
    return {
        "watch_folder": record.watch_folder,
        "path": record.relative_path,
        "id": record.key,
        "state": record.state.value,
        "detail": record.detail,
        "since": record.first_seen_at,
        "seconds": max(0.0, now - record.first_seen_at),
    }
