"""Which files are ledgers, and what is said of those that are not."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from agent.errors import LedgerDamaged, LedgerError, LedgerMissing, LedgerTooNew, LedgerUnavailable
from agent.ledger import opening
from agent.ledger.connections import meaning
from agent.ledger.migrations import MIGRATIONS, VERSION
from agent.ledger.network import network_file_system
from agent.ledger.opening import LEDGER_NAME, ledger_exists, open_ledger, open_ledger_readonly
from agent.model import Event, FileRecord, FileState, Signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.ledger.sqlite import SqliteLedger


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Return a state_dir whose ledger holds enough rows for pages in the middle."""
    with closing(open_ledger(tmp_path / "state", create=True)) as ledger:
        ledger.commit(*(record(f"{number:032x}") for number in range(500)), Event(1.0, "invoices", "seen"))
    return tmp_path / "state"


def record(key: str) -> FileRecord:
    return FileRecord(key, "invoices", f"{key}.pdf", Signature(f"1:{key}", 1, 1), FileState.WAITING, 1.0, 1.0)


def opened_by_the_agent(state_dir: Path) -> SqliteLedger:
    return open_ledger(state_dir, create=False)


OPENINGS = [
    pytest.param(opened_by_the_agent, id="by the agent"),
    pytest.param(open_ledger_readonly, id="beside the agent"),
]


def test_a_ledger_is_made_in_a_new_folder_and_found_again(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    assert not ledger_exists(state_dir)
    with closing(open_ledger(state_dir, create=True)) as ledger:
        ledger_id = ledger.ledger_id
    assert ledger_exists(state_dir)
    with closing(open_ledger(state_dir, create=True)) as ledger:
        assert ledger.ledger_id == ledger_id


def test_nothing_but_the_ledger_is_left_after_closing(state_dir: Path) -> None:
    assert [path.name for path in state_dir.iterdir()] == [LEDGER_NAME]


def test_what_a_crash_left_of_making_one_is_no_ledger_and_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f"{LEDGER_NAME}.new").write_bytes(b"half")
    assert not ledger_exists(tmp_path)
    open_ledger(tmp_path, create=True).close()
    assert [path.name for path in tmp_path.iterdir()] == [LEDGER_NAME]


def test_a_folder_whose_parent_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="cannot be made"):
        open_ledger(tmp_path / "no" / "state", create=True)


