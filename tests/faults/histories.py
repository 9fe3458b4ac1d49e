"""The exhaustive model of submission (faults.md 6): every history of one file, and of two, lived by the real code.

A history says for each attempt to send whether it is accepted, when, how late it is listed and how the attempt ends;
and when the service is asked afterwards. `live` takes the files through `Submit` and `Unknown`, on a driven clock, and
counts what became of them. Assumed is what the configuration promises: a task is accepted at most LATE seconds after
its upload ended and listed at most LAG seconds after that, both together less than `unknown_wait`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Any

from fakes.workbench import Killed, Workbench, pdf, watch_folder

from agent.errors import OutcomeUnknown, ServiceUnavailable
from agent.model import FileState, LaneReason, RetrySettings
from faults.late_service import Late, LateService

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from agent.model import FileRecord, Lookup, Task, Upload

LATE = 40.0
LAG = 60.0
QUIET = 120.0
"""Longer than LATE and LAG together."""
FIRST_LOOKS = (0.0, LATE / 2)
"""Seconds until the service can be asked again."""
STEP = 4.0
PATIENCE = 2000.0
"""Driven seconds after which a history must be over."""


class End(StrEnum):
    """How an attempt ends for the agent."""

    ANSWERED = "answered"
    LOST = "answer lost"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One upload; `accepted_after` None: never, `lag`: seconds until a task that was accepted is listed."""

    end: End
    accepted_after: float | None = 0.0
    lag: float = 0.0

    def __str__(self) -> str:
        accepted = "never accepted" if self.accepted_after is None else f"accepted after {self.accepted_after:g} s"
        return f"{self.end}, {accepted}, listed {self.lag:g} s later"


WELL = Attempt(End.ANSWERED)
ATTEMPTS = (
    *(Attempt(End.ANSWERED, 0.0, lag) for lag in (0.0, LAG)),
    *(Attempt(end, None) for end in (End.LOST, End.KILLED)),
    *(
        Attempt(end, accepted_after, lag)
        for end, accepted_after, lag in product((End.LOST, End.KILLED), (0.0, LATE), (0.0, LAG))
    ),
)


@dataclass(frozen=True, slots=True)
class History:
    """What happens to each attempt of each file (beyond those: all is well), and to the looks afterwards."""

    files: tuple[tuple[Attempt, ...], ...]
    first_look: float = 0.0
    """Seconds the service cannot be asked after an attempt that left its outcome unknown."""
    killed_in_quiet: bool = False
    """Whether the agent is killed once more in the middle of the first quiet time."""

    def __str__(self) -> str:
        attempts = " | ".join("; ".join(map(str, attempts)) for attempts in self.files)
        killed = ", killed in the quiet time" if self.killed_in_quiet else ""
        return f"[{attempts}], first look after {self.first_look:g} s{killed}"


def of_one_file() -> Iterator[History]:
    """Yield every history of one file: two attempts, when the service can be asked, a second kill."""
    for first, second in product(ATTEMPTS, ATTEMPTS):
        if first.end is End.ANSWERED and second is not WELL:
            continue  # there is no second attempt
        for first_look, killed_in_quiet in product(FIRST_LOOKS, (False, True)):
            yield History(((first, second),), first_look, killed_in_quiet)


def of_two_files() -> Iterator[History]:
    """Yield every history of two files of one name: either could be the claimant of a task that is found."""
    for first, second, first_look in product(ATTEMPTS, ATTEMPTS, FIRST_LOOKS):
        yield History(((first,), (second,)), first_look)


@dataclass(frozen=True, slots=True)
class Policy:
    """How unknown outcomes are dealt with; `asks` False: by sending again at once, which is wrong."""

    name: str
    unknown_wait: float
    asks: bool = True


SOUND = Policy("quiet time longer than late acceptance and lag", QUIET)
TOO_SHORT = Policy("quiet time shorter than late acceptance and lag", LAG / 2)
LOOK_THEN_RETRY = Policy("one look, no quiet time", 0.0)
RETRY_AT_ONCE = Policy("retry at once", 0.0, asks=False)


