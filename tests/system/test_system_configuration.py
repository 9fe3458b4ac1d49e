"""Mistakes in the configuration through the real command line: line and key named, exit 2, no traceback, no secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from system.sites import completed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

SECRET = "hush-hush-never-shown"
# Each mistake stands on the line of its `!`, for the key that follows it.
TWELVE_MISTAKES = f"""\
service:
  client_id: me
  client_secret: {SECRET}
  timeout: soon                        # ! service.timeout
  url: http://api.example.com          # ! service.url
  connections: many                    # ! service.connections
watch_folders:
  - name: first
    project_id: p1
    inbox: in/a
    output: out/a
    setle: 2s                          # ! watch_folders[0].setle
    max_size: 10 elephants             # ! watch_folders[0].max_size
    accept: [pdf, tif]                 # ! watch_folders[0].accept[1]
    task_name: "{{nonsense}}"            # ! watch_folders[0].task_name
    export: {{newline: crfl}}            # ! watch_folders[0].export.newline
  - name: first                        # ! watch_folders[1].name
    project_id: ${{NOT_SET_ANYWHERE}}    # ! watch_folders[1].project_id
    inbox: in/b
    archive: ../${{FROM_ENVIRONMENT}}    # ! watch_folders[1].archive
    recursive: perhaps                 # ! watch_folders[1].recursive
retry: {{first: -1s}}                    # ! retry.first
ledger: mysql://me:{SECRET}@host/db    # ! ledger
web: {{listen: "127.0.0.1:8765"}}        # ! web.listen
"""


@pytest.mark.parametrize("command", ["run", "status"])
def test_twelve_mistakes_are_all_named_at_once_with_line_and_key(tmp_path: Path, command: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(TWELVE_MISTAKES, encoding="utf-8")
    expected = {
        (number, line.split("# ! ")[1]) for number, line in enumerate(TWELVE_MISTAKES.splitlines(), 1) if "# !" in line
    }
    assert len(expected) >= 12

    refused = completed("-c", str(config), command, environment={"FROM_ENVIRONMENT": SECRET})

    assert refused.returncode == 2
    named = {
        (int(match[1]), match[2])
        for match in re.finditer(rf"^{re.escape(str(config))}:(\d+):\d+: ([^:]+): ", refused.stderr, re.MULTILINE)
    }
    assert named == expected
    assert "did you mean `settle`?" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert SECRET not in refused.stderr + refused.stdout
    assert not (tmp_path / "in").exists()


SINGLE_MISTAKES = {
    "tab": ("service:\n\tclient_id: me\n", 2),
    "quote": ('service:\n  client_id: "me\nwatch_folders: []\n', 2),
    "key twice": ("service: {client_id: a, client_secret: b}\nservice: {}\n", 2),
    "nothing": ("", 0),
    "a list": ("- service\n", 1),
}


@pytest.mark.parametrize(("text", "line"), SINGLE_MISTAKES.values(), ids=SINGLE_MISTAKES)
def test_a_file_that_is_no_configuration_exits_2_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text, encoding="utf-8")

    refused = completed("-c", str(config), "run")

    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert str(config) in refused.stderr
    if line:
        assert re.search(rf"{re.escape(str(config))}:\d+:\d+", refused.stderr)


def test_a_configuration_that_is_not_there_exits_2_and_says_how_to_make_one(tmp_path: Path) -> None:
    refused = completed("-c", str(tmp_path / "absent.yaml"), "run")

    assert refused.returncode == 2
    assert "absent.yaml" in refused.stderr
    assert "fsagent init" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_folders_that_lie_in_each_other_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "service: {client_id: me, client_secret: s}\n"
        "watch_folders:\n"
        "  - {name: a, project_id: p, inbox: in, output: in/out}\n",
        encoding="utf-8",
    )

    refused = completed("-c", str(config), "run")

    assert refused.returncode == 2
    assert "config.yaml:3:" in refused.stderr
    assert "watch_folders[0].output" in refused.stderr


def test_an_unknown_command_exits_2_and_a_close_one_is_suggested() -> None:
    refused = completed("stauts")

    assert refused.returncode == 2
    assert "status" in refused.stderr
