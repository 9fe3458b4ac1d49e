"""Loading the configuration for a command, its warnings on standard error."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import Settings


def configuration_path(ctx: click.Context) -> Path:
    """Return the path the user means."""
    from agent.config.locations import find_path  # noqa: PLC0415 -- costs only who needs it

    option = ctx.find_root().obj
    return find_path(option, os.environ)


def load_settings(ctx: click.Context, *, warn: bool = False, with_credentials: bool = True) -> Settings:
    """Return the configuration; `warn` shows its warnings and the account's. Raises ConfigurationError.

    Without `with_credentials` those of the service need not be set where the command is typed.
    """
    from agent.config.account import runtime_warnings  # noqa: PLC0415 -- costs only who needs it
    from agent.config.loading import load  # noqa: PLC0415 -- pydantic costs 200 ms

    loaded = load(configuration_path(ctx), environment=os.environ, with_credentials=with_credentials)
    if warn:
        for warning in (*loaded.warnings, *runtime_warnings()):
            click.echo(f"warning: {warning}", err=True)
    return loaded.settings
