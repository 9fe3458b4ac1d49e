"""Many files, a service that fails in every way it can, and processes that are killed all the time: nothing is lost,
nothing is sent twice, and every export is there once.

Each story is drawn from a seed; a seed that fails is a test case by itself.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from fakes.memory_service import AfterActing
from fakes.workbench import Killed, Lifeline, Workbench, make_folders_mortal, pdf, watch_folder

from agent.errors import (
    CredentialsRefused,
    OutcomeUnknown,
    ServiceUnavailable,
    SetupRefused,
    TaskMoved,
    TaskTransient,
)
from agent.model import FileState, LaneReason, TaskState

if TYPE_CHECKING:
    from pathlib import Path

    from agent.errors import AgentError

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


@pytest.mark.parametrize("seed", range(24))
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


def assert_all_is_well(bench: Workbench) -> None:
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
    outputs = bench.contents("output")
    assert {name: outputs[name] for name in outputs if name.endswith(".pdf")} == {path: pdf(path) for path in PATHS}
    assert len(outputs) == 2 * len(PATHS)
