"""The status document: health, reasons and numbers, from the ledger and its notes alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.known_agent import NOW, KnownAgent, archived, file, lane, rejected, task
from fakes.memory_ledger import MemoryLedger

from agent.folders.roots import adopt_root
from agent.model import FileState, RootKind, TaskState
from agent.runtime.control import STATUS_NOTE
from agent.runtime.operations import PAUSES_NOTE
from agent.runtime.status import COUNTS, compose_status

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def known(tmp_path: Path) -> KnownAgent:
    known = KnownAgent(tmp_path)
    known.settings.state_dir.mkdir()
    return known


@pytest.fixture
def ledger() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.put_note(STATUS_NOTE, {"lanes": [], "inboxes": {}, "failures": {}, "pid": 1, "at": NOW - 1})
    return ledger


def status(known: KnownAgent, ledger: MemoryLedger | None, *, is_running: bool = True) -> dict[str, Any]:
    return compose_status(known.settings, ledger, is_running=is_running, now=NOW)


def reasons(document: dict[str, Any]) -> list[str]:
    return [reason["reason"] for reason in document["reasons"]]


def note(ledger: MemoryLedger, **values: Any) -> None:
    ledger.put_note(STATUS_NOTE, {"lanes": [], "inboxes": {}, "failures": {}, "pid": 1, "at": NOW - 1, **values})


def test_an_agent_without_trouble_is_ok(known: KnownAgent, ledger: MemoryLedger) -> None:
    document = status(known, ledger)
    assert (document["health"], document["reasons"]) == ("ok", [])


def test_before_the_first_run_it_says_so(known: KnownAgent) -> None:
    document = status(known, None, is_running=False)
    assert (document["health"], reasons(document)) == ("stopped", ["never_run"])


def test_folders_of_a_lost_ledger_are_told_from_a_first_run(known: KnownAgent) -> None:
    adopt_root(known.inbox, kind=RootKind.INBOX, watch_folder="invoices", ledger_id="ab" * 16)
    assert reasons(status(known, None, is_running=False)) == ["ledger_missing"]


def test_an_agent_that_stopped_in_order_is_stopped_since_then(known: KnownAgent, ledger: MemoryLedger) -> None:
    ledger.put_note(STATUS_NOTE, {"stopped": True, "at": NOW - 100})
    document = status(known, ledger, is_running=False)
    assert (document["health"], reasons(document)) == ("stopped", ["stopped"])
    assert document["reasons"][0]["since"] == NOW - 100


def test_an_agent_that_left_no_word_died(known: KnownAgent, ledger: MemoryLedger) -> None:
    assert reasons(status(known, ledger, is_running=False)) == ["died"]


def test_what_a_dead_agent_said_of_its_lanes_is_over(known: KnownAgent, ledger: MemoryLedger) -> None:
    note(ledger, lanes=[lane("service", "service_unreachable")])
    document = status(known, ledger, is_running=False)
    assert document["service"]["state"] == "unknown"
    assert document["watch_folders"][0]["submission"]["state"] == "unknown"


def test_an_agent_without_a_sign_of_life_hangs(known: KnownAgent, ledger: MemoryLedger) -> None:
    note(ledger, at=NOW - 16)
    document = status(known, ledger)
    assert (document["health"], reasons(document)) == ("degraded", ["hanging"])


def test_the_note_of_the_run_before_is_no_sign_of_hanging(known: KnownAgent, ledger: MemoryLedger) -> None:
    ledger.put_note(STATUS_NOTE, {"stopped": True, "at": NOW - 1000})
    document = status(known, ledger)
    assert (document["health"], document["agent"]["state"]) == ("ok", "starting")


def test_a_lane_that_waits_degrades_and_says_since_when_and_what_to_do(known: KnownAgent, ledger: MemoryLedger) -> None:
    waits = lane("invoices/submission", "disk_full", detail="full", hint="make room", retry_at=NOW + 5)
    note(ledger, lanes=[waits])
    document = status(known, ledger)
    assert document["health"] == "degraded"
    assert document["watch_folders"][0]["submission"]["reason"] == "disk_full"
    assert document["reasons"] == [
        {
            "reason": "disk_full",
            "where": "invoices",
            "lane": "invoices/submission",
            "detail": "full",
            "hint": "make room",
            "since": NOW - 30,
            "retry_at": NOW + 5,
            "count": None,
        }
    ]


def test_trouble_of_the_service_comes_before_that_of_folders(known: KnownAgent, ledger: MemoryLedger) -> None:
    note(ledger, lanes=[lane("invoices/export", "disk_full"), lane("service", "rate_limited")])
    assert reasons(status(known, ledger)) == ["rate_limited", "disk_full"]


def test_a_paused_folder_is_one_reason(known: KnownAgent, ledger: MemoryLedger) -> None:
    ledger.put_note(PAUSES_NOTE, {"all": False, "folders": ["letters"]})
    note(ledger, lanes=[lane("letters/submission", "paused"), lane("letters/export", "paused")])
    document = status(known, ledger)
    assert [(reason["reason"], reason["where"]) for reason in document["reasons"]] == [("paused", "letters")]
    assert document["health"] == "degraded"


def test_a_step_that_fails_degrades(known: KnownAgent, ledger: MemoryLedger) -> None:
    note(ledger, failures={"detecting invoices": "ValueError: x"})
    document = status(known, ledger)
    assert (document["health"], document["reasons"][0]["detail"]) == ("degraded", "detecting invoices: ValueError: x")


@pytest.mark.parametrize("state", [FileState.STALLED, FileState.HELD, FileState.UNKNOWN])
def test_files_that_wait_for_somebody_degrade(known: KnownAgent, ledger: MemoryLedger, state: FileState) -> None:
    ledger.commit(file("k" * 32, state=state, detail="why"))
    document = status(known, ledger)
    assert (document["health"], reasons(document)) == ("degraded", [state.value])
    assert document["reasons"][0]["detail"] == f"1 {state.value}, the oldest {'k' * 32}.pdf: why"


def test_a_sent_file_that_cannot_be_moved_for_long_degrades_and_says_why(
    known: KnownAgent, ledger: MemoryLedger
) -> None:
    stuck = {"state": FileState.SUBMITTED, "filing": "archive", "detail": "not permitted"}
    ledger.commit(file("k" * 32, **stuck), file("b", state_at=NOW - 1, **stuck))
    document = status(known, ledger)
    assert (document["health"], reasons(document)) == ("degraded", ["stalled"])
    name = f"{'k' * 32}.pdf"
    assert document["reasons"][0]["detail"] == f"1 not moved to archive/ or error/, the oldest {name}: not permitted"


def test_a_move_that_waits_for_its_lane_is_told_once(known: KnownAgent, ledger: MemoryLedger) -> None:
    ledger.commit(file("a", state=FileState.SUBMITTED, filing="archive"))
    note(ledger, lanes=[lane("invoices/submission", "not_writable")])
    assert reasons(status(known, ledger)) == ["not_writable"]


def test_a_held_export_degrades_and_names_its_task(known: KnownAgent, ledger: MemoryLedger) -> None:
    ledger.commit(task("Ta", held=True, detail="404"), task("Tb"))
    document = status(known, ledger)
    assert (document["health"], reasons(document)) == ("degraded", ["held_exports"])
    assert document["reasons"][0]["hint"].endswith("fsagent retry Ta")
    assert (document["totals"]["held_exports"], document["totals"]["processing"]) == (1, 2)


def test_files_in_error_are_counted_and_do_not_degrade(known: KnownAgent, ledger: MemoryLedger) -> None:
    ledger.commit(rejected("a"), rejected("b", task_id="Tb"), task("Tb", state=TaskState.FAILED, ended_at=NOW))
    document = status(known, ledger)
    assert (document["health"], document["totals"]["errors"]) == ("ok", 2)


def test_what_was_removed_or_sent_again_is_no_error_any_more(known: KnownAgent, ledger: MemoryLedger) -> None:
    removed = rejected("a", filing="", filed_in="deleted")
    again = replace(rejected("b"), state=FileState.GONE, filing="inbox", filed_in="inbox")
    ledger.commit(removed, again)
    assert status(known, ledger)["totals"]["errors"] == 0


def test_a_failed_task_without_a_source_here_is_an_error(known: KnownAgent, ledger: MemoryLedger) -> None:
    ledger.commit(task("X1", state=TaskState.FAILED, ended_at=NOW))
    assert status(known, ledger)["totals"]["errors"] == 1


def test_every_number_stands_under_its_folder_and_in_the_totals(known: KnownAgent, ledger: MemoryLedger) -> None:
    note(ledger, inboxes={"invoices": {"observer": "native", "detail": "", "unmatched": 4, "scans": 1}})
    ledger.commit(
        file("a"),
        file("b", watch_folder="letters"),
        file("c", state=FileState.SENDING),
        file("d", state=FileState.IGNORED),
        archived("e"),
        task("Te", state=TaskState.EXPORTED, ended_at=NOW),
        archived("f"),
        task("Tf", state=TaskState.EXPORTING),
    )
    document = status(known, ledger)
    invoices, letters = document["watch_folders"]
    expected = {"waiting": 1, "sending": 1, "ignored": 1, "exported": 1, "exporting": 1, "unmatched": 4}
    assert {key: invoices[key] for key in COUNTS if invoices[key]} == expected
    assert {key: letters[key] for key in COUNTS if letters[key]} == {"waiting": 1}
    assert {key: document["totals"][key] for key in COUNTS if document["totals"][key]} == expected | {"waiting": 2}


def test_a_folder_no_longer_configured_is_listed_and_does_not_degrade(known: KnownAgent, ledger: MemoryLedger) -> None:
    ledger.commit(file("a", watch_folder="old", state=FileState.STALLED))
    document = status(known, ledger)
    assert document["health"] == "ok"
    assert [(row["name"], row["configured"], row["stalled"]) for row in document["watch_folders"]][-1] == (
        "old",
        False,
        1,
    )


def test_the_oldest_waiting_file_is_named(known: KnownAgent, ledger: MemoryLedger) -> None:
    ledger.commit(file("a", first_seen_at=NOW - 10), file("b", first_seen_at=NOW - 20))
    oldest = status(known, ledger)["oldest_waiting"]
    assert (oldest["path"], oldest["seconds"]) == ("b.pdf", 20.0)


def test_a_way_that_is_not_configured_is_off(known: KnownAgent, ledger: MemoryLedger) -> None:
    letters = status(known, ledger)["watch_folders"][1]
    assert (letters["submission"]["state"], letters["export"]["state"]) == ("ok", "off")
