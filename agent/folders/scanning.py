"""Walks a root and says what lies there: the truth that native events only hint at.

Owns the walk: bounded memory, bounded handles, never through a link. Opens no file, keeps nothing between two scans and
decides nothing about a file; names are judged by the callables handed in.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.folders.system import entry_stat, irregularity, native_path, sighting_of
from agent.folders.trouble import said
from agent.rules.naming import for_display

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from agent.model import Sighting

BATCH = 500
"""Sightings a batch holds unless told otherwise: a transaction's worth for the ledger."""

_OPEN_HANDLES = 32
"""Folder handles kept open along the way down; a deeper walk opens the upper ones again on its way back."""

_LONGEST_PATH = 4000
"""Bytes of a relative path beyond which a folder is not entered: no later step could name a file in it."""

_NAMED_AT_MOST = 100
"""Unreadable places named in an outcome; the rest is only counted."""

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Gone, or no folder any more, since its name was listed; not ESTALE, which comes of a server's restart too."""

_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder or entry the scan could not look at; the path is relative, "" for the root itself."""

    relative_path: str
    error: OSError

    @property
    def sentence(self) -> str:
        """Return what is to be told about it, fit for a terminal."""
        return f"{for_display(self.relative_path) or 'the folder itself'} cannot be read: {said(self.error)}"


@dataclass(slots=True)
class ScanOutcome:
    """What a scan went through; true only once the scan has been iterated to its end."""

    complete: bool = False
    """Every folder below the root was read to its end; only then absence means anything."""
    files: int = 0
    irregular: int = 0
    folders: int = 0
    left_out: int = 0
    """Files whose name `wants` refused."""
    too_deep: int = 0
    """Folders not entered because their path is too long; nothing of theirs was ever seen, so `complete` stays true."""
    unreadable: list[Unreadable] = field(default_factory=list)
    """The first of them; there may be as many as somebody cares to make."""
    unreadable_count: int = 0


@dataclass(slots=True)
class _Folder:
    """A folder on the way down; its files are done, `pending` are the names of folders in it still to be entered."""

    relative_path: str
    pending: list[str]
    handle: int | None = None


class Scan:
    """One walk through a root; iterate it once, then read `outcome`."""

    def __init__(
        self,
        root: Path,
        *,
        recursive: bool,
        wants: Callable[[str], bool],
        skips_folder: Callable[[str], bool] = lambda _: False,
        excluded: Collection[Path] = (),
        batch: int = BATCH,
    ) -> None:
        self.outcome = ScanOutcome()
        self._root = root
        self._recursive = recursive
        self._wants = wants
        self._skips_folder = skips_folder
        self._excluded = below(root, excluded)
        self._batch = batch
        self._found: list[Sighting] = []

    def __iter__(self) -> Iterator[list[Sighting]]:
        """Yield sightings in batches; raises the OSError of a root that cannot be opened or listed.

        Every link is yielded, whatever `wants` says of its name, unless it is junk (`skips_folder`): what lies behind
        a link is not asked for, since following it may hang. Other irregular entries are yielded where `wants` says so.
        """
        walk = self._walk_by_handles() if os.scandir in os.supports_fd else self._walk_by_paths()
        for _ in walk:
            if len(self._found) >= self._batch:
                yield self._take()
        if self._found:
            yield self._take()
        self.outcome.complete = not self.outcome.unreadable_count

    def _take(self) -> list[Sighting]:
        found, self._found = self._found, []
        return found

    # Each walk yields None wherever a batch may be handed over: the consumer's pace bounds what is in memory.

    def _walk_by_handles(self) -> Iterator[None]:
        """Enter every folder through its parent's handle, so that a link swapped in meanwhile is never followed."""
        way: list[_Folder] = []
        try:
            yield from self._enter(way, "", os.open(self._root, _FOLDER_FLAGS))
            while way:
                folder = way[-1]
                if not folder.pending:
                    _close(way.pop())
                    continue
                relative_path = _join(folder.relative_path, folder.pending.pop())
                try:
                    handle = self._open_below(folder, relative_path)
                except OSError as error:
                    self._note(relative_path, error)
                    continue
                yield from self._enter(way, relative_path, handle)
        finally:
            for folder in way:
                _close(folder)

    def _open_below(self, folder: _Folder, relative_path: str) -> int:
        if folder.handle is None:  # closed on the way down
            folder.handle = _open_from_root(self._root, folder.relative_path)
        return os.open(relative_path.rpartition("/")[2], _FOLDER_FLAGS | _NO_FOLLOW, dir_fd=folder.handle)

    def _enter(self, way: list[_Folder], relative_path: str, handle: int) -> Iterator[None]:
        folder = _Folder(relative_path, [], handle)
        way.append(folder)
        if len(way) > _OPEN_HANDLES:
            _close(way[-1 - _OPEN_HANDLES])
        try:
            with os.scandir(handle) as entries:
                yield from self._look_through(entries, folder)
        except OSError as error:
            if not relative_path:
                raise
            self._note(relative_path, error)

    def _walk_by_paths(self) -> Iterator[None]:
        """Enter every folder by its path, looked at once more before: Windows lists no folder through a handle."""
        top = native_path(self._root)
        way = [_Folder("", [""])]
        while way:
            folder = way[-1]
            if not folder.pending:
                way.pop()
                continue
            relative_path = _join(folder.relative_path, folder.pending.pop())
            path = f"{top}{os.sep}{relative_path.replace('/', os.sep)}" if relative_path else top
            entered = _Folder(relative_path, [])
            try:
                if relative_path and irregularity(os.lstat(path)):
                    continue
                with os.scandir(path) as entries:
                    yield from self._look_through(entries, entered)
            except OSError as error:
                if not relative_path:
                    raise
                self._note(relative_path, error)
                continue
            way.append(entered)

    def _look_through(self, entries: Iterator[os.DirEntry[str]], folder: _Folder) -> Iterator[None]:
        prefix = f"{folder.relative_path}/" if folder.relative_path else ""
        self.outcome.folders += 1
        for entry in entries:
            relative_path = prefix + entry.name
            try:
                if entry.is_dir(follow_symlinks=False) and not _is_junction(entry):
                    if self._enters(relative_path):
                        folder.pending.append(entry.name)
                else:
                    self._see(entry, relative_path)
            except OSError as error:
                self._note(relative_path, error)
            if len(self._found) >= self._batch:
                yield

    def _enters(self, relative_path: str) -> bool:
        if not self._recursive or fold(relative_path) in self._excluded or self._skips_folder(relative_path):
            return False
        if len(os.fsencode(relative_path)) > _LONGEST_PATH:
            self.outcome.too_deep += 1
            return False
        return True

    def _see(self, entry: os.DirEntry[str], relative_path: str) -> None:
        is_link = entry.is_symlink() or _is_junction(entry)
        if is_link and fold(relative_path) in self._excluded:
            return  # archive/ or error/ itself, which may be a link that somebody set up
        if self._skips_folder(relative_path) if is_link else not self._wants(relative_path):
            self.outcome.left_out += 1
            return
        sighting = sighting_of(entry_stat(entry), relative_path)
        if sighting is None:
            return  # a folder took the name meanwhile: the next scan enters it
        self._found.append(sighting)
        if sighting.irregular:
            self.outcome.irregular += 1
        else:
            self.outcome.files += 1

    def _note(self, relative_path: str, error: OSError) -> None:
        """Keep what could not be read; what is gone, or no folder any more, is no fault of the scan."""
        if error.errno in _NOT_THERE:
            return
        self.outcome.unreadable_count += 1
        if self.outcome.unreadable_count <= _NAMED_AT_MOST:
            self.outcome.unreadable.append(Unreadable(relative_path, error))


