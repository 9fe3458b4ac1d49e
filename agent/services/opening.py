"""Which service a configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import __version__
from agent.errors import UserError
from agent.model import ServiceType

if TYPE_CHECKING:
    from agent.model import ServiceSettings
    from agent.ports import Clock, Service


def open_service(settings: ServiceSettings, clock: Clock) -> Service:
    """Return the service of `settings`; nothing is connected before its first call. Raises UserError."""
    if settings.type is not ServiceType.ALUMA:
        raise UserError(f"service.type: {settings.type} is not yet supported", hint="set service.type to aluma")
    # The HTTP libraries take a tenth of a second to import: only who talks to a service pays it.
    from agent.services.aluma import AlumaService  # noqa: PLC0415 -- see above

    return AlumaService(settings, clock=clock, user_agent=f"fsagent/{__version__}")
