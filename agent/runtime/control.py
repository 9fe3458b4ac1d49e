"""The control loop: carries out requests that commands left in the ledger, and keeps the agent's status there.

What touches folders has threads of its own: one that hangs in a dead share keeps no other command, and no status.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError
from agent.runtime.operations import paused
from agent.runtime.pools import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor, Future

    from agent.model import Request
    from agent.runtime.operations import Operations
    from agent.runtime.parts import Parts

logger = logging.getLogger(__name__)

PAUSE = 0.5
"""Seconds between two looks for requests (a command's wish is carried out within 1 s)."""
STATUS_NOTE = "status"
STATUS_EVERY = 2.0
"""Seconds between two notes of the agent's status, where nothing changed too: a sign of life."""
AT_ONCE = frozenset({"pause", "resume", "rescan"})
"""Commands that touch no folder: carried out in the order they were asked for."""
THREADS = 8
"""Commands beside each other that touch folders; those of shares known to be dead are refused and take none."""


class Control:
    """Answers requests and writes the status note; `step` runs in the thread that owns it."""

    def __init__(
        self,
        parts: Parts,
        operations: Operations,
        *,
        rescan: Callable[[str], None],
        live: Callable[[], Mapping[str, Any]],
        changed: Callable[[], None],
        make_pool: Callable[[int, str], Executor] = DaemonThreads,
    ) -> None:
        self._parts = parts
        self._operations = operations
        self._rescan = rescan
        self._live = live
        self._changed = changed
        self._pool = make_pool(THREADS, "command")
        self._under_way: dict[int, Future[None]] = {}
        """By the request's id; owned by the control thread."""
        self._paused: tuple[set[str], bool] = (set(), False)
        self._next_status = 0.0
        self._last: Mapping[str, Any] = {}

    def step(self) -> float:
        """Carry out what was asked and return the seconds until the next look."""
        self._forget_done()
        for request in self._parts.ledger.open_requests():
            if request.command in AT_ONCE:
                self._carry_out(request)
            elif request.id not in self._under_way:
                self._under_way[request.id] = self._pool.submit(self._carry_out, request)
        self.apply_pauses()
        self._write_status()
        return PAUSE

    def is_busy(self) -> bool:
        """Return whether a command is being carried out."""
        return not all(future.done() for future in list(self._under_way.values()))

    def close(self) -> None:
        """Begin nothing more; what is under way is never waited for. For after the last step."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _forget_done(self) -> None:
        """Let go of what is over. Raises LedgerUnavailable where an answer could not be written: it is done again."""
        for number, future in [each for each in self._under_way.items() if each[1].done()]:
            del self._under_way[number]
            future.result()

    def apply_pauses(self) -> None:
        """Bring the lanes in line with the pauses in the ledger."""
        folders, everything = now = paused(self._parts.ledger)
        if now == self._paused:
            return
        self._paused = now
        for folder in self._parts.settings.watch_folders:
            is_paused = everything or folder.name in folders
            for lane in (self._parts.lanes.submission(folder.name), self._parts.lanes.export(folder.name)):
                if is_paused:
                    lane.pause()
                else:
                    lane.resume()
        self._changed()

    def _carry_out(self, request: Request) -> None:
        try:
            if request.command == "rescan":
                self._rescan(str(request.arguments.get("folder", "")))
                answer: dict[str, Any] = {"ok": True, "message": "the inbox is scanned now"}
            else:
                answer = self._operations.carry_out(request.command, request.arguments)
        except AgentError as error:
            answer = {"ok": False, "message": error.message, "hint": error.hint}
        except Exception as error:
            # Somebody waits for an answer to this very request; the error is his to see, and the log's.
            logger.exception("request %s %s failed", request.command, dict(request.arguments))
            answer = {"ok": False, "message": f"{type(error).__name__}: {error}"}
        self._parts.ledger.answer(request.id, ok=bool(answer["ok"]), answer=answer, now=self._parts.clock.now())
        logger.info("%s: %s", request.command, "; ".join(str(answer["message"]).splitlines()))
        self._changed()

    def _write_status(self) -> None:
        live = dict(self._live())
        now = self._parts.clock.monotonic()
        if live == self._last and now < self._next_status:
            return
        self._last = live
        self._next_status = now + STATUS_EVERY
        self._parts.ledger.put_note(STATUS_NOTE, {**live, "at": self._parts.clock.now(), "pid": os.getpid()})
