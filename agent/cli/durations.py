"""Durations on the command line, written as in the configuration."""

from __future__ import annotations

import click


def seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Return the seconds of `500ms`, `2s`, `5m`, `1h`, `30d`: an option's callback; fails with what is allowed."""
    from agent.config.values import parse_duration  # noqa: PLC0415 -- costs only who needs it

    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error
