"""What every Ledger must do (`agent.ports.Ledger`), asked of the real one and of the fake alike."""

from __future__ import annotations

import threading
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.memory_ledger import MemoryLedger

from agent.errors import LedgerUnavailable, StaleRecord
from agent.ledger.opening import open_ledger
from agent.model import (
    Count,
    Event,
    FileRecord,
    FileSource,
    FileState,
    PlannedFile,
    Reason,
    RootKind,
    RootRecord,
    Signature,
    TaskRecord,
    TaskState,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.ports import Ledger

HOSTILE = "a\udcff b\x1a001a c\x1a \ud800 \U0001f4c4 e\u0301 é \u202e \n\t' \" ; --%_?"


@pytest.fixture(params=["sqlite", "memory"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    ledger: Ledger = MemoryLedger() if request.param == "memory" else open_ledger(tmp_path / "state", create=True)
    yield ledger
    ledger.close()


def file(key: str, **values: Any) -> FileRecord:
    known: dict[str, Any] = {
        "watch_folder": "invoices",
        "relative_path": f"{key}.pdf",
        "signature": Signature(f"801:{key}", 10, 1_700_000_000_000_000_000),
        "state": FileState.WAITING,
        "state_at": 100.0,
        "first_seen_at": 100.0,
    }
    return FileRecord(key, **(known | values))


def ready(key: str, *, modified_ns: int = 1_700_000_000_000_000_000, **values: Any) -> FileRecord:
    known = {"ready": True, "project_id": "P", "task_name": f"{key}.pdf"}
    return file(key, signature=Signature(f"801:{key}", 10, modified_ns), **(known | values))


def archived(key: str, **values: Any) -> FileRecord:
    known = {
        "state": FileState.ARCHIVED,
        "in_inbox": False,
        "filing": "archive",
        "filed_at": 100.0,
        "task_id": f"T{key}",
    }
    return file(key, **(known | values))


def task(task_id: str, **values: Any) -> TaskRecord:
    known: dict[str, Any] = {
        "watch_folder": "invoices",
        "project_id": "P",
        "name": "a.pdf",
        "state": TaskState.PROCESSING,
        "state_at": 100.0,
        "opened_at": 100.0,
    }
    return TaskRecord(task_id, **(known | values))


def keys(records: Any) -> list[str]:
    return [record.key if isinstance(record, FileRecord) else record.task_id for record in records]


def every_field_filled(record: Any) -> bool:
    return all(
        getattr(record, field.name)
        != (field.default_factory() if field.default_factory is not MISSING else field.default)
        for field in fields(record)
        if field.name not in ("version", "id")
    )


# --- commit ----------------------------------------------------------------------------------------------------------


def test_a_ledger_has_an_id_of_32_hexadecimal_digits(ledger: Ledger) -> None:
    assert len(ledger.ledger_id) == 32
    assert int(ledger.ledger_id, 16) >= 0


def test_every_field_of_a_file_comes_back_as_it_was(ledger: Ledger) -> None:
    record = FileRecord(
        "k", HOSTILE, HOSTILE, Signature("801:ff", 2**62, 17_000_000_000_123_456_789_012), FileState.REJECTED, 1.5, 2.5,
        1, False, HOSTILE, Reason.EMPTY, 3.5, 4.5, 5, True, HOSTILE, HOSTILE, "pdf", HOSTILE, 6.5, 7.5, 8,
        "ab" * 32, HOSTILE, "archive", HOSTILE, 9.5, "error", HOSTILE, "801:fe",
    )  # fmt: skip
    assert every_field_filled(record)
    ledger.commit(record)
    assert ledger.file("k") == record


def test_every_field_of_a_task_comes_back_as_it_was(ledger: Ledger) -> None:
    planned = PlannedFile(HOSTILE, HOSTILE, HOSTILE, FileSource.URL, "archive", "801:1", 5, "cd" * 32)
    assert every_field_filled(planned)
    record = TaskRecord(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, TaskState.EXPORTING, 1.5, 2.5, 1, "k", HOSTILE, HOSTILE, HOSTILE, 3,
        4.5, True, 5.5, (planned, replace(planned, source=FileSource.CONTENT)), True, True, 6.5, 7.5, 8.5,
        HOSTILE, 2,
    )  # fmt: skip
    assert every_field_filled(record)
    ledger.commit(record)
    assert ledger.task(HOSTILE) == record


def test_times_before_1970_and_beyond_64_bits_of_nanoseconds_come_back(ledger: Ledger) -> None:
    early = file("a", signature=Signature("1:1", 0, -1))
    late = file("b", signature=Signature("1:2", 0, 15_000_000_000 * 10**9 + 7))
    ledger.commit(early, late)
    assert (ledger.file("a"), ledger.file("b")) == (early, late)


def test_unknown_keys_are_none(ledger: Ledger) -> None:
    assert ledger.file("nobody") is None
    assert ledger.task("nobody") is None
    assert ledger.root("invoices", RootKind.INBOX) is None
    assert ledger.request(7) is None
    assert ledger.note("nothing") is None


def test_a_change_replaces_the_version_before(ledger: Ledger) -> None:
    first = file("a")
    ledger.commit(first)
    second = first.change(state=FileState.STALLED)
    ledger.commit(second)
    assert ledger.file("a") == second


def test_a_change_of_an_old_version_is_stale(ledger: Ledger) -> None:
    first = file("a")
    ledger.commit(first)
    ledger.commit(first.change(looks=1))
    with pytest.raises(StaleRecord):
        ledger.commit(first.change(looks=2))


def test_a_second_new_row_of_a_key_is_stale(ledger: Ledger) -> None:
    ledger.commit(file("a"), task("T"))
    with pytest.raises(StaleRecord):
        ledger.commit(file("a", detail="other"))
    with pytest.raises(StaleRecord):
        ledger.commit(task("T", detail="other"))


def test_a_change_of_a_row_that_is_not_there_is_stale(ledger: Ledger) -> None:
    with pytest.raises(StaleRecord):
        ledger.commit(file("a").change(looks=1))


def test_nothing_of_a_stale_commit_is_written(ledger: Ledger) -> None:
    ledger.commit(file("a"))
    with pytest.raises(StaleRecord):
        ledger.commit(
            file("b"),
            task("T"),
            RootRecord("invoices", RootKind.INBOX, "/in", "1:1", marked=True),
            Event(1.0, "invoices", "seen"),
            file("a"),
        )
    assert ledger.file("b") is None
    assert ledger.task("T") is None
    assert ledger.root("invoices", RootKind.INBOX) is None
    assert ledger.history() == []


def test_a_commit_may_make_and_change_a_row(ledger: Ledger) -> None:
    first = file("a")
    ledger.commit(first, first.change(looks=1))
    assert ledger.file("a") == first.change(looks=1)


def test_a_commit_of_nothing_is_nothing(ledger: Ledger) -> None:
    ledger.commit()
    assert ledger.file_counts() == []


def test_of_many_threads_changing_one_version_one_wins(ledger: Ledger) -> None:
    first = file("a")
    ledger.commit(first)
    stale = in_threads(8, lambda number: attempt(lambda: ledger.commit(first.change(looks=number + 1))))
    assert stale.count(False) == 1
    found = ledger.file("a")
    assert found is not None
    assert found.version == 2


# --- claims ----------------------------------------------------------------------------------------------------------


def test_a_claim_takes_the_file_modified_first_then_the_smaller_key(ledger: Ledger) -> None:
    ledger.commit(ready("c", modified_ns=2), ready("b", modified_ns=1), ready("a", modified_ns=2))
    claimed = [ledger.claim("invoices", claimed_by="me", now=5.0) for _ in range(4)]
    assert [record and record.key for record in claimed] == ["b", "a", "c", None]


def test_a_claimed_file_is_sending(ledger: Ledger) -> None:
    before = ready("a", intent_at=3.0)
    ledger.commit(before)
    claimed = ledger.claim("invoices", claimed_by="me", now=5.0)
    expected = before.change(state=FileState.SENDING, state_at=5.0, claimed_by="me", ready=False, intent_at=None)
    assert claimed == ledger.file("a") == expected


def test_a_claim_leaves_other_folders_unready_and_claimed_files(ledger: Ledger) -> None:
    ledger.commit(ready("a", watch_folder="other"), file("b"), ready("c", claimed_by="somebody"))
    assert ledger.claim("invoices", claimed_by="me", now=5.0) is None


@pytest.mark.parametrize("state", [FileState.SENDING, FileState.UNKNOWN])
def test_a_claim_leaves_a_name_under_way_in_the_same_project(ledger: Ledger, state: FileState) -> None:
    under_way = file("x", watch_folder="other", state=state, project_id="P", task_name="same")
    ledger.commit(under_way, ready("a", task_name="same"), ready("b", task_name="same", project_id="Q"))
    claimed = ledger.claim("invoices", claimed_by="me", now=5.0)
    assert claimed is not None
    assert claimed.key == "b"
    assert ledger.claim("invoices", claimed_by="me", now=5.0) is None


def test_an_unknown_file_made_ready_again_does_not_block_itself(ledger: Ledger) -> None:
    ledger.commit(ready("a", state=FileState.UNKNOWN))
    assert ledger.claim("invoices", claimed_by="me", now=5.0) is not None


def test_a_claim_finds_the_free_name_behind_hundreds_of_blocked_ones(ledger: Ledger) -> None:
    ledger.commit(file("x", state=FileState.SENDING, project_id="P", task_name="same"))
    ledger.commit(*(ready(f"k{number:03}", modified_ns=number, task_name="same") for number in range(300)))
    assert ledger.claim("invoices", claimed_by="me", now=5.0) is None
    ledger.commit(ready("free", modified_ns=10**18))
    claimed = ledger.claim("invoices", claimed_by="me", now=5.0)
    assert claimed is not None
    assert claimed.key == "free"


def test_a_claim_finds_the_free_name_behind_hundreds_of_blocked_names(ledger: Ledger) -> None:
    names = [f"n{number:03}" for number in range(150)]
    ledger.commit(*(file(f"x{name}", state=FileState.UNKNOWN, project_id="P", task_name=name) for name in names))
    ledger.commit(*(ready(name, modified_ns=1, task_name=name) for name in names))
    ledger.commit(ready("free", modified_ns=2, task_name="z"))
    claimed = ledger.claim("invoices", claimed_by="me", now=5.0)
    assert claimed is not None
    assert claimed.key == "free"


def test_threads_never_claim_a_file_twice(ledger: Ledger) -> None:
    ledger.commit(*(ready(f"k{number:02}", modified_ns=number) for number in range(40)))
    claimed = in_threads(8, lambda _: [ledger.claim("invoices", claimed_by="me", now=5.0) for _ in range(6)])
    found = [record.key for records in claimed for record in records if record]
    assert sorted(found) == [f"k{number:02}" for number in range(40)]


# --- the inbox -------------------------------------------------------------------------------------------------------


def test_rows_in_the_inbox_are_found_by_path_newest_first(ledger: Ledger) -> None:
    old = file("a", relative_path=HOSTILE, first_seen_at=1.0)
    new = file("b", relative_path=HOSTILE, first_seen_at=2.0)
    filed = file("c", relative_path=HOSTILE, first_seen_at=3.0, in_inbox=False)
    ledger.commit(old, new, filed, file("d", relative_path=HOSTILE, watch_folder="other"), file("e"))
    assert ledger.find_in_inbox("invoices", [HOSTILE, "nobody.pdf"]) == {HOSTILE: [new, old]}


@pytest.mark.parametrize("count", [0, 1, 2, 17, 1000])
def test_up_to_a_thousand_paths_are_found_at_once(ledger: Ledger, count: int) -> None:
    records = [file(f"{number:04}") for number in range(count)]
    ledger.commit(*records)
    found = ledger.find_in_inbox("invoices", [record.relative_path for record in records])
    assert found == {record.relative_path: [record] for record in records}


def test_sent_rows_in_the_inbox_are_found_by_identity(ledger: Ledger) -> None:
    sent = [
        file(state.value, state=state, signature=Signature(f"1:{state.value}", 1, 1))
        for state in (FileState.SENDING, FileState.UNKNOWN, FileState.HELD, FileState.SUBMITTED)
    ]
    others = [
        file("waiting", signature=Signature("1:w", 1, 1)),
        file("filed", signature=Signature("1:f", 1, 1), state=FileState.SUBMITTED, in_inbox=False),
        file("other", signature=Signature("1:o", 1, 1), state=FileState.SUBMITTED, watch_folder="other"),
    ]
    ledger.commit(*sent, *others)
    wanted = [record.signature.identity for record in [*sent, *others]]
    assert ledger.find_sent("invoices", wanted) == {record.signature.identity: record for record in sent}


def test_a_row_that_was_sent_and_taken_away_is_found_by_identity_unless_it_was_filed(ledger: Ledger) -> None:
    taken = file("a", signature=Signature("1:a", 1, 1), state=FileState.GONE, in_inbox=False, task_id="t")
    present = file("b", signature=Signature("1:b", 1, 1), state=FileState.SUBMITTED)
    ledger.commit(
        taken,
        present,
        file("b2", signature=Signature("1:b", 1, 1), state=FileState.GONE, in_inbox=False, task_id="t2"),
        file("c", signature=Signature("1:c", 1, 1), state=FileState.GONE, in_inbox=False),
        file(
            "d", signature=Signature("1:d", 1, 1), state=FileState.GONE, in_inbox=False, task_id="t3", filing="inbox",
            filed_at=1.0,
        ),
    )  # fmt: skip
    assert ledger.find_sent("invoices", ["1:a", "1:b", "1:c", "1:d"]) == {"1:a": taken, "1:b": present}


def test_all_rows_in_the_inbox_are_yielded_once_across_pages(ledger: Ledger) -> None:
    records = [file(f"{number:04}", relative_path=f"{number % 7}/{HOSTILE}") for number in range(2500)]
    ledger.commit(*records, file("x", in_inbox=False), file("y", watch_folder="other"))
    found = list(ledger.inbox_paths("invoices"))
    assert sorted(found) == sorted((record.relative_path, record.key, record.state) for record in records)


def test_rows_may_change_while_inbox_paths_are_read(ledger: Ledger) -> None:
    records = [file(f"{number:04}") for number in range(1500)]
    ledger.commit(*records)
    for _, key, _ in ledger.inbox_paths("invoices"):
        if key == "0000":
            ledger.commit(*(record.change(looks=1) for record in records))
    changed = ledger.file("1499")
    assert changed is not None
    assert changed.looks == 1


def test_rows_due_for_a_look_come_by_look_at(ledger: Ledger) -> None:
    ledger.commit(
        file("a", look_at=3.0),
        file("b", look_at=1.0, state=FileState.STALLED),
        file("c", look_at=2.0, state=FileState.IGNORED),
        file("late", look_at=4.5),
        file("never"),
        file("ready", look_at=1.0, ready=True),
        file("held", look_at=1.0, state=FileState.HELD),
        file("other", look_at=0.5, watch_folder="other"),
    )
    assert keys(ledger.due_for_look("invoices", now=3.0, limit=10)) == ["b", "c", "a"]
    assert keys(ledger.due_for_look("invoices", now=3.0, limit=2)) == ["b", "c"]
    assert ledger.next_look("invoices") == 1.0
    assert ledger.next_look("nobody") is None


def test_forgotten_settling_is_that_of_a_file_never_looked_at(ledger: Ledger) -> None:
    settling = file("a", unchanged_since=1.0, look_at=2.0, looks=3, ready=True)
    untouched = file("b")
    ledger.commit(settling, untouched)
    ledger.forget_settling()
    assert ledger.file("a") == settling.change(unchanged_since=None, look_at=None, looks=0, ready=False)
    assert ledger.file("b") == untouched


# --- finding files and tasks -----------------------------------------------------------------------------------------


SOME_FILES = (
    file("a1", state_at=5.0),
    file("a2", state_at=4.0, state=FileState.STALLED, watch_folder="other"),
    file(
        "b1",
        state_at=3.0,
        state=FileState.REJECTED,
        in_inbox=False,
        filing="error",
        filed_at=30.0,
        sha256="ff",
        task_id="t",
    ),
    file(
        "b2",
        state_at=2.0,
        state=FileState.ARCHIVED,
        in_inbox=False,
        filing="archive",
        filed_at=20.0,
        sha256="ff",
        task_id="t",
    ),
    file("c1", state_at=1.0, state=FileState.SUBMITTED, filing="archive", relative_path="x.pdf", watch_folder="other"),
    file("c2", state_at=1.0, state=FileState.WAITING, relative_path="x.pdf"),
)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, ["c1", "c2", "b2", "b1", "a2", "a1"]),
        ({"newest_first": True}, ["a1", "a2", "b1", "b2", "c2", "c1"]),
        ({"limit": 2}, ["c1", "c2"]),
        ({"limit": 2, "newest_first": True}, ["a1", "a2"]),
        ({"watch_folder": "other"}, ["c1", "a2"]),
        ({"states": [FileState.WAITING, FileState.REJECTED]}, ["c2", "b1", "a1"]),
        ({"states": [FileState.WAITING, FileState.WAITING]}, ["c2", "a1"]),
        ({"states": [FileState.WAITING, FileState.STALLED], "watch_folder": "other"}, ["a2"]),
        ({"relative_path": "x.pdf"}, ["c1", "c2"]),
        ({"relative_path": "x.pdf", "states": [FileState.WAITING]}, ["c2"]),
        ({"key_prefix": "b"}, ["b2", "b1"]),
        ({"key_prefix": "c2"}, ["c2"]),
        ({"sha256": "ff"}, ["b2", "b1"]),
        ({"sha256": "ff", "states": [FileState.ARCHIVED], "watch_folder": "invoices"}, ["b2"]),
        ({"task_id": "t"}, ["b2", "b1"]),
        ({"task_id": "t", "states": [FileState.REJECTED]}, ["b1"]),
        ({"in_inbox": True}, ["c1", "c2", "a2", "a1"]),
        ({"in_inbox": False}, ["b2", "b1"]),
        ({"to_file": True}, ["c1"]),
        ({"to_file": False}, ["c2", "b2", "b1", "a2", "a1"]),
        ({"filed_before": 30.0}, ["b2"]),
        ({"filed_before": 31.0, "filing": "error"}, ["b1"]),
        ({"filed_before": 31.0, "filing": "archive", "watch_folder": "invoices", "to_file": False}, ["b2"]),
        ({"filing": "archive"}, ["c1", "b2"]),
        ({"watch_folder": "invoices", "states": [FileState.WAITING], "in_inbox": True}, ["c2", "a1"]),
        ({"watch_folder": "nobody"}, []),
    ],
    ids=str,
)
def test_files_are_found_that_meet_every_condition(
    ledger: Ledger, conditions: dict[str, Any], expected: list[str]
) -> None:
    ledger.commit(*SOME_FILES)
    assert keys(ledger.find_files(**conditions)) == expected


