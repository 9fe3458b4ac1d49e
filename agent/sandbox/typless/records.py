"""What this sandbox keeps of extractions, and how they look on the wire (apis.md 3.2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.sandbox.typless.settings import ExtractionStatus

if TYPE_CHECKING:
    from agent.sandbox.contents import Found, Value
    from agent.sandbox.storage import StoredDocument


@dataclass(slots=True, eq=False)
class Extraction:
    """One extraction; changed only by the sandbox, under its lock."""

    id: str
    object_id: str
    file_name: str
    document_type_name: str
    customer: str | None
    document: StoredDocument
    created: float
    """UTC unix seconds."""
    status: ExtractionStatus = ExtractionStatus.IN_PROGRESS
    finished: float | None = None
    error: dict[str, Any] = field(default_factory=dict)
    found: Found | None = None
    replaced: Any = None
    """The JSON a test put in place of the result."""
    webhook: str = ""
    """What came of the webhook: empty, `sent STATUS`, `failed`, or `cut off`."""
    calls: Counter[str] = field(default_factory=Counter)
    """How often each status was answered."""


def poll_document(extraction: Extraction, *, confidence_as_text: bool, is_v1: bool) -> dict[str, Any]:
    """Return the answer to a poll: always the same three properties."""
    result = {}
    if extraction.status is ExtractionStatus.SUCCESS:
        result = result_document(extraction, confidence_as_text=confidence_as_text, is_v1=is_v1)
    return {"error": extraction.error, "result": result, "status": extraction.status.value}


def result_document(extraction: Extraction, *, confidence_as_text: bool = False, is_v1: bool = False) -> Any:
    """Return the result of an extraction that succeeded."""
    if extraction.replaced is not None:
        return extraction.replaced
    assert extraction.found is not None  # success has a result

    def write(value: Value) -> dict[str, Any]:
        return _field(value, confidence_as_text=confidence_as_text, is_v1=is_v1)

    return {
        "customer": extraction.customer,
        "file_name": extraction.file_name,
        "object_id": extraction.object_id,
        "extracted_fields": [write(value) for value in extraction.found.fields],
        "line_items": [[write(value) for value in row] for row in extraction.found.line_items],
        "vat_rates": [[write(value) for value in row] for row in extraction.found.vat_rates],
        **({"adjusted_s3_url": ""} if is_v1 else {}),
    }


def _field(value: Value, *, confidence_as_text: bool, is_v1: bool) -> dict[str, Any]:
    confidence = value.confidence if value.value is not None else 0.0
    candidate = {
        "value": value.value,
        "confidence_score": str(confidence) if confidence_as_text else confidence,
        "page_number": -1 if value.value is None else value.page,
        "x": -1,
        "y": -1,
        "width": -1,
        "height": -1,
    }
    return {
        "name": value.name,
        "data_type": value.kind,
        "values": [candidate],
        **({"multiple_values": False} if is_v1 else {}),
    }


def insight(extraction: Extraction) -> dict[str, Any]:
    """Return everything a test may ask about an extraction."""
    is_success = extraction.status is ExtractionStatus.SUCCESS
    return {
        "id": extraction.id,
        "name": extraction.file_name,
        "state": extraction.status.value,
        "error": extraction.error,
        "file_name": extraction.file_name,
        "document_type_name": extraction.document_type_name,
        "customer": extraction.customer,
        "tags": {"file_name": extraction.file_name},
        "size": extraction.document.size,
        "sha256": extraction.document.sha256,
        "created": extraction.created,
        "finished": extraction.finished,
        "webhook": extraction.webhook,
        "calls": dict(extraction.calls),
        "result": result_document(extraction) if is_success else None,
    }
