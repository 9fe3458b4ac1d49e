from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import FileRecord, FileState, Sighting, Signature
from agent.rules.settling import LONGEST_PAUSE, Observation, SettleTracker, Verdict

TRACKER = SettleTracker(settle=2.0, stalled_after=60.0, give_up_after=1800.0)
SIGNATURE = Signature("1:2", 100, 5)


def sighting(**changes: object) -> Sighting:
    return Sighting("a.pdf", replace(SIGNATURE, **changes))  # type: ignore[arg-type]  # fields by name


def at_rest(since: float, looks: int = 2) -> Observation:
    return Observation(SIGNATURE, since=since, look_at=since, looks=looks)


def test_the_first_look_waits_until_settle_is_over() -> None:
    seen, verdict = TRACKER.observe(sighting(), 100.0, before=None)
    assert verdict is Verdict.WAITING
    assert seen == Observation(SIGNATURE, since=100.0, look_at=102.0, looks=1)


def test_a_file_unchanged_when_settle_is_over_is_ready() -> None:
    first, _ = TRACKER.observe(sighting(), 100.0, before=None)
    second, verdict = TRACKER.observe(sighting(), first.look_at, before=first)
    assert verdict is Verdict.READY
    assert (second.since, second.looks) == (100.0, 2)


def test_a_look_before_settle_is_over_changes_nothing_but_the_count() -> None:
    first, _ = TRACKER.observe(sighting(), 100.0, before=None)
    second, verdict = TRACKER.observe(sighting(), 101.0, before=first)
    assert verdict is Verdict.WAITING
    assert second == replace(first, looks=2)


@pytest.mark.parametrize("change", [{"size": 101}, {"modified_ns": 6}, {"identity": "1:3"}])
def test_a_change_of_size_time_or_identity_begins_anew(change: dict[str, object]) -> None:
    seen, verdict = TRACKER.observe(sighting(**change), 200.0, before=at_rest(100.0, looks=9))
    assert verdict is Verdict.WAITING
    assert (seen.since, seen.looks, seen.look_at) == (200.0, 1, 202.0)


def test_a_time_of_another_process_begins_anew() -> None:
    seen, verdict = TRACKER.observe(sighting(), 10.0, before=at_rest(5000.0))
    assert verdict is Verdict.WAITING
    assert seen.since == 10.0


def test_with_settle_0_the_first_look_is_enough() -> None:
    _, verdict = SettleTracker(0.0, 60.0).observe(sighting(), 100.0, before=None)
    assert verdict is Verdict.READY


def test_with_settle_0_a_known_writer_still_counts() -> None:
    seen, verdict = SettleTracker(0.0, 60.0).observe(sighting(), 100.0, before=None, held="open for writing")
    assert verdict is Verdict.WAITING
    assert seen.look_at > 100.0


@pytest.mark.parametrize("trouble", [{"held": "locked"}, {"whole": False}])
def test_what_cannot_be_taken_waits_until_it_counts_as_stalled(trouble: dict[str, object]) -> None:
    _, before = TRACKER.observe(sighting(), 159.9, before=at_rest(100.0), **trouble)  # type: ignore[arg-type]  # by name
    _, after = TRACKER.observe(sighting(), 160.0, before=at_rest(100.0), **trouble)  # type: ignore[arg-type]  # by name
    assert (before, after) == (Verdict.WAITING, Verdict.STALLED)


def test_a_file_that_is_not_whole_is_given_up_in_the_end() -> None:
    _, verdict = TRACKER.observe(sighting(), 1900.0, before=at_rest(100.0), whole=False)
    assert verdict is Verdict.GIVEN_UP


def test_a_file_that_is_held_is_never_given_up() -> None:
    _, verdict = TRACKER.observe(sighting(), 90000.0, before=at_rest(100.0), held="locked", whole=False)
    assert verdict is Verdict.STALLED


def test_with_give_up_never_a_file_stays_stalled() -> None:
    _, verdict = SettleTracker(2.0, 60.0, None).observe(sighting(), 1e9, before=at_rest(0.0), whole=False)
    assert verdict is Verdict.STALLED


def test_a_stalled_file_that_became_free_is_ready() -> None:
    _, verdict = TRACKER.observe(sighting(), 500.0, before=at_rest(100.0), whole=True)
    assert verdict is Verdict.READY


def test_a_verdict_after_the_content_check_counts_no_look() -> None:
    seen, verdict = TRACKER.judge(at_rest(100.0), 110.0, whole=False)
    assert verdict is Verdict.WAITING
    assert seen.looks == 2


def test_an_empty_or_mistyped_file_may_be_judged_once_stalled() -> None:
    assert [TRACKER.is_stalled(at_rest(100.0), now) for now in (159.0, 160.0)] == [False, True]


def test_looks_at_a_stalled_file_grow_rarer_up_to_a_bound() -> None:
    now, seen, pauses = 102.0, at_rest(100.0), []
    while now < 1000.0:
        seen, _ = TRACKER.observe(sighting(), now, before=seen, held="locked")
        pauses.append(seen.look_at - now)
        now = seen.look_at
    assert pauses[-1] == LONGEST_PAUSE
    assert len(pauses) < 60


@given(
    settle=st.just(0.0) | st.floats(0.001, 100),
    stalled_after=st.floats(0, 1000),
    give_up_after=st.none() | st.floats(0, 5000),
    start=st.floats(0, 1e7),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_looking_only_when_due_ends_on_time_and_never_spins(
    settle: float, stalled_after: float, give_up_after: float | None, start: float
) -> None:
    tracker = SettleTracker(settle, stalled_after, give_up_after)
    now, seen, verdict, looks = start, None, Verdict.WAITING, 0
    end = start + max(settle, stalled_after if give_up_after is None else give_up_after)
    while verdict is not Verdict.GIVEN_UP and now <= end:
        seen, verdict = tracker.observe(sighting(), now, before=seen, whole=False)
        looks += 1
        assert verdict is Verdict.GIVEN_UP or now < seen.look_at <= now + max(LONGEST_PAUSE, settle)
        now = seen.look_at
    assert (verdict is Verdict.GIVEN_UP) is (give_up_after is not None)
    assert looks < 250


def test_an_observation_lives_in_a_row_of_the_ledger() -> None:
    record = FileRecord("key", "invoices", "a.pdf", SIGNATURE, FileState.WAITING, state_at=0.0, first_seen_at=0.0)
    kept = record.change(unchanged_since=7.0, look_at=9.0, looks=3)
    assert Observation.of(record) is None
    assert Observation.of(kept) == Observation(SIGNATURE, since=7.0, look_at=9.0, looks=3)