def test_files_are_found_by_the_folder_they_lie_in_at_any_depth(ledger: Ledger) -> None:
    paths = ["y/a.pdf", "y/z/b.pdf", "y0/c.pdf", "y.pdf", "y", "x/y/d.pdf"]
    ledger.commit(*[file(path, relative_path=path) for path in paths])
    assert sorted(keys(ledger.find_files(below="y"))) == ["y/a.pdf", "y/z/b.pdf"]
    assert keys(ledger.find_files(below="y/z")) == ["y/z/b.pdf"]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, ["d", "c", "b", "a"]),
        ({"newest_first": True, "limit": 3}, ["a", "b", "c"]),
        ({"watch_folder": "other"}, ["b"]),
        ({"states": [TaskState.PROCESSING, TaskState.EXPORTED]}, ["d", "c", "a"]),
        ({"file_key": "k"}, ["c", "a"]),
        ({"file_key": "k", "states": [TaskState.EXPORTED]}, ["c"]),
        ({"upload_id": "u"}, ["c", "a"]),
        ({"upload_id": "u", "is_open": True, "watch_folder": "invoices"}, ["a"]),
        ({"is_open": True}, ["b", "a"]),
        ({"is_open": False}, ["d", "c"]),
        ({"is_started": True}, ["b"]),
        ({"is_started": True, "watch_folder": "invoices"}, []),
        ({"is_open": True, "watch_folder": "other", "states": [TaskState.FAILED]}, ["b"]),
    ],
    ids=str,
)
def test_tasks_are_found_that_meet_every_condition(
    ledger: Ledger, conditions: dict[str, Any], expected: list[str]
) -> None:
    ledger.commit(
        task("a", opened_at=4.0, file_key="k", upload_id="u"),
        task("b", opened_at=3.0, state=TaskState.FAILED, watch_folder="other", started_at=3.5),
        task("c", opened_at=1.0, state=TaskState.EXPORTED, file_key="k", ended_at=9.0, upload_id="u"),
        task("d", opened_at=0.5, state=TaskState.PROCESSING, ended_at=9.0),
    )
    assert keys(ledger.find_tasks(**conditions)) == expected


