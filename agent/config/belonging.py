"""Which keys belong to which service, what each service must be given, and where it is found.

Only facts about keys; `checking` says them to people.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.model import ServiceType

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALUMA = frozenset({ServiceType.ALUMA})
_SENDAI = frozenset({ServiceType.SENDAI})
_TYPLESS = frozenset({ServiceType.TYPLESS})

URLS: Mapping[ServiceType, str] = MappingProxyType(
    {
        ServiceType.ALUMA: "https://api.aluma.io",
        ServiceType.SENDAI: "https://api.send.ai",
        ServiceType.TYPLESS: "https://developers.typless.com/api",
    }
)
"""Where each service is found (apis.md 1.1, 2.1, 3.1)."""

SERVICE_KEYS: Mapping[str, frozenset[ServiceType]] = MappingProxyType(
    {
        "client_id": _ALUMA,
        "client_secret": _ALUMA,
        "client_secret_file": _ALUMA,
        "lease": _ALUMA,
        "team_id": _SENDAI,
        "path_prefix": _SENDAI,
        "api_key": _SENDAI | _TYPLESS,
        "api_key_file": _SENDAI | _TYPLESS,
        "on_unknown": _SENDAI | _TYPLESS,
        "lookup_by_customer": _TYPLESS,
        "webhook_secret": _TYPLESS,
    }
)
"""Keys of `service:` that not every service has."""

FOLDER_KEYS: Mapping[str, frozenset[ServiceType]] = MappingProxyType(
    {
        "project_id": _ALUMA | _SENDAI,
        "document_type_name": _TYPLESS,
        "tags": _ALUMA,
        "send_path": _ALUMA,
        "batch": _SENDAI,
        "meta": _SENDAI,
        "customer": _TYPLESS,
    }
)
"""Keys of a watch folder that not every service has."""

EXPORT_KEYS: Mapping[str, frozenset[ServiceType]] = MappingProxyType(
    {
        "scope": _ALUMA,
        "formats": _SENDAI | _TYPLESS,
    }
)
"""Keys of `export:` that not every service has."""


def services_of(types: frozenset[ServiceType]) -> str:
    """Return the services a key belongs to, as a message names them."""
    return " and ".join(f"`type: {each.value}`" for each in ServiceType if each in types)


def is_of(key: str, service: ServiceType) -> bool:
    """Tell whether a key, dotted as in the sample, means something to a service."""
    section, _, name = key.rpartition(".")
    tables = {"service": SERVICE_KEYS, "watch_folders": FOLDER_KEYS, "watch_folders.export": EXPORT_KEYS}
    return service in tables.get(section, {}).get(name, frozenset(ServiceType))
