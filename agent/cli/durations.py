"""Durations on the command line, written as in the configuration."""

from __future__ import annotations

import click


class Duration(click.ParamType):
    """`500ms`, `2s`, `5m`, `1h`, `30d`; the value is seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds, or fail with what is allowed."""
        if isinstance(value, int | float):
            return float(value)
        from agent.config.values import parse_duration  # noqa: PLC0415 -- costs only who needs it

        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()
