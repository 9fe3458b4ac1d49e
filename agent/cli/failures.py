"""The one place where an error becomes a message and an exit status."""

from __future__ import annotations

import io

import click

from agent.errors import AgentError, ConfigurationError, LedgerError, LockHeld, UserError

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_LOCKED = 3
EXIT_LEDGER = 4

STATUSES: tuple[tuple[type[AgentError], int], ...] = (
    (UserError, EXIT_USAGE),
    (LockHeld, EXIT_LOCKED),
    (LedgerError, EXIT_LEDGER),
)


def exit_status(error: AgentError) -> int:
    """Return the exit status an error ends a command with."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), EXIT_FAILED)


def show_failure(error: AgentError) -> None:
    """Write an error to standard error: what, where, what to do."""
    from agent.rules.naming import for_display  # noqa: PLC0415 -- `fsagent --help` must not pay for it

    if isinstance(error, ConfigurationError):
        for line in error.message.split("\n"):
            click.echo(for_display(line), err=True)
        count = len(error.problems)
        click.echo(f"fsagent: {count} problem{'s' if count != 1 else ''} in the configuration", err=True)
    else:
        click.echo(f"fsagent: {for_display(error.message)}", err=True)
    if error.hint:
        click.echo(f"  what to do: {for_display(error.hint)}", err=True)


def show_usage_error(error: click.ClickException) -> None:
    """Write what is wrong with a command line; arguments may be names of any kind, by `*` of a shell."""
    from agent.rules.naming import for_display  # noqa: PLC0415 -- as above

    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().rstrip("\n").split("\n"):
        click.echo(for_display(line), err=True)
