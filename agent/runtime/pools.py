"""Threads for exports that never keep the process: one that hangs in a share is left behind when the agent stops.

The standard library's pool joins its threads at the interpreter's end, however long they hang.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """An executor of that many daemon threads, started when they are needed."""

    def __init__(self, workers: int, name: str) -> None:
        self._most = workers
        self._name = name
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand over one call. Raises RuntimeError once closed, and where the system gives no thread to run it."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the pool is closed")
            self._waiting.append((future, lambda: fn(*args, **kwargs)))
            if self._idle < len(self._waiting) and self._threads < self._most:
                self._begin_thread()
            self._changed.notify()
        return future

    def _begin_thread(self) -> None:
        """Begin one more thread; what it would have run is left to the others. Without any, take it back and raise."""
        thread = threading.Thread(target=self._serve, name=f"{self._name} {self._threads + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                self._waiting.pop()
                raise
        else:
            self._threads += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; what is under way goes on, and is never waited for."""
        del wait
        with self._changed:
            self._closed = True
            left = list(self._waiting) if cancel_futures else []
            if cancel_futures:
                self._waiting.clear()
            self._changed.notify_all()
        for future, _ in left:
            future.cancel()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._waiting or self._closed)
                self._idle -= 1
                if not self._waiting:
                    return
                future, call = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 -- whoever holds the future hears of it
                future.set_exception(error)
