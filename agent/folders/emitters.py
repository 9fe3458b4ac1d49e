"""Turns what the operating system says about a tree into watchdog events; one emitter for each platform.

Owns the reading of native events and the watches of a tree. Does not judge names, restart itself or hint at anybody:
an emitter that cannot go on says why in `failure` and ends, and watching.py does the rest.

Both are watchdog emitters run by a watchdog observer. On Linux watchdog's own one is not used: it holds every move out
of the tree back for 0.5 s and all events behind it, watches archive/ along with the inbox, and ends without a word.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from watchdog.events import (
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
)
from watchdog.observers.api import EventEmitter

from agent.folders import inotify

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchdog.observers.api import EventQueue, ObservedWatch

QUEUED_AT_MOST = 20_000
"""Events that wait for the handler; what comes on top becomes one EverythingChanged, so memory stays bounded."""

_REPORTED_AT_MOST = 1000
"""Files of a folder moved in that are named one by one; a scan is cheaper for more."""

_PAUSE = 0.02
"""Seconds between two looks into the queue on Windows: the latency of an event there."""

_STORM = 400
"""Events in one look on Windows, about a full kernel buffer, from which on some must be assumed lost."""

_QUIET = 0.2
"""Seconds without an event after which a tree is walked anew following an overflow."""

_WATCHED = (
    inotify.CLOSE_WRITE
    | inotify.CREATE
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
    | inotify.DELETE_SELF
    | inotify.EXCLUDE_UNLINKED
    | inotify.ONLY_FOLDER
)
_ROOT_AWAY = inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT | inotify.IGNORED
_LIMITS = frozenset({errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class EverythingChanged(FileSystemEvent):
    """Events were lost, or are too many to be named: look at the whole tree."""

    event_type = "everything"


EVENTS: list[type[FileSystemEvent]] = [
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,  # Windows knows no closing
    FileMovedEvent,
    # Windows: what a copy that keeps times ends with, and a touch, count as attributes.
    FileAttribEvent,
    EverythingChanged,
]
"""The filter of every watch: without one, scanning a tree makes the events that ask for the next scan."""


class TreeEmitter(EventEmitter):
    """Watches a tree by inotify, leaving out the folders `enters` refuses (relative paths)."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        timeout: float,
        event_filter: list[type[FileSystemEvent]] | None = None,
        enters: Callable[[str], bool],
    ) -> None:
        super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter)
        self.failure = ""
        self._events = event_queue
        self._root = os.fspath(watch.path)
        self._enters = enters
        self._folders: dict[int, str] = {}
        self._overflowed = False
        self._inotify: inotify.Inotify | None = None

    def on_thread_start(self) -> None:
        """Add every watch before the thread runs, so that whoever scans next misses nothing. Raises OSError."""
        self._inotify = inotify.Inotify()
        try:
            self._watch_tree("", report=False)
        except OSError:
            self._inotify.close()
            raise

    def on_thread_stop(self) -> None:
        """Wake the thread, which closes what it holds; where it could not be started, close that here."""
        if self._inotify is None:
            return
        if self.is_alive():
            self._inotify.wake()
        else:
            self._inotify.close()

    def run(self) -> None:
        """Read until stopped or until there is nothing left to read from."""
        assert self._inotify is not None
        try:
            super().run()
        finally:
            self._inotify.close()

    def queue_events(self, timeout: float) -> None:  # noqa: ARG002 -- we wait for an event, not for a time
        """Wait for the next events and pass them on."""
        assert self._inotify is not None
        try:
            changes = self._inotify.read(_QUIET if self._overflowed else None)
            for change in changes:
                self._take(change)
            # Only once the storm is over: walking a big tree during it would take longer than the queue takes to fill.
            if self._overflowed and not changes:
                self._overflowed = False
                self._watch_anew()
        except OSError as error:
            self._end(error.strerror or str(error))

    def queue_event(self, event: FileSystemEvent) -> None:
        """Queue an event, or that some are missing where too many wait already."""
        if self._events.qsize() >= QUEUED_AT_MOST:
            event = EverythingChanged(self._root)
        super().queue_event(event)

    def _end(self, failure: str) -> None:
        self.failure = failure
        self.stop()

    def _take(self, change: inotify.Change) -> None:
        if change.mask & inotify.OVERFLOW:
            self._overflowed = True
            self.queue_event(EverythingChanged(self._root))
            return
        folder = self._folders.get(change.watch)
        if folder is None:
            return
        if not folder and change.mask & _ROOT_AWAY:
            self._end("the folder was moved, removed or unmounted")
        elif change.mask & inotify.IGNORED:
            del self._folders[change.watch]
        elif change.mask & inotify.IS_FOLDER:
            self._take_folder(change, f"{folder}/{change.name}" if folder else change.name)
        elif change.name:
            self._take_file(change, self._path(f"{folder}/{change.name}" if folder else change.name))

    def _take_folder(self, change: inotify.Change, relative_path: str) -> None:
        if change.mask & inotify.MOVED_FROM:
            self._forget(relative_path)  # where it is moved to within the tree, that event follows
            return
        comes = change.mask & (inotify.CREATE | inotify.MOVED_TO)
        if comes and self._watch.is_recursive and self._enters(relative_path):
            # Files that came before the watch have given no event: the walk reports them.
            self._watch_tree(relative_path, report=True)

    def _take_file(self, change: inotify.Change, path: str) -> None:
        if change.mask & inotify.CLOSE_WRITE:
            self.queue_event(FileClosedEvent(path))
        elif change.mask & inotify.MOVED_TO or (change.mask & inotify.CREATE and _stands_already(path)):
            self.queue_event(FileCreatedEvent(path))

    def _watch_anew(self) -> None:
        """Walk the whole tree after lost events: watches of folders that are no longer there go, missing ones come."""
        before, self._folders = self._folders, {}
        self._watch_tree("", report=False)
        for watch in before.keys() - self._folders.keys():
            self._remove(watch)
        self.queue_event(EverythingChanged(self._root))

    def _watch_tree(self, relative_path: str, *, report: bool) -> None:
        """Watch a folder and all below it, then look what is in it: whatever comes later gives an event."""
        reported = 0
        pending = [relative_path]
        while pending:
            folder = pending.pop()
            if not self._add(folder) or not (report or self._watch.is_recursive):
                continue
            try:
                with os.scandir(self._path(folder)) as entries:
                    for entry in entries:
                        child = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            if self._watch.is_recursive and self._enters(child):
                                pending.append(child)
                        elif report and reported < _REPORTED_AT_MOST:
                            reported += 1
                            self.queue_event(FileCreatedEvent(self._path(child)))
            except OSError:
                continue  # gone again, or not readable: the scan names it
        if reported == _REPORTED_AT_MOST:
            self.queue_event(EverythingChanged(self._root))

    def _add(self, folder: str) -> bool:
        assert self._inotify is not None
        mask = _WATCHED | (inotify.DONT_FOLLOW if folder else inotify.MOVE_SELF)
        try:
            self._folders[self._inotify.add(self._path(folder), mask)] = folder
        except OSError as error:
            if not folder or error.errno in _LIMITS:
                raise
            return False
        return True

    def _forget(self, relative_path: str) -> None:
        below = f"{relative_path}/"
        for watch, folder in list(self._folders.items()):
            if folder == relative_path or folder.startswith(below):
                del self._folders[watch]
                self._remove(watch)

    def _remove(self, watch: int) -> None:
        assert self._inotify is not None
        self._inotify.remove(watch)

    def _path(self, relative_path: str) -> str:
        return f"{self._root}/{relative_path}" if relative_path else self._root


