"""What can be set about a sandbox of Typless; only values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEMO_DOCUMENT_TYPE: Final = "line-item-invoice"


class ExtractionStatus(StrEnum):
    """States of an extraction (seed 004)."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Fate:
    """How files of this name (a pattern of the shell kind) end; the last that fits counts.

    `code`, `message` and `details` are those of an ERROR.
    """

    file_name: str
    status: ExtractionStatus
    code: str | int = "invalid_file"
    message: str = "The file could not be processed."
    details: str = ""


@dataclass(frozen=True, slots=True)
class TyplessSettings:
    """How a sandbox of Typless behaves; times in seconds of the sandbox's clock, sizes in bytes."""

    api_key: str = "sandbox-key"
    document_types: tuple[str, ...] = (DEMO_DOCUMENT_TYPE,)

    extraction_delay: float = 0.5
    """From submission until the end, or later where reading the document takes longer."""
    lifetime: float = 48 * 3_600
    """From the end until EXPIRED; the result is deleted then (seed 004)."""
    fates: tuple[Fate, ...] = ()
    """Else a readable PDF, TIFF, JPEG or PNG is SUCCESS, and anything else ERROR."""

    confidence_as_text: bool = False
    """T-data shows confidence_score as text, seed 004 as a number."""
    unknown_status: int = 404
    """For an extraction_id nobody was given: 404 or 400, undocumented."""
    waiting_drops_polled: bool = False
    """Whether awaiting-poll leaves out what was polled after its end, undocumented."""

    webhook_url: str | None = None
    """Where extraction.finished is posted to; None: nowhere."""
    webhook_on_error: bool = False
    """Whether that is done for an ERROR too, undocumented."""
    webhook_timeout: float = 5.0
    """Real seconds; nothing is tried again."""

    size_limit: int = 30_000_000
    """Of the file, not of the body."""
    read_documents: bool = True
    """Read text and pages; False: only look at the first bytes, for measurements of others."""
    read_patience: float = 0.5
    """Real seconds a request waits for documents that are due and still being read."""
    control: bool = False
    """Serve `/control/…`, which lets anybody script faults and move the clock."""