def test_known_tasks_are_those_of_the_ids_that_have_rows(ledger: Ledger) -> None:
    ledger.commit(task("T1"), task(HOSTILE))
    assert ledger.known_tasks(["T1", HOSTILE, "T3"]) == {"T1": task("T1"), HOSTILE: task(HOSTILE)}
    assert ledger.known_tasks([]) == {}


def test_any_number_of_tasks_may_be_asked_for_at_once(ledger: Ledger) -> None:
    ledger.commit(task("T0"), task("T39999"))
    assert ledger.known_tasks([f"T{number}" for number in range(40_000)]).keys() == {"T0", "T39999"}


# --- counts ----------------------------------------------------------------------------------------------------------


def test_files_are_counted_in_the_inbox_or_filed_without_a_task(ledger: Ledger) -> None:
    ledger.commit(
        file("a", state_at=7.0),
        file("b", state_at=6.0),
        file("c", state_at=5.0, watch_folder="other"),
        archived("d"),
        archived("e", state=FileState.REJECTED, task_id="", state_at=4.0),
        file("gone", state=FileState.GONE, in_inbox=False),
    )
    assert list(ledger.file_counts()) == [
        Count("invoices", "rejected", 1, 4.0),
        Count("invoices", "waiting", 2, 6.0),
        Count("other", "waiting", 1, 5.0),
    ]


