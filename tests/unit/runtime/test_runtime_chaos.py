"""Many files, a service, disks and a ledger that fail in every way they can, processes that are killed all the time,
readers who take what they find: nothing is lost, nothing is sent twice, and every export is there once.

Each story is drawn from a seed; a seed that fails is a test case by itself.
"""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import Killed, Lifeline, Workbench, make_folders_mortal, pdf, watch_folder

from agent.errors import (
    CredentialsRefused,
    LaneTrouble,
    LedgerUnavailable,
    OutcomeUnknown,
    ServiceUnavailable,
    SetupRefused,
    StaleRecord,
    TaskMoved,
    TaskTransient,
)
from agent.folders import system
from agent.model import FileState, LaneReason, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.errors import AgentError

SLOWNESS = 1 if os.open in os.supports_dir_fd else 8
"""Where folders are walked by paths (Windows, Wine) every story takes ten times as long: a few have to do."""
PATHS = ("a.pdf", "sub/a.pdf", "sub/deep/a.pdf", "b.pdf", "sub/c.pdf")
DOWN = ServiceUnavailable("no connection", reason=LaneReason.SERVICE_UNREACHABLE)
BUSY = ServiceUnavailable("429", reason=LaneReason.RATE_LIMITED, retry_after=5.0)
LOST = OutcomeUnknown("504")
WRONG = SetupRefused("403", reason=LaneReason.SETUP_REFUSED)
REFUSED = CredentialsRefused("401", reason=LaneReason.CREDENTIALS_REFUSED)

TROUBLE: dict[str, list[AgentError | AfterActing | None]] = {
    "submit": [None, None, DOWN, BUSY, LOST, AfterActing(LOST), WRONG, REFUSED],
    "find_submission": [None, None, DOWN],
    "find_ready": [None, None, DOWN, REFUSED],
    "find_ended": [None, None, DOWN],
    "get_task": [None, None, DOWN],
    "start_export": [None, None, DOWN, AfterActing(DOWN), TaskMoved("409")],
    "download": [None, None, DOWN, TaskTransient("cut")],
    "complete_export": [None, None, DOWN, AfterActing(DOWN)],
    "cancel_export": [None, None, DOWN, AfterActing(DOWN)],
}