def scan(
    root: Path,
    *,
    recursive: bool,
    wants: Callable[[str], bool],
    skips_folder: Callable[[str], bool] = lambda _: False,
    excluded: Collection[Path] = (),
    batch: int = BATCH,
) -> Scan:
    """Return a scan of `root`, not yet begun; `excluded` are absolute paths of folders never entered."""
    return Scan(root, recursive=recursive, wants=wants, skips_folder=skips_folder, excluded=excluded, batch=batch)


def below(root: Path, paths: Collection[Path]) -> frozenset[str]:
    """Return those of `paths` that lie below `root`, relative to it, with `/`; ignoring case on Windows."""
    top = fold(os.fspath(root)).rstrip("/") + "/"
    folded = [fold(os.fspath(path)) for path in paths]
    return frozenset(path[len(top) :].rstrip("/") for path in folded if path.startswith(top))


def fold(path: str) -> str:
    """Return a path in the form in which two of them can be compared here."""
    return os.path.normcase(path).replace(os.sep, "/")


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a mount point of Windows, which `is_symlink` does not say."""
    if sys.platform == "win32":
        return entry.stat(follow_symlinks=False).st_reparse_tag == stat.IO_REPARSE_TAG_MOUNT_POINT
    return False


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _open_from_root(root: Path, relative_path: str) -> int:
    """Return a handle of a folder below `root`, no part of the way being a link. Raises OSError."""
    handle = os.open(root, _FOLDER_FLAGS)
    for name in relative_path.split("/") if relative_path else ():
        try:
            deeper = os.open(name, _FOLDER_FLAGS | _NO_FOLLOW, dir_fd=handle)
        finally:
            os.close(handle)
        handle = deeper
    return handle


def _close(folder: _Folder) -> None:
    if folder.handle is not None:
        os.close(folder.handle)
        folder.handle = None
