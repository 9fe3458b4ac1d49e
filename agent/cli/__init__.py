"""The command line: `main` is the entry point; each command is imported only when it runs."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `fsagent` and leave with its exit status."""
    try:
        from agent.cli.group import run_command_line  # noqa: PLC0415 -- importing this package must cost nothing
    except KeyboardInterrupt:  # Ctrl-C before anything began: the import takes a moment
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    run_command_line()
