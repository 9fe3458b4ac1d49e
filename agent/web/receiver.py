"""The receiver of webhooks: keeps the server listening, and hands what arrives to the agent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from agent.errors import LaneTrouble
from agent.web.nudges import Nudges
from agent.web.server import WebServer
from agent.web.webhooks import webhook_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.model import Settings
    from agent.ports import Clock

logger = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks whether the server still runs."""


class Lane(Protocol):
    """Where it is noted whether the receiver listens, and when that is tried again."""

    def enter(self) -> bool:
        """Return whether it may be tried now."""

    def succeeded(self) -> object:
        """Say that it listens."""

    def failed(self, trouble: LaneTrouble) -> None:
        """Say why it does not."""

    def wait_seconds(self) -> float:
        """Return how long it is not to be tried."""


class Receiver:
    """Listens on `web.listen` for webhooks; `step` belongs to one thread, which `wake` wakes."""

    def __init__(self, settings: Settings, *, lane: Lane, tell: Callable[[str], bool], clock: Clock) -> None:
        self._web = settings.web
        self._lane = lane
        self._nudges = Nudges(tell, clock=clock)
        self._app = webhook_app(settings.service.webhook_secret, self._take)
        self._server: WebServer | None = None
        self.wake: Callable[[], None] = lambda: None

    @property
    def port(self) -> int | None:
        """The port it listens on, None while it does not."""
        return self._server.port if self._server is not None else None

    def step(self) -> float:
        """Listen where nothing does, hand over what arrived; return the seconds until the next step."""
        if self._server is not None and not self._server.is_alive:
            self.close()
        wait = self._listen() if self._server is None else LOOK_EVERY
        due = self._nudges.work()
        return wait if due is None else min(wait, due)

    def close(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _take(self, task_id: str) -> None:
        self._nudges.take(task_id)
        self.wake()

    def _listen(self) -> float:
        """Begin to listen; return the seconds until the next step."""
        if not self._lane.enter():
            return min(LOOK_EVERY, self._lane.wait_seconds())
        try:
            server = WebServer(self._app, host=self._web.host, port=self._web.port or 0)
        except LaneTrouble as trouble:
            self._lane.failed(trouble)
            return min(LOOK_EVERY, self._lane.wait_seconds())
        server.start()
        self._server = server
        self._lane.succeeded()
        logger.info("web: listens for webhooks on %s:%d", self._web.host, server.port)
        return LOOK_EVERY
