"""`fsagent why`: one file or task explained."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import click

from agent.cli.configuration import load_settings
from agent.cli.failures import EXIT_DONE, EXIT_FAILED
from agent.cli.patience import answered
from agent.cli.rendering import echo_json, moment, one_line, since, size, span
from agent.cli.targets import TargetCommand

LABEL = 9


@click.command(cls=TargetCommand)
@click.argument("target", metavar="PATH|TASK")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def why(ctx: click.Context, target: str, *, as_json: bool) -> int:
    """Explain one file or task: where it is, what happened to it, what decides, what comes next.

    PATH is where the file lies or lay (inbox, archive, error, output), absolute, relative to here or to an inbox;
    TASK is the service's id of a task, or the id of a file as `history` shows it.

    Exit status 0 where it could explain, 1 where nothing is known.

    JSON: target, known, state, where, decides, next, blocked_by (as `reasons` of status), file (id, watch_folder,
    path, state, since, reason, detail, size, modified, first_seen, lies_at, attempts, task_id, sha256), task (id,
    name, project_id, watch_folder, state, since, opened, ended, service_state, detail, attempts, held, retry_at,
    files), events (at, name, detail, task_id; oldest first). Times are unix seconds, UTC.
    """
    from agent.runtime.explaining import explain  # noqa: PLC0415 -- `--help` must not pay for it
    from agent.runtime.looking import is_running, reading_ledger  # noqa: PLC0415 -- as above

    settings = load_settings(ctx, with_credentials=False)
    running = is_running(settings)
    with reading_ledger(settings) as ledger:
        look = partial(explain, settings, ledger, target, is_running=running, now=time.time())
        document = answered(look, target)
    if as_json:
        echo_json(document)
    else:
        for line in why_lines(document, now=time.time()):
            click.echo(line)
    return EXIT_DONE if document["known"] else EXIT_FAILED


def why_lines(document: dict[str, Any], *, now: float) -> list[str]:
    """Return the explanation as lines."""
    file, task = document["file"], document["task"]
    lines = [_title(document)]
    if file is not None:
        state = f"{file['state']}, {since(file['since'], now=now)}"
        lines.append(_labelled("file", f"{state}; {size(file['size'])}; changed {moment(file['modified'])}"))
    if task is not None:
        what = f'{task["id"]}, "{one_line(task["name"])}" in project {task["project_id"]}'
        lines.append(_labelled("task", f"{what}: {task['state']}, {since(task['since'], now=now)}"))
    lines.append(_labelled("where", document["where"]))
    if document["decides"]:
        lines.append(_labelled("decides", document["decides"]))
    lines += [_labelled("waits", _blocked(reason, now=now)) for reason in document["blocked_by"]]
    if document["next"]:
        lines.append(_labelled("next", document["next"]))
    if task is not None and task["retry_at"] is not None and task["state"] == "processing":
        wait = task["retry_at"] - now
        lines.append(_labelled("again", f"{moment(task['retry_at'])}" + (f" (in {span(wait)})" if wait > 0 else "")))
    lines += [_labelled("exported", path) for path in (task["files"] if task is not None else ())]
    if document["events"]:
        lines += ["", "What happened:"]
        lines += [_event(event) for event in document["events"]]
    return lines


def _title(document: dict[str, Any]) -> str:
    file, task = document["file"], document["task"]
    if file is not None:
        title = f"{one_line(file['watch_folder'])}: {one_line(file['path'])} (id {file['id'][:8]})"
    elif task is not None:
        title = f"{one_line(task['watch_folder'])}: task {one_line(task['id'])}"
    else:
        return click.style(one_line(document["target"]), bold=True)
    return f"{click.style(title, bold=True)}: {document['state']}"


def _labelled(label: str, text: str) -> str:
    return f"  {label + ':':<{LABEL}} {one_line(text)}"


def _blocked(reason: dict[str, Any], *, now: float) -> str:
    text = f"{reason['where']}: {reason['reason']}"
    if reason["since"] is not None:
        text += f", {since(reason['since'], now=now)}"
    text += f": {reason['detail']}"
    return text + (f"; what to do: {reason['hint']}" if reason["hint"] else "")


def _event(event: dict[str, Any]) -> str:
    line = f"  {moment(event['at'])}  {one_line(event['name'])}"
    return line + (f": {one_line(event['detail'])}" if event["detail"] else "")
