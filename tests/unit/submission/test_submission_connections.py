"""Connections: as many uploads at once as configured, and none is kept waiting by a watch folder that hangs."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from agent.submission.connections import Connections

PATIENCE = 10.0


class Waiting:
    """A thread that waits for a place and says when it has it."""

    def __init__(self, connections: Connections, watch_folder: str) -> None:
        self.has_it = threading.Event()
        self.may_go = threading.Event()
        self._connections = connections
        self._watch_folder = watch_folder
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._connections.hold(self._watch_folder):
            self.has_it.set()
            self.may_go.wait(PATIENCE)

    def end(self) -> None:
        self.may_go.set()
        self._thread.join(PATIENCE)


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_hold_a_place_than_configured(limit: int) -> None:
    connections = Connections(limit)
    with ExitStack() as held:
        for _ in range(limit):
            held.enter_context(connections.hold("invoices"))
        waiting = Waiting(connections, "invoices")
        assert not waiting.has_it.wait(0.1)
    assert waiting.has_it.wait(PATIENCE)
    waiting.end()


def test_a_place_of_a_folder_that_hangs_keeps_no_other_from_its_turn() -> None:
    connections = Connections(1)
    with connections.hold("dead share"):
        waiting = Waiting(connections, "invoices")
        assert not waiting.has_it.wait(0.1)
        connections.disregard(frozenset({"dead share"}))
        assert waiting.has_it.wait(PATIENCE)
        waiting.end()


def test_a_folder_that_answers_again_counts_again() -> None:
    connections = Connections(1)
    connections.disregard(frozenset({"dead share"}))
    with connections.hold("dead share"):
        connections.disregard(frozenset())
        waiting = Waiting(connections, "invoices")
        assert not waiting.has_it.wait(0.1)
    assert waiting.has_it.wait(PATIENCE)
    waiting.end()
