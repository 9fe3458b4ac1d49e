"""Ready files: what announced a document goes along wherever that is moved, and is removed with it.

Owns nothing but that; a document without its ready file is moved all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import FileBusy, NotRegular
from agent.folders import filing, system
from agent.rules.filters import ready_file_for
from agent.rules.naming import base_name, join, relative_parent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def take_along(
    template: str, *, source_root: Path, lay_at: str, destination_root: Path, lies_at: str, clash: Callable[[str], str]
) -> None:
    """Move the ready file of a document that was moved from `lay_at` to `lies_at`; may be repeated.

    `clash` gives another name where somebody else's file has the ready file's. One that announces other documents in
    the same folder too ("{stem}.ready") stays for them. Raises FileBusy and LocalTrouble.
    """
    ready_file = ready_file_for(template, lay_at)
    sighting = system.sight(source_root, ready_file)
    if sighting is None or sighting.irregular is not None or _announces_others(template, source_root, lay_at):
        return
    destination = ready_file_for(template, lies_at)
    for target in (destination, clash(destination)):
        try:
            filing.file_away(
                source_root=source_root,
                relative_path=ready_file,
                signature=sighting.signature,
                destination_root=destination_root,
                destination=target,
            )
        except FileExistsError:
            continue
        except FileBusy as busy:
            if not busy.gone:
                raise
        except NotRegular:
            pass  # a link by now: it stays where it lies
        return
    raise FileBusy(f"no free name for {ready_file} beside the document", hint="look what creates files in that folder")


def remove_with(template: str, root: Path, document: str) -> None:
    """Remove the ready file of a document that was removed. Raises LocalTrouble."""
    ready_file = ready_file_for(template, document)
    sighting = system.sight(root, ready_file)
    if sighting is not None and sighting.irregular is None and not _announces_others(template, root, document):
        filing.remove_filed(root, ready_file, identity=sighting.signature.identity, size=sighting.size)


def _announces_others(template: str, root: Path, document: str) -> bool:
    """Return whether a ready file announces another document that lies in the same folder."""
    if "{file_name}" in template:
        return False
    parent = relative_parent(document)
    ready_file = ready_file_for(template, document)
    try:
        with system.open_folder(root, parent) as folder:
            names = [name for name, is_folder in folder.names() if not is_folder]
    except (OSError, NotRegular):
        return False  # moving it says what is wrong with the folder
    known = {base_name(document), base_name(ready_file)}
    return any(ready_file_for(template, join(parent, name)) == ready_file for name in names if name not in known)
