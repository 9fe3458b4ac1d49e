"""Patience with folders: a share that hangs keeps no command that only looks from saying so."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE = 15.0
"""Seconds a folder may take: a share that fails over takes a few, the ledger much less."""


def answered(look: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
    """Return what a look at folders gives, asked in a thread of its own; it may read the ledger, too.

    Raises AgentError where no answer comes in time (nobody waits for the thread then), and what the look raises.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(look())
        except BaseException as error:  # noqa: BLE001 -- raised again where somebody waits for the answer
            answer.set_exception(error)

    threading.Thread(target=ask, name="look", daemon=True).start()
    try:
        return answer.result(patience)
    except TimeoutError as late:
        if answer.done():  # the look's own error, of a share that says at least so much
            raise
        raise AgentError(
            f"{what}: its folder has not answered for {patience:g} s",
            hint="look whether its disk or share is connected and sound; fsagent status asks none of the folders",
        ) from late