@pytest.mark.parametrize("seed", range(24 // SLOWNESS))
def test_every_file_becomes_one_task_one_archived_file_and_one_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    lifeline = Lifeline()
    make_folders_mortal(monkeypatch, lifeline)
    bench = Workbench(tmp_path, watch_folder(tmp_path, export={"retry_delay": 3.0, "max_attempts": 1000}))
    bench.lifeline = lifeline
    bench.service.list_delay = chance.choice([0.0, 4.0, 12.0])  # shorter than unknown_wait, as it must be
    bench.service.processing_time = chance.choice([0.0, 7.0])
    for path in PATHS:
        bench.drop(path)
    for call, outcomes in TROUBLE.items():
        bench.service.script(call, *chance.choices(outcomes, k=chance.randrange(8)))
    for _ in range(chance.randrange(1, 12)):
        lifeline.renew(chance.randrange(1, 150))
        bench.start()
        bench.clock.advance(chance.choice([0.0, 1.0, 30.0]))
        try:
            bench.recover()
            bench.rounds(chance.randrange(2, 25))
        except Killed:
            continue
    lifeline.renew()
    bench.start()
    bench.run(most=2500)
    assert_all_is_well(bench)


class Weather:
    """Disks and a ledger that fail now and then, and a reader who takes exports away, until it clears up."""

    def __init__(self, bench: Workbench, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.chance = chance
        self.is_bad = False
        self.read: Counter[str] = Counter()
        self.taken: dict[str, bytes] = {}
        for name in ("create", "rename", "replace", "unlink", "make_deeper", "sync"):
            monkeypatch.setattr(system.Folder, name, self.on_a_disk(getattr(system.Folder, name)))
        monkeypatch.setattr(bench.ledger, "commit", self.in_a_ledger(bench.ledger.commit))
        monkeypatch.setattr(bench.ledger, "claim", self.in_a_ledger(bench.ledger.claim))

    def on_a_disk(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*arguments: Any, **keywords: Any) -> Any:
            if self.is_bad and self.chance.random() < 0.03:
                number = self.chance.choice([errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE])
                raise OSError(number, os.strerror(number))
            return act(*arguments, **keywords)

        return acted

    def in_a_ledger(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*arguments: Any, **keywords: Any) -> Any:
            if self.is_bad and self.chance.random() < 0.03:
                raise LedgerUnavailable("the disk is full")
            return act(*arguments, **keywords)

        return acted

    def read_outputs(self) -> None:
        """Take what is visible, as a reader does who waits for nothing."""
        for name, content in self.bench.contents("output").items():
            if not name.rpartition("/")[2].startswith("."):
                self.read[name] += 1
                self.taken[name] = content
                (self.bench.place("output") / name).unlink()

    def round(self) -> None:
        """Let every loop run once, as its worker would: what a step raises is heard and it runs again."""
        bench = self.bench
        for step in (bench.scan, bench.send, bench.aftercare.step, bench.export_loop.step):
            try:
                step()
            except (LedgerUnavailable, StaleRecord, LaneTrouble):
                continue
        bench.clock.advance(1.0)
        if self.chance.random() < 0.3:
            self.read_outputs()


@pytest.mark.parametrize("seed", range(16 // SLOWNESS))
def test_in_any_weather_every_file_becomes_one_task_one_archived_file_and_one_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    lifeline = Lifeline()
    bench = Workbench(tmp_path, watch_folder(tmp_path, export={"retry_delay": 3.0, "max_attempts": 1000}))
    weather = Weather(bench, chance, monkeypatch)
    make_folders_mortal(monkeypatch, lifeline)
    bench.lifeline = lifeline
    for path in PATHS:
        bench.drop(path)
    for call, outcomes in TROUBLE.items():
        bench.service.script(call, *chance.choices(outcomes, k=chance.randrange(4)))
    for _ in range(chance.randrange(2, 8)):
        lifeline.renew(chance.randrange(30, 400))
        weather.is_bad = False
        bench.start()
        try:
            bench.recover()
            weather.is_bad = True
            for _ in range(chance.randrange(5, 40)):
                weather.round()
        except Killed:
            continue
    weather.is_bad = False
    lifeline.renew()
    bench.start()
    bench.run(most=2500)
    weather.read_outputs()
    assert_sent_and_filed_once(bench)
    assert weather.read == Counter(
        {path.replace(".pdf", extension): 1 for path in PATHS for extension in (".pdf", ".csv")}
    )
    assert {path: weather.taken[path] for path in PATHS} == {path: pdf(path) for path in PATHS}


def assert_all_is_well(bench: Workbench) -> None:
    assert_sent_and_filed_once(bench)
    outputs = bench.contents("output")
    assert {name: outputs[name] for name in outputs if name.endswith(".pdf")} == {path: pdf(path) for path in PATHS}
    assert len(outputs) == 2 * len(PATHS)


def assert_sent_and_filed_once(bench: Workbench) -> None:
    assert Counter(submission.content for submission in bench.service.submissions) == {pdf(path): 1 for path in PATHS}
    assert {record.relative_path: (record.state, record.filed_as) for record in bench.files()} == {
        path: (FileState.ARCHIVED, path) for path in PATHS
    }
    tasks = bench.ledger.find_tasks()
    assert {task.file_key for task in tasks} == {record.key for record in bench.files()}
    assert {task.state for task in tasks} == {TaskState.EXPORTED}
    assert all(bench.service.actions(task.task_id).count("complete") == 1 for task in tasks)
    assert bench.contents("inbox") == bench.contents("error") == bench.contents("output/error") == {}
    assert bench.contents("archive") == {path: pdf(path) for path in PATHS}
