from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from fakes.driven_clock import DrivenClock
from fakes.office import Office

from agent.app import running_agent
from agent.cli.asking import PATIENCE, carry_out
from agent.folders.roots import read_marker
from agent.runtime.operations import paused

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def pauses(office: Office) -> tuple[set[str], bool]:
    with office.ledger() as ledger:
        return paused(ledger)


# --- credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["history"],
        ["why", "nowhere.pdf"],
        ["pause"],
        ["resume"],
        ["rescan"],
        ["adopt", "--all"],
        ["retry", "--all"],
        ["resolve", "abc", "--reject"],
    ],
    ids=lambda command: command[0],
)
def test_who_asks_the_ledger_needs_no_credentials_where_the_command_is_typed(
    office: Office, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    text = office.config.read_text(encoding="utf-8")
    changed = re.sub("client_secret: .*", "client_secret: ${FSAGENT_SECRET_OF_THE_SERVICE}", text, count=1)
    assert changed != text
    office.config.write_text(changed, encoding="utf-8")
    monkeypatch.delenv("FSAGENT_SECRET_OF_THE_SERVICE", raising=False)
    assert office.run(*command).status != 2


# --- pause and resume ------------------------------------------------------------------------------------------------


def test_pause_without_an_agent_is_there_for_the_next_one(office: Office) -> None:
    result = office.run("pause", "invoices")

    assert result.status == 0, result.err
    assert "fsagent resume invoices" in result.out
    assert pauses(office) == ({"invoices"}, False)


def test_pause_without_a_name_pauses_everything(office: Office) -> None:
    assert office.run("pause").status == 0
    assert pauses(office) == (set(), True)


def test_resume_takes_a_pause_back(office: Office) -> None:
    office.run("pause", "invoices")

    assert office.run("resume", "invoices").status == 0
    assert pauses(office) == (set(), False)


def test_resume_of_the_only_folder_ends_a_pause_of_everything(office: Office) -> None:
    office.run("pause")

    assert office.run("resume", "invoices").status == 0
    assert pauses(office) == (set(), False)


def test_pause_reaches_the_running_agent(office: Office) -> None:
    with running_agent(office.settings, exports=False) as (_, parts):
        result = office.run("pause", "--json")

        assert result.status == 0
        assert result.document["ok"] is True
        assert not parts.lanes.submission("invoices").enter()


@pytest.mark.parametrize("command", ["pause", "resume", "rescan", "adopt"])
def test_a_name_that_is_no_watch_folder_is_a_mistake_of_the_command(office: Office, command: str) -> None:
    result = office.run(command, "bills")

    assert result.status == 2
    assert "there is no watch folder bills" in result.err
    assert "there are: invoices" in result.err


# --- rescan ----------------------------------------------------------------------------------------------------------


def test_rescan_without_an_agent_says_that_its_start_scans_anyway(office: Office) -> None:
    result = office.run("rescan")

    assert result.status == 0
    assert "next start scans" in result.out
    assert not office.state.exists()


def test_rescan_reaches_the_running_agent(office: Office) -> None:
    with running_agent(office.settings, exports=False):
        result = office.run("rescan", "invoices")

    assert result.status == 0
    assert "scanned now" in result.out


# --- adopt -----------------------------------------------------------------------------------------------------------


def test_adopt_makes_a_folder_of_another_agent_ours(office: Office) -> None:
    (office.inbox / ".fsagent").write_text(f"{'a' * 32}\n", encoding="ascii")
    with office.ledger() as ledger:
        ledger_id = ledger.ledger_id

    result = office.run("adopt", "invoices")

    assert result.status == 0, result.err
    assert read_marker(office.inbox) == ledger_id
    assert read_marker(office.output) == ledger_id


def test_adopt_all_starts_anew_where_the_ledger_is_gone(office: Office) -> None:
    (office.output / ".fsagent").write_text(f"{'a' * 32}\n", encoding="ascii")

    result = office.run("adopt", "--all")

    assert result.status == 0, result.err
    with office.ledger() as ledger:
        assert read_marker(office.output) == ledger.ledger_id


def test_adopt_of_one_folder_does_not_start_anew(office: Office) -> None:
    (office.output / ".fsagent").write_text(f"{'a' * 32}\n", encoding="ascii")

    assert office.run("adopt", "invoices").status == 4


def test_adopt_does_what_it_can_and_names_the_rest(office: Office) -> None:
    (office.output).rename(office.base / "away")

    result = office.run("adopt", "--all")

    assert result.status == 1
    assert "inbox belongs to this agent now" in result.out
    assert "output" in result.err
    assert "does not exist" in result.err


def test_adopt_is_carried_out_by_the_running_agent(office: Office) -> None:
    with running_agent(office.settings) as (_, parts):
        assert office.run("adopt", "invoices").status == 0
        assert read_marker(office.inbox) == parts.ledger.ledger_id


def test_adopt_wants_a_name_or_all(office: Office) -> None:
    assert office.run("adopt").status == 2
    assert office.run("adopt", "--all", "invoices").status == 2


# --- asking ----------------------------------------------------------------------------------------------------------


class Watched(DrivenClock):
    """A driven clock that calls back at every wait."""

    def __init__(self, at_wait: Callable[[int], None]) -> None:
        super().__init__()
        self._at_wait = at_wait

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        result = super().wait(event, seconds)
        self._at_wait(len(self.waits))
        return result


def test_an_agent_that_does_not_answer_keeps_the_request(office: Office) -> None:
    clock = DrivenClock()
    with office.ledger() as ledger:
        answer = carry_out(office.settings, "pause", {"folder": ""}, clock=clock)

        assert answer["ok"] is False
        assert f"{PATIENCE:.0f} s" in answer["message"]
        assert [request.command for request in ledger.open_requests()] == ["pause"]


def test_a_wish_whose_agent_ends_is_carried_out_here_and_answered(office: Office) -> None:
    lock = office.ledger()
    lock.__enter__()

    def let_go(waits: int) -> None:
        if waits == 3:
            lock.__exit__(None, None, None)

    answer = carry_out(office.settings, "pause", {"folder": ""}, clock=Watched(let_go))

    assert answer["ok"] is True
    assert pauses(office) == (set(), True)
    with office.ledger() as ledger:
        assert ledger.open_requests() == []


def test_an_interrupted_wait_says_that_the_request_stays(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with office.ledger() as ledger:
        with pytest.raises(KeyboardInterrupt):
            carry_out(office.settings, "pause", {"folder": ""}, clock=Watched(interrupt))
        assert len(ledger.open_requests()) == 1
    assert "the request is in the ledger" in capsys.readouterr().err
