"""`fsagent submit`: copies files into an inbox and waits until their tasks are over, by whichever agent there is."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.configuration import load_settings
from agent.cli.durations import seconds
from agent.cli.failures import EXIT_DONE, EXIT_FAILED
from agent.cli.rendering import echo_json, marks_for, one_line, span
from agent.errors import LockHeld, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cli.submissions import Submissions
    from agent.model import Settings, WatchFolder
    from agent.ports import Clock

LOOK_EVERY = 0.2
ALIVE_EVERY = 2.0
"""Seconds between two looks whether the agent still runs: each holds the lock for a moment."""


@click.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--watch-folder", "name", metavar="NAME", help="Whose inbox; may be left out where there is only one.")
@click.option(
    "--wait", metavar="DURATION", callback=seconds, default="10m", show_default=True, help="How long to wait."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def submit(ctx: click.Context, *, files: tuple[Path, ...], name: str | None, wait: float, as_json: bool) -> int:
    """Copy files into an inbox and wait until they are exported (submit only: processed).

    A running agent does the work; without one this command does it itself. Exit status: 0 where all went well, else 1
    with a reason for each file.
    """
    from agent.cli.submissions import Submissions  # noqa: PLC0415 -- `fsagent --help` must not pay for it
    from agent.runtime.clock import SystemClock  # noqa: PLC0415

    settings = load_settings(ctx)
    clock = SystemClock()
    with _progress(len(files), as_json=as_json) as on_change:
        folder = _choose(settings, name)
        submissions = Submissions(folder, files, state_dir=settings.state_dir, clock=clock, on_change=on_change)
        try:
            _work(settings, submissions, clock, wait=wait)
        except KeyboardInterrupt:
            click.echo("what was copied stays in the inbox; the agent, or the next run, goes on with it", err=True)
            raise
    return _show(submissions, wait=wait, as_json=as_json)


def _choose(settings: Settings, name: str | None) -> WatchFolder:
    """Return the watch folder that is meant. Raises UserError."""
    candidates = [folder for folder in settings.watch_folders if folder.inbox is not None]
    names = ", ".join(folder.name for folder in candidates) or "none"
    if name is None and len(candidates) == 1:
        return candidates[0]
    if name is None:
        raise UserError(f"say whose inbox: --watch-folder NAME; there are: {names}")
    chosen = next((folder for folder in candidates if name == folder.name), None)
    if chosen is None:
        raise UserError(f"there is no watch folder {name} with an inbox", hint=f"there are: {names}")
    return chosen


def _work(settings: Settings, submissions: Submissions, clock: Clock, *, wait: float) -> None:
    """Copy and wait, beside an agent that runs or with one of our own, whichever way that changes meanwhile."""
    from agent.runtime.looking import is_running  # noqa: PLC0415 -- as above

    deadline = clock.monotonic() + wait
    while not submissions.are_over and clock.monotonic() < deadline:
        if is_running(settings):
            _beside_agent(settings, submissions, clock, deadline)
            continue
        try:
            _with_own_agent(settings, submissions, clock, deadline)
        except LockHeld:
            if is_running(settings):  # it started between the look and the lock
                continue
            raise


def _beside_agent(settings: Settings, submissions: Submissions, clock: Clock, deadline: float) -> None:
    """Wait until all is over, the time is up or the agent has ended."""
    from agent.runtime.looking import is_running, reading_ledger  # noqa: PLC0415 -- as above

    never = threading.Event()
    look_at_lock = clock.monotonic() + ALIVE_EVERY
    with reading_ledger(settings) as ledger:
        if ledger is None:  # the agent is about to make it
            clock.wait(never, LOOK_EVERY)
            return
        submissions.drop(ledger)
        while clock.monotonic() < deadline:
            if submissions.look(ledger):
                return
            if clock.monotonic() >= look_at_lock:
                if not is_running(settings):
                    return
                look_at_lock = clock.monotonic() + ALIVE_EVERY
            clock.wait(never, LOOK_EVERY)


def _with_own_agent(settings: Settings, submissions: Submissions, clock: Clock, deadline: float) -> None:
    """Run an agent until all is over or the time is up."""
    from agent.app import running_agent  # noqa: PLC0415 -- as above
    from agent.cli.logs import set_up_logging  # noqa: PLC0415

    set_up_logging(settings.logging, secrets=settings.service.secrets, to_console=False)
    never = threading.Event()
    with running_agent(settings) as (_, parts):
        submissions.drop(parts.ledger)
        while clock.monotonic() < deadline and not submissions.look(parts.ledger):
            clock.wait(never, LOOK_EVERY)


# --- showing ---------------------------------------------------------------------------------------------------------


@contextmanager
def _progress(total: int, *, as_json: bool) -> Iterator[Any]:
    """Give what is called with a line for each change and the number of files that are over."""
    if as_json:
        yield lambda _line, _over: None
    elif sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 -- rich is for terminals
        from rich.markup import escape  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        with ExitStack() as stack:
            progress = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
            bar = progress.add_task("copying", total=total)
            yield lambda line, over: progress.update(bar, description=escape(line), completed=over)
    else:
        yield lambda line, _over: click.echo(line, err=True)


def _show(submissions: Submissions, *, wait: float, as_json: bool) -> int:
    """Show what became of each file and return the exit status."""
    marks = marks_for()
    results = submissions.results(f"not over within {span(wait)}; it goes on: fsagent why PATH")
    is_good = all(result["ok"] for result in results)
    if as_json:
        echo_json({"ok": is_good, "watch_folder": submissions.watch_folder, "files": results})
        return EXIT_DONE if is_good else EXIT_FAILED
    for result in results:
        mark = marks.good if result["ok"] else marks.bad
        message = f": {result['message']}" if result["message"] else ""
        click.echo(f"{mark} {one_line(result['file'])}: {result['state']}{message}")
    return EXIT_DONE if is_good else EXIT_FAILED
