"""`fsagent history`: what changed last comes first, filtered as asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.known_agent import NOW, KnownAgent, archived, command, document, file, rejected, task

from agent.cli.history import STATES
from agent.model import Event, FileState, Reason, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any


@pytest.fixture
def known(tmp_path: Path) -> Iterator[KnownAgent]:
    known = KnownAgent(tmp_path)
    yield known
    known.close()


@pytest.fixture
def history(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> Any:
    def ask(*arguments: str) -> list[dict[str, Any]]:
        assert command(known, "history", "--json", *arguments) == 0
        entries: list[dict[str, Any]] = document(capsys)["entries"]
        return entries

    return ask


@pytest.fixture
def busy(known: KnownAgent) -> KnownAgent:
    """An agent that did a little of everything."""
    rows = (
        file("a", state_at=NOW - 10),
        rejected("b", state_at=NOW - 20, reason=Reason.EMPTY, detail="no bytes"),
        archived("c", state_at=NOW - 90),
        task("Tc", state=TaskState.EXPORTED, state_at=NOW - 5, ended_at=NOW - 5),
        file("d", watch_folder="letters", state=FileState.HELD, state_at=NOW - 30),
        task("X1", state=TaskState.FAILED, state_at=NOW - 40, ended_at=NOW - 40),
    )
    events = [Event(NOW - 99, "invoices", "seen", "", key) for key in "abc"]
    events += [Event(NOW - 99, "letters", "seen", "", "d"), Event(NOW - 40, "invoices", "failed", "", "", "X1")]
    known.ledger.commit(*rows, *events)
    return known


def ids(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["id"] or entry["task_id"] for entry in entries]


@pytest.mark.usefixtures("busy")
def test_what_changed_last_comes_first_whether_file_or_task(history: Any) -> None:
    assert ids(history()) == ["c", "a", "b", "d", "X1"]


@pytest.mark.usefixtures("busy")
def test_a_file_that_was_sent_shows_the_state_of_its_task(history: Any) -> None:
    entry = history()[0]
    assert (entry["state"], entry["file_state"], entry["task_id"]) == ("exported", "archived", "Tc")


@pytest.mark.usefixtures("busy")
def test_limit_keeps_the_newest(history: Any) -> None:
    assert ids(history("--limit", "2")) == ["c", "a"]


@pytest.mark.usefixtures("busy")
def test_a_watch_folder_is_kept_apart(history: Any) -> None:
    assert ids(history("--watch-folder", "letters")) == ["d"]


@pytest.mark.parametrize(
    ("state", "expected"), [("rejected", ["b"]), ("held", ["d"]), ("exported", ["c"]), ("failed", ["X1"]), ("gone", [])]
)
@pytest.mark.usefixtures("busy")
def test_a_state_of_file_or_task_selects(history: Any, state: str, expected: list[str]) -> None:
    assert ids(history("--state", state)) == expected


def test_every_state_can_be_asked_for() -> None:
    assert set(STATES) == set(FileState) | set(TaskState)


def test_a_path_tells_every_file_that_lay_there(known: KnownAgent, history: Any) -> None:
    known.ledger.commit(archived("a", relative_path="x.pdf"), file("b", relative_path="x.pdf", state_at=NOW), file("c"))
    assert ids(history(str(known.inbox / "x.pdf"))) == ["b", "a"]


def test_a_path_in_the_archive_means_the_file_that_lies_there(known: KnownAgent, history: Any) -> None:
    known.ledger.commit(archived("a", filed_as="a-20260101T000000Z-1234.pdf"))
    assert ids(history(str(known.inbox / "archive" / "a-20260101T000000Z-1234.pdf"))) == ["a"]


def test_before_the_first_run_it_is_empty(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(known, "history") == 0
    assert capsys.readouterr().out == "nothing: no agent has run yet\n"


def test_a_ledger_that_is_gone_is_said_to_be(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    (known.inbox / ".fsagent").write_text(f"{'a' * 32}\n", encoding="ascii")

    assert command(known, "history") == 4
    assert "adopt --all" in capsys.readouterr().err


def test_an_unknown_watch_folder_is_refused(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(known, "history", "--watch-folder", "nope") == 2
    assert "invoices, letters" in capsys.readouterr().err


def test_an_unknown_state_is_refused(known: KnownAgent) -> None:
    assert command(known, "history", "--state", "nope") == 2


def test_a_limit_beyond_all_counting_is_refused(known: KnownAgent) -> None:
    known.ledger.commit(file("a"))
    assert command(known, "history", "--limit", "9" * 30) == 2


def test_text_has_a_line_for_each(busy: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(busy, "history", "--state", "rejected") == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["time", "state", "folder", "path", "task", "id", "detail"]
    assert line.split()[2:] == ["rejected", "invoices", "b.pdf", "-", "b", "empty:", "no", "bytes"]
