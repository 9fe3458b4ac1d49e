"""`fsagent pause`, `resume`, `rescan` and `adopt`: what an operator tells the agent about whole watch folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.configuration import load_settings
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.model import Settings

_FOLDER = click.argument("folder", metavar="[FOLDER]", default="")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")


@click.command()
@_FOLDER
@_JSON
@click.pass_context
def pause(ctx: click.Context, *, folder: str, as_json: bool) -> int:
    """Stop a watch folder, or all, until resumed; a restart of the agent changes nothing about it."""
    return _carry_out(ctx, "pause", folder, as_json=as_json)


@click.command()
@_FOLDER
@_JSON
@click.pass_context
def resume(ctx: click.Context, *, folder: str, as_json: bool) -> int:
    """Let a paused watch folder, or all, go on."""
    return _carry_out(ctx, "resume", folder, as_json=as_json)


@click.command()
@_FOLDER
@_JSON
@click.pass_context
def rescan(ctx: click.Context, *, folder: str, as_json: bool) -> int:
    """Scan an inbox, or all, now. Without a running agent nothing is to do: its start scans everything."""
    from agent.cli.asking import show_answer  # noqa: PLC0415 -- `fsagent --help` must not pay for it
    from agent.runtime.looking import is_running  # noqa: PLC0415

    settings = load_settings(ctx, with_credentials=False)
    _check_name(settings, folder)
    if not is_running(settings):
        message = "no agent runs: its next start scans the inboxes anyway"
        return show_answer({"ok": True, "message": message}, as_json=as_json)
    return _carry_out(ctx, "rescan", folder, as_json=as_json)


@click.command()
@_FOLDER
@click.option("--all", "everything", is_flag=True, help="Every folder; starts anew where the ledger is gone.")
@_JSON
@click.pass_context
def adopt(ctx: click.Context, *, folder: str, everything: bool, as_json: bool) -> int:
    """Make a watch folder's inbox and output, or all, this agent's, whatever their markers say.

    For folders that were replaced or belonged to an agent that is gone. Where the ledger is gone, --all starts a new
    one: what lies in the inboxes is sent then, nothing in archive/ is.
    """
    from agent.cli.asking import carry_out, show_answer  # noqa: PLC0415 -- as above

    if everything == bool(folder):
        raise click.UsageError("say which: the name of a watch folder, or --all")
    settings = load_settings(ctx, with_credentials=False)
    _check_name(settings, folder)
    answer = carry_out(settings, "adopt", {"folder": folder}, start_anew=everything)
    return show_answer(answer, as_json=as_json)


def _carry_out(ctx: click.Context, command: str, folder: str, *, as_json: bool) -> int:
    from agent.cli.asking import carry_out, show_answer  # noqa: PLC0415 -- as above

    settings = load_settings(ctx, with_credentials=False)
    _check_name(settings, folder)
    return show_answer(carry_out(settings, command, {"folder": folder}), as_json=as_json)


def _check_name(settings: Settings, folder: str) -> None:
    """Raise UserError for a name that is no watch folder's: a mistake in the command, not in what it does."""
    names = [other.name for other in settings.watch_folders]
    if folder and folder not in names:
        raise UserError(f"there is no watch folder {folder}", hint=f"there are: {', '.join(names)}")