def test_tasks_are_counted_by_state(ledger: Ledger) -> None:
    ledger.commit(task("a", state_at=3.0), task("b", state_at=2.0), task("c", state=TaskState.EXPORTED))
    assert list(ledger.task_counts()) == [
        Count("invoices", "exported", 1, 100.0),
        Count("invoices", "processing", 2, 2.0),
    ]


def test_the_oldest_waiting_file_is_the_one_seen_first(ledger: Ledger) -> None:
    assert ledger.oldest_waiting() is None
    ledger.commit(
        file("a", first_seen_at=3.0),
        file("b", first_seen_at=2.0, state=FileState.STALLED),
        file("c", first_seen_at=1.0, state=FileState.IGNORED),
    )
    oldest = ledger.oldest_waiting()
    assert oldest is not None
    assert oldest.key == "b"


# --- history, roots, requests, notes ---------------------------------------------------------------------------------


def test_history_of_a_file_or_task_is_oldest_first_and_of_all_newest_first(ledger: Ledger) -> None:
    ledger.commit(Event(3.0, "invoices", "seen", HOSTILE, file_key="k"))
    ledger.commit(Event(1.0, "invoices", "submitted", file_key="k", task_id="T"), Event(2.0, "w", "done", task_id="T"))
    ledger.commit(Event(2.0, "invoices", "paused"))

    def names(**conditions: Any) -> list[str]:
        return [event.name for event in ledger.history(**conditions)]

    assert names(file_key="k") == ["seen", "submitted"]
    assert names(task_id="T") == ["submitted", "done"]
    assert names(file_key="k", task_id="T") == ["seen", "submitted", "done"]
    assert names(file_key="k", task_id="T", limit=1) == ["seen"]
    assert names() == ["paused", "done", "submitted", "seen"]
    assert names(limit=2) == ["paused", "done"]
    assert names(file_key="nobody") == []
    assert ledger.history(file_key="k")[0].detail == HOSTILE


