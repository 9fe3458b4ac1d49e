"""One submission over the wire, as several test modules make it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError
from agent.model import Upload
from fakes.scripted_server import document

if TYPE_CHECKING:
    from agent.ports import Service

ACCEPTED = document({"id": "task-1", "name": "scan.pdf", "project_id": "p", "state": "queued"}, status=202)
SMALL = b"%PDF-1.4 small %%EOF"
LARGE = 32 * 1024 * 1024
"""More than loopback's socket buffers hold, so that a server that does not read stops the sender."""


def upload(size: int, **changes: Any) -> Upload:
    values: dict[str, Any] = {
        "key": "key-1",
        "project_id": "p",
        "file_name": "scan.pdf",
        "content_type": "application/pdf",
        "size": size,
        "task_name": "scan.pdf",
        "tags": {"fsagent_key": "key-1"},
    }
    return Upload(**{**values, **changes})


def submit(service: Service, content: bytes = SMALL) -> AgentError | None:
    """Submit and return how it failed."""
    try:
        service.submit(upload(len(content)), io.BytesIO(content))
    except AgentError as error:
        return error
    return None
