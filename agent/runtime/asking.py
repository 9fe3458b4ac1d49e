"""The asking loop: looks for what became of each task, where the service has no list, and wakes the export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import ServiceTrouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.runtime.parts import Parts

PAUSE = 1.0
"""Seconds between two turns at most: new submissions are found in the ledger."""
SHORTEST = 0.02


class AskingLoop:
    """Asks for open tasks; `step` runs in the thread that owns it, `tell` is for any."""

    def __init__(self, parts: Parts, *, made_ready: Callable[[], None], exports: Callable[[str], bool]) -> None:
        self._parts = parts
        self._made_ready = made_ready
        self._exports = exports
        self.wake: Callable[[], None] = lambda: None

    def step(self) -> float:
        """Ask for what is due and return the seconds until the next turn."""
        service = self._parts.lanes.service
        if not service.enter():
            return min(PAUSE, max(SHORTEST, service.wait_seconds()))
        try:
            turn = self._parts.asking.work(exports=self._exports)
            is_there = bool(turn.asked) or self._is_there_again()
        except ServiceTrouble as trouble:
            service.failed(trouble)
            return SHORTEST
        except BaseException:
            service.leave()
            raise
        if is_there:
            service.succeeded()
        else:
            service.leave()
        if turn.ready:
            self._made_ready()
        return min(PAUSE, max(SHORTEST, turn.seconds))

    def _is_there_again(self) -> bool:
        """Return whether a service that was in trouble answers: nobody else may have anything to ask it for days."""
        if self._parts.lanes.service.state.reason is None:
            return False
        self._parts.service.check_credentials()
        return True

    def tell(self, task_id: str) -> bool:
        """Take the service's word that a task has ended; return whether it is one of ours."""
        is_ours = self._parts.asking.tell(task_id)
        if is_ours:
            self.wake()
        return is_ours
