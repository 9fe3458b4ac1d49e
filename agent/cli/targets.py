"""Arguments that name what others have named: one that begins with a dash is a name all the same, and no options."""

from __future__ import annotations

import click


class TargetCommand(click.Command):
    """A command of ids and paths with no short options of its own but -h: one of 64 task ids begins with a dash.

    Messages print such an id as something to type; taken for options it would be refused.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what begins with one dash, and is more than an option's letter, for a target."""
        end = args.index("--") if "--" in args else len(args)
        dashed = [each for each in args[:end] if len(each) > len("-h") and each[0] == "-" != each[1]]
        if dashed:
            args = [*(each for each in args[:end] if each not in dashed), "--", *dashed, *args[end + 1 :]]
        return super().parse_args(ctx, args)
