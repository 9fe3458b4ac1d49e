"""Explains a path that the ledger does not know, by the rules alone: what it is, which rule decides, what comes next.

Looks at names and what one stat says, never into a file; follows no link below a root. An `Explanation` without
`is_known` means that nothing at all can be told about the path.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import LocalTrouble
from agent.folders import system
from agent.folders.roots import MARKER
from agent.rules.filters import JUNK_FILES, Filter, FilterVerdict
from agent.rules.naming import base_name, is_staged_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Settings, WatchFolder

EVERYTHING = ("**/*", "*")
SUBMIT_HINT = "To send it: fsagent submit FILE --watch-folder NAME, or copy it into an inbox."


@dataclass(frozen=True, slots=True)
class Place:
    """A path by the root it lies below; `kind` is inbox, archive, error, output, export_error or export_archive."""

    folder: WatchFolder
    kind: str
    root: Path
    relative_path: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Three sentences about a path."""

    where: str
    decides: str = ""
    next: str = ""
    is_known: bool = True
    is_to_be_seen: bool = False
    """No rule speaks against it: an agent that runs takes it up, unless something keeps it from looking."""


def place_of(settings: Settings, target: str) -> Place | None:
    """Return where a path lies; one relative to the present folder, or to an inbox where something lies there."""
    absolute = Path(os.path.abspath(target))  # noqa: PTH100 -- resolve() would follow links
    # The configuration may name a root by a link, and the shell stand in the real folder.
    real = Path(os.path.realpath(absolute.parent)) / absolute.name
    for path in (absolute, real):
        for folder, kind, root in _roots(settings):
            for top in (root, Path(os.path.realpath(root))):
                if path.is_relative_to(top):
                    relative_path = path.relative_to(top).as_posix()
                    return Place(folder, kind, root, "" if relative_path == "." else relative_path)
    if os.path.lexists(absolute) or Path(target).is_absolute():
        return None
    for folder in settings.watch_folders:
        if folder.inbox is not None and os.path.lexists(folder.inbox / target):
            inside = os.path.normpath(target).replace(os.sep, "/")
            if not inside.startswith("../"):
                return Place(folder, "inbox", folder.inbox, inside)
    return None


def _roots(settings: Settings) -> Iterator[tuple[WatchFolder, str, Path]]:
    """Yield every root, those that may lie in another one first."""
    for folder in settings.watch_folders:
        roots = (
            ("error", folder.error),
            ("archive", folder.archive),
            ("inbox", folder.inbox),
            ("export_error", folder.export.error),
            ("export_archive", folder.export.archive),
            ("output", folder.output),
        )
        for kind, root in roots:
            if root is not None:
                yield folder, kind, root


def explain_unseen(settings: Settings, target: str, place: Place | None, *, is_running: bool) -> Explanation:
    """Explain a path (or whatever the operator typed) that the ledger does not know."""
    if place is None:
        return _outside(settings, target)
    path = place.root.joinpath(*place.relative_path.split("/")) if place.relative_path else place.root
    name = place.folder.name
    if place.kind == "inbox":
        return _in_inbox(place, path, is_running=is_running)
    if not place.relative_path:
        return Explanation(f"It is the {place.kind.replace('_', ' ')} folder of watch folder {name}.")
    if not os.path.lexists(path):
        return _not_there(path)
    match place.kind:
        case "archive":
            where = f"It lies in the archive of watch folder {name}, and the ledger does not know it."
            decides = "It was put there by hand, or longer ago than history_keep, or filed by another ledger."
            return Explanation(where, decides, "Nothing: archive/ is not looked into, and the purge leaves it alone.")
        case "error":
            where = f"It lies in the error folder of watch folder {name}, and the ledger does not know it."
            decides = "It was put there by hand, or longer ago than history_keep, or filed by another ledger."
            return Explanation(where, decides, "Nothing by itself. To send it: move it into the inbox.")
        case "export_error":
            where = f"It lies where notes about failed exports of watch folder {name} are written."
            return Explanation(
                where, "The note names the task and what to do.", "Nothing: it stays until you remove it."
            )
        case _:
            where = f"It lies in the output of watch folder {name}, and no task the ledger knows wrote it."
            return Explanation(where, "", "Nothing: the agent only writes there, and replaces nothing of others.")


def _outside(settings: Settings, target: str) -> Explanation:
    absolute = os.path.abspath(target)  # noqa: PTH100 -- as above
    inboxes = ", ".join(str(folder.inbox) for folder in settings.watch_folders if folder.inbox is not None)
    if not os.path.lexists(absolute):
        where = "It is no task or id that the ledger knows, and no file lies at this path."
        return Explanation(
            where, f"Inboxes are: {inboxes or 'none'}.", "For what is known: fsagent history", is_known=False
        )
    where = "It lies outside every watch folder."
    return Explanation(where, f"Inboxes are: {inboxes or 'none'}.", f"Nothing. {SUBMIT_HINT}")


