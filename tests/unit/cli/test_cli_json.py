"""`--json` of every command that knows it: one document on standard output, also where there is nothing to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest
from fakes.office import Office, Result

from agent.cli.group import COMMANDS, fsagent
from agent.ledger.opening import LEDGER_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "check": (),
    "status": (),
    "why": ("letter.pdf",),
    "history": (),
    "retry": ("letter.pdf",),
    "resolve": ("letter.pdf", "--reject"),
    "submit": ("letter.pdf", "--wait", "100ms"),
    "pause": (),
    "resume": (),
    "rescan": (),
    "adopt": ("--all",),
    "projects list": (),
    "projects show": ("project-1",),
    "projects upload": ("bills.alproj",),
    "tasks complete": ("task-1",),
    "tasks discard": ("task-1",),
    "tasks report": ("task-1", "--issue", "wrong page"),
    "uploads show": ("upload-1",),
    "uploads move": ("upload-1", "folder-1"),
}
"""What each command wants to be told."""

OF_LEDGER = ["status", "why", "history", "retry", "resolve", "pause", "resume", "adopt", "submit"]
OF_SERVICE = [name for name in ARGUMENTS if name.startswith(("projects", "tasks", "uploads"))]


def commands_with_json() -> Iterator[str]:
    """Yield the names of all commands that have the option."""
    assert isinstance(fsagent, click.Group)
    context = click.Context(fsagent)
    for name in COMMANDS:
        command = fsagent.get_command(context, name)
        assert command is not None
        below = command.commands if isinstance(command, click.Group) else {"": command}
        for last, each in below.items():
            if any("--json" in parameter.opts for parameter in each.params):
                yield f"{name} {last}".strip()


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.4 %%EOF")
    (tmp_path / "bills.alproj").write_bytes(b"a project")
    return Office(tmp_path)


def ask(office: Office, command: str, *more: str) -> Result:
    return office.run(*command.split(), *ARGUMENTS[command], "--json", *more)


def failure(result: Result) -> dict[str, Any]:
    """Return the one document of a command that failed; people read the same on standard error."""
    document = result.document
    assert isinstance(document, dict)
    assert document["ok"] is False
    assert document["message"]
    assert document["message"].splitlines()[0] in result.err
    assert isinstance(document["hint"], str)
    assert document["status"] == result.status
    return document


def test_every_command_with_the_option_is_looked_at_here() -> None:
    assert sorted(commands_with_json()) == sorted(ARGUMENTS)


@pytest.mark.parametrize("command", ARGUMENTS)
def test_without_a_configuration_it_is_still_one_document(office: Office, command: str) -> None:
    office.config.unlink()

    document = failure(ask(office, command))

    assert document["status"] == 2
    assert document["configuration"] == str(office.config)
    assert "no such file" in document["problems"][0]["message"]


@pytest.mark.parametrize("command", ARGUMENTS)
def test_a_mistake_in_the_command_line_is_still_one_document(office: Office, command: str) -> None:
    document = failure(ask(office, command, "--nonsense"))

    assert document["status"] == 2
    assert "--nonsense" in document["message"]
    assert document["hint"] == f"type: fsagent {command} --help"


@pytest.mark.parametrize("command", OF_LEDGER)
def test_a_damaged_ledger_is_still_one_document(office: Office, command: str) -> None:
    office.keep()
    (office.state / LEDGER_NAME).write_bytes(b"no database" * 1000)

    assert failure(ask(office, command))["status"] == 4


@pytest.mark.parametrize("command", ["history", "retry", "resolve", "pause", "submit"])
def test_a_ledger_that_is_gone_is_still_one_document(office: Office, command: str) -> None:
    (office.inbox / ".fsagent").write_text(f"{'a' * 32}\n", encoding="ascii")

    document = failure(ask(office, command))

    assert document["status"] == 4
    assert "adopt --all" in document["hint"]


@pytest.mark.parametrize("command", OF_SERVICE)
def test_a_service_that_is_away_or_has_no_such_call_is_still_one_document(office: Office, command: str) -> None:
    assert failure(ask(office, command))["status"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "nowhere.pdf"),
        ("submit", "letter.pdf", "--watch-folder", "bills"),
        ("projects", "upload", "nowhere.alproj"),
        ("pause", "bills"),
        ("history", "--watch-folder", "bills"),
        ("status", "--watch"),
        ("retry",),
    ],
    ids=" ".join,
)
def test_what_is_not_there_or_makes_no_sense_is_still_one_document(office: Office, arguments: tuple[str, ...]) -> None:
    assert failure(office.run(*arguments, "--json"))["status"] == 2


def test_a_request_that_is_refused_has_the_same_form(office: Office) -> None:
    office.keep()

    result = office.run("resolve", "nothing", "--reject", "--json")

    document = result.document
    assert (document["ok"], document["status"], result.status) == (False, 1, 1)
    assert "held are: none" in document["message"]
    assert document["hint"]


def test_who_asks_for_no_document_gets_none(office: Office) -> None:
    office.config.unlink()

    assert office.run("status").out == ""
    assert office.run("why", "--", "--json").out == ""
