"""Drop: copies a file of somebody's into an inbox, as a careful program would: hidden until whole, replacing nothing.

Serves `fsagent submit`. From then on it is a file in the inbox like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import FileBusy, NotRegular
from agent.folders import publishing
from agent.folders.trouble import source_trouble
from agent.rules.filters import FilterVerdict, ready_file_for
from agent.rules.naming import clash_name, for_display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from agent.ports import Clock
    from agent.submission.inbox import Inbox

BLOCK = 1024 * 1024
CLASHES_TRIED = 20


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file as it lies in the inbox; `identity` as in Signature, `at` in UTC unix seconds just before it was there."""

    source: Path
    watch_folder: str
    relative_path: str
    identity: str
    at: float


def drop(inbox: Inbox, source: Path, *, staged: str, clock: Clock, entropy: Callable[[], int]) -> Dropped:
    """Copy a file to the top of an inbox, under a clash name where its own is taken, with its ready file.

    `staged`: the name until it is whole, the caller's alone. Raises FileBusy (cannot be read, or no watch folder would
    ever take it), NotRegular, LocalTrouble, TaskFatal.
    """
    _require_wanted(inbox, source)
    at = clock.now()
    with _open(source) as file:
        identity = publishing.stage(
            inbox.root, staged, _blocks(file, source), file_mode=None, folder_mode=None
        ).identity
    try:
        relative_path = _publish(inbox.root, staged, source.name, identity=identity, clock=clock, entropy=entropy)
    except BaseException:
        publishing.discard(inbox.root, staged)
        raise
    publishing.sync_folders(inbox.root, [""])
    if inbox.folder.ready_file is not None:
        _announce(inbox.root, staged, ready_file_for(inbox.folder.ready_file, relative_path))
    return Dropped(source, inbox.folder.name, relative_path, identity, at)


def _require_wanted(inbox: Inbox, source: Path) -> None:
    """Refuse what would lie in the inbox for ever, or lies there already."""
    shown, place = for_display(str(source)), source.absolute()
    folder = inbox.folder
    if folder.error is not None and place.is_relative_to(folder.error):
        raise FileBusy(f"{shown} lies in error/ already", hint="to send it again: fsagent retry")
    if folder.archive is not None and place.is_relative_to(folder.archive):
        raise FileBusy(f"{shown} lies in archive/: it was sent", hint="to send it once more, copy it into the inbox")
    if place.is_relative_to(inbox.root):
        raise FileBusy(f"{shown} lies in the inbox already: a running agent takes it from there")
    if inbox.name_filter.judge(source.name) is not FilterVerdict.TAKE:
        patterns = ", ".join(inbox.folder.include)
        raise FileBusy(
            f"{inbox.folder.name} takes no file of this name",
            hint=f"rename it, or change include or exclude; it includes: {patterns}",
        )


def _open(source: Path) -> BinaryIO:
    try:
        if not source.is_file():
            raise NotRegular(f"{for_display(str(source))} is no plain file")
        return source.open("rb")
    except OSError as error:
        raise source_trouble(error, "read", source) from error


def _blocks(file: BinaryIO, source: Path) -> Iterator[bytes]:
    try:
        while block := file.read(BLOCK):
            yield block
    except OSError as error:
        raise source_trouble(error, "read", source) from error


def _publish(root: Path, staged: str, name: str, *, identity: str, clock: Clock, entropy: Callable[[], int]) -> str:
    target = name
    for _ in range(CLASHES_TRIED):
        try:
            publishing.publish(root, staged, target, identity=identity)
        except FileExistsError:
            target = clash_name(name, now=clock.now(), entropy=entropy())
        else:
            return target
    raise FileBusy(f"no free name for {for_display(name)} in {root}", hint="look what creates files in that folder")


def _announce(root: Path, staged: str, ready_file: str) -> None:
    """Make the ready file; one that is there already announces as well."""
    identity = publishing.stage(root, staged, (), file_mode=None, folder_mode=None).identity
    try:
        publishing.publish(root, staged, ready_file, identity=identity)
    except FileExistsError:
        publishing.discard(root, staged)
    publishing.sync_folders(root, [""])
