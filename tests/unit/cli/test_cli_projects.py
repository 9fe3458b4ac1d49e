from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.office import NOWHERE, Office

from agent.sandbox.aluma.settings import DEMO_PROJECT_ID, DEMO_PROJECT_NAME
from agent.sandbox.faults import Fault
from agent.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def office(tmp_path: Path, server: SandboxServer) -> Office:
    return Office(tmp_path, url=server.url, project_id=DEMO_PROJECT_ID)


def test_list_names_every_project_and_who_uses_it(office: Office) -> None:
    result = office.run("projects", "list")

    assert result.status == 0, result.err
    assert result.out == f"{DEMO_PROJECT_ID}  {DEMO_PROJECT_NAME}  (watch folder invoices)\n"


def test_list_prints_one_document(office: Office) -> None:
    document = office.run("projects", "list", "--json").document

    assert document["projects"] == [
        {"id": DEMO_PROJECT_ID, "name": DEMO_PROJECT_NAME, "created_at": None, "watch_folders": ["invoices"]}
    ]


@pytest.mark.parametrize("word", [DEMO_PROJECT_ID, DEMO_PROJECT_NAME])
def test_show_takes_id_and_name(office: Office, word: str) -> None:
    result = office.run("projects", "show", word)

    assert result.status == 0
    assert DEMO_PROJECT_ID in result.out
    assert "invoices" in result.out


def test_show_of_an_unknown_project_fails(office: Office) -> None:
    result = office.run("projects", "show", "nothing")

    assert result.status == 1
    assert "no project nothing" in result.err


def test_upload_makes_a_project_of_the_file(office: Office) -> None:
    path = office.base / "Invoices.alproj"
    path.write_bytes(b"PK project")

    result = office.run("projects", "upload", path, "--json")

    assert result.status == 0, result.err
    listed = office.run("projects", "list").out
    assert f"{result.document['id']}  Invoices\n" in listed


def test_upload_takes_project_files_only(office: Office) -> None:
    assert office.run("projects", "upload", office.config).status == 2


def test_what_the_service_refuses_fails_with_its_words(office: Office, server: SandboxServer) -> None:
    server.sandbox.faults.add(Fault(400, path="/projects", body={"title": "no room"}))
    path = office.base / "Invoices.alproj"
    path.write_bytes(b"PK project")

    result = office.run("projects", "upload", path)

    assert result.status == 1
    assert "no room" in result.err


def test_a_service_that_is_away_fails_without_a_traceback(tmp_path: Path) -> None:
    result = Office(tmp_path / "other", url=NOWHERE).run("projects", "list")

    assert result.status == 1
    assert "cannot reach" in result.err
    assert "Traceback" not in result.err
