"""The group of all commands: what exists, in which order help shows it, and where errors become exit statuses."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from agent import __version__
from agent.cli.failures import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    asks_for_json,
    exit_status,
    show_failure,
    show_failure_as_json,
    show_usage_error,
    usage_failure,
)
from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Sequence

# name → (module of agent.cli, one line of help). Help is listed here so that `fsagent --help` imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Show the whole of it: sandbox, agent, sample files, exports; needs no account."),
    "init": ("init", "Write a commented configuration and make its folders."),
    "check": ("check", "Check configuration, folders, credentials and projects, a line each."),
    "run": ("run", "Run the agent."),
    "status": ("status", "Show health and its reasons, and what lies where."),
    "why": ("why", "Explain one file or task: where it is, what happened, what comes next."),
    "history": ("history", "List what the ledger knows, newest first."),
    "retry": ("mending", "Send files from error/ again."),
    "resolve": ("mending", "Decide about a held file."),
    "submit": ("submit", "Copy files into an inbox and wait for their tasks."),
    "pause": ("control", "Stop a watch folder, or all, until resumed."),
    "resume": ("control", "Let a paused watch folder, or all, go on."),
    "rescan": ("control", "Scan an inbox, or all, now."),
    "adopt": ("control", "Make folders this agent's, whatever their markers say."),
    "projects": ("projects", "List, show or upload projects of the service."),
    "tasks": ("reviewing", "Complete, discard or report a task that people look at."),
    "uploads": ("reviewing", "Show or move an upload."),
    "sandbox": ("sandbox", "Run the embedded service for trying things out."),
    "service": ("service", "Install and control the agent as a system service."),
}


class CommandGroup(click.Group):
    """A group that imports a command's module only to run it or show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"agent.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a name close to one is suggested."""
        name = args[0] if args else ""
        if name and name not in COMMANDS and not name.startswith("-"):
            import difflib  # noqa: PLC0415 -- only for a mistake

            close = difflib.get_close_matches(name, COMMANDS, n=1)
            suggestion = f" Did you mean `{close[0]}`?" if close else " Type `fsagent --help` for the list."
            ctx.fail(f"No such command `{name}`.{suggestion}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "-c",
    "--config",
    "config",
    metavar="FILE",
    help="The configuration file; else FSAGENT_CONFIG, else the default path.",
)
@click.version_option(__version__, prog_name="fsagent", message="%(prog)s %(version)s")
@click.pass_context
def fsagent(ctx: click.Context, config: str | None) -> None:
    """Watch inbox folders, submit their documents to a processing service, write the exports.

    To see it work, with nothing configured: fsagent demo

    To begin: fsagent init, then fsagent check, then fsagent run

    Exit status: 0 done, 1 something failed, 2 usage or configuration, 3 another agent holds the lock,
    4 ledger missing, damaged or newer than this version.
    """
    ctx.obj = config


def run_command_line(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit status; no error of a user ends in a traceback."""
    _write_what_the_console_can_show()
    given = list(sys.argv[1:] if arguments is None else arguments)
    status, failure = _run(given)
    if failure is not None and asks_for_json(given):
        try:
            show_failure_as_json(failure, status=status)
        except OSError:  # nobody reads it any more, or its disk is full: standard error has said what is wrong
            _let_go_of_output()
    sys.exit(status)


def _run(arguments: list[str]) -> tuple[int, AgentError | None]:
    """Run one command and return its exit status, with what it failed for where it has shown nothing else."""
    try:
        result: Any = fsagent.main(args=arguments, prog_name="fsagent", standalone_mode=False)
    except click.ClickException as error:
        show_usage_error(error)
        return EXIT_USAGE, usage_failure(error)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED, AgentError("interrupted")
    except AgentError as error:
        show_failure(error)
        return exit_status(error), error
    except OSError as error:
        # A full disk behind `> file`, a folder that went away: nothing anybody needs a trace for.
        what = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error.strerror or error)
        show_failure(failure := AgentError(what))
        _let_go_of_output()
        return EXIT_FAILED, failure
    return result if isinstance(result, int) else EXIT_DONE, None


def _let_go_of_output() -> None:
    """Send what could not be written nowhere: the interpreter tries once more at its end, and would end with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_what_the_console_can_show() -> None:
    """Let a console of an older code page show `?` for a character it has not, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
