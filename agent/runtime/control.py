"""The control loop: carries out requests that commands left in the ledger, and keeps the agent's status there."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError
from agent.runtime.operations import paused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.model import Request
    from agent.runtime.operations import Operations
    from agent.runtime.parts import Parts

logger = logging.getLogger(__name__)

PAUSE = 0.5
"""Seconds between two looks for requests (a command's wish is carried out within 1 s)."""
STATUS_NOTE = "status"
STATUS_EVERY = 2.0
"""Seconds between two notes of the agent's status, where nothing changed too: a sign of life."""


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
    ) -> None:
        self._parts = parts
        self._operations = operations
        self._rescan = rescan
        self._live = live
        self._changed = changed
        self._paused: tuple[set[str], bool] = (set(), False)
        self._next_status = 0.0
        self._last: Mapping[str, Any] = {}

    def step(self) -> float:
        """Carry out what was asked and return the seconds until the next look."""
        for request in self._parts.ledger.open_requests():
            self._carry_out(request)
        self.apply_pauses()
        self._write_status()
        return PAUSE

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
