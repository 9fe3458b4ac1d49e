"""Which service a configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agent import __version__
from agent.model import ServiceType

if TYPE_CHECKING:
    from agent.model import ServiceSettings
    from agent.ports import Clock, Service


class _Opener(Protocol):
    """A class of services."""

    def __call__(self, settings: ServiceSettings, *, clock: Clock, user_agent: str) -> Service: ...


def open_service(settings: ServiceSettings, clock: Clock) -> Service:
    """Return the service of `settings`; nothing is connected before its first call."""
    return _opener(settings.type)(settings, clock=clock, user_agent=f"fsagent/{__version__}")


def _opener(kind: ServiceType) -> _Opener:
    """Return what opens a service.

    The HTTP libraries take a tenth of a second to import: only who talks to a service pays it.
    """
    match kind:
        case ServiceType.ALUMA:
            from agent.services.aluma import AlumaService  # noqa: PLC0415 -- see above

            return AlumaService
        case ServiceType.SENDAI:
            from agent.services.sendai import SendaiService  # noqa: PLC0415 -- see above

            return SendaiService
        case ServiceType.TYPLESS:
            from agent.services.typless import TyplessService  # noqa: PLC0415 -- see above

            return TyplessService