class FollowingService(LateService):
    """A service that does to each file's attempts what the history says."""

    def __init__(self, *arguments: Any, history: History, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._history = history
        self._attempts: dict[str, list[Attempt]] = {}
        self._silent_until = 0.0

    def submit(self, upload: Upload, body: BinaryIO) -> Task:
        attempt = self._next_attempt(upload.key)
        lost = OutcomeUnknown(str(attempt))
        if attempt.end is not End.ANSWERED:
            self._silent_until = self._clock.now() + self._history.first_look
        self.list_delay = attempt.lag
        if attempt.accepted_after is None:
            self.script("submit", lost)
        elif attempt.end is not End.ANSWERED:
            self.script("submit", Late(lost, attempt.accepted_after))
        try:
            return super().submit(upload, body)
        except OutcomeUnknown:
            if attempt.end is End.KILLED:
                raise Killed(str(attempt)) from None
            raise

    def _next_attempt(self, key: str) -> Attempt:
        """Return what happens to a file's next upload; the first file that is sent is the history's first."""
        if key not in self._attempts:
            self._attempts[key] = list(self._history.files[len(self._attempts)])
        return self._attempts[key].pop(0) if self._attempts[key] else WELL

    def find_submission(self, lookup: Lookup) -> Sequence[Task] | None:
        if self._clock.now() < self._silent_until:
            raise ServiceUnavailable("no connection", reason=LaneReason.SERVICE_UNREACHABLE)
        return super().find_submission(lookup)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a history's files: tasks beyond one each, files without one, files left to the operator."""

    duplicates: int
    lost: int
    held: int


class Life:
    """One history, lived on a bench of its own."""

    def __init__(self, base: Path, history: History, policy: Policy) -> None:
        base.mkdir()
        self._policy = policy
        self._kills_left = int(history.killed_in_quiet)
        self.bench = Workbench(
            base,
            watch_folder(base, output=None, settle=0.0),
            retry=RetrySettings(first=1.0, max=8.0, unknown_wait=policy.unknown_wait),
        )
        self.service = FollowingService(self.bench.clock, history=history)
        self.bench.service = self.service
        for number in range(len(history.files)):
            self.bench.drop(f"{number}/same.pdf", pdf(f"document {number}"))
        self.bench.start()
        self.bench.scan()

    def lived(self) -> Outcome:
        """Live until every file is decided, and as long as a task may still come."""
        end = self.bench.clock.now() + PATIENCE
        while self.bench.clock.now() < end:
            try:
                self._step()
            except Killed:
                self._restart()
            if self._is_over():
                break
            self.bench.clock.advance(STEP)
        return self._outcome()

    def _step(self) -> None:
        """Let each of the stages do what is due, as their loops would."""
        self.bench.detects[0].look_at_due()
        while record := self._claimed():
            sent = self.bench.parts.submit.work(self.bench.inboxes[0], record, stays=lambda: False)
            if sent.state is FileState.UNKNOWN and not self._policy.asks:
                self.bench.parts.submit.preparing.put_back(sent, "sent again at once")
        if self._policy.asks:
            try:
                self.bench.parts.unknown.work(self.bench.folder.name)
            except ServiceUnavailable:
                return
        if self._kills_left and self._quiet_for() >= self._policy.unknown_wait / 2:
            self._kills_left -= 1
            raise Killed("in the quiet time")

    def _claimed(self) -> FileRecord | None:
        return self.bench.parts.ledger.claim(self.bench.folder.name, claimed_by="a life", now=self.bench.clock.now())

    def _quiet_for(self) -> float:
        since = [record.state_at for record in self.bench.ledger.find_files(states=[FileState.UNKNOWN])]
        return self.bench.clock.now() - min(since) if since else -1.0

    def _restart(self) -> None:
        self.bench.start()
        self.bench.recover()
        if not self._policy.asks:
            for record in self.bench.ledger.find_files(states=[FileState.UNKNOWN]):
                self.bench.parts.submit.preparing.put_back(record, "sent again at once")
        self.bench.scan()

    def _is_over(self) -> bool:
        under_way = (FileState.WAITING, FileState.STALLED, FileState.SENDING, FileState.UNKNOWN)
        return not self.service.is_owing and not self.bench.ledger.find_files(states=under_way)

    def _outcome(self) -> Outcome:
        self.service.tasks()  # what is due by now has come
        files = self.bench.files()
        tasks = Counter(submission.upload.key for submission in self.service.submissions)
        lost = sum(
            not record.task_id or self.service.submission_of(record.task_id).upload.key != record.key
            for record in files
            if record.state is not FileState.HELD
        )
        held = sum(record.state is FileState.HELD for record in files)
        return Outcome(sum(tasks.values()) - len(tasks), lost, held)


def live(base: Path, history: History, policy: Policy) -> Outcome:
    """Live one history under a policy."""
    return Life(base, history, policy).lived()
