"""The command line: `main` is the entry point; each command is imported only when it runs."""

from __future__ import annotations


def main() -> None:
    """Run `fsagent` and leave with its exit status."""
    from agent.cli.group import run_command_line  # noqa: PLC0415 -- importing this package must cost nothing

    run_command_line()
