"""Knows staged and published files again whose file ids have changed: by their bytes.

A share mounted anew has another device, and some file systems give a file another id whenever they like. Taken by the
id alone, a file that waits to be published would count as published and taken by a reader.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import FileBusy, LocalTrouble, TaskTransient
from agent.export.planning import root_of
from agent.folders import filing, publishing
from agent.model import LaneReason, Signature
from agent.rules.naming import base_name, for_display, is_staged_name

if TYPE_CHECKING:
    from agent.model import PlannedFile, WatchFolder


def recognised(folder: WatchFolder, plan: tuple[PlannedFile, ...]) -> tuple[PlannedFile, ...]:
    """Return a staged plan with the identities its files have now; those that are nowhere keep theirs.

    Raises TaskTransient where a staged file is not what was written, TaskFatal and LocalTrouble.
    """
    return tuple(_recognised(folder, planned) for planned in plan)


def _recognised(folder: WatchFolder, planned: PlannedFile) -> PlannedFile:
    root = root_of(folder, planned.root)
    lying = {path: publishing.target_state(root, path) for path in (planned.target, planned.staged)}
    if any(state.exists and state.identity == planned.identity for state in lying.values()):
        return planned
    for path, state in lying.items():
        if state.is_plain and state.size == planned.size and planned.sha256:
            try:
                found = filing.find_filed(root, path, Signature("", planned.size, 0), planned.sha256)
            except FileBusy as busy:
                raise LocalTrouble(busy.message, reason=LaneReason.NOT_READABLE, hint=busy.hint) from busy
            if found is not None:
                return replace(planned, identity=found)
    if lying[planned.staged].exists and is_staged_name(base_name(planned.staged)):
        raise TaskTransient(
            f"the staged file of {for_display(str(root / planned.target))} is not what was written",
            hint="look at the disk or share of the output: it lost or changed bytes it had kept",
        )
    return planned
