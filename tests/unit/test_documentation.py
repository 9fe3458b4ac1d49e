"""What is public is documented: commands, reasons, exit statuses; and what the README promises exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import agent
from agent.cli import failures
from agent.cli.group import COMMANDS, fsagent
from agent.model import LaneReason, Reason
from agent.runtime.troubles import DEGRADING, STOPPED

REPOSITORY = Path(agent.__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stands_in_the_readme(command: str) -> None:
    assert f"fsagent {command}" in README


@pytest.mark.parametrize("reason", sorted({*Reason, *LaneReason, *DEGRADING, *STOPPED}), ids=str)
def test_every_reason_stands_in_the_readme(reason: str) -> None:
    assert f"`{reason}`" in README


@pytest.mark.parametrize("status", [value for name, value in vars(failures).items() if name.startswith("EXIT_")])
def test_every_exit_status_stands_in_the_readme(status: int) -> None:
    sentence = README[README.index("Exit status:") :]
    assert re.search(rf"\b{status} \w", sentence[: sentence.index("\n\n")])


@pytest.mark.parametrize("command", re.findall(r"`?fsagent ([a-z]+)", README))
def test_every_command_of_the_readme_exists(command: str) -> None:
    assert command in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_of_its_own(command: str) -> None:
    found = fsagent.get_command(fsagent.make_context("fsagent", [command]), command)
    assert found is not None
    assert found.help


@pytest.mark.parametrize("command", ["projects", "tasks", "uploads", "service"])
def test_no_sentence_in_a_list_of_commands_is_cut(command: str) -> None:
    found = fsagent.get_command(click.Context(fsagent), command)
    assert isinstance(found, click.Group)
    listed = found.get_help(click.Context(found, info_name=command)).partition("Commands:")[2]
    assert found.list_commands(click.Context(found))[0] in listed
    assert "..." not in listed


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)]+)\)|`((?:agent|tests|packaging)/[\w/.]+)`", README))
def test_every_file_the_readme_names_is_there(path: tuple[str, str]) -> None:
    assert (REPOSITORY / (path[0] or path[1])).exists()


def test_the_two_commands_of_the_readme_stand_in_marked_blocks() -> None:
    blocks = dict(re.findall(r"<!-- (\w+) -->\n```sh\n(.+)\n```", README))
    assert set(blocks) == {"demo", "tests"}
    assert "fsagent demo" in blocks["demo"]
    assert "pytest" in blocks["tests"]


def test_the_changelog_has_this_version() -> None:
    assert f"## {agent.__version__}" in CHANGELOG
