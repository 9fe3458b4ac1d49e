"""What every kind of sandbox has in common for those around it: the gate, the server, the control interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from agent.sandbox.faults import FaultBook
    from agent.sandbox.refusals import Refusal
    from agent.sandbox.request_log import RequestLog

    SayNo = Callable[[Refusal], Response]
    """How a service writes a refusal."""


class PlayableSettings(Protocol):
    """What is set about every sandbox."""

    @property
    def control(self) -> bool:
        """Whether `/control/…` is served."""


class Playable(Protocol):
    """A sandbox of any service."""

    @property
    def settings(self) -> PlayableSettings:
        """Return how it behaves."""

    @property
    def faults(self) -> FaultBook:
        """Return the scripted faults."""

    @property
    def requests(self) -> RequestLog:
        """Return what was asked so far."""

    def now(self) -> float:
        """Return the sandbox's time, UTC unix seconds."""

    def advance_clock(self, seconds: float) -> None:
        """Move the sandbox's time forward."""

    def describe(self) -> list[dict[str, Any]]:
        """Return all that is known of everything it was sent, oldest first."""

    def wait_for_unread(self) -> bool:
        """Wait until there is a document to read; False: the sandbox closes."""

    def release(self) -> None:
        """Let every waiting thread go."""

    def close(self) -> None:
        """Release, and delete all data."""
