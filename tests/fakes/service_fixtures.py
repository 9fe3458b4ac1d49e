"""Fixtures: a client of the Tasks API and a scripted server for it; settings that end silent requests quickly."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from agent.model import ServiceSettings, ServiceType
from agent.runtime.clock import SystemClock
from fakes.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.ports import Clock, Service
    from agent.services.aluma import AlumaService
    from fakes.wirings import Wiring

SECRET = "hunter2-the-secret"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the machine's own proxies out of the tests."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def open_service() -> Iterator[Callable[..., AlumaService]]:
    """Open services that are closed after the test."""
    # Every test run loads this file; only who talks HTTP pays for its libraries.
    from agent.services.aluma import AlumaService  # noqa: PLC0415 -- see above

    with ExitStack() as stack:

        def open_one(url: str, *, clock: Clock | None = None, **settings: Any) -> AlumaService:
            values = {"timeout": 5.0, **settings}
            service = AlumaService(
                ServiceSettings(ServiceType.ALUMA, url, "the-client", SECRET, **values),
                clock=clock or SystemClock(),
                user_agent="fsagent/test",
            )
            stack.callback(service.close)
            return service

        yield open_one


@pytest.fixture
def open_other() -> Iterator[Callable[..., Service]]:
    """Open services of any type with a key of their own, closed after the test."""
    from agent.services.opening import open_service as open_by_type  # noqa: PLC0415 -- as above

    with ExitStack() as stack:

        def open_one(kind: ServiceType, url: str, *, clock: Clock | None = None, **settings: Any) -> Service:
            values = {"api_key": SECRET, "team_id": "team_1", "timeout": 5.0, **settings}
            service = open_by_type(ServiceSettings(kind, url, **values), clock or SystemClock())
            stack.callback(service.close)
            return service

        yield open_one


@pytest.fixture
def opened(server: ScriptedServer, open_other: Callable[..., Service]) -> Callable[..., Service]:
    """Open services whose operations are on the scripted server (`fakes.wirings`)."""

    def open_one(wiring: Wiring, **settings: Any) -> Service:
        return open_other(wiring.kind, server.url + wiring.base, **settings)

    return open_one


@pytest.fixture
def service(server: ScriptedServer, open_service: Callable[..., AlumaService]) -> AlumaService:
    return open_service(server.url)
