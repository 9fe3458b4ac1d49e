"""What a service that names no outputs makes the agent write: the files of each task's result, and which may end how.

Reads what the sandboxes of Send AI and Typless tell about a task (`describe`), of which only Send AI's has parts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from agent.rules.naming import split_extension
from agent.rules.results import result_files
from agent.services import sendai_wire, typless_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import ExportFile, Result

ENDED_WITHOUT_FILES = frozenset({"DISCARDED", "FILTERED"})
"""Ends of a task that are no failure, and bring nothing to the output."""
ENDED = frozenset({"COMPLETED", "SUCCESS"}) | ENDED_WITHOUT_FILES
FORMATS = ("json", "csv")


def names_outputs(task: dict[str, Any]) -> bool:
    """Tell whether the service says itself which files an export has."""
    return "exports" in task


def is_part(task: dict[str, Any]) -> bool:
    """Tell whether a task is of an attachment, not of the file that was sent."""
    return bool(task.get("part", 1) > 1)


def expected_files(task: dict[str, Any]) -> list[tuple[str, bytes]]:
    """Return names and bytes of what a task's result becomes, beside one another in the source's folder."""
    if task["result"] is None:
        return []
    stem, _ = split_extension(task["file_name"])
    if is_part(task):
        stem = f"{stem}-{task['part']}"
    files: Sequence[ExportFile] = result_files(stem, _result(task), FORMATS)
    return [(file.filename, _as_written(file.content)) for file in files]


def _result(task: dict[str, Any]) -> Result:
    if "upload_id" in task:
        return sendai_wire.read_result({"payload": task["result"]})
    return typless_wire.read_result({"status": "SUCCESS", "error": {}, "result": task["result"]})


def _as_written(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\n", os.linesep).encode()
