"""`fsagent run`: the agent in the foreground, as a service manager or a person starts it."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from agent.cli.configuration import load_settings
from agent.cli.durations import seconds
from agent.cli.failures import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from agent.model import Settings
    from agent.runtime.agent import Agent
    from agent.runtime.parts import Parts

SWITCH_INTERVAL = 0.0005
"""Seconds a busy thread may keep the interpreter: the ledger's writer comes back from the disk thousands of times a
second, and the default of 5 ms is longer than the commit it waited for."""
LOOK_EVERY = 0.1
"""Seconds between two looks whether the agent is told to stop or `--once` is done."""


@click.command()
@click.option("--once", is_flag=True, help="Work off what is there, export what comes until own tasks ended, then end.")
@click.option(
    "--wait", metavar="DURATION", callback=seconds, default="10m", show_default=True, help="How long --once waits."
)
@click.option("--submit-only", is_flag=True, help="Only the way in.")
@click.option("--export-only", is_flag=True, help="Only the way out.")
@click.pass_context
def run(ctx: click.Context, *, once: bool, wait: float, submit_only: bool, export_only: bool) -> int:
    """Run the agent until it is told to stop (Ctrl-C, SIGTERM).

    With --once it ends by itself: 0 where everything is done, 1 with a list of what is stalled, held, in error or
    still open.
    """
    from agent.app import running_agent  # noqa: PLC0415 -- `fsagent --help` must not pay for it
    from agent.cli.logs import set_up_logging  # noqa: PLC0415
    from agent.runtime.signals import stop_on_signals  # noqa: PLC0415

    if submit_only and export_only:
        raise click.UsageError("--submit-only and --export-only exclude each other")
    if not once and ctx.get_parameter_source("wait") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--wait says how long --once waits: add --once, or leave it out")
    settings = load_settings(ctx, warn=True)
    is_live = sys.stderr.isatty() and sys.stdout.isatty() and not once
    set_up_logging(settings.logging, secrets=settings.service.secrets, to_console=not is_live)
    sys.setswitchinterval(SWITCH_INTERVAL)
    stop = threading.Event()
    stop_on_signals(stop)
    with running_agent(settings, submits=not export_only, exports=not submit_only) as (agent, parts):
        if once:
            return _run_once(agent, parts, stop, wait=wait)
        if is_live:
            from agent.cli.live import show_live  # noqa: PLC0415 -- rich is for terminals

            show_live(settings, parts, agent, stop)
        else:
            _wait(settings, parts, stop)
        click.echo("stopping: what is under way gets 20 s; Ctrl-C again ends it at once", err=True)
    return EXIT_DONE


def _wait(settings: Settings, parts: Parts, stop: threading.Event) -> None:
    names = ", ".join(folder.name for folder in settings.watch_folders)
    click.echo(f"fsagent runs: {names}. To stop it: Ctrl-C", err=True)
    while not stop.is_set():
        # In slices: on Windows a wait without end keeps the handler of Ctrl-C from running.
        parts.clock.wait(stop, 1.0)


def _run_once(agent: Agent, parts: Parts, stop: threading.Event, *, wait: float) -> int:
    began = parts.clock.now()
    deadline = parts.clock.monotonic() + wait
    agent.hurry()
    while not (is_idle := agent.is_idle()) and not stop.is_set() and parts.clock.monotonic() < deadline:
        parts.clock.wait(stop, LOOK_EVERY)
    left = agent.unfinished(since=began)
    if not is_idle and not left:  # what nobody has looked at yet stands in no list
        left = [f"open      not everything was looked at {'before the stop' if stop.is_set() else 'in time (--wait)'}"]
    for line in left:
        click.echo(line)
    return EXIT_FAILED if left else EXIT_DONE
