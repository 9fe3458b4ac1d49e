"""The ground of every sandbox: a driven clock, what is due when, documents to be read, their data.

Time comes from an injected clock plus what `advance_clock` added. Nothing happens by itself: every look first carries
out what became due since the last one, each step at the time it was due, so delays cost no waiting and tests drive
them. Owns the lock; knows no state of any service and no HTTP.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from agent.sandbox.faults import FaultBook
from agent.sandbox.request_log import RequestLog
from agent.sandbox.storage import Incoming, Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.sandbox.clock import WallClock
    from agent.sandbox.documents import DocumentContents
    from agent.sandbox.storage import StoredDocument

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Job:
    """A document under way; `finish` is called, under the lock, once its time is over and it was read."""

    id: str
    """Of what the document was sent for."""
    document: StoredDocument
    read: Callable[[Path], DocumentContents]
    """Called without the lock."""
    finish: Callable[[float], None]
    keeps_document: bool = False
    """Whether the data is needed once it was read; else it is deleted then."""
    is_abandoned: bool = False
    is_due: bool = False
    is_read: bool = False
    contents: DocumentContents | None = None
    """None once it is read: it cannot be processed, `message` says why."""
    message: str = ""


class Due(NamedTuple):
    """A time and what happens then; the order decides between equal times."""

    at: float
    order: int
    act: Callable[[float], None]


class DrivenService:
    """The ground of a sandbox. Any thread may call anything."""

    def __init__(self, *, clock: WallClock) -> None:
        self.faults = FaultBook()
        self.requests = RequestLog()
        self._clock = clock
        self._offset = 0.0
        self._changed = threading.Condition(threading.RLock())
        self._due: list[Due] = []
        self._order = count()
        self._unread: deque[Job] = deque()
        self._overdue: set[str] = set()
        self._storage = Storage()
        self._closed = False

    # --- time -------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the sandbox's time, UTC unix seconds."""
        return self._clock.now() + self._offset

    def advance_clock(self, seconds: float) -> None:
        """Move the sandbox's time forward."""
        with self._up_to_date():
            self._offset += seconds
        with self._up_to_date():
            self._changed.notify_all()

    @contextmanager
    def _up_to_date(self) -> Iterator[float]:
        """Hold the lock with everything carried out that is due; give the time."""
        with self._changed:
            now = self.now()
            while self._due and self._due[0].at <= now:
                due = heapq.heappop(self._due)
                due.act(due.at)
            yield now

    def _plan(self, at: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._due, Due(at, next(self._order), act))

    # --- documents --------------------------------------------------------------------------------------------------

    def receive(self) -> Incoming:
        """Return a file to write a document to."""
        return self._storage.receive()

    def forget(self, document: StoredDocument) -> None:
        """Delete a received document that nothing became of."""
        with self._changed:
            self._storage.delete(document)

    def _start(self, job: Job, *, due: float) -> None:
        """Let a document be read, and its job be finished when it is due or read, whatever is later."""
        self._unread.append(job)
        self._plan(due, lambda at: self._time_is_over(job, at))
        self._changed.notify_all()

    def _time_is_over(self, job: Job, at: float) -> None:
        if job.is_abandoned:
            return
        job.is_due = True
        if job.is_read:
            job.finish(at)
        else:
            self._overdue.add(job.id)

    def _abandon(self, job: Job) -> None:
        """Let a job never be finished, and delete its document; nothing comes of a reading under way."""
        job.is_abandoned = True
        self._overdue.discard(job.id)
        self._storage.delete(job.document)

    def wait_for_unread(self) -> bool:
        """Wait until there is something to read; False: the sandbox closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._unread or self._closed)
            return not self._closed

    def next_unread(self) -> Job | None:
        """Return the oldest document nobody read yet, and count it as taken; None: there is none."""
        with self._changed:
            while self._unread:
                job = self._unread.popleft()
                if not job.is_abandoned:
                    return job
            return None

    def read_next(self) -> bool:
        """Read one document and record what it holds; False: there was none."""
        job = self.next_unread()
        if job is None:
            return False
        contents, message = None, ""
        try:
            contents = job.read(job.document.path)
        except (ValueError, OSError) as error:
            message = f"The file cannot be processed: {error}"
        except Exception as error:  # a parser met by a hostile file may raise anything; the thread lives
            logger.exception("reading the document of %s", job.id)
            message = f"The file cannot be processed: {type(error).__name__}"
        self.record_reading(job, contents=contents, message=message)
        return True

    def record_reading(self, job: Job, *, contents: DocumentContents | None, message: str = "") -> None:
        """Note what a document holds, or why it cannot be read; what waited only for that is finished now."""
        with self._up_to_date() as now:
            if not job.is_abandoned:
                job.is_read, job.contents, job.message = True, contents, message
                if not job.keeps_document:
                    self._storage.delete(job.document)
                if job.is_due:
                    self._overdue.discard(job.id)
                    job.finish(now)
            self._changed.notify_all()

    def is_reading_overdue(self, job_id: str | None = None) -> bool:
        """Tell whether a job (None: any) is under way only because its document is not read yet."""
        with self._up_to_date():
            return bool(self._overdue) if job_id is None else job_id in self._overdue

    def wait_until_read(self, seconds: float, job_id: str | None = None) -> bool:
        """Wait, in real seconds, until that is over; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not self.is_reading_overdue(job_id), timeout=seconds)

    # --- end --------------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Let every waiting thread go; nothing is read any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Release, and delete all data."""
        self.release()
        self._storage.close()