def test_ids_of_events_ascend(ledger: Ledger) -> None:
    ledger.commit(*(Event(1.0, "invoices", f"{number}", file_key="k") for number in range(5)))
    ids = [event.id for event in ledger.history(file_key="k")]
    assert ids == sorted(set(ids))
    assert ids[0] > 0


def test_a_root_replaces_what_was_known_of_it(ledger: Ledger) -> None:
    inbox = RootRecord(HOSTILE, RootKind.INBOX, HOSTILE, "1:1", marked=False)
    output = RootRecord(HOSTILE, RootKind.OUTPUT, "/out", "1:2", marked=True)
    ledger.commit(inbox, output)
    ledger.commit(replace(inbox, marked=True, identity="1:3"))
    assert ledger.root(HOSTILE, RootKind.INBOX) == replace(inbox, marked=True, identity="1:3")
    assert ledger.root(HOSTILE, RootKind.OUTPUT) == output


def test_roots_are_found_by_their_path(ledger: Ledger) -> None:
    first, second = (RootRecord(name, RootKind.INBOX, HOSTILE, "1:1", marked=True) for name in ("a", "b"))
    ledger.commit(second, first, RootRecord("c", RootKind.OUTPUT, HOSTILE, "1:1", marked=True))
    ledger.commit(RootRecord("d", RootKind.INBOX, "/elsewhere", "1:2", marked=True))
    assert ledger.find_roots(RootKind.INBOX, HOSTILE) == [first, second]


