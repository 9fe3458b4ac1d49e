"""Root guards: a lane that waits for its root, says why, and goes on by itself."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from fakes.workbench import Workbench

from agent.errors import LaneTrouble, LocalTrouble
from agent.folders.roots import MARKER
from agent.model import LaneReason, RootKind
from agent.runtime.operations import Operations
from agent.runtime.roots import ANSWER_PATIENCE, LOOK_AGAIN, FirstLook, RootGuard, RootWatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from agent.runtime.lanes import Lane

KINDS = [RootKind.INBOX, RootKind.OUTPUT]


class Guarded:
    """One root with its guard and lane."""

    def __init__(self, bench: Workbench, kind: RootKind) -> None:
        self.bench = bench
        self.root = bench.place(kind.value)
        self.kind = kind
        lanes = bench.parts.lanes
        self.lane: Lane = lanes.submission("invoices") if kind is RootKind.INBOX else lanes.export("invoices")
        self.guard = self.again()

    def again(self) -> RootGuard:
        return RootGuard(self.bench.folder, self.kind, ledger=self.bench.ledger, lane=self.lane)

    def reason(self) -> LaneReason | None:
        return self.lane.state.reason


@pytest.fixture(params=KINDS, ids=lambda kind: kind.value)
def guarded(tmp_path: Path, request: pytest.FixtureRequest) -> Guarded:
    return Guarded(Workbench(tmp_path), request.param)


def test_a_root_seen_for_the_first_time_is_marked_and_remembered(guarded: Guarded) -> None:
    assert guarded.guard.check()
    known = guarded.bench.ledger.root("invoices", guarded.kind)
    assert known is not None
    assert (known.path, known.marked) == (str(guarded.root), True)
    assert (guarded.root / MARKER).read_text(encoding="ascii").strip() == guarded.bench.ledger.ledger_id


def test_a_healthy_root_costs_the_ledger_no_write(guarded: Guarded) -> None:
    guarded.guard.check()
    commits = []
    guarded.bench.ledger.commit = lambda *changes: commits.append(changes)  # type: ignore[method-assign]  # counts
    for _ in range(5):
        assert guarded.guard.check()
    assert commits == []


def test_a_root_that_is_away_makes_the_lane_wait_and_coming_back_opens_it(guarded: Guarded) -> None:
    guarded.guard.check()
    away = guarded.bench.base / "away"
    guarded.root.rename(away)
    assert not guarded.guard.check()
    missing = {RootKind.INBOX: LaneReason.INBOX_MISSING, RootKind.OUTPUT: LaneReason.OUTPUT_MISSING}
    assert guarded.reason() is missing[guarded.kind]
    assert guarded.lane.state.hint
    away.rename(guarded.root)
    assert guarded.guard.check()
    assert (guarded.reason(), guarded.lane.enter()) == (None, True)


def test_another_folder_in_its_place_is_not_touched(guarded: Guarded) -> None:
    guarded.guard.check()
    guarded.root.rename(guarded.bench.base / "away")
    guarded.root.mkdir()
    assert not guarded.guard.check()
    assert guarded.reason() is LaneReason.ROOT_CHANGED
    assert list(guarded.root.iterdir()) == []


def test_a_marker_that_was_deleted_is_written_again(guarded: Guarded) -> None:
    guarded.guard.check()
    (guarded.root / MARKER).unlink()
    assert guarded.guard.check()
    assert (guarded.root / MARKER).exists()


def test_a_root_of_another_agent_is_left_alone(guarded: Guarded) -> None:
    (guarded.root / MARKER).write_text("f" * 32 + "\n", encoding="ascii")
    assert not guarded.guard.check()
    assert guarded.reason() is LaneReason.OWNED_BY_OTHER_AGENT
    assert (guarded.root / MARKER).read_text(encoding="ascii").startswith("ffff")


def test_what_an_operator_adopted_is_worked_on_without_a_restart(guarded: Guarded) -> None:
    (guarded.root / MARKER).write_text("f" * 32 + "\n", encoding="ascii")
    guarded.guard.check()
    Operations(
        guarded.bench.settings,
        ledger=guarded.bench.ledger,
        clock=guarded.bench.clock,
        file_away=guarded.bench.parts.file_away,
    ).adopt(folder="invoices")
    assert guarded.guard.check()
    assert guarded.reason() is None


def test_since_says_when_it_began_however_often_it_is_looked_at(guarded: Guarded) -> None:
    guarded.guard.check()
    guarded.root.rename(guarded.bench.base / "away")
    guarded.guard.check()
    began = guarded.bench.clock.now()
    for _ in range(5):
        guarded.bench.clock.advance(LOOK_AGAIN)
        guarded.guard.check()
    assert guarded.lane.state.since == began


def test_while_the_root_is_away_nobody_works_there(guarded: Guarded) -> None:
    guarded.guard.check()
    guarded.root.rename(guarded.bench.base / "away")
    for _ in range(20):
        guarded.guard.check()
        guarded.bench.clock.advance(2.0)
        assert not guarded.lane.enter()


def test_a_healthy_root_does_not_open_a_lane_that_waits_for_something_else(guarded: Guarded) -> None:
    guarded.guard.check()
    guarded.lane.failed(LocalTrouble("full", reason=LaneReason.DISK_FULL))
    assert guarded.guard.check()
    assert guarded.reason() is LaneReason.DISK_FULL


def test_a_new_process_knows_the_root_again(guarded: Guarded) -> None:
    guarded.guard.check()
    guarded.root.rename(guarded.bench.base / "away")
    guarded.root.mkdir()
    assert not guarded.again().check()
    assert guarded.reason() is LaneReason.ROOT_CHANGED


# --- roots that do not answer -----------------------------------------------------------------------------------------


class Share:
    """An output whose look comes to no end while it hangs."""

    def __init__(self, bench: Workbench) -> None:
        self.clock = bench.process_clock
        self.lane = bench.parts.lanes.export("invoices")
        self.asked = threading.Event()
        self.answered = threading.Event()
        self.changes = 0
        self.returns = 0
        self.watch = RootWatch(
            self._look,
            lane=self.lane,
            reason=LaneReason.OUTPUT_MISSING,
            what="The output /srv/exports",
            clock=self.clock,
            changed=self._change,
            answers_again=self._return,
        )

    def _look(self) -> bool:
        self.asked.set()
        return self.answered.wait(10.0)

    def _change(self) -> None:
        self.changes += 1

    def _return(self) -> None:
        self.returns += 1

    @contextmanager
    def hanging(self) -> Iterator[threading.Thread]:
        """Look in a thread of its own, which ends with the block, and long enough ago."""
        thread = threading.Thread(target=self.watch.step)
        thread.start()
        assert self.asked.wait(10.0)
        self.clock.advance(ANSWER_PATIENCE + 1.0)
        try:
            yield thread
        finally:
            self.answered.set()
            thread.join(10.0)


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(Workbench(tmp_path))


def test_a_root_nobody_has_looked_at_yet_is_not_healthy(share: Share) -> None:
    assert not share.watch.is_healthy()


def test_a_root_that_answers_is_healthy_and_whoever_waits_for_it_is_woken(share: Share) -> None:
    share.answered.set()
    share.watch.step()
    share.watch.step()
    assert (share.watch.is_healthy(), share.changes, share.returns) == (True, 1, 0)


def test_a_root_that_does_not_answer_makes_its_lane_wait_and_say_so(share: Share) -> None:
    with share.hanging():
        assert share.watch.supervise()
        assert not share.watch.is_healthy()
        assert share.lane.state.reason is LaneReason.OUTPUT_MISSING
        assert "/srv/exports has not answered for more than 10 s" in share.lane.state.detail


def test_once_it_answers_again_its_lane_opens(share: Share) -> None:
    with share.hanging():
        share.watch.supervise()
    assert (share.watch.is_healthy(), share.lane.state.reason) == (True, None)
    assert not share.watch.supervise()
    assert share.returns == 1


def test_a_root_that_answers_at_the_moment_its_silence_is_noted_does_not_stay_noted(
    share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = share.lane.failed
    with share.hanging() as looking:

        def late(trouble: LaneTrouble) -> None:
            share.answered.set()
            looking.join(10.0)
            failed(trouble)

        monkeypatch.setattr(share.lane, "failed", late)
        share.watch.supervise()
    share.watch.step()
    assert (share.watch.is_healthy(), share.lane.state.reason) == (True, None)


def test_a_root_that_takes_its_time_is_not_silent(share: Share) -> None:
    thread = threading.Thread(target=share.watch.step)
    thread.start()
    assert share.asked.wait(10.0)
    share.clock.advance(ANSWER_PATIENCE - 1.0)
    assert not share.watch.supervise()
    share.answered.set()
    thread.join(10.0)


def test_a_folder_that_does_not_answer_a_command_is_asked_once_and_what_lies_in_it_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = [], threading.Event()
    scandir = os.scandir

    def hanging(path: Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        asked.append(path)
        answered.wait(10.0)
        return scandir(path)

    look = FirstLook(patience=0.05)
    monkeypatch.setattr(os, "scandir", hanging)
    try:
        said = {look.silence(path) for path in (tmp_path, tmp_path, tmp_path / "error")}
    finally:
        answered.set()
    assert said == {f"{tmp_path} has not answered for more than 0.05 s"}
    assert asked == [tmp_path]


def test_a_folder_that_answers_a_command_is_not_silent_though_it_is_not_there(tmp_path: Path) -> None:
    look = FirstLook()
    assert [look.silence(tmp_path), look.silence(tmp_path / "away")] == ["", ""]
