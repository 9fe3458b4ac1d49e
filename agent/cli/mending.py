"""`fsagent retry` and `fsagent resolve`: what an operator decides about files that did not go through."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.configuration import load_settings
from agent.cli.targets import TargetCommand
from agent.errors import ConfigurationError

if TYPE_CHECKING:
    from agent.model import Settings


@click.command(cls=TargetCommand)
@click.argument("targets", metavar="[PATH|TASK]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every file in error/ and every held export.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def retry(ctx: click.Context, *, targets: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Move files from error/ back to the inbox and remove their notes; try held exports again.

    PATH is a file in error/ (or its note, or the path it had in the inbox), TASK a task's id.
    """
    from agent.cli.asking import carry_out, show_answer  # noqa: PLC0415 -- `fsagent --help` must not pay for it

    if everything == bool(targets):
        raise click.UsageError("say which: paths or task ids, or --all")
    settings = load_settings(ctx, with_credentials=False)
    arguments = {"targets": list(targets), "everything": everything, "here": str(Path.cwd())}
    return show_answer(carry_out(settings, "retry", arguments, makes_ledger=False), as_json=as_json)


@click.command()
@click.argument("identifier", metavar="ID")
@click.option(
    "--submitted", metavar="TASK", default="", help="It became this task (Send AI: this upload): do not send it again."
)
@click.option("--resubmit", is_flag=True, help="It did not arrive: send it again.")
@click.option("--reject", is_flag=True, help="Put it into error/.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def resolve(ctx: click.Context, *, identifier: str, submitted: str, resubmit: bool, reject: bool, as_json: bool) -> int:
    """Decide about a held file: one that was sent and whose answer was lost.

    ID is the file's id (its first digits will do) or its path; `fsagent history --state held` lists them. The service
    is asked for TASK: one that it does not know is refused, one that cannot be asked for is taken as you say it.
    """
    from agent.cli.asking import carry_out, show_answer  # noqa: PLC0415 -- as above

    if [bool(submitted), resubmit, reject].count(True) != 1:
        raise click.UsageError("say which, once: --submitted TASK, --resubmit or --reject")
    settings, asks_service = _settings_to_resolve(ctx, asks_service=bool(submitted))
    arguments = {
        "id": identifier,
        "submitted": submitted,
        "resubmit": resubmit,
        "reject": reject,
        "here": str(Path.cwd()),
    }
    answer = carry_out(settings, "resolve", arguments, makes_ledger=False, asks_service=asks_service)
    return show_answer(answer, as_json=as_json)


def _settings_to_resolve(ctx: click.Context, *, asks_service: bool) -> tuple[Settings, bool]:
    """Return the configuration, and whether the service can be asked with it: else the operator's word is taken."""
    if asks_service:
        with suppress(ConfigurationError):  # its credentials may be set where the agent runs alone
            return load_settings(ctx), True
    return load_settings(ctx, with_credentials=False), False
