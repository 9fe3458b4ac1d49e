"""One agent per state_dir: the lock, who holds it, and what becomes of it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.errors import AgentError, LockHeld
from agent.runtime.lock import HOLDER_FILE, StateLock

if TYPE_CHECKING:
    from pathlib import Path

SINCE = 1_711_958_908.0


def take(state_dir: Path) -> StateLock:
    lock = StateLock(state_dir)
    lock.acquire(now=SINCE, patience=0.0)
    return lock


def test_the_second_is_told_who_holds_it_and_since_when(tmp_path: Path) -> None:
    lock = take(tmp_path)
    try:
        with pytest.raises(LockHeld) as held:
            take(tmp_path)
    finally:
        lock.release()
    assert f"process {os.getpid()}" in held.value.message
    assert "2024-04-01" in held.value.message
    assert held.value.hint


def test_given_back_it_can_be_taken_again(tmp_path: Path) -> None:
    take(tmp_path).release()
    take(tmp_path).release()


def test_whether_somebody_holds_it_can_be_asked_without_taking_it(tmp_path: Path) -> None:
    assert not StateLock(tmp_path).is_held_elsewhere()
    lock = take(tmp_path)
    assert StateLock(tmp_path).is_held_elsewhere()
    lock.release()
    assert not StateLock(tmp_path).is_held_elsewhere()


def test_where_there_is_no_state_dir_nobody_holds_it_and_none_is_made(tmp_path: Path) -> None:
    assert not StateLock(tmp_path / "none").is_held_elsewhere()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("written", ["", "{", "[]", '{"since": "yesterday"}', '{"since": null}', '{"since": 1e300}'])
def test_a_holders_file_that_says_nonsense_does_not_matter(tmp_path: Path, written: str) -> None:
    lock = take(tmp_path)
    (tmp_path / HOLDER_FILE).write_text(written, encoding="utf-8")
    try:
        with pytest.raises(LockHeld):
            take(tmp_path)
    finally:
        lock.release()


def test_where_the_holder_cannot_be_written_down_that_is_said_and_nobody_holds_it(tmp_path: Path) -> None:
    (tmp_path / HOLDER_FILE).mkdir()
    with pytest.raises(AgentError, match="cannot be written") as failed:
        take(tmp_path)
    assert failed.value.hint
    assert not StateLock(tmp_path).is_held_elsewhere()


def test_a_holder_that_was_killed_holds_it_no_longer(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from agent.runtime.lock import StateLock\n"
        "StateLock(pathlib.Path(sys.argv[1])).acquire(now=0.0)\n"
        "os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=50)
    assert done.returncode == 9
    take(tmp_path).release()


def test_who_holds_it_is_for_the_owners_eyes(tmp_path: Path) -> None:
    lock = take(tmp_path)
    lock.release()
    probe = tmp_path / "probe"
    probe.touch(mode=0o600)
    if stat.S_IMODE(probe.stat().st_mode) != 0o600:
        pytest.skip("files have no modes here")
    assert stat.S_IMODE((tmp_path / HOLDER_FILE).stat().st_mode) == 0o600
    assert json.loads((tmp_path / HOLDER_FILE).read_text(encoding="utf-8"))["pid"] == os.getpid()
