"""Plan: where every file of an export will stand, decided and durable before the first one becomes visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import TaskFatal
from agent.folders import filing, publishing
from agent.model import OnConflict, PlannedFile
from agent.rules.naming import (
    clash_suffix,
    collision_key,
    export_targets,
    join,
    relative_parent,
    staged_name,
    with_suffix_in_stem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.model import ExportFile, TaskRecord, WatchFolder

SUFFIXES_TRIED = 20


def root_of(folder: WatchFolder, root: str) -> Path:
    """Return the folder a planned file's paths are relative to."""
    path = folder.output if root == "output" else folder.export.archive
    assert path is not None, f"{folder.name} has no {root} for exports"
    return path


def make_archive(folder: WatchFolder) -> None:
    """Make the folder for copies of exports; what it lies in is made below the output only. Raises LocalTrouble."""
    archive, output = folder.export.archive, folder.output
    if archive is None or output is None:
        return
    above = [path for path in reversed(archive.parents) if path != output and path.is_relative_to(output)]
    for path in (*above, archive):
        filing.make_root(path, mode=folder.export.folder_mode)


def plan_export(
    folder: WatchFolder,
    record: TaskRecord,
    files: Sequence[ExportFile],
    *,
    now: float,
    entropy: Callable[[], int],
) -> tuple[PlannedFile, ...]:
    """Return the files of an export with their targets, the same as last time where the specification is the same.

    Raises TaskFatal for hostile names and for targets that cannot be.
    """
    wanted = export_targets(files, record.source_folder)
    _require_own_folders(folder, wanted)
    earlier = {(planned.root, planned.wanted): planned.target for planned in record.plan}
    roots = ["output"] if folder.export.archive is None else ["output", "archive"]
    if earlier.keys() == {(root, target) for root in roots for target in wanted}:
        targets = {place: earlier[place] for place in earlier}
    else:
        targets = {}
        for root in roots:
            free = _free_targets(folder, root, wanted, now=now, entropy=entropy)
            targets.update({(root, name): target for name, target in zip(wanted, free, strict=True)})
    return tuple(
        PlannedFile(
            wanted=name,
            target=targets[root, name],
            staged=stage_beside(targets[root, name], entropy=entropy),
            source=file.source,
            root=root,
        )
        for root in roots
        for name, file in zip(wanted, files, strict=True)
    )


def _require_own_folders(folder: WatchFolder, wanted: Sequence[str]) -> None:
    """Raise TaskFatal where a file would stand where notes or copies have their folder: no export had them any more."""
    output = root_of(folder, "output")
    for own in (folder.export.error, folder.export.archive):
        if own is None or not own.is_relative_to(output):
            continue
        path = own.relative_to(output)
        taken = {collision_key(each.as_posix()) for each in (path, *path.parents)}
        for name in wanted:
            if collision_key(name) in taken:
                raise TaskFatal(f"{name} cannot be written: the agent keeps its own files in {own}")


def stage_beside(target: str, *, entropy: Callable[[], int]) -> str:
    """Return a staged name of 64 random bits in the target's own folder."""
    bits = 0
    for _ in range(4):
        bits = bits << 16 | entropy() & 0xFFFF
    return join(relative_parent(target), staged_name(f"{bits:016x}"))


def retarget(
    folder: WatchFolder, root: str, wanted: Sequence[str], *, now: float, entropy: Callable[[], int]
) -> tuple[str, ...]:
    """Return targets that are all free, with one suffix for all of them."""
    for _ in range(SUFFIXES_TRIED):
        suffix = clash_suffix(now=now, entropy=entropy())
        targets = tuple(with_suffix_in_stem(name, suffix) for name in wanted)
        if not any(publishing.target_state(root_of(folder, root), target).exists for target in targets):
            return targets
    raise TaskFatal(f"no free name beside {wanted[0]} below {root_of(folder, root)}")


def _free_targets(
    folder: WatchFolder, root: str, wanted: Sequence[str], *, now: float, entropy: Callable[[], int]
) -> tuple[str, ...]:
    on_conflict = OnConflict.RENAME if root == "archive" else folder.export.on_conflict
    taken = False
    for name in wanted:
        state = publishing.target_state(root_of(folder, root), name)
        if not state.exists:
            continue
        if not state.is_plain:
            raise TaskFatal(f"{name} cannot be written: a folder or a link of that name is there")
        if on_conflict is OnConflict.FAIL:
            raise TaskFatal(f"{name} exists already and on_conflict is fail")
        taken = taken or on_conflict is OnConflict.RENAME
    return retarget(folder, root, wanted, now=now, entropy=entropy) if taken else tuple(wanted)