def test_a_renamed_watch_folder_keeps_all_its_rows(ledger: Ledger) -> None:
    root = RootRecord("old", RootKind.INBOX, "/in", "1:1", marked=True)
    ledger.commit(file("a", watch_folder="old"), task("T", watch_folder="old"), root, Event(1.0, "old", "seen"))
    ledger.rename_watch_folder("old", "new")
    renamed, renamed_task = ledger.file("a"), ledger.task("T")
    assert renamed is not None
    assert renamed_task is not None
    assert (renamed.watch_folder, renamed_task.watch_folder) == ("new", "new")
    assert ledger.root("new", RootKind.INBOX) == replace(root, watch_folder="new")
    assert ledger.root("old", RootKind.INBOX) is None
    assert ledger.history()[0].watch_folder == "new"
    assert [count.watch_folder for count in [*ledger.file_counts(), *ledger.task_counts()]] == ["new", "new"]


def test_a_rename_makes_records_read_before_it_stale(ledger: Ledger) -> None:
    before = file("a", watch_folder="old")
    ledger.commit(before)
    ledger.rename_watch_folder("old", "new")
    with pytest.raises(StaleRecord):
        ledger.commit(before.change(looks=1))


def test_a_rename_of_nothing_or_to_itself_changes_nothing(ledger: Ledger) -> None:
    ledger.commit(file("a"))
    ledger.rename_watch_folder("nobody", "new")
    ledger.rename_watch_folder("invoices", "invoices")
    assert ledger.file("a") == file("a")


