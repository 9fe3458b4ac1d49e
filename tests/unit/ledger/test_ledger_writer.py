"""Group commit: what shares a transaction, what fails alone, and what happens when nothing can be written."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import LedgerError, LedgerUnavailable, StaleRecord
from agent.ledger.connections import connect_reader, connect_writer, meaning
from agent.ledger.opening import open_ledger
from agent.model import FileRecord, FileState, Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.ledger.sqlite import SqliteLedger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(open_ledger(tmp_path / "state", create=True)) as ledger:
        yield ledger


def record(key: str) -> FileRecord:
    return FileRecord(key, "invoices", f"{key}.pdf", Signature(f"1:{key}", 1, 1), FileState.WAITING, 1.0, 1.0)


class Gathered:
    """Holds the writer inside one transaction until a number of further calls wait for the next."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._writer = ledger._writer
        self._entered, self._go = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._writer.run, args=(self._hold,))]
        self._threads[0].start()
        self._entered.wait()
        self.outcomes: list[Any] = []

    def _hold(self, _: sqlite3.Connection) -> None:
        self._entered.set()
        self._go.wait()

    def add(self, call: Callable[[], Any]) -> None:
        place = len(self.outcomes)
        self.outcomes.append(None)

        def run() -> None:
            try:
                self.outcomes[place] = call()
            except LedgerError as error:
                self.outcomes[place] = error

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()
        while len(self._writer._items) <= place and thread.is_alive():  # the writer is held: the queue only grows
            thread.join(0.001)

    def release(self) -> list[Any]:
        self._go.set()
        for thread in self._threads:
            thread.join()
        return self.outcomes


def test_calls_that_gather_share_one_transaction(ledger: SqliteLedger) -> None:
    gathered = Gathered(ledger)
    for number in range(10):
        gathered.add(lambda number=number: ledger.commit(record(f"k{number}")))  # type: ignore[misc]
    assert gathered.release() == [None] * 10
    assert ledger.transactions == 2
    assert len(ledger.find_files()) == 10


def test_a_stale_record_fails_its_own_call_only(ledger: SqliteLedger) -> None:
    ledger.commit(record("there"))
    gathered = Gathered(ledger)
    gathered.add(lambda: ledger.commit(record("a")))
    gathered.add(lambda: ledger.commit(record("b"), record("there")))
    gathered.add(lambda: ledger.commit(record("c")))
    outcomes = gathered.release()
    assert [type(outcome) for outcome in outcomes] == [type(None), StaleRecord, type(None)]
    assert [found.key for found in ledger.find_files()] == ["a", "c", "there"]


def test_claims_that_gather_with_a_stale_record_take_different_files(ledger: SqliteLedger) -> None:
    ledger.commit(*(replace(record(key), ready=True, task_name=key) for key in ("a", "b")))
    gathered = Gathered(ledger)
    gathered.add(lambda: ledger.claim("invoices", claimed_by="me", now=1.0))
    gathered.add(lambda: ledger.commit(record("a")))
    gathered.add(lambda: ledger.claim("invoices", claimed_by="me", now=1.0))
    first, stale, second = gathered.release()
    assert (first.key, second.key) == ("a", "b")
    assert isinstance(stale, StaleRecord)


def test_a_record_the_database_cannot_hold_fails_alone_and_the_writer_lives(ledger: SqliteLedger) -> None:
    gathered = Gathered(ledger)
    gathered.add(lambda: ledger.commit(record("a")))
    gathered.add(lambda: ledger.commit(replace(record("large"), attempts=2**63)))
    good, bad = gathered.release()
    assert good is None
    assert isinstance(bad, LedgerError)
    ledger.commit(record("b"))
    assert [found.key for found in ledger.find_files()] == ["a", "b"]


def test_closing_finishes_what_was_handed_over(ledger: SqliteLedger, tmp_path: Path) -> None:
    gathered = Gathered(ledger)
    gathered.add(lambda: ledger.commit(record("a")))
    closer = threading.Thread(target=ledger.close)
    closer.start()
    assert gathered.release() == [None]
    closer.join()
    with closing(open_ledger(tmp_path / "state", create=False)) as again:
        assert again.file("a") is not None


