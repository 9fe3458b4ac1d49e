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