@pytest.mark.parametrize("opened", OPENINGS)
def test_no_ledger_is_missing_and_is_not_made(tmp_path: Path, opened: Callable[[Path], SqliteLedger]) -> None:
    with pytest.raises(LedgerMissing) as caught:
        opened(tmp_path)
    assert str(tmp_path / LEDGER_NAME) in caught.value.message
    assert "adopt --all" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: _write(path, b""),
    "garbage": lambda path: _write(path, os.urandom(8192)),
    "text": lambda path: _write(path, b"hello\n" * 1000),
    "header only": lambda path: _write(path, path.read_bytes()[:100]),
    "cut in the header": lambda path: _write(path, path.read_bytes()[:50]),
    "cut by a page": lambda path: _write(path, path.read_bytes()[:-4096]),
    "cut by a byte": lambda path: _write(path, path.read_bytes()[:-1]),
    "cut in half": lambda path: _write(path, path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: _write(path, bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("opened", OPENINGS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_with_the_way_out(
    state_dir: Path, damage: str, opened: Callable[[Path], SqliteLedger]
) -> None:
    path = state_dir / LEDGER_NAME
    DAMAGES[damage](path)
    damaged = path.read_bytes()
    with pytest.raises(LedgerDamaged) as caught:
        opened(state_dir)
    assert str(path) in caught.value.message
    assert "backup" in caught.value.hint
    assert "adopt --all" in caught.value.hint
    assert path.read_bytes() == damaged


def test_a_state_dir_that_is_a_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(LedgerUnavailable, match="is no folder"):
        open_ledger(tmp_path / "state", create=True)


def test_an_error_of_the_system_is_told_in_its_words_alone(tmp_path: Path) -> None:
    told = meaning(PermissionError(errno.EACCES, "Permission denied", "ledger"), tmp_path)

    assert told.message.endswith("cannot be used now: Permission denied")


def test_pages_overwritten_in_the_middle_are_found_by_the_agent(state_dir: Path) -> None:
    path = state_dir / LEDGER_NAME
    content = bytearray(path.read_bytes())
    content[4096 * 20 : 4096 * 30] = b"\xa5" * 40960
    path.write_bytes(content)
    with pytest.raises(LedgerDamaged):
        open_ledger(state_dir, create=False)


def test_damage_met_while_reading_is_told_as_such(state_dir: Path) -> None:
    path = state_dir / LEDGER_NAME
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xa5" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    with closing(open_ledger_readonly(state_dir)) as ledger, pytest.raises(LedgerDamaged):
        ledger.find_files()


@pytest.mark.parametrize("opened", OPENINGS)
def test_another_programs_database_is_no_ledger(tmp_path: Path, opened: Callable[[Path], SqliteLedger]) -> None:
    with closing(sqlite3.connect(tmp_path / LEDGER_NAME)) as connection:
        connection.execute("CREATE TABLE other (a)")
    with pytest.raises(LedgerDamaged, match="another program"):
        opened(tmp_path)


@pytest.mark.parametrize("opened", OPENINGS)
def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(
    state_dir: Path, opened: Callable[[Path], SqliteLedger]
) -> None:
    set_version(state_dir, VERSION + 1)
    with pytest.raises(LedgerTooNew, match=f"schema {VERSION + 1}") as caught:
        opened(state_dir)
    assert "version" in caught.value.hint


def set_version(state_dir: Path, version: int) -> None:
    with closing(sqlite3.connect(state_dir / LEDGER_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def test_the_agent_brings_an_older_ledger_up_to_date_and_status_says_it_is_old(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.ledger.migrations.MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE later (a TEXT)",)))
    monkeypatch.setattr("agent.ledger.migrations.VERSION", VERSION + 1)
    monkeypatch.setattr(opening, "VERSION", VERSION + 1)
    with pytest.raises(LedgerError, match="older version"):
        open_ledger_readonly(state_dir)
    with closing(open_ledger(state_dir, create=False)) as ledger:
        assert len(ledger.find_files()) == 500
    with closing(sqlite3.connect(state_dir / LEDGER_NAME)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
        assert connection.execute("SELECT * FROM later").fetchall() == []


def test_a_migration_that_fails_leaves_the_version_before(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ("CREATE TABLE later (a TEXT)", "CREATE TABLE later (a TEXT)")
    monkeypatch.setattr("agent.ledger.migrations.MIGRATIONS", (*MIGRATIONS, broken))
    monkeypatch.setattr("agent.ledger.migrations.VERSION", VERSION + 1)
    with pytest.raises(LedgerError):
        open_ledger(state_dir, create=False)
    with closing(sqlite3.connect(state_dir / LEDGER_NAME)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'later'").fetchall() == []


def test_a_network_share_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="NFS") as caught:
        open_ledger(tmp_path, create=True, network=lambda _: "NFS")
    assert "local disk" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_this_test_is_local(tmp_path: Path) -> None:
    assert network_file_system(tmp_path) is None


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def modes_are_kept(tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.touch(mode=0o600)
    probe.chmod(0o640)
    if _mode(probe) != 0o640:
        pytest.skip("this file system keeps no POSIX modes")
    probe.unlink()


@pytest.mark.usefixtures("modes_are_kept")
def test_nobody_else_may_read_the_ledger_its_log_and_its_folder(tmp_path: Path) -> None:
    with closing(open_ledger(tmp_path / "state", create=True)) as ledger:
        ledger.commit(Event(1.0, "invoices", "seen"))
        assert _mode(tmp_path / "state") == 0o700
        modes = {path.name: _mode(path) for path in (tmp_path / "state").iterdir()}
    assert modes == dict.fromkeys((LEDGER_NAME, f"{LEDGER_NAME}-wal", f"{LEDGER_NAME}-shm"), 0o600)


@pytest.mark.usefixtures("modes_are_kept")
def test_rights_that_a_restore_gave_to_others_are_taken_back(state_dir: Path) -> None:
    (state_dir / LEDGER_NAME).chmod(0o644)
    open_ledger(state_dir, create=False).close()
    assert _mode(state_dir / LEDGER_NAME) == 0o600


@pytest.mark.parametrize("name", ["with space", "per%cent", "hash#mark?", "ümläut", "quo'te"])
def test_any_folder_name_serves(tmp_path: Path, name: str) -> None:
    try:
        (tmp_path / name).mkdir()
    except OSError:
        pytest.skip(f"this file system takes no folder {name!r}")
    with closing(open_ledger(tmp_path / name, create=True)) as ledger:
        ledger.commit(Event(1.0, "invoices", "seen"))
    assert [path.name for path in (tmp_path / name).iterdir()] == [LEDGER_NAME]


def test_one_opened_beside_the_agent_reads_asks_and_notes_but_changes_nothing_else(state_dir: Path) -> None:
    with closing(open_ledger(state_dir, create=False)) as agent, closing(open_ledger_readonly(state_dir)) as beside:
        agent.commit(record("new"))
        assert beside.file("new") == record("new")
        request_id = beside.ask("pause", {}, now=1.0)
        beside.put_note("pauses", {"invoices": True})
        assert [request.id for request in agent.open_requests()] == [request_id]
        assert agent.note("pauses") == {"invoices": True}
        with pytest.raises(LedgerUnavailable):
            beside.commit(record("other"))
        with pytest.raises(LedgerUnavailable):
            beside.claim("invoices", claimed_by="me", now=1.0)


def test_a_ledger_deleted_under_the_agent_is_missed_not_made_anew(state_dir: Path) -> None:
    with closing(open_ledger(state_dir, create=False)) as ledger:
        (state_dir / LEDGER_NAME).unlink()
        with pytest.raises(LedgerUnavailable):
            ledger.commit(record("new"))
    assert not ledger_exists(state_dir)


@pytest.mark.skipif(os.name == "nt", reason="folders are not synced here")
def test_the_folder_of_a_new_ledger_is_durable_before_the_ledger_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dir = tmp_path / "state"
    synced: list[tuple[int, bool]] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, ledger_exists(state_dir)))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    open_ledger(state_dir, create=True).close()
    assert synced == [(tmp_path.stat().st_ino, False), (state_dir.stat().st_ino, True)]


@pytest.mark.skipif(os.name == "nt", reason="folders are not synced here")
@pytest.mark.parametrize("error", [errno.EACCES, errno.EINVAL])
def test_a_folder_above_that_cannot_be_synced_keeps_no_ledger_from_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    fsync, above = os.fsync, tmp_path.stat().st_ino

    def refused(handle: int) -> None:
        if os.fstat(handle).st_ino == above:
            raise OSError(error, os.strerror(error))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refused)
    open_ledger(tmp_path / "state", create=True).close()
    assert ledger_exists(tmp_path / "state")
