"""Notices changes of a root by native events, and says so where it cannot: the caller scans more often then.

Owns the observer of one root, its supervision and its probe. Every hint is only a hint (performance.md: a burst of
40,000 events lost 7,000): the scan is the truth. Starts nothing by itself; the owning thread calls `check` regularly.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver

from agent.folders.emitters import EVENTS, EverythingChanged, NativeEmitter
from agent.folders.network_mounts import network_file_system
from agent.folders.roots import MARKER, touch_marker
from agent.folders.scanning import below, fold
from agent.folders.system import identity
from agent.model import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from agent.ports import Clock

PROBE_PATIENCE = 2.0
"""Seconds within which a touched marker must have given an event."""

PROBE_INTERVAL = 60.0
"""Seconds between two probes of a watch that works: neither watchdog nor Windows says when one has gone deaf."""

NETWORK_INTERVAL = 300.0
"""Seconds after which a network file system is looked at again: something else may be mounted by then."""

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatcherHealth:
    """`native`: events come, a rare scan will do; `polling`: scan every `poll_interval`. `detail`: why not native."""

    kind: Literal["native", "polling"]
    detail: str = ""


class Watcher:
    """Hints at changed files of one root.

    `on_hint` gets a relative path, or None for "look at everything soon": after lost events and whenever a watch was
    set up (what happened before gave no event). It is called by a thread of the watcher and by `check`; it should only
    enqueue. An exception of it is logged and answered with None at the next `check`.

    `start`, `check` and `stop` belong to one thread, the root's own: they ask the root's file system and hang with it.
    """

    def __init__(
        self,
        root: Path,
        *,
        mode: Observer,
        recursive: bool,
        wants: Callable[[str], bool],
        on_hint: Callable[[str | None], None],
        clock: Clock,
        skips_folder: Callable[[str], bool] = lambda _: False,
        excluded: Collection[Path] = (),
    ) -> None:
        self._root = root
        self._mode = mode
        self._recursive = recursive
        self._wants = wants
        self._on_hint = on_hint
        self._clock = clock
        self._skips_folder = skips_folder
        self._excluded = below(root, excluded)
        self._top = os.path.join(root, "")  # noqa: PTH118 -- with its separator, as the paths of events begin
        # written by the observer's thread
        self._hint_failed = threading.Event()
        self._answered = threading.Event()
        # the owner's
        self._observer: BaseObserver | None = None
        self._identity = ""
        self._proven = False
        self._probed_at: float | None = None
        self._probe_at = 0.0
        self._retry_at = 0.0
        self._failures = 0
        self._why = "native events are being set up"

    def start(self) -> WatcherHealth:
        """Set up native events where they are wanted; raises nothing for what the file system says."""
        return self.check()

    def check(self) -> WatcherHealth:
        """Supervise: find a watch that ended, went deaf or watches what is no longer the root, and set it up again."""
        if self._mode is Observer.POLLING:
            return WatcherHealth("polling")
        now = self._clock.monotonic()
        if self._hint_failed.is_set():
            self._hint_failed.clear()
            self._on_hint(None)
        if self._observer is not None:
            fault = self._fault(self._observer) or self._probe(now)
            if fault:
                self._give_up(fault, now)
        if self._observer is None and now >= self._retry_at:
            self._set_up(now)
            if self._observer is not None:
                self._probe(now)
        return WatcherHealth("native") if self._proven else WatcherHealth("polling", self._why)

    def stop(self, deadline: float = 5.0) -> bool:
        """Stop and wait up to so many seconds; False where a thread still hangs in the file system (a daemon)."""
        observer, self._observer = self._observer, None
        self._proven = False
        return observer is None or _stop(observer, deadline)

    def _set_up(self, now: float) -> None:
        try:
            self._identity = identity(self._root.stat())
            network = network_file_system(self._root) if self._mode is Observer.AUTO else ""
            if network:
                self._retry_at = now + NETWORK_INTERVAL
                self._why = f"{network}: changes made elsewhere give no event here"
                return
            self._observer = self._observe()
        except FileNotFoundError:
            self._why = "the folder is away"  # asked for again at every check: it may come back at any time
            return
        except (OSError, RuntimeError) as error:  # RuntimeError: no more threads
            self._back_off(getattr(error, "strerror", None) or str(error), now)
            return
        self._probed_at = None
        self._on_hint(None)

    def _observe(self) -> BaseObserver:
        observer = BaseObserver(NativeEmitter, timeout=1.0, enters=self._enters)
        watch = observer.schedule(
            _Handler(self._take), os.fspath(self._root), recursive=self._recursive, event_filter=EVENTS
        )
        try:
            observer.start()
        except (OSError, RuntimeError):
            with contextlib.suppress(KeyError):
                observer.unschedule(watch)
            raise
        return observer

    def _fault(self, observer: BaseObserver) -> str:
        """Return why the watch is no use any more; "" while nothing speaks against it."""
        if not observer.is_alive():
            return "the observer ended"
        dead = [emitter for emitter in observer.emitters if not emitter.is_alive()]
        if dead or not observer.emitters:
            return next((str(failure) for emitter in dead if (failure := getattr(emitter, "failure", ""))), "it ended")
        try:
            here = identity(self._root.stat())
        except OSError as error:
            return f"the folder is away: {error.strerror}"
        return "" if here == self._identity else "another folder is in its place"

    def _probe(self, now: float) -> str:
        """Touch the marker now and then and see whether an event comes of it; return what is wrong, "" if nothing."""
        if self._probed_at is not None:
            if self._answered.is_set():
                self._probed_at = None
                self._probe_at = now + PROBE_INTERVAL
                self._failures = 0
                self._prove()
            elif now - self._probed_at >= PROBE_PATIENCE:
                return "a change of the marker gave no event"
            return ""
        if self._proven and now < self._probe_at:
            return ""
        self._answered.clear()
        try:
            touch_marker(self._root)
        except OSError as error:
            # Polling is right in any case; whoever asks for native events gets them without proof.
            self._why = f"native events cannot be tried with the marker {MARKER}: {error.strerror}"
            self._probe_at = now + PROBE_INTERVAL
            if self._mode is Observer.NATIVE:
                self._prove()
            else:
                self._proven = False
            return ""
        self._probed_at = now
        return ""

    def _prove(self) -> None:
        if not self._proven:
            _log.info("native events of %s work", self._root)
        self._proven = True

    def _give_up(self, fault: str, now: float) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            _stop(observer, 1.0)
        was_proven, self._proven = self._proven, False
        if was_proven:
            self._why = fault
            self._retry_at = now  # it worked until now: most likely the folder was replaced
            _log.warning("native events of %s are set up again: %s", self._root, fault)
        else:
            self._back_off(fault, now)

    def _back_off(self, why: str, now: float) -> None:
        pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        self._retry_at = now + pause
        if why != self._why:
            _log.warning("no native events of %s, it is scanned instead: %s", self._root, why)
        self._why = why

    def _enters(self, relative_path: str) -> bool:
        return fold(relative_path) not in self._excluded and not self._skips_folder(relative_path)

    def _take(self, event: FileSystemEvent) -> None:
        """Pass an event on; called by the observer's thread, which ends for good with an exception."""
        try:
            if isinstance(event, EverythingChanged):
                self._on_hint(None)
            elif not event.is_directory:
                self._hint(os.fsdecode(event.dest_path or event.src_path))
        except Exception:  # noqa: BLE001 -- whatever a callback raises would end watchdog's thread without a word
            _log.exception("a hint of %s failed; the whole folder will be looked at", self._root)
            self._hint_failed.set()

    def _hint(self, path: str) -> None:
        if not path.startswith(self._top):
            return  # moved out of the tree
        relative_path = path[len(self._top) :].replace(os.sep, "/")
        if relative_path == MARKER:
            self._answered.set()
        elif self._wants(relative_path) and not self._is_excluded(relative_path):
            self._on_hint(relative_path)

    def _is_excluded(self, relative_path: str) -> bool:
        folded = fold(relative_path)
        return any(folded == folder or folded.startswith(f"{folder}/") for folder in self._excluded)


class _Handler(FileSystemEventHandler):
    """watchdog's handler without its dispatch by name."""

    def __init__(self, take: Callable[[FileSystemEvent], None]) -> None:
        self._take = take

    def dispatch(self, event: FileSystemEvent) -> None:
        """Hand every event to the watcher."""
        self._take(event)


def _stop(observer: BaseObserver, deadline: float) -> bool:
    """Stop an observer within so many seconds, though watchdog joins its threads without any deadline."""
    stopping = threading.Thread(target=_stop_and_join, args=(observer,), name="stop-observer", daemon=True)
    try:
        stopping.start()
    except RuntimeError as error:  # no more threads
        _log.warning("a watch cannot be stopped: %s", error)
        return False
    stopping.join(deadline)
    return not stopping.is_alive()


def _stop_and_join(observer: BaseObserver) -> None:
    observer.stop()
    observer.join()
