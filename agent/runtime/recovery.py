"""Recovery at start: makes the ledger true again before the first worker runs.

Everything else is ordinary running: what is planned is carried out, what is unknown is looked up. The folders of each
watch folder are put in order by its own thread (`folder_care`).
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from agent.errors import LedgerMissing, LocalTrouble, TaskFatal
from agent.folders import publishing, system
from agent.folders.roots import is_ours, read_marker
from agent.folders.trouble import said
from agent.model import RootKind
from agent.rules.naming import base_name
from agent.runtime.operations import PAUSES_NOTE, paused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agent.model import Settings, WatchFolder
    from agent.ports import Ledger

logger = logging.getLogger(__name__)

RUN_NOTE = "run"
OPEN_TASKS = 1_000_000
"""Open tasks read at once."""


def refuse_without_ledger(settings: Settings) -> None:
    """Raise LedgerMissing where folders carry markers although there is no ledger (design.md §3.1).

    A new ledger would not know what archive/ holds and what is under way: the operator decides that.
    """
    marked = [str(root) for root in _roots(settings) if _is_marked(root)]
    if marked:
        raise LedgerMissing(
            f"there is no ledger in {settings.state_dir}, but these folders belong to one: {', '.join(marked)}",
            hint="does another agent work on them? Then give this one folders of its own. Else bring the ledger back"
            " from a backup, or start anew: fsagent adopt --all (nothing in archive/ is sent)",
        )


def _is_marked(root: Path) -> bool:
    try:
        return read_marker(root) is not None
    except OSError:
        return False  # a root that is away is the lane's business


def _roots(settings: Settings) -> Iterator[Path]:
    for folder in settings.watch_folders:
        for root in (folder.inbox, folder.output):
            if root is not None:
                yield root


def recover(settings: Settings, ledger: Ledger) -> bool:
    """Bring the ledger of a process that ended anyhow into the state a new one starts from.

    Return whether that process was killed: then its folders hold what it left half written (`remove_left_behind`).
    No worker may run. Touches no folder: one that does not answer keeps no other from being worked on. Raises
    LedgerUnavailable.
    """
    folders = settings.watch_folders
    present = {earlier: folder.name for folder in folders for earlier in _earlier_names(folder, settings, ledger)}
    for earlier, name in present.items():
        ledger.rename_watch_folder(earlier, name)
    _rename_pauses(present, ledger)
    ledger.forget_settling()
    run = ledger.note(RUN_NOTE)
    ledger.put_note(RUN_NOTE, {"clean": False})
    return run is not None and not run.get("clean", False)


def _earlier_names(folder: WatchFolder, settings: Settings, ledger: Ledger) -> Iterator[str]:
    """Yield the names a watch folder had: those `formerly` tells, and the one under which its own folder is known.

    Without the latter a new name alone would make every file a new one, and leave every open task without its export.
    """
    yield from folder.formerly
    kind, path = (RootKind.INBOX, folder.inbox) if folder.inbox is not None else (RootKind.OUTPUT, folder.output)
    assert path is not None, "a watch folder has an inbox, an output, or both"
    for root in ledger.find_roots(kind, os.fspath(path)):
        if settings.watch_folder(root.watch_folder) is None:
            logger.info("%s: it was called %s before: %s is the same", folder.name, root.watch_folder, path)
            yield root.watch_folder


def _rename_pauses(present: Mapping[str, str], ledger: Ledger) -> None:
    """Let a watch folder that was paused under an earlier name stay so."""
    names, everything = paused(ledger)
    renamed = {present.get(name, name) for name in names}
    if renamed != names:
        ledger.put_note(PAUSES_NOTE, {"all": everything, "folders": sorted(renamed)})


def end_cleanly(ledger: Ledger) -> None:
    """Record that this process left nothing half done."""
    ledger.put_note(RUN_NOTE, {"clean": True})


def make_folders(folder: WatchFolder) -> None:
    """Make archive/ and error/ where their inbox is there; never an inbox itself."""
    if folder.inbox is None or not _is_there(folder.inbox):
        return
    for path in (folder.archive, folder.error):
        if path is None:
            continue
        # Elsewhere only where its parent is there: below an unmounted share nothing may be made.
        is_below = path.is_relative_to(folder.inbox)
        try:
            path.mkdir(parents=is_below, exist_ok=True)
            # Also where it was there: a process may have been killed between making it and this.
            for made in (path, *path.parents) if is_below else (path,):
                if made == folder.inbox:
                    break
                system.make_name_durable(made)
        except OSError as error:
            # The lane says so as soon as something is to be filed there.
            logger.warning("%s: %s cannot be made: %s", folder.name, path, said(error))


def remove_left_behind(folder: WatchFolder, ledger: Ledger) -> None:
    """Remove staged files that no export will roll forward; their process was killed between two steps.

    Only below roots that carry our marker: in those of another agent they are of exports under way. Nothing may be
    staged meanwhile. Raises LedgerUnavailable.
    """
    # By their names, of 64 random bits: copies that lie below the output are found from there too.
    keep = {
        base_name(planned.staged)
        for record in ledger.find_tasks(watch_folder=folder.name, is_open=True, limit=OPEN_TASKS)
        if record.staged and not record.published
        for planned in record.plan
    }
    places = [
        (folder.output, folder.output),
        (folder.export.archive, folder.output),
        (folder.archive, folder.inbox),
        (folder.error, folder.inbox),
    ]
    for root, owner in places:
        if root is None or owner is None or not _is_there(root) or not is_ours(owner, ledger_id=ledger.ledger_id):
            continue
        for staged in list(publishing.find_staged(root)):
            if base_name(staged) not in keep:
                _discard(root, staged)


def _is_there(root: Path) -> bool:
    return os.path.isdir(root)  # noqa: PTH112 -- Path.is_dir raises for a dead share: that is the lane's business


def _discard(root: Path, staged: str) -> None:
    try:
        publishing.discard(root, staged)
    except (LocalTrouble, TaskFatal) as trouble:
        logger.warning("%s below %s could not be removed: %s", staged, root, trouble.message)
