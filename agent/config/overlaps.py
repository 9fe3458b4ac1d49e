"""Which configured folders are the same or lie in each other although they must not.

Folders are compared by what they are: device and file id of the nearest folder that exists, and what is left of the
path below it. Two paths to one folder (a link, a bind mount, a drive letter, other case on Windows) are one folder.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agent.config import document

Identity: TypeAlias = tuple[object, ...]
Lineage: TypeAlias = tuple[Identity, ...]
"""The identities of a folder and of everything above it, itself first."""

WINDOWS = os.name == "nt"
PATIENCE = 2.0
"""Seconds a folder has to say who it is; beyond, its share hangs, and only its path is compared."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the configuration; `home` is the inbox or output that this one may lie in."""

    at: document.Path
    path: Path
    home: document.Path | None = None


@dataclass(frozen=True, slots=True)
class Overlap:
    """`inner` lies in `outer`, or is the same."""

    inner: Folder
    outer: Folder
    same: bool


class Lineages:
    """Looks folders up on the disk, every one of them once."""

    def __init__(self, *, ignore_case: bool = WINDOWS, patience: float = PATIENCE) -> None:
        self._ignore_case = ignore_case
        self._patience = patience
        self._identities: dict[Path, Identity | None] = {}
        self._silent: list[Path] = []
        """Folders that did not answer: what lies in them is not asked either."""

    def lineage(self, path: Path) -> Lineage:
        """Return who a folder and its parents are; follows links, and needs none of them to exist.

        Asked in a thread of its own: a share that hangs must not keep the agent, or the command that is to say so,
        from starting.
        """
        if not any(path.is_relative_to(folder) for folder in self._silent):
            answer: Future[Lineage] = Future()
            asking = threading.Thread(target=self._answer, args=(path, answer), name="who-is-it", daemon=True)
            try:
                asking.start()
                return answer.result(self._patience)
            except TimeoutError:
                self._silent.append(path)
            except RuntimeError:  # no more threads
                return spelled_lineage(path, ignore_case=self._ignore_case)
        return spelled_lineage(path, ignore_case=self._ignore_case)

    def _answer(self, path: Path, answer: Future[Lineage]) -> None:
        try:
            answer.set_result(self._look_up(path))
        except Exception as error:  # noqa: BLE001 -- raised again where somebody waits for the answer
            answer.set_exception(error)

    def _look_up(self, path: Path) -> Lineage:
        real = Path(os.path.realpath(path))
        chain = (real, *real.parents)
        return tuple(self._identity(each, chain[index:]) for index, each in enumerate(chain))

    def _identity(self, path: Path, chain: tuple[Path, ...]) -> Identity:
        missing: list[str] = []
        for each in chain:
            known = self._existing(each)
            if known is not None:
                return (*known, *reversed(missing))
            missing.append(each.name.casefold() if self._ignore_case else each.name)
        return _spelling(path, ignore_case=self._ignore_case)

    def _existing(self, path: Path) -> Identity | None:
        if path not in self._identities:
            try:
                status = path.stat()
            except OSError:
                identity = None
            else:
                # Some network file systems give no file ids; then the spelling is all there is.
                known = (status.st_dev, status.st_ino)
                identity = known if status.st_ino else _spelling(path, ignore_case=self._ignore_case)
            self._identities[path] = identity
        return self._identities[path]


def spelled_lineage(path: Path, *, ignore_case: bool = WINDOWS) -> Lineage:
    """Return a lineage by the paths' text alone, for a configuration of another machine."""
    return tuple(_spelling(each, ignore_case=ignore_case) for each in (path, *path.parents))


def _spelling(path: Path, *, ignore_case: bool) -> Identity:
    return (str(path).casefold() if ignore_case else str(path),)


def find_overlaps(folders: Iterable[Folder], lineage: Callable[[Path], Lineage]) -> Iterator[Overlap]:
    """Yield every pair that must not be; where two inboxes or outputs overlap, not what lies in them once more."""
    # Homes first: what their overlap explains is left out afterwards.
    ordered = sorted(folders, key=lambda folder: folder.home is not None)
    lineages = [lineage(folder.path) for folder in ordered]
    by_identity: dict[Identity, list[int]] = {}
    for index, identities in enumerate(lineages):
        by_identity.setdefault(identities[0], []).append(index)
    explained: set[frozenset[document.Path]] = set()
    for index, inner in enumerate(ordered):
        for depth, identity in enumerate(lineages[index]):
            for other in by_identity.get(identity, ()):
                outer = ordered[other]
                # The same folder is met from both sides.
                if other == index or (depth == 0 and other > index):
                    continue
                if (depth and inner.home == outer.at) or _is_explained(inner, outer, explained):
                    continue
                explained.update({frozenset((inner.at, outer.at)), frozenset((inner.at, outer.home or outer.at))})
                yield Overlap(inner, outer, same=depth == 0)


def _is_explained(one: Folder, other: Folder, explained: set[frozenset[document.Path]]) -> bool:
    ones = {one.at, one.home or one.at}
    others = {other.at, other.home or other.at}
    return any(frozenset((a, b)) in explained for a in ones for b in others)
