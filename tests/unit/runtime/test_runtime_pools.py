"""The threads exports run in: as many as asked for, and none that keeps a process that stops."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from agent.runtime.pools import DaemonThreads

PATIENCE = 20.0


def test_as_many_run_at_once_as_there_are_threads_and_no_more() -> None:
    pool = DaemonThreads(2, "export")
    together, release = threading.Barrier(3), threading.Event()
    running: list[int] = []

    def work(number: int) -> int:
        running.append(number)
        if number < 2:
            together.wait(PATIENCE)
            release.wait(PATIENCE)
        return number

    futures = [pool.submit(work, number) for number in range(3)]
    together.wait(PATIENCE)
    assert running in ([0, 1], [1, 0])
    release.set()

    assert [future.result(PATIENCE) for future in futures] == [0, 1, 2]
    pool.shutdown()


def test_an_error_is_in_the_future_and_the_thread_goes_on() -> None:
    pool = DaemonThreads(1, "export")
    failing, fine = pool.submit(int, "no number"), pool.submit(int, "1")

    with pytest.raises(ValueError, match="no number"):
        failing.result(PATIENCE)
    assert fine.result(PATIENCE) == 1
    pool.shutdown()


def test_what_was_not_begun_is_cancelled_when_it_closes() -> None:
    pool = DaemonThreads(1, "export")
    begun, release = threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return release.wait(PATIENCE)

    first = pool.submit(work)
    second = pool.submit(int)
    begun.wait(PATIENCE)

    pool.shutdown(wait=False, cancel_futures=True)
    release.set()

    first.result(PATIENCE)
    assert second.cancelled()
    with pytest.raises(RuntimeError):
        pool.submit(int)


def test_what_no_thread_can_be_begun_for_is_refused_and_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, ran = DaemonThreads(2, "export"), threading.Event()
    with monkeypatch.context() as limits:
        limits.setattr(threading.Thread, "start", no_more_threads)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(ran.set)

    assert pool.submit(int, "1").result(PATIENCE) == 1
    pool.shutdown()
    assert not ran.is_set()


def test_where_no_further_thread_can_be_begun_those_there_are_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, begun, release = DaemonThreads(2, "export"), threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return release.wait(PATIENCE)

    pool.submit(work)
    assert begun.wait(PATIENCE)
    with monkeypatch.context() as limits:
        limits.setattr(threading.Thread, "start", no_more_threads)
        second = pool.submit(int, "2")
    release.set()

    assert second.result(PATIENCE) == 2
    pool.shutdown()


def no_more_threads(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    hanging = (
        "import threading\n"
        "from agent.runtime.exporting import ExportLoop\n"
        "make_pool = ExportLoop.__init__.__kwdefaults__['make_pool']\n"
        "pool, begun = make_pool(1, 'export'), threading.Event()\n"
        "pool.submit(lambda: (begun.set(), threading.Event().wait()))\n"
        "begun.wait()\n"
        "pool.shutdown(wait=False, cancel_futures=True)\n"
    )

    assert subprocess.run([sys.executable, "-c", hanging], timeout=PATIENCE, check=False).returncode == 0
