"""Files on their way back to the inbox: a copy whose filing the ledger still plans is nobody's new file yet.

A retry from an error/ on another device copies, publishes, then removes its source. Sent in between, after a crash or
while that device is away, the copy would be made and sent once more as soon as the filing goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.folders.moving import COARSEST_TIME

if TYPE_CHECKING:
    from agent.model import FileRecord, Sighting
    from agent.ports import Ledger

PLANNED = 1_000_000
"""Planned filings looked through: a copy whose plan is not seen would be sent."""


def without_copies_under_way(sightings: list[Sighting], *, ledger: Ledger, watch_folder: str) -> list[Sighting]:
    """Return the sightings that are no such copy; once the filing is done, the next scan sees those that are."""
    if not sightings:
        return sightings
    planned = {
        record.destination: record
        for record in ledger.find_files(watch_folder=watch_folder, to_file=True, filing="inbox", limit=PLANNED)
    }
    return [sighting for sighting in sightings if not _is_copy(sighting, planned.get(sighting.relative_path))]


def _is_copy(sighting: Sighting, record: FileRecord | None) -> bool:
    """Tell whether a sighting is another file of the same length and time: a rename would have kept the identity."""
    if record is None:
        return False
    seen, source = sighting.signature, record.lying_signature
    is_as_old = abs(seen.modified_ns - source.modified_ns) < COARSEST_TIME
    return seen.identity != source.identity and seen.size == source.size and is_as_old
