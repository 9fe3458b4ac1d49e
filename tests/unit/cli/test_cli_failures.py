"""What a command says where the system fails it: one sentence and an exit status, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.office import Office

FULL = Path("/dev/full")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_log_file_that_cannot_be_written_is_a_mistake_of_the_configuration(office: Office) -> None:
    (office.base / "logs").write_text("a file, no folder")
    office.write_config(logging__file="logs/fsagent.log")

    result = office.run("run", "--once", "--wait", "1s")

    assert result.status == 2
    assert "logs" in result.err
    assert "logging.file" in result.err
    assert "Traceback" not in result.err


@pytest.mark.skipif(
    not (FULL.is_absolute() and FULL.is_char_device()), reason="there is no device that is always full here"
)
def test_an_output_that_cannot_be_written_is_said_in_one_sentence(office: Office) -> None:
    with FULL.open("w") as full:
        command = [sys.executable, "-m", "agent", "-c", str(office.config), "status", "--json"]
        buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=buffered)

    assert result.returncode == 1
    assert "No space left" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_time_that_is_up_before_anything_was_looked_at_is_no_success(office: Office) -> None:
    (office.inbox / "letter.pdf").write_bytes(b"%PDF-1.4 %%EOF")
    command = [sys.executable, "-m", "agent", "-c", str(office.config), "run", "--once", "--wait", "0s"]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert result.stdout, "that it was not looked at, or that it waits"


def test_a_wait_without_once_is_no_wish_that_is_silently_left_out(office: Office) -> None:
    result = office.run("run", "--wait", "10m")

    assert result.status == 2
    assert "--wait" in result.err
    assert "--once" in result.err


INTERRUPTED = """
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "agent.cli.group":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from agent.cli import main
main()
"""


def test_ctrl_c_while_the_program_still_loads_ends_it_without_a_traceback() -> None:
    result = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (130, "interrupted\n")


HOSTILE = "\x1b]0;owned\x07\n\u202e.pdf"


@pytest.mark.parametrize(
    "arguments",
    [
        ("resolve", HOSTILE, "--reject"),
        ("retry", HOSTILE),
        ("pause", HOSTILE),
        ("submit", HOSTILE),
        (HOSTILE,),
        ("status", f"--{HOSTILE}"),
        ("history", "--limit", HOSTILE),
        ("history", "--watch-folder", HOSTILE),
    ],
    ids=lambda arguments: "-".join(part for part in arguments if "owned" not in part) or "no command",
)
def test_what_a_mistake_quotes_moves_no_cursor(office: Office, arguments: tuple[str, ...]) -> None:
    office.run("run", "--once", "--wait", "0s")  # makes the ledger

    result = office.run(*arguments)

    assert result.status != 0
    assert "owned" in result.err
    assert not set(result.out + result.err) & set("\x1b\x07\u202e")
    assert "Traceback" not in result.err


def test_what_a_wrong_configuration_quotes_moves_no_cursor(office: Office) -> None:
    office.config.write_text('"\\e]0;owned\\a": 1\n', encoding="utf-8")

    result = office.run("status")

    assert result.status == 2
    assert "owned" in result.err
    assert not set(result.err) & set("\x1b\x07")
