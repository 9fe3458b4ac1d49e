"""What can be set about a sandbox; only values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEMO_PROJECT_ID: Final = "fsagent-demo-project-1"
"""22 URL-safe characters, like every id of the service."""
DEMO_PROJECT_NAME: Final = "Demo project"


@dataclass(frozen=True, slots=True)
class AlumaProject:
    """A project tasks can be created in."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class AlumaSettings:
    """How a sandbox behaves; times in seconds of the sandbox's clock, sizes in bytes, None: never or no limit."""

    client_id: str = "sandbox"
    client_secret: str = "sandbox-secret"  # noqa: S105 -- the well-known key of a server that holds nothing of worth
    token_lifetime: float = 86_400
    projects: tuple[AlumaProject, ...] = (AlumaProject(DEMO_PROJECT_ID, DEMO_PROJECT_NAME),)

    queue_delay: float = 0.2
    """From creation until `running`."""
    processing_delay: float = 0.3
    """From `running` until the export waits, or later where reading the document takes longer."""
    finish_delay: float = 0.1
    """From complete or fail until the final state."""
    lease: float = 1_800
    """From start until an export nobody ended is queued again (apis.md 1.3)."""
    retention: float = 72 * 3_600
    """From the final state until the record is forgotten (seed 000)."""
    task_timeout: float | None = None
    """From creation until `timed-out`."""

    export_folder: str = ""
    """`folder` of every exported file; `{stem}`, `{task_name}`, `{project_name}` and `{kind}` are filled in."""
    list_tags: bool = False
    """Show the tags in task objects."""
    show_message: bool = False
    """Show in task objects why a task failed."""
    read_documents: bool = True
    """Read text and pages; False: only look at the first bytes, for measurements of others."""
    read_patience: float = 0.5
    """Real seconds a request for tasks waits for documents that are due and still being read."""

    max_body: int | None = None
    """Largest accepted document; beyond: 413."""
    control: bool = False
    """Serve `/control/…`, which lets anybody script faults and move the clock."""
