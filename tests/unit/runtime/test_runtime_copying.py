"""Copies that `fsagent submit` makes in an inbox: one being written is left alone, one of a killed command goes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from fakes.workbench import Workbench

from agent.folders.roots import MARKER
from agent.runtime.copying import copying, remove_abandoned
from agent.runtime.folder_care import FolderCare

if TYPE_CHECKING:
    from pathlib import Path

KILLED = """
import os, pathlib, sys
from agent.runtime.copying import copying
state_dir, inbox = map(pathlib.Path, sys.argv[1:])
with copying(state_dir, inbox) as staged:
    (inbox / staged).write_bytes(b"%PDF-1.4 half of")
    os._exit(9)  # as `kill -9`: nothing is cleaned up, the system lets go of the lock
"""


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path)
    bench.settings.state_dir.mkdir(exist_ok=True)
    (bench.place("inbox") / MARKER).write_text(f"{bench.ledger.ledger_id}\n", encoding="ascii")
    return bench


def kill_in_the_middle(bench: Workbench) -> None:
    command = [sys.executable, "-c", KILLED, str(bench.settings.state_dir), str(bench.place("inbox"))]
    assert subprocess.run(command, check=False).returncode == 9
    assert staged(bench), "it left its copy"


def staged(bench: Workbench) -> list[str]:
    return sorted(path.name for path in bench.place("inbox").glob(".fsagent-*.part"))


def locks(bench: Workbench) -> list[str]:
    return sorted(path.name for path in bench.settings.state_dir.glob("submit-*"))


def clear(bench: Workbench) -> None:
    remove_abandoned(bench.settings.state_dir, bench.place("inbox"), bench.ledger)


def test_what_a_killed_command_left_is_removed_with_its_lock(bench: Workbench) -> None:
    kill_in_the_middle(bench)

    clear(bench)

    assert (staged(bench), locks(bench)) == ([], [])


def test_a_copy_that_is_being_written_stays_however_old_it_is(bench: Workbench) -> None:
    with copying(bench.settings.state_dir, bench.place("inbox")) as name:
        (bench.place("inbox") / name).write_bytes(b"%PDF-1.4 half of")

        clear(bench)

        assert staged(bench) == [name]


def test_a_staged_file_of_unknown_origin_stays(bench: Workbench) -> None:
    (bench.place("inbox") / ".fsagent-0123456789abcdef.part").write_bytes(b"whose?")

    clear(bench)

    assert staged(bench) == [".fsagent-0123456789abcdef.part"]


def test_of_an_inbox_whose_disk_is_away_the_lock_is_kept_for_later(bench: Workbench) -> None:
    kill_in_the_middle(bench)
    inbox = bench.place("inbox")
    away = inbox.rename(inbox.with_name("away"))
    inbox.mkdir()

    clear(bench)
    inbox.rmdir()
    away.rename(inbox)
    clear(bench)

    assert (staged(bench), locks(bench)) == ([], [])


def test_the_next_agent_removes_it_before_it_works_in_the_inbox(bench: Workbench) -> None:
    kill_in_the_middle(bench)
    (folder,) = bench.settings.watch_folders

    FolderCare(bench.parts, folder).prepare()

    assert (staged(bench), locks(bench)) == ([], [])


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a file away")
def test_the_lock_of_an_administrators_command_can_be_taken_by_the_agents_account(bench: Workbench) -> None:
    os.chown(bench.settings.state_dir, 65534, 65534)

    with copying(bench.settings.state_dir, bench.place("inbox")):
        (lock,) = bench.settings.state_dir.glob("submit-*")

        assert lock.stat().st_uid == 65534


def test_where_the_inbox_is_away_from_the_beginning_nothing_is_kept_for_later(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.place("inbox").rename(bench.base / "away")

    with copying(bench.settings.state_dir, bench.place("inbox")):
        pass

    assert (locks(bench), caplog.messages) == ([], [])


def test_a_share_that_goes_away_in_the_middle_keeps_its_lock_for_later(bench: Workbench) -> None:
    inbox, away = bench.place("inbox"), bench.base / "away"
    with copying(bench.settings.state_dir, inbox) as name:
        (inbox / name).write_bytes(b"%PDF-1.4 half of")
        inbox.rename(away)
    away.rename(inbox)

    clear(bench)

    assert (staged(bench), locks(bench)) == ([], [])


def test_a_command_that_ends_in_order_leaves_no_lock(bench: Workbench) -> None:
    with copying(bench.settings.state_dir, bench.place("inbox")) as name:
        (bench.place("inbox") / name).write_bytes(b"%PDF-1.4 half of")

    assert (staged(bench), locks(bench)) == ([], [])