def test_a_root_known_under_the_new_name_stays(ledger: Ledger) -> None:
    new = RootRecord("new", RootKind.INBOX, "/new", "1:2", marked=True)
    ledger.commit(new, RootRecord("old", RootKind.INBOX, "/old", "1:1", marked=True))
    ledger.rename_watch_folder("old", "new")
    assert ledger.root("new", RootKind.INBOX) == new
    assert ledger.root("old", RootKind.INBOX) is None


def test_a_request_is_open_until_it_is_answered(ledger: Ledger) -> None:
    first = ledger.ask("retry", {"path": HOSTILE, "all": True}, now=1.0)
    second = ledger.ask("pause", {}, now=2.0)
    assert [(request.id, request.command) for request in ledger.open_requests()] == [
        (first, "retry"),
        (second, "pause"),
    ]
    ledger.answer(first, ok=True, answer={"moved": [HOSTILE]}, now=3.0)
    assert [request.id for request in ledger.open_requests()] == [second]
    answered = ledger.request(first)
    assert answered is not None
    assert answered.arguments == {"path": HOSTILE, "all": True}
    assert (answered.asked_at, answered.done_at, answered.ok, answered.answer) == (1.0, 3.0, True, {"moved": [HOSTILE]})


def test_the_first_answer_stands(ledger: Ledger) -> None:
    request_id = ledger.ask("pause", {}, now=1.0)
    ledger.answer(request_id, ok=True, answer={}, now=2.0)
    with pytest.raises(StaleRecord):
        ledger.answer(request_id, ok=False, answer={"other": 1}, now=3.0)
    answered = ledger.request(request_id)
    assert answered is not None
    assert (answered.ok, answered.done_at) == (True, 2.0)


def test_a_note_replaces_the_one_before(ledger: Ledger) -> None:
    ledger.put_note(HOSTILE, {"a": 1})
    ledger.put_note(HOSTILE, {"b": [HOSTILE, None, 1.5, {"c": True}]})
    assert ledger.note(HOSTILE) == {"b": [HOSTILE, None, 1.5, {"c": True}]}


# --- purge, check, close ---------------------------------------------------------------------------------------------


def ended_task(task_id: str, **values: Any) -> TaskRecord:
    return task(task_id, **({"state": TaskState.EXPORTED, "ended_at": 110.0} | values))


def test_what_ended_before_is_purged_with_its_events(ledger: Ledger) -> None:
    ledger.commit(archived("a"), ended_task("Ta", file_key="a"), Event(100.0, "invoices", "seen", file_key="a"))
    ledger.commit(file("gone", state=FileState.GONE, in_inbox=False), Event(100.0, "invoices", "started"))
    assert ledger.purge(before=200.0) == 5
    assert [*ledger.find_files(), *ledger.find_tasks(), *ledger.history()] == []


