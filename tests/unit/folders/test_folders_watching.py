"""Native events of real folders: what is hinted at, how the watcher heals, and when it says that it cannot."""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import selectors
import threading
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.driven_clock import DrivenClock
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer as SystemObserver

from agent.folders import emitters, inotify, watching
from agent.folders.network_mounts import network_file_system
from agent.folders.roots import MARKER
from agent.folders.watching import PROBE_INTERVAL, PROBE_PATIENCE, Watcher
from agent.model import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 15.0
WALKS_THE_TREE = emitters.NativeEmitter is emitters.TreeEmitter
LINUX_EMITTER = pytest.mark.skipif(not WALKS_THE_TREE, reason="inotify alone leaves folders out, overflows, has limits")


class Hints:
    """Gathers hints and lets a test wait for one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.all: Counter[str | None] = Counter()
        self.failure: Exception | None = None

    def __call__(self, relative_path: str | None) -> None:
        with self._changed:
            self.all[relative_path] += 1
            self._changed.notify_all()
            if self.failure and relative_path is not None:
                raise self.failure

    def wait_for(self, *relative_paths: str | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: all(self.all[path] for path in relative_paths), DEADLINE)

    def forget(self) -> None:
        with self._changed:
            self.all.clear()

    def wait_until(self, condition: Callable[[], bool], *, patience: float = DEADLINE) -> bool:
        """Ask again whenever a hint came, and now and then."""
        with self._changed:
            for _ in range(int(patience / 0.02)):
                if condition():
                    return True
                self._changed.wait(0.02)
        return False


class Bench:
    """A root with a marker, a watcher of it, and what it hinted at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hints = Hints()
        self.clock = DrivenClock()
        self.watchers: list[Watcher] = []
        self.make_root()

    def make_root(self) -> None:
        self.root.mkdir()
        (self.root / MARKER).write_text("marker\n")

    def watch(self, *, mode: Observer = Observer.AUTO, recursive: bool = True) -> Watcher:
        watcher = Watcher(
            self.root,
            mode=mode,
            recursive=recursive,
            wants=lambda path: path.endswith(".pdf"),
            skips_folder=lambda path: path == "junk",
            excluded=[self.root / "archive"],
            on_hint=self.hints,
            clock=self.clock,
        )
        self.watchers.append(watcher)
        watcher.start()
        return watcher

    def watch_natively(self, *, recursive: bool = True) -> Watcher:
        watcher = self.watch(recursive=recursive)
        if not self.hints.wait_until(lambda: watcher.check().kind == "native"):
            pytest.skip(f"no native events here: {watcher.check().detail}")
        self.hints.forget()
        return watcher

    def saw_nothing_but(self, relative_path: str) -> bool:
        """Make a file whose hint comes after all that was caused before, and wait for it."""
        # Moved in whole: writing it there gives a second hint where the first is read only after the file was closed.
        (self.root.parent / relative_path).write_bytes(b"x")
        (self.root.parent / relative_path).rename(self.root / relative_path)
        return self.hints.wait_for(relative_path) and set(self.hints.all) <= {relative_path, None}


def system_tells_of_first(root: Path, make_first: Callable[[str], None]) -> bool:
    """Ask watchdog's own observer whether the making of a file of that name gives an event.

    Windows watches a tree as a whole and on its own; Wine does not see all of it.
    """
    seen: set[str] = set()
    last_seen = threading.Event()

    class Recorder(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            seen.add(Path(os.fsdecode(event.src_path)).name)
            if "last.probe" in seen:
                last_seen.set()

    observer = SystemObserver(timeout=0.02)
    observer.schedule(Recorder(), os.fspath(root), recursive=True)
    observer.start()
    try:
        make_first("first.probe")
        (root / "last.probe").write_bytes(b"x")
        assert last_seen.wait(DEADLINE)
    finally:
        observer.stop()
        observer.join(DEADLINE)
    return "first.probe" in seen


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "inbox")
    yield bench
    for watcher in bench.watchers:
        assert watcher.stop(DEADLINE)


