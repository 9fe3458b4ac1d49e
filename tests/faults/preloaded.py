"""A process with the agent's modules loaded that forks one agent after the other; a sweep pays for the imports once.

Each child is an agent process of its own: it runs `python -m agent …`, or a script in its place, with nothing started
before. Orders come as JSON lines on standard input, answers go the same way to standard output; run by tracing.py.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

LOADED = ("agent.app", "agent.cli.run", "agent.cli.logs", "agent.runtime.signals", "agent.services.aluma")
"""What `run` imports, some of it as late as it can."""


def main() -> None:
    """Fork an agent for each order: answer with its pid, once it stands still where that is asked for, then its end."""
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become_agent(order)
            return
        if order["stopped"]:
            os.waitpid(child, os.WUNTRACED)
        _answer(child)
        _answer(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _answer(number: int) -> None:
    print(number, flush=True)  # noqa: T201 -- the other end reads it


def _become_agent(order: dict[str, Any]) -> None:
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    if order["stopped"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    sys.argv = [order["script"] or "agent", *order["arguments"]]
    if order["script"]:
        sys.path.insert(0, str(Path(order["script"]).parent))
        runpy.run_path(order["script"], run_name="__main__")
    else:
        runpy.run_module("agent", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
