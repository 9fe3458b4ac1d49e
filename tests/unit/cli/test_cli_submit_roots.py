"""`fsagent submit` copies nothing into an inbox that is not this agent's now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.office import NOWHERE, Office

from agent.app import running_agent
from agent.folders.roots import MARKER, adopt_root
from agent.model import RootKind

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = Office(tmp_path, url=NOWHERE, project_id="nobody asks")
    office.run("run", "--once", "--submit-only")  # from now on its folders are known
    return office


def letter(office: Office) -> Path:
    path = office.base / "letter.pdf"
    path.write_bytes(b"%PDF-1.4\n%%EOF\n")
    return path


def replaced(office: Office) -> None:
    office.inbox.rename(office.base / "on another disk")
    office.inbox.mkdir()


def taken(office: Office) -> None:
    adopt_root(office.inbox, kind=RootKind.INBOX, watch_folder="invoices", ledger_id="ab" * 16)


def test_nothing_is_copied_into_the_inbox_of_another_agent(office: Office) -> None:
    taken(office)
    result = office.run("submit", letter(office), "--wait", "5s")
    assert (result.status, "not copied" in result.out, "belongs to another agent" in result.out) == (1, True, True)
    assert office.names(office.inbox) == []


def test_nothing_is_copied_into_an_empty_folder_in_place_of_the_inbox(office: Office) -> None:
    replaced(office)
    result = office.run("submit", letter(office), "--wait", "5s")
    assert (result.status, "is not the folder it was" in result.out) == (1, True)
    assert [path.name for path in office.inbox.iterdir() if path.is_file() and path.name != MARKER] == []


def test_nothing_is_copied_there_beside_an_agent_that_runs_either(office: Office) -> None:
    with running_agent(office.settings):
        taken(office)
        result = office.run("submit", letter(office), "--wait", "5s")
    assert (result.status, "belongs to another agent" in result.out) == (1, True)
    assert office.names(office.inbox) == []
