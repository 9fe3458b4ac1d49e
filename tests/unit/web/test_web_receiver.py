"""The receiver: listens, waits for a port in use, and hands over what arrives."""

from __future__ import annotations

import json
import logging
import socket
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.driven_clock import DrivenClock

from agent.model import LaneReason, RetrySettings, ServiceSettings, ServiceType, Settings, WebSettings
from agent.runtime.lanes import Lane
from agent.web.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "a-secret-of-webhooks-0123"


def settings(port: int) -> Settings:
    service = ServiceSettings(ServiceType.TYPLESS, "https://typless.example/api", webhook_secret=SECRET)
    return Settings(service, Path("state"), (), web=WebSettings("127.0.0.1", port))


class Desk:
    """A receiver, its lane and the agent it tells."""

    def __init__(self, port: int = 0) -> None:
        self.clock = DrivenClock()
        self.lane = Lane("web", retry=RetrySettings(first=1.0, max=8.0), clock=self.clock, random=lambda: 1.0)
        self.told: list[str] = []
        self.arrived = threading.Event()
        self.receiver = Receiver(settings(port), lane=self.lane, tell=self._tell, clock=self.clock)
        self.receiver.wake = self.arrived.set

    def _tell(self, task_id: str) -> bool:
        self.told.append(task_id)
        return True

    def post(self, task_id: str) -> None:
        url = f"http://127.0.0.1:{self.receiver.port}/webhooks/typless/{SECRET}"
        body = json.dumps({"data": {"id": task_id}}).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=20) as answer:
            assert answer.status == 200


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.receiver.close()


@pytest.fixture
def taken_port() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other


def test_what_arrives_wakes_the_step_that_tells_the_agent(desk: Desk) -> None:
    desk.receiver.step()
    desk.post("abc")

    assert desk.arrived.wait(20)
    assert desk.told == [], "an answer waits for no ledger"
    desk.receiver.step()
    assert desk.told == ["abc"]


def test_a_port_in_use_makes_the_lane_wait_with_a_warning(
    taken_port: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(taken_port.getsockname()[1])
    pause = desk.receiver.step()

    assert pause > 0
    assert desk.lane.state.reason is LaneReason.WEB_UNAVAILABLE
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(taken_port.getsockname()[1]) in record.getMessage()


def test_listens_once_the_port_is_free(taken_port: socket.socket) -> None:
    desk = Desk(taken_port.getsockname()[1])
    pause = desk.receiver.step()
    taken_port.close()
    desk.clock.advance(pause)
    desk.receiver.step()

    try:
        assert desk.lane.state.reason is None
        desk.post("abc")
    finally:
        desk.receiver.close()


def test_a_server_that_ended_is_begun_again(desk: Desk) -> None:
    desk.receiver.step()
    assert desk.receiver._server is not None
    desk.receiver._server.stop()
    desk.receiver.step()

    desk.post("abc")


def test_no_secret_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        desk.receiver.step()
        desk.post("abc")
        desk.receiver.step()

    assert SECRET not in caplog.text
