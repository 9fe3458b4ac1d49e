"""The model test: people, faults and kills in any order, against what must hold whatever they do.

Hypothesis draws a story step by step: files are dropped, written over, replaced, renamed, copied, deleted; the service
fails, loses answers, accepts late; the agent works loop by loop and is killed at any boundary, while it recovers too;
its configuration changes; people retry, resolve, read exports. After every step `World.holds`; at the end all faults
cease, everything comes to rest and is judged as a whole. A story that fails is shrunk and becomes a plain test.

The stories of the ordinary run are always the same. By hand, as many others as you like:

    FAULTS_STORIES=5000 python -m pytest tests/faults/test_model.py -n 0

draws that many new ones for each test, and prints what reproduces one that fails (`@reproduce_failure`).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from fakes.memory_service import AfterActing
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent.errors import (
    CredentialsRefused,
    FileRefused,
    OutcomeUnknown,
    ServiceUnavailable,
    SetupRefused,
    TaskFatal,
    TaskMoved,
    TaskTransient,
)
from agent.export.writing import Writing
from agent.folders import publishing
from agent.model import LaneReason, Reason, ServiceTaskState
from agent.submission.unknown import Unknown
from faults.late_service import Late
from faults.model import FIRST, LATEST, LONGEST_LAG, SECOND, World
from faults.resting import bring_to_rest, judged

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.errors import AgentError
    from agent.model import TaskRecord, WatchFolder
    from faults.points import Sweep

STORIES = int(os.environ.get("FAULTS_STORIES", "0"))
"""How many new stories each test draws, by hand; 0: the same as always."""
pytestmark = pytest.mark.timeout(0 if STORIES else 300)
STEPS = 40
STEPS_BY_HAND = 60

PATHS = ("a.pdf", "sub/a.pdf", "b.pdf", "sub/deep/ä &=%.pdf")
DOWN = ServiceUnavailable("no connection", reason=LaneReason.SERVICE_UNREACHABLE)
BUSY = ServiceUnavailable("429", reason=LaneReason.RATE_LIMITED, retry_after=5.0)
LOST = OutcomeUnknown("504")
DENIED = CredentialsRefused("401", reason=LaneReason.CREDENTIALS_REFUSED)
WRONG = SetupRefused("403", reason=LaneReason.SETUP_REFUSED)
REFUSED = FileRefused("no pages", reason=Reason.REFUSED_BY_SERVICE)
FATAL = TaskFatal("no such specification")

TROUBLE: tuple[tuple[str, AgentError | AfterActing], ...] = (
    *(("submit", outcome) for outcome in (DOWN, BUSY, LOST, AfterActing(LOST), DENIED, WRONG, REFUSED)),
    *(("submit", Late(LOST, after)) for after in (1.0, LATEST)),
    *((call, DOWN) for call in ("find_submission", "find_ready", "find_ended", "get_task", "cancel_task")),
    *(("start_export", outcome) for outcome in (DOWN, AfterActing(DOWN), TaskMoved("409"), AfterActing(FATAL))),
    *(("download", outcome) for outcome in (DOWN, TaskTransient("cut"))),
    *(("complete_export", outcome) for outcome in (DOWN, AfterActing(DOWN), DENIED)),
    *(("cancel_export", outcome) for outcome in (DOWN, AfterActing(DOWN))),
    *(("fail_export", outcome) for outcome in (DOWN, AfterActing(DOWN))),
    *(("cancel_task", outcome) for outcome in (TaskMoved("409"), AfterActing(DOWN))),
)

folders = st.sampled_from((FIRST, FIRST, SECOND))
paths = st.sampled_from(PATHS)
which = st.integers(0, 7)
boundaries = st.integers(0, 60)
steps = st.sampled_from(("scan", "look", "send", "aftercare", "export", "round"))
waits = st.sampled_from((0.5, 1.0, 3.0, 30.0, 2000.0))


class Promise(RuleBasedStateMachine):
    """One story."""

    real_ledger: ClassVar[bool] = False
    stories: ClassVar[int] = 0
    kills: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.monkeypatch = pytest.MonkeyPatch()
        self.base = Path(tempfile.mkdtemp(prefix="fsagent-model-"))
        self.world: World | None = None

    @property
    def there(self) -> World:
        """The world of this story."""
        assert self.world is not None
        return self.world

    @initialize(across_devices=st.booleans(), lag=st.sampled_from((0.0, 4.0, LONGEST_LAG)), processing=st.booleans())
    def begin(self, *, across_devices: bool, lag: float, processing: bool) -> None:
        self.world = World(self.base, self.monkeypatch, real_ledger=self.real_ledger, across_devices=across_devices)
        self.world.service.list_delay = lag
        self.world.service.processing_time = 7.0 if processing else 0.0

    # --- people -------------------------------------------------------------------------------------------------------

    @rule(folder=folders, path=paths)
    def drop(self, folder: str, path: str) -> None:
        self.there.drop(folder, path)

    @rule(folder=folders, path=paths)
    def drop_half(self, folder: str, path: str) -> None:
        self.there.drop(folder, path, is_whole=False)

    @rule(number=which, path=paths, act=st.sampled_from(("rewrite", "replace", "delete", "rename", "copy")))
    def touch(self, number: int, path: str, act: str) -> None:
        self._touch(number, path, act)

    @rule(
        number=which, path=paths, act=st.sampled_from(("rewrite", "replace", "delete", "rename", "scan", "aftercare"))
    )
    def touch_while_it_is_sent(self, number: int, path: str, act: str) -> None:
        self.there.service.meanwhile.append(lambda: self._touch(number, path, act))

    def _touch(self, number: int, path: str, act: str) -> None:
        world = self.there
        if act in {"scan", "aftercare"}:
            world.step(act)
            return
        found = world.inbox_files()
        if not found:
            return
        folder, file = found[number % len(found)]
        acts: dict[str, Callable[[], None]] = {
            "rewrite": lambda: world.rewrite(folder, file),
            "replace": lambda: world.replace(folder, file),
            "delete": lambda: world.delete(folder, file),
            "rename": lambda: world.rename(folder, file, path),
            "copy": lambda: world.copy(folder, file, path),
        }
        acts[act]()

    @rule()
    def read_exports(self) -> None:
        self.there.read_exports()

    # --- the service --------------------------------------------------------------------------------------------------

    @rule(trouble=st.lists(st.sampled_from(TROUBLE), min_size=1, max_size=3))
    def trouble(self, trouble: list[tuple[str, AgentError | AfterActing]]) -> None:
        for call, outcome in trouble:
            self.there.service.script(call, outcome)

    @rule(number=which)
    def fail_a_task(self, number: int) -> None:
        service = self.there.service
        open_states = {ServiceTaskState.QUEUED, ServiceTaskState.PENDING_START}
        tasks = [task.id for task in service.tasks() if task.state in open_states and self._is_unwritten(task.id)]
        if tasks:
            service.fail(tasks[number % len(tasks)])

    def _is_unwritten(self, task_id: str) -> bool:
        """Tell whether nothing of a task's export can be visible: it would have been the agent's to complete."""
        row = self.there.bench.ledger.task(task_id)
        return row is None or not row.staged

    # --- the agent ----------------------------------------------------------------------------------------------------

    @rule(step=steps, kill_at=st.one_of(st.just(0), boundaries))
    def work(self, step: str, kill_at: int) -> None:
        self.there.living(lambda: self.there.step(step), kill_at)

    @rule(rounds=st.integers(1, 4))
    def work_on(self, rounds: int) -> None:
        for _ in range(rounds):
            self.there.round()

    @rule(kill_at=st.integers(1, 150), again_at=st.integers(0, 20))
    def work_until_killed(self, kill_at: int, again_at: int) -> None:
        world = self.there
        for _ in range(4):
            if not world.living(world.round, kill_at):
                world.restart(kill_at=again_at)
                return

    @rule(kill_at=st.integers(0, 20))
    def restart(self, kill_at: int) -> None:
        self.there.restart(kill_at)

    @rule(
        settle=st.sampled_from((0.0, 3.0)),
        connections=st.sampled_from((1, 4)),
        skip=st.booleans(),
        second=st.booleans(),
        renamed=st.booleans(),
    )
    def reconfigure(self, settle: float, connections: int, *, skip: bool, second: bool, renamed: bool) -> None:
        self.there.reconfigure(settle=settle, connections=connections, skip=skip, second=second, renamed=renamed)

    @rule(seconds=waits)
    def pass_time(self, seconds: float) -> None:
        self.there.bench.clock.advance(seconds)

    @rule(days=st.sampled_from((1, 4)))
    def stand_still(self, days: int) -> None:
        """Switch the machine off for days."""
        self.there.bench.clock.advance(days * 86400.0)
        self.there.restart()

    # --- the operator -------------------------------------------------------------------------------------------------

    @rule(kill_at=boundaries)
    def retry(self, kill_at: int) -> None:
        self.there.living(self.there.retry, kill_at)

    @precondition(lambda self: self.world is not None and self.world.held())
    @rule(reject=st.booleans(), kill_at=boundaries)
    def resolve(self, kill_at: int, *, reject: bool) -> None:
        held = self.there.held()[0]
        self.there.living(lambda: self.there.resolve(held, reject=reject), kill_at)

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        if self.world is not None:
            assert self.world.holds() == []

    def teardown(self) -> None:
        try:
            if self.world is not None:
                self._rest(self.world)
        finally:
            if self.world is not None:
                self.world.close()
            self.monkeypatch.undo()
            shutil.rmtree(self.base)

    def _rest(self, world: World) -> None:
        if world.holds():
            return  # the invariant has said so
        bring_to_rest(world)
        assert judged(world) == []
        Promise.stories += 1
        Promise.kills += world.kills


class WithTheRealLedger(Promise):
    """The same over SQLite."""

    real_ledger = True


def tell(machine: type[Promise], *, stories: int, number: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """Let Hypothesis draw that many stories, from a seed or, by hand, any."""
    Promise.stories = Promise.kills = 0

    class Machine(machine):  # type: ignore[valid-type, misc]  # a class of its own, since the seed is kept on it
        pass

    story = Machine if STORIES else seed(number)(Machine)
    run_state_machine_as_test(
        story,
        settings=settings(
            max_examples=STORIES or stories,
            stateful_step_count=STEPS_BY_HAND if STORIES else STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def tell_and_count(machine: type[Promise], points: Sweep, *, stories: int, number: int) -> None:
    """Tell stories and count those that were judged; a story that fails ends the test."""
    try:
        tell(machine, stories=stories, number=number)
    finally:
        points.tried = points.reached = Promise.stories
    points.conclude(at_least=STORIES or stories)
    assert Promise.kills > points.tried / 4, f"{points}: only {Promise.kills} kills"


@pytest.mark.parametrize("number", range(4))
def test_whatever_people_faults_and_kills_do_the_promise_is_kept(sweep: Callable[[str], Sweep], number: int) -> None:
    tell_and_count(Promise, sweep("stories of the model"), stories=90, number=number)


@pytest.mark.parametrize("number", range(2))
def test_whatever_they_do_it_is_kept_with_the_real_ledger(sweep: Callable[[str], Sweep], number: int) -> None:
    tell_and_count(WithTheRealLedger, sweep("stories of the model, real ledger"), stories=25, number=100 + number)


# --- the model can fail -----------------------------------------------------------------------------------------------


def sends_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every unknown outcome for "not accepted"."""
    monkeypatch.setattr(Unknown, "_look_up", lambda self, record, *_: self._send_again(record))


def completes_what_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync no folder before the service is told that it may delete its copy."""
    monkeypatch.setattr(publishing, "sync_folders", lambda *_: None)


def completes_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell the service first, and write afterwards."""
    publish = Writing.publish

    def published(self: Writing, folder: WatchFolder, record: TaskRecord) -> TaskRecord:
        self._service.complete_export(record.task_id)
        return publish(self, folder, record)

    monkeypatch.setattr(Writing, "publish", published)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (sends_again_at_once, "does not know the task|tasks with the key|sent too often"),
        (completes_what_is_not_synced, "is completed, and of"),
        (completes_what_is_not_there, "is completed without"),
    ],
)
def test_the_model_finds_an_agent_that(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[pytest.MonkeyPatch], None], complaint: str
) -> None:
    broken(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)) as found:
        tell(Promise, stories=60, number=1, phases=(Phase.generate,))
    failures = found.value.exceptions if isinstance(found.value, ExceptionGroup) else [found.value]
    assert any(re.search(complaint, str(failure)) for failure in failures), failures
