"""Where the operations of Send AI and Typless are on a scripted server, and how they answer when all is well."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import AgentError
from agent.model import ServiceTaskState, ServiceType, Task, Upload
from fakes.scripted_server import Reply, document

if TYPE_CHECKING:
    from agent.ports import Service

OPERATIONS = "/v2/team_1/project/p"
NOBODYS = "fsagent-asks-whether-the-key-is-good"
TASK_ID = "task_1"
CONTENT = b"%PDF-1.4 small %%EOF"
READY = Task(TASK_ID, "scan.pdf", "p", ServiceTaskState.PENDING_START)


@dataclass(frozen=True)
class Wiring:
    """Paths and good answers of one service; `credentials` is the path that is asked whether a key is good."""

    kind: ServiceType
    scheme: str
    base: str
    create: str
    read: str
    credentials: str
    created: Reply
    finished: Reply


TYPLESS = Wiring(
    kind=ServiceType.TYPLESS,
    scheme="Token",
    base="/api",
    create="/api/extract-data-async",
    read="/api/get-extraction-data",
    credentials="/api/get-extraction-data",
    created=document({"extraction_id": TASK_ID}, status=202),
    finished=document({"status": "SUCCESS", "error": {}, "result": {"file_name": "scan.pdf", "extracted_fields": []}}),
)
SENDAI = Wiring(
    kind=ServiceType.SENDAI,
    scheme="Bearer",
    base="",
    create=f"{OPERATIONS}/upload",
    read=f"{OPERATIONS}/task/{TASK_ID}",
    credentials=f"/v2/team_1/project/{NOBODYS}/upload/{NOBODYS}",
    created=document({"id": "upl_1", "status": "processing"}, status=201),
    finished=document({"payload": {"id": TASK_ID, "name": "scan.pdf", "status": "COMPLETED", "pages": []}}),
)
BOTH = pytest.mark.parametrize("wiring", [TYPLESS, SENDAI], ids=["typless", "sendai"])


def upload(size: int = len(CONTENT), name: str = "scan.pdf") -> Upload:
    return Upload("key-1", "p", name, "application/pdf", size, name, {"fsagent_key": "key-1"})


def submit(service: Service, body: Any = None, size: int = len(CONTENT)) -> AgentError | None:
    """Submit and return how it failed."""
    try:
        service.submit(upload(size), body or io.BytesIO(CONTENT))
    except AgentError as error:
        return error
    return None
