"""The one place where an error becomes a message, an exit status and, with `--json`, a document."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from agent.errors import AgentError, ConfigurationError, LedgerError, LockHeld, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_LOCKED = 3
EXIT_LEDGER = 4
EXIT_INTERRUPTED = 130
"""As shells say it of a program that Ctrl-C ended."""

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


def usage_failure(error: click.ClickException) -> UserError:
    """Return what is wrong with a command line as an error of ours."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return UserError(error.format_message(), hint=f"type: {context.command_path} --help" if context else "")


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for a document; it may be too wrong to be read in any other way."""
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


def show_failure_as_json(error: AgentError, *, status: int) -> None:
    """Write the document of a command that failed before it had one of its own. Raises OSError."""
    from agent.cli.rendering import echo_json  # noqa: PLC0415 -- `fsagent --help` must not pay for it

    document: dict[str, Any] = {"ok": False, "message": error.message, "hint": error.hint, "status": status}
    if isinstance(error, ConfigurationError):
        document["configuration"] = None if error.path is None else str(error.path)
        document["problems"] = [asdict(problem) for problem in error.problems]
    echo_json(document)
