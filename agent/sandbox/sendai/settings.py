"""What can be set about a sandbox of Send AI; only values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEMO_TEAM: Final = "team_sandbox"
DEMO_PROJECT: Final = "proj_sandbox"
PATH_PREFIX: Final = "/v2/{team_id}/project/{project_id}"
SCOPES: Final = ("upload.create", "upload.read", "upload.edit", "task.read", "task.edit")


class TaskStatus(StrEnum):
    """States of a task (D-tover)."""

    PROCESSING = "PROCESSING"
    REVIEWING = "REVIEWING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    DISCARDED = "DISCARDED"
    FILTERED = "FILTERED"


class TaskListing(StrEnum):
    """How Get Upload shows its tasks, which no page documents."""

    TASKS = "tasks"
    """`tasks`: objects with `id`, `name`, `status`."""
    TASK_IDS = "task_ids"
    """`task_ids`: ids."""
    FILES_BY_NAME = "files_by_name"
    """`files`: file name → id, or a list of them where there are several."""
    FILES_BY_TASK = "files_by_task"
    """`files`: id → an object with the file's `name`."""
    NONE = "none"
    """Not at all: `files` is empty, as in the printed sample."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of the tasks of files of this name (a pattern of the shell kind); the last that fits counts."""

    file_name: str
    status: TaskStatus
    after_review: TaskStatus = TaskStatus.COMPLETED
    """Where the task goes once people completed it; REVIEWING: what they entered was not valid."""


@dataclass(frozen=True, slots=True)
class SendaiSettings:
    """How a sandbox of Send AI behaves; times in seconds of the sandbox's clock, sizes in bytes."""

    api_key: str = "sandbox-key"
    team_id: str = DEMO_TEAM
    projects: tuple[str, ...] = (DEMO_PROJECT,)
    """Projects the key was added to; any other answers 403."""
    scopes: tuple[str, ...] = SCOPES
    path_prefix: str = PATH_PREFIX
    """Without `{project_id}` the project is told by the form field `projectId` alone (D-import)."""

    split_delay: float = 0.0
    """From the upload until Get Upload shows its tasks."""
    processing_delay: float = 0.5
    """From then until a task is processed, or later where reading its document takes longer."""
    review_delay: float = 0.1
    """From complete until the task is processed again."""
    fates: tuple[Fate, ...] = ()
    """Else a readable document is COMPLETED, and another FAILED."""

    create_payload: bool = False
    """Answer Create Upload as every other operation; False: bare and in camelCase, as its page prints it."""
    create_status: int = 201
    listing: TaskListing = TaskListing.TASKS
    review_word: str = "REVIEWING"
    """What Get Upload calls an upload with tasks for review; its page prints IN_REVIEW."""
    move_method: str = "POST"
    """POST: the folder in the path (D-umove); PUT: in the path, or in the body as `folder_id` (seed 003)."""
    report_status: int = 207

    require_project_field: bool = False
    """The table says so, its own cURL sample leaves it out."""
    size_limit: int = 40_000_000
    files_limit: int = 100
    read_documents: bool = True
    """Read text and pages; False: only look at the first bytes, for measurements of others."""
    read_patience: float = 0.5
    """Real seconds a request waits for documents that are due and still being read."""
    control: bool = False
    """Serve `/control/…`, which lets anybody script faults and move the clock."""
