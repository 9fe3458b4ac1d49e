"""`fsagent status`: health and its reasons in one glance, what lies where, the same numbers as text and JSON."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from agent.cli.configuration import load_settings
from agent.cli.failures import EXIT_DONE
from agent.cli.rendering import Marks, echo_json, marks_for, moment, one_line, since, span, table

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from agent.model import Settings
    from agent.ports import Ledger

EXIT_OF_HEALTH = {"ok": 0, "degraded": 1, "stopped": 2}
"""What `--check` ends with."""
COLOURS = {"ok": "green", "degraded": "yellow", "stopped": "red"}
COLUMNS = ("waiting", "stalled", "sending", "processing", "exporting", "exported", "errors")
"""The numbers that are always shown; others where they are not 0."""
FURTHER = {
    "reviewing": "looked at by people (reviewing)",
    "held": "held",
    "unknown": "of unknown outcome",
    "held_exports": "exports held",
    "ignored": "ignored (links, devices)",
    "unmatched": "matched by no include",
    "superseded": "superseded",
    "ended_unknown": "ended unseen",
    "discarded": "put aside at the service (discarded)",
}
WATCH_EVERY = 2.0
"""Seconds between two looks of `--watch`."""


@click.command()
@click.option("--watch", is_flag=True, help="Go on showing it until Ctrl-C.")
@click.option("--check", is_flag=True, help="Exit status 0 ok, 1 degraded, 2 stopped, for monitoring.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def status(ctx: click.Context, *, watch: bool, check: bool, as_json: bool) -> int:
    """Show health and its reasons, the service, each watch folder's numbers and the oldest waiting file.

    Exit status 0 whenever it could say, also before the first run; with --check: 1 degraded, 2 stopped.

    JSON: health (ok, degraded, stopped), reasons (reason, where, lane, detail, hint, since, retry_at, count), at,
    agent (state, detail, hint, pid, user, host, since, seen_at), service (type, url, state, reason, detail, hint,
    since, retry_at), state_dir, configuration, watch_folders (name, configured, inbox, output, submission, export,
    observed, paused and the numbers), totals (the numbers), oldest_waiting (watch_folder, path, id, state, detail,
    since, seconds). Times are unix seconds, UTC.
    """
    if watch and (as_json or check):
        raise click.UsageError("--watch goes neither with --json nor with --check")
    settings = load_settings(ctx, with_credentials=False)
    if watch:
        return _watch(settings)
    document = look(settings)
    if as_json:
        echo_json(document)
    else:
        for line in status_lines(document, marks_for()):
            click.echo(line)
    return EXIT_OF_HEALTH[document["health"]] if check else EXIT_DONE


def look(settings: Settings) -> dict[str, Any]:
    """Return the status document of this moment. Raises LedgerError, AgentError."""
    # Not through agent.app: the service's and the watcher's libraries would cost more than all the rest.
    from agent.runtime.looking import is_running, reading_ledger  # noqa: PLC0415 -- `--help` must not pay for it

    running = is_running(settings)
    with reading_ledger(settings) as ledger:
        return compose(settings, ledger, is_running=running)


def compose(settings: Settings, ledger: Ledger | None, *, is_running: bool) -> dict[str, Any]:
    """Return the status document as of now."""
    from agent.runtime.status import compose_status  # noqa: PLC0415 -- as above

    return compose_status(settings, ledger, is_running=is_running, now=time.time())


def _watch(settings: Settings) -> int:
    """Show it again and again until Ctrl-C, in place on a terminal."""
    marks = marks_for()
    if sys.stdout.isatty():
        from agent.cli.screen import LiveStatus  # noqa: PLC0415 -- rich is for terminals

        screen: AbstractContextManager[Any] = LiveStatus()
    else:
        screen = nullcontext()
    try:
        with screen as shown:
            while True:
                lines = status_lines(look(settings), marks)
                if shown is None:
                    click.echo("\n".join(lines) + "\n")
                else:
                    shown.show(lines)
                time.sleep(WATCH_EVERY)
    except KeyboardInterrupt:
        return EXIT_DONE


# --- text -------------------------------------------------------------------------------------------------------------


def status_lines(document: dict[str, Any], marks: Marks) -> list[str]:
    """Return the document as lines, coloured; `click.echo` takes the colours out where there is no terminal."""
    now = document["at"]
    lines = _headlines(document, marks)
    for reason in document["reasons"]:
        if reason["where"] != "agent" or reason["reason"] != document["agent"]["state"]:
            lines += _reason_lines(reason, marks, now=now)
    lines += ["", *_folder_table(document)]
    for folder in document["watch_folders"]:
        if notes := _notes(folder):
            lines.append(f"  {one_line(folder['name'])}: {', '.join(notes)}")
    lines += ["", _service_line(document["service"], now=now), _oldest_line(document, now=now)]
    return lines


def _headlines(document: dict[str, Any], marks: Marks) -> list[str]:
    """Return health and agent, with what to do where nothing works."""
    health, agent, now = document["health"], document["agent"], document["at"]
    mark = {"ok": marks.good, "degraded": marks.warning, "stopped": marks.bad}[health]
    line = f"{click.style(health, fg=COLOURS[health], bold=True)}: {one_line(agent['detail'])}"
    if mark != health:
        line = f"{click.style(mark, fg=COLOURS[health])} {line}"
    if agent["pid"] is not None:
        who = f"process {agent['pid']} of {agent['user']} on {agent['host']}"
        line += f" ({one_line(who)}, {since(agent['since'], now=now)})"
    elif agent["seen_at"] is not None:
        line += f", {since(agent['seen_at'], now=now)}"
    return [line, f"    what to do: {one_line(agent['hint'])}"] if agent["hint"] else [line]


def _reason_lines(reason: dict[str, Any], marks: Marks, *, now: float) -> list[str]:
    mark = click.style(marks.warning, fg="yellow")
    where = reason["lane"] or reason["where"]
    line = f"{mark} {one_line(where)}: {click.style(reason['reason'], bold=True)}"
    if reason["since"] is not None:
        line += f", {since(reason['since'], now=now)}"
    if reason["detail"]:
        line += f": {one_line(reason['detail'])}"
    if reason["retry_at"] is not None:
        wait = reason["retry_at"] - now
        line += f"; tried again {'now' if wait <= 0 else f'in {span(wait)}'} ({moment(reason['retry_at'])})"
    return [line, f"    what to do: {one_line(reason['hint'])}"] if reason["hint"] else [line]


def _folder_table(document: dict[str, Any]) -> list[str]:
    folders = document["watch_folders"]
    rows = [[one_line(folder["name"]), _state(folder), *_numbers(folder)] for folder in folders]
    if len(folders) > 1:
        rows.append(["total", "", *_numbers(document["totals"])])
    lines = table(("folder", "state", *COLUMNS), rows, right=range(2, 2 + len(COLUMNS)))
    return [click.style(lines[0], underline=True), *lines[1:]]


def _numbers(counts: dict[str, Any]) -> list[str]:
    return [str(counts[key]) for key in COLUMNS]


def _state(folder: dict[str, Any]) -> str:
    """Return one word for a watch folder; both lanes where they differ."""
    if not folder["configured"]:
        return "not configured"
    if folder["paused"]:
        return "paused"
    words = {
        way: folder[lane]["reason"] or folder[lane]["state"]
        for way, lane in (("in", "submission"), ("out", "export"))
        if folder[lane]["state"] not in {"off", "unknown"}
    }
    if not words:
        return "-"
    troubled = [f"{way}: {word}" for way, word in words.items() if word != "ok"]
    return ", ".join(troubled) or "ok"


def _notes(folder: dict[str, Any]) -> list[str]:
    notes = [f"{folder[key]} {words}" for key, words in FURTHER.items() if folder[key]]
    observer = folder["observed"].get("observer")
    if observer not in {None, "native"}:
        detail = one_line(folder["observed"].get("detail", ""))
        notes.append(f"observer {observer}" + (f" ({detail})" if detail else ""))
    return notes


def _service_line(service: dict[str, Any], *, now: float) -> str:
    line = f"service: {service['type']} at {one_line(service['url'])}: {service['reason'] or service['state']}"
    return line + (f", {since(service['since'], now=now)}" if service["since"] is not None else "")


def _oldest_line(document: dict[str, Any], *, now: float) -> str:
    oldest = document["oldest_waiting"]
    if oldest is None:
        return "oldest waiting file: none"
    detail = f": {one_line(oldest['detail'])}" if oldest["detail"] else ""
    path = f"{one_line(oldest['watch_folder'])}: {one_line(oldest['path'])}"
    return f"oldest waiting file: {path}, {oldest['state']} {since(oldest['since'], now=now)}{detail}"
