"""What the fakes of a service can do: by default what the Tasks API can, else what the other two can (apis.md 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.model import DocumentType


@dataclass(slots=True)
class MemoryAbilities:
    server_side_lease: bool = True
    finds_lost_submissions: bool = True
    cancels_tasks: bool = True
    lists_tasks: bool = True
    names_outputs: bool = True
    splits_submissions: bool = False
    batch_limit: int = 1
    webhook: bool = False
    accepted_types: frozenset[DocumentType] | None = None
    size_limit: int | None = None
    result_lifetime: float | None = None
    first_poll: float = 0.0


ASKED_BY_ID = MemoryAbilities(
    server_side_lease=False,
    finds_lost_submissions=False,
    cancels_tasks=False,
    lists_tasks=False,
    names_outputs=False,
    webhook=True,
    size_limit=30_000_000,
    result_lifetime=48 * 3600.0,
    first_poll=2.0,
)
"""As Typless."""

SPLITS_UPLOADS = MemoryAbilities(
    server_side_lease=False,
    finds_lost_submissions=False,
    cancels_tasks=False,
    lists_tasks=False,
    names_outputs=False,
    splits_submissions=True,
    batch_limit=100,
    size_limit=40_000_000,
)
"""As Send AI."""