@pytest.mark.parametrize(
    "record",
    [
        file("a"),
        file("a", state=FileState.HELD),
        file("a", state=FileState.UNKNOWN),
        file("a", state=FileState.SUBMITTED, filing="archive", task_id="T"),
        archived("a", state_at=200.0),
        archived("a", filed_at=200.0),
        archived("a", filed_at=None),
        archived("a", in_inbox=True),
    ],
    ids=lambda record: f"{record.state}-{record.state_at}-{record.filed_at}-{record.in_inbox}",
)
def test_a_file_that_has_not_ended_stays_with_its_events_and_task(ledger: Ledger, record: FileRecord) -> None:
    ledger.commit(record, ended_task("T", file_key="a"), Event(1.0, "invoices", "seen", file_key="a"))
    assert ledger.purge(before=200.0) == 0
    assert ledger.task("T") is not None


@pytest.mark.parametrize("ended_at", [None, 200.0])
def test_a_file_stays_while_its_task_has_not_ended(ledger: Ledger, ended_at: float | None) -> None:
    ledger.commit(archived("a"), task("T1", file_key="a", ended_at=ended_at), ended_task("T2", file_key="a"))
    assert ledger.purge(before=200.0) == 0
    assert ledger.file("a") is not None


def test_events_younger_than_the_purge_stay(ledger: Ledger) -> None:
    ledger.commit(archived("a"), Event(100.0, "invoices", "old", file_key="a"))
    ledger.commit(Event(200.0, "invoices", "young", file_key="a"))
    ledger.purge(before=200.0)
    assert [event.name for event in ledger.history()] == ["young"]


def test_answered_requests_are_purged_and_open_ones_stay(ledger: Ledger) -> None:
    answered = ledger.ask("pause", {}, now=1.0)
    ledger.answer(answered, ok=True, answer={}, now=2.0)
    unanswered = ledger.ask("resume", {}, now=1.0)
    assert ledger.purge(before=200.0) == 1
    assert ledger.request(answered) is None
    assert ledger.request(unanswered) is not None


def test_a_purge_takes_more_than_one_batch(ledger: Ledger) -> None:
    numbers = range(1300)
    ledger.commit(*(archived(f"{n:04}") for n in numbers), file("keep"))
    ledger.commit(*(ended_task(f"T{n:04}", file_key=f"{n:04}") for n in numbers))
    ledger.commit(*(Event(1.0, "invoices", "seen", file_key=f"{n:04}") for n in numbers))
    assert ledger.purge(before=200.0) == 3 * 1300
    assert keys(ledger.find_files()) == ["keep"]


def test_a_sound_ledger_has_no_complaints(ledger: Ledger) -> None:
    ledger.commit(file("a"))
    assert list(ledger.check()) == []


CALLS: dict[str, Callable[[Ledger], object]] = {
    "commit": lambda ledger: ledger.commit(file("a")),
    "claim": lambda ledger: ledger.claim("invoices", claimed_by="me", now=1.0),
    "file": lambda ledger: ledger.file("a"),
    "inbox_paths": lambda ledger: list(ledger.inbox_paths("invoices")),
    "find_files": lambda ledger: ledger.find_files(),
    "ask": lambda ledger: ledger.ask("pause", {}, now=1.0),
    "put_note": lambda ledger: ledger.put_note("status", {}),
    "check": lambda ledger: ledger.check(),
    "purge": lambda ledger: ledger.purge(before=1.0),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_closed_ledger_is_unavailable(ledger: Ledger, call: str) -> None:
    ledger.close()
    with pytest.raises(LedgerUnavailable):
        CALLS[call](ledger)


def test_a_ledger_may_be_closed_twice(ledger: Ledger) -> None:
    ledger.commit(file("a"))
    ledger.close()
    ledger.close()


# --- threads ---------------------------------------------------------------------------------------------------------


def attempt(call: Callable[[], object]) -> bool:
    """Tell whether the call is stale."""
    try:
        call()
    except StaleRecord:
        return True
    return False


def in_threads(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Run the call in that many threads that begin together, and return what each returned."""
    begin = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        begin.wait()
        results[number] = call(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
