from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from fakes.office import NOWHERE, Office

from agent.app import running_agent
from agent.sandbox.aluma.settings import DEMO_PROJECT_ID, AlumaSettings
from agent.sandbox.samples import read_sample
from agent.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(AlumaSettings(queue_delay=0.02, processing_delay=0.02)) as server:
        yield server


@pytest.fixture
def office(tmp_path: Path, server: SandboxServer) -> Office:
    return Office(tmp_path, url=server.url, project_id=DEMO_PROJECT_ID)


def letter(office: Office, name: str = "letter.pdf", sample: str = "letter.pdf") -> Path:
    path = office.base / "desk" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(read_sample(sample))
    return path


def test_without_an_agent_it_does_the_work_itself(office: Office) -> None:
    source = letter(office)

    result = office.run("submit", source)

    assert result.status == 0, result.out + result.err
    assert "exported: 3 files" in result.out
    assert office.names(office.output) == ["letter.csv", "letter.json", "letter.pdf"]
    assert office.names(office.archive) == ["letter.pdf"]
    assert source.exists()


KILLED = """
import os, pathlib, sys
from agent.runtime.copying import copying
state_dir, inbox = map(pathlib.Path, sys.argv[1:])
with copying(state_dir, inbox) as staged:
    (inbox / staged).write_bytes(b"half")
    os._exit(9)
"""


def test_beside_an_agent_it_removes_what_a_killed_command_left(office: Office) -> None:
    with running_agent(office.settings):
        office.run("submit", letter(office))
        command = [sys.executable, "-c", KILLED, str(office.state), str(office.inbox)]
        assert subprocess.run(command, check=False).returncode == 9
        assert len(office.names(office.inbox)) == 1

        office.run("submit", letter(office, "another.pdf"))

    assert office.names(office.inbox) == []
    assert not list(office.state.glob("submit-*"))


def test_beside_an_agent_it_waits_for_what_that_does(office: Office) -> None:
    source = letter(office)
    with running_agent(office.settings):
        result = office.run("submit", source, "--watch-folder", "invoices")

    assert result.status == 0, result.out + result.err
    assert office.names(office.archive) == ["letter.pdf"]


def test_has_a_reason_for_each_file_that_failed(office: Office) -> None:
    good, broken = letter(office), letter(office, "broken.pdf", "broken.pdf")

    result = office.run("submit", good, broken)

    assert result.status == 1
    good_line, broken_line = result.out.splitlines()
    assert good_line.startswith("✓")
    assert broken_line.startswith("✗")
    assert "truncated" in broken_line
    assert office.names(office.error) == ["broken.pdf", "broken.pdf.error.txt"]


def test_prints_one_document(office: Office) -> None:
    result = office.run("submit", letter(office), "--json")

    assert result.document["ok"] is True
    (file,) = result.document["files"]
    assert (file["state"], file["relative_path"]) == ("exported", "letter.pdf")
    assert file["task_id"]
    assert result.err == ""


def test_submit_only_waits_for_the_task_itself(office: Office) -> None:
    lines = office.config.read_text("utf-8").splitlines()
    office.config.write_text("\n".join(line for line in lines if "output: output" not in line), encoding="utf-8")
    assert office.settings.watch_folders[0].output is None

    result = office.run("submit", letter(office), "--wait", "3s")

    # The task waits for an export that nobody takes: it is not over when the time is up.
    assert result.status == 1
    assert "processing" in result.out
    assert office.names(office.archive) == ["letter.pdf"]


def test_a_taken_name_gives_way_to_a_clash_name(office: Office) -> None:
    (office.inbox / "letter.pdf").write_bytes(b"another")
    office.write_config(url=NOWHERE)

    result = office.run("submit", letter(office), "--wait", "100ms", "--json")

    assert (office.inbox / "letter.pdf").read_bytes() == b"another"
    (file,) = result.document["files"]
    assert (office.inbox / file["relative_path"]).read_bytes() == read_sample("letter.pdf")


def test_a_file_no_watch_folder_would_take_is_not_copied(office: Office) -> None:
    result = office.run("submit", letter(office, "notes.txt"))

    assert result.status == 1
    assert "takes no file of this name" in result.out
    assert office.names(office.inbox) == []


def test_a_file_in_the_inbox_is_not_copied_into_it(office: Office) -> None:
    source = office.inbox / "letter.pdf"
    source.write_bytes(read_sample("letter.pdf"))

    result = office.run("submit", source)

    assert result.status == 1
    assert "lies in the inbox already" in result.out


@pytest.mark.parametrize("place", ["archive", "error"])
def test_a_file_that_was_filed_away_is_not_said_to_be_taken_from_there(office: Office, place: str) -> None:
    source = office.inbox / place / "letter.pdf"
    source.write_bytes(read_sample("letter.pdf"))

    result = office.run("submit", source)

    assert result.status == 1
    assert f"lies in {place}/" in result.out
    assert ("fsagent retry" in result.out) == (place == "error")


def test_announces_the_file_where_the_watch_folder_waits_for_that(office: Office, server: SandboxServer) -> None:
    office.write_config(url=server.url, project_id=DEMO_PROJECT_ID, **{"watch_folders.ready_file": "{file_name}.ready"})

    result = office.run("submit", letter(office))

    assert result.status == 0, result.out
    assert "letter.pdf" in office.names(office.archive)


def test_a_time_that_is_up_says_what_it_waited_for_and_that_it_goes_on(office: Office) -> None:
    office.write_config(url=NOWHERE, project_id=DEMO_PROJECT_ID)

    result = office.run("submit", letter(office), "--wait", "3s")

    assert result.status == 1
    assert "service_unreachable" in result.out
    assert "fsagent why" in result.out
    assert office.names(office.inbox) == ["letter.pdf"]


def test_an_inbox_that_is_away_ends_without_a_traceback(office: Office) -> None:
    office.inbox.rename(office.base / "away")

    result = office.run("submit", letter(office))

    assert result.status == 1
    assert "is missing" in result.out


def test_wants_to_know_whose_inbox_where_there_are_two(office: Office) -> None:
    (office.base / "bills").mkdir()
    text = office.config.read_text("utf-8")
    text = text.replace("watch_folders:", "watch_folders:\n  - {name: bills, project_id: p, inbox: bills}\n", 1)
    office.config.write_text(text, encoding="utf-8")

    result = office.run("submit", letter(office))

    assert result.status == 2
    assert "there are: bills, invoices" in result.err


def test_an_unknown_watch_folder_is_a_mistake_of_the_command(office: Office) -> None:
    result = office.run("submit", letter(office), "--watch-folder", "bills")

    assert result.status == 2
    assert "there are: invoices" in result.err


def test_a_file_that_is_not_there_is_a_mistake_of_the_command(office: Office) -> None:
    assert office.run("submit", office.base / "nothing.pdf").status == 2