def _stands_already(path: str) -> bool:
    """Whether a name just made is no file about to be written: a hard link, a reflink, a link or special file.

    A file being written is announced when it is closed; one more event at its birth would only cost a look.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_size > 0 or status.st_nlink > 1 or not stat.S_ISREG(status.st_mode)


if sys.platform == "win32":
    import queue

    from watchdog.observers.read_directory_changes import WindowsApiEmitter

    class PacedEmitter(WindowsApiEmitter):
        """Passes on what Windows reported every 20 ms, however busy the folder is.

        watchdog's own waits until no event came for `timeout`: from a busy folder none ever comes (windows.md).
        """

        def __init__(
            self,
            event_queue: EventQueue,
            watch: ObservedWatch,
            *,
            timeout: float,
            event_filter: list[type[FileSystemEvent]] | None = None,
            enters: Callable[[str], bool],  # noqa: ARG002 -- Windows watches a tree as a whole
        ) -> None:
            super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter)
            self.failure = ""
            self._events = event_queue
            self._queued = 0

        def on_thread_start(self) -> None:
            """Begin to read. Raises OSError where the folder gives no handle, or none within watchdog's 2 s."""
            try:
                super().on_thread_start()
            except queue.Empty:
                raise TimeoutError(errno.ETIMEDOUT, "the system gives no handle on the folder for its events") from None

        def queue_events(self, timeout: float) -> None:  # noqa: ARG002 -- as the class says
            """Pass on what has gathered."""
            self._queued = 0
            readable = True
            try:
                super().queue_events(0.0)
            except UnicodeDecodeError:  # a name with half a surrogate pair costs watchdog the whole buffer
                readable = False
            # The kernel's overflow is an empty buffer, which watchdog drops without a word.
            if self._queued >= _STORM or not readable:
                self.queue_event(EverythingChanged(self.watch.path))
            self.stopped_event.wait(_PAUSE)

        def queue_event(self, event: FileSystemEvent) -> None:
            """Queue an event, or that some are missing where too many wait already."""
            self._queued += 1
            if self._events.qsize() >= QUEUED_AT_MOST:
                event = EverythingChanged(self.watch.path)
            super().queue_event(event)

    NativeEmitter = PacedEmitter
else:
    NativeEmitter = TreeEmitter