def test_a_file_written_is_hinted_at(bench: Bench) -> None:
    bench.watch_natively()
    (bench.root / "a.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("a.pdf")


def test_a_file_written_in_a_folder_that_was_there_is_hinted_at(bench: Bench) -> None:
    deep = bench.root / "sub" / "deep"
    deep.mkdir(parents=True)
    if not WALKS_THE_TREE and not system_tells_of_first(bench.root, lambda name: (deep / name).touch()):
        pytest.skip("folders that were there give no events here")
    bench.watch_natively()
    (deep / "a.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("sub/deep/a.pdf")


def test_a_file_renamed_into_a_wanted_name_is_hinted_at(bench: Bench) -> None:
    (bench.root / "a.part").write_bytes(b"x")
    bench.watch_natively()
    (bench.root / "a.part").rename(bench.root / "a.pdf")
    assert bench.hints.wait_for("a.pdf")


def test_a_file_moved_in_from_outside_is_hinted_at(bench: Bench) -> None:
    (bench.root.parent / "a.pdf").write_bytes(b"x")
    bench.watch_natively()
    (bench.root.parent / "a.pdf").rename(bench.root / "a.pdf")
    assert bench.hints.wait_for("a.pdf")


def test_a_hard_link_made_is_hinted_at(bench: Bench) -> None:
    (bench.root.parent / "a.pdf").write_bytes(b"x")
    bench.watch_natively()
    (bench.root / "a.pdf").hardlink_to(bench.root.parent / "a.pdf")
    assert bench.hints.wait_for("a.pdf")


def test_files_of_a_folder_moved_in_are_hinted_at_and_later_ones_too(bench: Bench) -> None:
    (bench.root.parent / "sub" / "deep").mkdir(parents=True)
    (bench.root.parent / "sub" / "deep" / "a.pdf").write_bytes(b"x")
    bench.watch_natively()
    (bench.root.parent / "sub").rename(bench.root / "sub")
    assert bench.hints.wait_for("sub/deep/a.pdf")
    (bench.root / "sub" / "deep" / "b.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("sub/deep/b.pdf")


def test_files_of_a_new_folder_are_hinted_at_however_fast_they_come(bench: Bench) -> None:
    bench.watch_natively()
    expected = []
    for number in range(30):
        folder = bench.root / f"sub{number}" / "deep"
        folder.mkdir(parents=True)
        (folder / "a.pdf").write_bytes(b"x")
        expected.append(f"sub{number}/deep/a.pdf")
    assert bench.hints.wait_for(*expected)


def test_a_folder_renamed_within_the_tree_is_hinted_at_by_its_new_name(bench: Bench) -> None:
    (bench.root / "old" / "deep").mkdir(parents=True)
    bench.watch_natively()
    (bench.root / "old").rename(bench.root / "new")
    (bench.root / "new" / "deep" / "a.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("new/deep/a.pdf")


def test_a_folder_moved_out_is_no_longer_listened_to(bench: Bench) -> None:
    def move_out(name: str) -> None:
        (bench.root / "probed").mkdir()
        (bench.root / "probed").rename(bench.root.parent / "probed").joinpath(name).touch()

    (bench.root / "sub").mkdir()
    if not WALKS_THE_TREE and system_tells_of_first(bench.root, move_out):
        pytest.skip("folders moved out go on giving events here")
    bench.watch_natively()
    (bench.root / "sub").rename(bench.root.parent / "sub")
    assert bench.saw_nothing_but("first.pdf")
    bench.hints.forget()
    (bench.root.parent / "sub" / "a.pdf").write_bytes(b"x")
    assert bench.saw_nothing_but("second.pdf")


def test_excluded_folders_unwanted_names_and_the_marker_give_no_hint(bench: Bench) -> None:
    (bench.root / "archive" / "deep").mkdir(parents=True)
    (bench.root / "a.pdf").write_bytes(b"x")
    bench.watch_natively()
    (bench.root / "a.pdf").rename(bench.root / "archive" / "a.pdf")
    (bench.root / "archive" / "deep" / "b.pdf").write_bytes(b"x")
    (bench.root / "note.txt").write_bytes(b"x")
    (bench.root / MARKER).write_text("marker\n")
    assert bench.saw_nothing_but("last.pdf")


@LINUX_EMITTER
def test_junk_folders_are_not_watched(bench: Bench) -> None:
    (bench.root / "junk").mkdir()
    bench.watch_natively()
    (bench.root / "junk" / "a.pdf").write_bytes(b"x")
    assert bench.saw_nothing_but("last.pdf")


def test_subfolders_give_no_hint_where_not_recursive(bench: Bench) -> None:
    (bench.root / "sub").mkdir()
    bench.watch_natively(recursive=False)
    (bench.root / "sub" / "a.pdf").write_bytes(b"x")
    assert bench.saw_nothing_but("last.pdf")


def test_names_that_are_not_utf8_come_through(bench: Bench) -> None:
    name = "caf\udce9.pdf"
    bench.watch_natively()
    try:
        (bench.root / name).write_bytes(b"x")
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error}")
    if name not in {path.name for path in bench.root.iterdir()}:
        pytest.skip("this file system changes such names")
    # watchdog cannot read such a name on Windows: all is to be looked at then
    assert bench.hints.wait_until(lambda: bool(bench.hints.all[name] or bench.hints.all[None]))


def test_setting_up_asks_for_a_look_at_everything(bench: Bench) -> None:
    bench.watch()
    assert bench.hints.wait_for(None)


def test_a_root_removed_and_made_again_is_watched_again(bench: Bench) -> None:
    watcher = bench.watch_natively()
    (bench.root / MARKER).unlink()
    bench.root.rmdir()
    if not bench.hints.wait_until(lambda: not bench.root.exists(), patience=3):
        pytest.skip("a folder that is watched outlives its removal here")
    assert bench.hints.wait_until(lambda: watcher.check().kind == "polling")
    assert "away" in watcher.check().detail
    bench.make_root()
    assert bench.hints.wait_until(lambda: watcher.check().kind == "native")
    assert bench.hints.wait_for(None)
    (bench.root / "a.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("a.pdf")


def test_a_root_replaced_between_two_checks_is_watched_again(bench: Bench) -> None:
    watcher = bench.watch_natively()
    try:
        bench.root.rename(bench.root.parent / "moved")
    except OSError as error:
        pytest.skip(f"a watched folder cannot be moved here: {error}")
    bench.make_root()
    watcher.check()
    assert bench.hints.wait_until(lambda: watcher.check().kind == "native")
    (bench.root / "a.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("a.pdf")


def test_an_emitter_that_ended_is_replaced(bench: Bench) -> None:
    watcher = bench.watch_natively()
    assert watcher._observer is not None
    for emitter in set(watcher._observer.emitters):
        emitter.stop()
        emitter.join(DEADLINE)
    watcher.check()
    assert bench.hints.wait_for(None)
    assert bench.hints.wait_until(lambda: watcher.check().kind == "native")
    (bench.root / "a.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("a.pdf")


def test_a_hint_that_raises_is_made_good_by_a_look_at_everything(bench: Bench) -> None:
    watcher = bench.watch_natively()
    bench.hints.failure = ValueError("the caller's mistake")
    (bench.root / "a.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("a.pdf")
    bench.hints.failure = None
    assert bench.hints.wait_until(lambda: watcher.check().kind == "native" and bench.hints.all[None] > 0)
    (bench.root / "b.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("b.pdf")


def test_more_events_than_are_kept_become_one_look_at_everything(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.watch_natively()
    monkeypatch.setattr(emitters, "QUEUED_AT_MOST", 0)
    (bench.root / "a.pdf").write_bytes(b"x")
    assert bench.hints.wait_for(None)


@LINUX_EMITTER
def test_after_an_overflow_of_the_kernel_the_whole_tree_is_watched_and_looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = bench.watch_natively()
    assert watcher._observer is not None
    (emitter,) = watcher._observer.emitters
    assert isinstance(emitter, emitters.TreeEmitter)
    real = emitter._take
    # The kernel's queue holds 16,384 events; this is what one of them lost looks like from here.
    monkeypatch.setattr(emitter, "_take", lambda change: real(change._replace(watch=-1, mask=inotify.OVERFLOW)))
    (bench.root / "lost").mkdir()
    assert bench.hints.wait_for(None)
    monkeypatch.undo()
    assert bench.hints.wait_until(lambda: "lost" in emitter._folders.values())
    (bench.root / "lost" / "a.pdf").write_bytes(b"x")
    assert bench.hints.wait_for("lost/a.pdf")


def test_polling_by_choice_sets_nothing_up(bench: Bench) -> None:
    watcher = bench.watch(mode=Observer.POLLING)
    assert watcher.check() == watching.WatcherHealth("polling")
    assert not bench.hints.all


def test_without_a_marker_to_touch_nothing_is_believed(bench: Bench) -> None:
    (bench.root / MARKER).unlink()
    watcher = bench.watch()
    health = watcher.check()
    assert health.kind == "polling"
    assert MARKER in health.detail
    (bench.root / MARKER).write_text("marker\n")
    assert bench.hints.wait_until(lambda: watcher.check().kind == "native")


def test_native_by_choice_works_without_a_marker(bench: Bench) -> None:
    (bench.root / MARKER).unlink()
    assert bench.watch(mode=Observer.NATIVE).check().kind == "native"


def test_a_network_file_system_is_polled_and_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "network_file_system", lambda _: "NFS")
    health = bench.watch().check()
    assert health.kind == "polling"
    assert "NFS" in health.detail


def test_native_by_choice_does_not_ask_for_the_file_system(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "network_file_system", lambda _: "NFS")
    watcher = bench.watch(mode=Observer.NATIVE)
    assert bench.hints.wait_until(lambda: watcher.check().kind == "native")


def test_a_probe_without_an_event_falls_back_to_polling_and_tries_again_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "touch_marker", lambda _: None)
    watcher = bench.watch()
    bench.clock.advance(PROBE_PATIENCE)
    health = watcher.check()
    assert (health.kind, health.detail) == ("polling", "a change of the marker gave no event")
    monkeypatch.undo()
    bench.clock.advance(5)
    assert bench.hints.wait_until(lambda: watcher.check().kind == "native")


def test_a_watch_that_went_deaf_is_found_by_the_next_probe(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = bench.watch_natively()
    monkeypatch.setattr(watching, "touch_marker", lambda _: None)
    bench.clock.advance(PROBE_INTERVAL)
    assert watcher.check().kind == "native"
    bench.clock.advance(PROBE_PATIENCE)
    watcher.check()
    assert bench.hints.wait_for(None)  # it was set up again


@pytest.mark.parametrize(
    ("at", "number", "word"), [("add", errno.ENOSPC, "max_user_watches"), ("init", errno.EMFILE, "max_user_instances")]
)
@LINUX_EMITTER
def test_at_a_limit_of_inotify_the_folder_is_polled_and_the_limit_named(
    bench: Bench, at: str, number: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Limited(inotify.Inotify):
        def _checked(self, result: int, path: str) -> int:
            if bool(path) == (at == "add"):
                result, _ = -1, ctypes.set_errno(number)
            return super()._checked(result, path)

    monkeypatch.setattr(inotify, "Inotify", Limited)
    watcher = bench.watch()
    health = watcher.check()
    assert health.kind == "polling"
    assert word in health.detail
    monkeypatch.undo()
    bench.clock.advance(5)
    assert bench.hints.wait_until(lambda: watcher.check().kind == "native")


@pytest.mark.skipif(WALKS_THE_TREE, reason="events come through a handle on Windows only")
def test_where_windows_gives_no_handle_in_time_the_folder_is_polled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_slow(_reader: object) -> None:
        raise queue.Empty

    monkeypatch.setattr(import_module("watchdog.observers.winapi").DirectoryChangeReader, "start", too_slow)
    health = bench.watch().check()
    assert (health.kind, "no handle" in health.detail) == ("polling", True)


@LINUX_EMITTER
def test_where_files_run_out_half_way_those_opened_before_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more_files() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(selectors, "DefaultSelector", no_more_files)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 -- numbers, no paths
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        inotify.Inotify()
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 -- as above


def test_a_root_that_is_away_at_the_start_is_watched_once_it_comes(bench: Bench) -> None:
    (bench.root / MARKER).unlink()
    bench.root.rmdir()
    watcher = bench.watch()
    assert watcher.check() == watching.WatcherHealth("polling", "the folder is away")
    bench.make_root()
    assert bench.hints.wait_until(lambda: watcher.check().kind == "native")


def test_stopping_ends_every_thread(bench: Bench) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    watcher = bench.watch_natively()
    assert watcher.stop(DEADLINE)
    assert {thread.ident for thread in threading.enumerate()} <= before


def test_where_no_thread_is_left_to_stop_in_that_is_said_and_nothing_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_threads(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watcher = bench.watch_natively()
    observer = watcher._observer
    assert observer is not None
    with monkeypatch.context() as limits:
        limits.setattr(threading.Thread, "start", no_more_threads)
        assert not watcher.stop(DEADLINE)
    assert watching._stop(observer, DEADLINE)


def test_the_file_system_of_a_temporary_folder_is_a_local_one(bench: Bench) -> None:
    assert network_file_system(bench.root) in {"", "9p", "FUSE", "virtiofs"}