def _not_there(path: Path) -> Explanation:
    where = f"Nothing lies at {path}, and the ledger knows no file that did."
    return Explanation(where, "", "For what is known: fsagent history", is_known=False)


# --- in an inbox ------------------------------------------------------------------------------------------------------


def _in_inbox(place: Place, path: Path, *, is_running: bool) -> Explanation:
    folder = place.folder
    if not place.relative_path:
        return Explanation(f"It is the inbox of watch folder {folder.name}.", "", "For its numbers: fsagent status")
    try:
        sighting = system.sight(place.root, place.relative_path)
    except LocalTrouble as trouble:
        return Explanation(f"It cannot be looked at: {trouble.message}", "", trouble.hint)
    except ValueError:
        return _not_there(path)
    if sighting is None and not _is_folder(path):
        return _not_there(path)
    where = f"It lies in the inbox of watch folder {folder.name}, and the ledger does not know it."
    if sighting is not None and sighting.irregular is not None:
        decides = (
            f"It is a {sighting.irregular.value.replace('_', ' ')}, or lies behind one: never opened, moved or sent."
        )
        return Explanation(where, decides, "Nothing. Put the file itself into the inbox instead.")
    rule = rule_against(folder, place.relative_path, is_folder=sighting is None)
    if rule:
        return Explanation(where, rule, "Nothing: it stays where it is.")
    if sighting is None:
        return Explanation(f"It is a folder in the inbox of watch folder {folder.name}.", "", "Its files are sent.")
    return _to_be_seen(where, folder, is_running=is_running)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _to_be_seen(where: str, folder: WatchFolder, *, is_running: bool) -> Explanation:
    """Explain what no rule speaks against."""
    if not is_running:
        return Explanation(where, "No agent runs.", "It is taken up as soon as one does: fsagent run")
    decides = f"It is looked for by events and at the latest every {folder.rescan:g} s (rescan), then settles."
    next_step = "It is taken up with the next look; to look now: fsagent rescan"
    return Explanation(where, decides, next_step, is_to_be_seen=True)


def rule_against(folder: WatchFolder, relative_path: str, *, is_folder: bool = False) -> str:
    """Return the sentence of the rule that keeps a name from being looked at; "" where none does."""
    if relative_path == MARKER or is_staged_name(base_name(relative_path)):
        return "It is a file of the agent's own."
    folders = _folders_of(relative_path) + ([relative_path] if is_folder else [])
    if folders and not folder.recursive:
        return "`recursive: false`: folders in the inbox are not looked into."
    for above in folders:
        if rule := _rule_against_folder(folder, above):
            return rule
    return "" if is_folder else _rule_against_file(folder, relative_path)


def _rule_against_folder(folder: WatchFolder, relative_path: str) -> str:
    if Filter(EVERYTHING).skips_folder(relative_path):
        return f"Folders named {base_name(relative_path)} are left out always: systems and programs keep theirs there."
    for pattern in folder.exclude:
        if Filter(EVERYTHING, (pattern,)).skips_folder(relative_path):
            return f"`exclude` has {pattern}, which leaves out the folder {relative_path}."
    return ""


def _rule_against_file(folder: WatchFolder, relative_path: str) -> str:
    whole = Filter(folder.include, folder.exclude, ready_file=folder.ready_file)
    if whole.is_ready_file(relative_path):
        return f"`ready_file: {folder.ready_file}` makes it a sign that another file is ready, no document."
    if Filter(EVERYTHING).judge(relative_path) is FilterVerdict.JUNK:
        pattern = _junk_pattern(base_name(relative_path))
        return f"Names like {pattern} are left out always: hidden, temporary or a system's own."
    for pattern in folder.exclude:
        if Filter(EVERYTHING, (pattern,)).judge(relative_path) is FilterVerdict.JUNK:
            return f"`exclude` has {pattern}, which matches it."
    if whole.judge(relative_path) is FilterVerdict.UNMATCHED and folder.unmatched == "leave":
        return f"No pattern of `include` matches it ({', '.join(folder.include)}), and `unmatched: leave` leaves it."
    return ""


def _folders_of(relative_path: str) -> list[str]:
    parts = relative_path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _junk_pattern(name: str) -> str:
    folded = name.casefold()
    return next((pattern for pattern in JUNK_FILES if fnmatch.fnmatchcase(folded, pattern.casefold())), name)