class SmallDisk:
    """Stands for a disk with room for so many pages of the database."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.pages = 0
        ledger._writer._connect = self._connect

    def _connect(self, path: Path) -> sqlite3.Connection:
        connection = connect_writer(path)
        if self.pages:
            connection.execute(f"PRAGMA max_page_count = {self.pages}")
        return connection


def test_a_full_disk_makes_the_ledger_unavailable_until_there_is_room(ledger: SqliteLedger) -> None:
    disk = SmallDisk(ledger)
    disk.pages = 1  # SQLite takes the pages there are: no new one
    with pytest.raises(LedgerUnavailable, match="disk is full") as caught:
        ledger.commit(record("first"), *(record(f"{number:032x}") for number in range(200)))
    assert "space" in caught.value.hint
    assert ledger.find_files() == []
    disk.pages = 0
    ledger.commit(record("first"))
    assert ledger.file("first") is not None
    assert list(ledger.check()) == []


def test_all_that_gathered_is_told_when_the_disk_is_full(ledger: SqliteLedger) -> None:
    gathered = Gathered(ledger)
    gathered.add(lambda: ledger.commit(record("a")))
    gathered.add(lambda: ledger._writer.run(fill_the_disk))
    gathered.add(lambda: ledger.commit(record("b")))
    outcomes = gathered.release()
    assert [type(outcome) for outcome in outcomes] == [LedgerUnavailable] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    assert ledger.find_files() == []
    ledger.commit(record("a"))


def test_a_full_disk_gets_back_what_the_log_takes(ledger: SqliteLedger, tmp_path: Path) -> None:
    log = tmp_path / "state" / "ledger.sqlite3-wal"
    ledger.commit(*(record(f"k{number}") for number in range(100)))
    ledger.find_files()  # a connection that reads keeps the log when the one that writes is closed
    assert log.stat().st_size > 0

    with pytest.raises(LedgerUnavailable, match="disk is full"):
        ledger._writer.run(fill_the_disk)

    assert log.stat().st_size == 0
    assert len(ledger.find_files(limit=1000)) == 100


NO_ROOM_FOR_SQLITE = [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_CANTOPEN]
"""What an errno that is not ENOSPC becomes in SQLite, which keeps it to itself."""


def of_sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


def no_quota(_: int) -> None:
    raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


@pytest.mark.skipif(not hasattr(errno, "EDQUOT"), reason="this system knows no such errno")
@pytest.mark.parametrize("code", NO_ROOM_FOR_SQLITE)
def test_a_quota_that_is_used_up_is_told_as_a_full_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "fsync", no_quota)
    told = meaning(of_sqlite(code), tmp_path / "ledger.sqlite3")
    assert isinstance(told, LedgerUnavailable)
    assert told.is_full
    assert "quota of the agent's account is used up" in told.message
    assert "Free space" in told.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", NO_ROOM_FOR_SQLITE)
def test_an_error_of_a_disk_with_room_is_told_as_it_is(tmp_path: Path, code: int) -> None:
    told = meaning(of_sqlite(code), tmp_path / "ledger.sqlite3")
    assert isinstance(told, LedgerUnavailable)
    assert not told.is_full
    assert "cannot be used now: disk I/O error" in told.message
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_cannot_be_made_on_a_full_disk_says_so(tmp_path: Path) -> None:
    told = meaning(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), tmp_path / "ledger.sqlite3")
    assert (told.message.endswith("the disk is full"), "Free space" in told.hint) == (True, True)


def test_a_used_up_quota_gets_back_what_the_log_takes(
    ledger: SqliteLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "state" / "ledger.sqlite3-wal"
    ledger.commit(*(record(f"k{number}") for number in range(100)))
    ledger.find_files()  # keeps the log, as above

    def refuse(_: sqlite3.Connection) -> None:
        raise of_sqlite(sqlite3.SQLITE_IOERR_WRITE)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_quota)
        with pytest.raises(LedgerUnavailable, match="quota"):
            ledger._writer.run(refuse)

    assert log.stat().st_size == 0


def fill_the_disk(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1").fetchall()
    connection.execute("INSERT INTO notes (name, value) VALUES ('big', ?)", ("x" * 1_000_000,))


def test_a_database_that_cannot_be_opened_is_unavailable_and_is_tried_again(ledger: SqliteLedger) -> None:
    def away(_: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    ledger._writer._connect = away
    with pytest.raises(LedgerUnavailable, match="unable to open"):
        ledger.commit(record("a"))
    ledger._writer._connect = connect_writer
    ledger.commit(record("a"))
    assert ledger.file("a") is not None


def test_a_failed_commit_is_told_and_not_half_done(ledger: SqliteLedger) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes (name, value) VALUES ('a', '{}')")
        connection.execute("ROLLBACK")  # as SQLite does by itself after some I/O errors: COMMIT has nothing to commit

    with pytest.raises(LedgerUnavailable):
        ledger._writer.run(refuse)
    assert ledger.note("a") is None
    ledger.put_note("a", {"works": True})


def test_commits_survive_power_loss_and_readers_only_read(ledger: SqliteLedger) -> None:
    with closing(connect_writer(ledger.path)) as writer:
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    with closing(connect_reader(ledger.path)) as reader:
        assert reader.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM files")


def test_no_thread_and_no_file_is_left_after_closing(ledger: SqliteLedger) -> None:
    ledger.commit(record("a"))
    ledger.find_files()
    ledger.close()
    assert not [thread for thread in threading.enumerate() if thread is ledger._writer._thread]
    ledger.path.unlink()  # what is open cannot be deleted on Windows


def test_a_ledger_that_only_reads_starts_no_thread(ledger: SqliteLedger) -> None:
    ledger.find_files()
    assert ledger._writer._thread is None


def test_where_no_thread_can_be_begun_nothing_is_written_and_nobody_waits_for_ever(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_threads(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limits:
        limits.setattr(threading.Thread, "start", no_more_threads)
        with pytest.raises(LedgerUnavailable, match="thread"):
            ledger.commit(record("a"))
    ledger.commit(record("b"))
    assert (ledger.file("a"), ledger.file("b")) == (None, record("b"))


def test_the_log_is_emptied_when_nothing_is_written_for_a_while(ledger: SqliteLedger, tmp_path: Path) -> None:
    log = tmp_path / "state" / "ledger.sqlite3-wal"
    tidied = threading.Event()
    tidy = ledger._writer._tidy

    def watched() -> None:
        tidy()
        tidied.set()

    ledger._writer._tidy = watched  # type: ignore[method-assign]
    ledger._writer._idle_seconds = 0.01
    ledger.commit(*(record(f"k{number}") for number in range(100)))
    assert tidied.wait(30)
    assert log.stat().st_size == 0
