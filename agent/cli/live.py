"""The status that stands on the terminal while `run` works: the same lines as `status` prints, renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.rendering import marks_for, one_line
from agent.cli.screen import LiveStatus
from agent.cli.status import compose, status_lines
from agent.errors import LedgerError

if TYPE_CHECKING:
    import threading

    from agent.cli.rendering import Marks
    from agent.model import Settings
    from agent.runtime.agent import Agent
    from agent.runtime.parts import Parts

RENEW_EVERY = 1.0
"""Seconds between two looks at the ledger."""


def show_live(settings: Settings, parts: Parts, agent: Agent, stop: threading.Event) -> None:
    """Show the running agent's status until it is told to stop."""
    marks = marks_for()  # before rich puts something of its own in the place of standard output
    with LiveStatus() as shown:
        is_over = False
        while not is_over:
            shown.show(_lines(settings, parts, agent, marks))
            is_over = parts.clock.wait(stop, RENEW_EVERY)


def _lines(settings: Settings, parts: Parts, agent: Agent, marks: Marks) -> list[str]:
    """Return what is shown now: a ledger that cannot be read is a line too, never the end of the agent."""
    ways = {(True, False): "; submits only", (False, True): "; exports only"}.get((agent.submits, agent.exports), "")
    foot = click.style(f"To stop it: Ctrl-C{ways}", dim=True)
    try:
        lines = status_lines(compose(settings, parts.ledger, is_running=True), marks)
    except LedgerError as error:
        lines = [click.style(one_line(error.message), fg="red"), f"    what to do: {one_line(error.hint)}"]
    return [*lines, foot]
