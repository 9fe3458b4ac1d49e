"""`fsagent why`: every file and path is explained, whether the ledger knows it or not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.known_agent import NOW, KnownAgent, archived, command, document, file, lane, rejected, task

from agent.model import Event, FileSource, FileState, PlannedFile, Reason, TaskState
from agent.rules.lifecycle import NEXT_STEP
from agent.runtime.explaining import explain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@pytest.fixture
def known(tmp_path: Path) -> Iterator[KnownAgent]:
    known = KnownAgent(tmp_path)
    yield known
    known.close()


@pytest.fixture
def why(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> Any:
    def ask(target: str | Path, *, status: int = 0) -> dict[str, Any]:
        assert command(known, "why", str(target), "--json") == status
        return document(capsys)

    return ask


def make_link(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("this account may not make links")
    if not link.is_symlink() or not link.samefile(os.path.realpath(link)) or Path(os.path.realpath(link)) == link:
        pytest.skip("links are not told from what they lead to")


def test_a_waiting_file_says_what_it_waits_for(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(file("a", detail="waits for a.pdf.ready"))
    explained = why(known.drop("a.pdf"))
    assert explained["decides"] == "waits for a.pdf.ready."
    assert explained["next"] == NEXT_STEP[FileState.WAITING]
    assert explained["file"]["lies_at"] == str(known.inbox / "a.pdf")


def test_what_keeps_the_next_step_from_being_done_is_named(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(file("a"))
    assert [reason["reason"] for reason in why(known.drop("a.pdf"))["blocked_by"]] == ["stopped"]


@pytest.mark.parametrize("name", ["not \udcff utf-8.pdf", "half \ud83d a pair.pdf"])
def test_a_name_that_is_no_unicode_and_nobody_knows_is_no_id(known: KnownAgent, why: Any, name: str) -> None:
    known.ledger.commit(file("a"))
    assert why(name, status=1)["known"] is False


def test_a_path_relative_to_the_inbox_is_found(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(file("a", relative_path="sub/a.pdf"))
    assert why("sub/a.pdf")["file"]["id"] == "a"


def test_an_archived_file_tells_its_task_and_the_files_written(known: KnownAgent, why: Any) -> None:
    planned = PlannedFile("sub/a.csv", "sub/a.csv", "sub/.fsagent-0.part", FileSource.CONTENT)
    exported = task("Ta", state=TaskState.EXPORTED, plan=(planned,), published=True, ended_at=NOW)
    known.ledger.commit(archived("a"), exported)
    explained = why(known.inbox / "archive" / "a.pdf")
    assert (explained["state"], explained["next"]) == ("exported", NEXT_STEP[TaskState.EXPORTED])
    assert explained["task"]["files"] == [str(known.folder / "out" / "invoices" / "sub" / "a.csv")]


def test_an_exported_file_that_is_not_moved_yet_says_what_keeps_it(known: KnownAgent, why: Any) -> None:
    sent = file("a", state=FileState.SUBMITTED, filing="archive", task_id="Ta", detail="not permitted")
    known.ledger.commit(sent, task("Ta", state=TaskState.EXPORTED, ended_at=NOW))
    explained = why(known.drop("a.pdf"))
    assert (explained["state"], explained["decides"]) == ("exported", "not permitted.")
    assert explained["next"] == "It is moved to archive/ as soon as that can be done; nothing else is left to do."
    assert [reason["reason"] for reason in explained["blocked_by"]] == ["stopped"]


def test_an_exported_file_leads_to_its_source(known: KnownAgent, why: Any) -> None:
    planned = PlannedFile("sub/a.csv", "sub/a.csv", "sub/.fsagent-0.part", FileSource.CONTENT)
    known.ledger.commit(archived("a"), task("Ta", state=TaskState.EXPORTED, plan=(planned,), published=True))
    assert why(known.folder / "out" / "invoices" / "sub" / "a.csv")["file"]["path"] == "a.pdf"


def test_a_task_id_is_found(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(archived("a"), task("Ta"))
    assert why("Ta")["file"]["id"] == "a"


def test_a_task_of_another_client_is_explained_without_a_source(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(task("X1", service_state="queued"))
    explained = why("X1")
    assert (explained["file"], explained["decides"]) == (None, "The service said last: queued.")


def test_a_held_export_asks_for_a_decision(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(archived("a"), task("Ta", held=True, attempts=10, detail="404"))
    explained = why("Ta")
    assert explained["decides"] == "Its export failed 10 times and is held: 404."
    assert "fsagent retry Ta" in explained["next"]


def test_a_rejected_file_tells_its_reason_and_is_blocked_by_nothing(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(rejected("a", reason=Reason.EMPTY, detail="the file has no bytes"))
    explained = why(known.inbox / "error" / "a.pdf.error.txt")
    assert explained["decides"] == "empty: the file has no bytes."
    assert explained["blocked_by"] == []


def test_what_happened_comes_oldest_first(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(archived("a"), task("Ta"), Event(NOW - 9, "invoices", "seen", "", "a"))
    known.ledger.commit(Event(NOW - 8, "invoices", "exporting", "", "a", "Ta"))
    assert [event["name"] for event in why("Ta")["events"]] == ["seen", "exporting"]


def test_a_new_file_under_an_old_name_is_not_taken_for_the_old_one(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(archived("a"), task("Ta"))
    explained = why(known.drop("a.pdf"))
    assert explained["file"] is None
    assert "An earlier file of this name is archived" in explained["decides"]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("notes.doc", "No pattern of `include` matches it"),
        ("~$a.pdf", "Names like ~$* are left out always"),
        ("copy of a.pdf", "`exclude` has copy of *, which matches it."),
        ("drafts/a.pdf", "`exclude` has drafts/, which leaves out the folder drafts."),
        ("@eaDir/a.pdf", "Folders named @eaDir are left out always"),
        ("a.pdf.ready", "`ready_file: {file_name}.ready` makes it a sign"),
        (".fsagent", "It is a file of the agent's own."),
    ],
)
def test_a_name_left_out_names_the_rule(known: KnownAgent, why: Any, name: str, rule: str) -> None:
    explained = why(known.drop(name))
    assert explained["decides"].startswith(rule)
    assert explained["known"] is True


def test_a_file_below_an_inbox_that_is_not_recursive_names_that(known: KnownAgent, why: Any) -> None:
    path = known.folder / "in" / "letters" / "sub" / "a.pdf"
    path.parent.mkdir()
    path.write_bytes(b"x")
    assert why(path)["decides"].startswith("`recursive: false`")


def test_a_file_not_yet_seen_waits_for_an_agent(known: KnownAgent, why: Any) -> None:
    explained = why(known.drop("new.pdf"))
    assert (explained["known"], explained["decides"]) == (True, "No agent runs.")


def test_what_keeps_a_file_from_being_seen_is_named(known: KnownAgent) -> None:
    known.note(lanes=[lane("invoices/submission", "root_changed"), lane("letters/submission", "disk_full")])
    path = str(known.drop("new.pdf"))
    explained = explain(known.settings, known.ledger, path, is_running=True, now=NOW)
    assert [reason["reason"] for reason in explained["blocked_by"]] == ["root_changed"]


def test_a_name_left_out_is_kept_by_no_trouble(known: KnownAgent) -> None:
    known.note(lanes=[lane("invoices/submission", "root_changed")])
    path = str(known.drop("~$a.pdf"))
    assert explain(known.settings, known.ledger, path, is_running=True, now=NOW)["blocked_by"] == []


def test_a_link_is_explained_and_not_followed(known: KnownAgent, why: Any) -> None:
    make_link(known.inbox / "link.pdf", known.drop("a.pdf"))
    assert why(known.inbox / "link.pdf")["decides"].startswith("It is a symlink")


def test_a_pipe_is_explained_and_not_opened(known: KnownAgent, why: Any) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs here")
    os.mkfifo(known.inbox / "pipe.pdf")
    assert why(known.inbox / "pipe.pdf")["decides"].startswith("It is a fifo")


@pytest.mark.parametrize("place", ["archive", "error"])
def test_what_lies_there_without_the_ledger_is_explained(known: KnownAgent, why: Any, place: str) -> None:
    explained = why(known.drop(f"{place}/by-hand.pdf"))
    assert explained["where"].endswith("and the ledger does not know it.")
    assert explained["decides"].startswith("It was put there by hand")


def test_a_file_outside_every_inbox_is_explained(known: KnownAgent, why: Any) -> None:
    assert why(known.configuration)["where"] == "It lies outside every watch folder."


@pytest.mark.parametrize("target", ["no such thing", "in/invoices/not-there.pdf"])
def test_of_what_is_nowhere_nothing_is_known(known: KnownAgent, why: Any, target: str) -> None:
    assert why(known.folder / target, status=1)["known"] is False


def test_the_real_path_of_an_inbox_that_is_a_link_means_the_same(
    known: KnownAgent, why: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = known.folder / "elsewhere"
    real.mkdir()
    known.inbox.rename(real / "invoices")
    make_link(known.inbox, real / "invoices")
    monkeypatch.chdir(real)
    known.ledger.commit(file("a"))
    known.drop("a.pdf")
    assert why("invoices/a.pdf")["file"]["id"] == "a"


def test_text_shows_a_path_as_it_is(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    known.ledger.commit(file("ab" * 16, relative_path="scan  2\n3.pdf"))
    assert command(known, "why", "ab" * 16) == 0
    assert f"{known.inbox / 'scan  2'}\\x0a3.pdf (where nothing lies now)" in capsys.readouterr().out


def test_text_says_once_what_file_and_task_both_say(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    failed = rejected("a", reason=None, detail="x.csv is a folder", task_id="Ta")
    known.ledger.commit(failed, task("Ta", state=TaskState.FAILED, ended_at=NOW, detail="x.csv is a folder"))
    assert command(known, "why", "Ta") == 0
    assert capsys.readouterr().out.count("x.csv is a folder") == 1


def test_text_shows_where_what_and_next(known: KnownAgent, capsys: pytest.CaptureFixture[str]) -> None:
    known.ledger.commit(archived("a"), task("Ta"), Event(NOW, "invoices", "seen", "", "a"))
    assert command(known, "why", "Ta") == 0
    labels = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert [label for label in labels if label.endswith(":")] == ["file:", "task:", "where:", "waits:", "next:"]


def test_a_file_of_several_tasks_is_told_by_the_one_that_is_not_over(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(
        archived("a", relative_path="mail.eml"),
        task("Ta", state=TaskState.EXPORTED, ended_at=NOW, upload_id="U", number=1),
        task("second", file_key="a", state=TaskState.REVIEWING, upload_id="U", number=2),
    )
    explained = why("mail.eml")
    assert (explained["state"], explained["task"]["id"]) == ("reviewing", "second")
    assert explained["decides"] == "The file became 2 tasks: 1 reviewing, 1 exported."


def test_what_the_service_said_of_a_failed_task_is_not_said_twice(known: KnownAgent, why: Any) -> None:
    known.ledger.commit(
        rejected("a", task_id="Ta", reason=Reason.TASK_FAILED, detail="blank page"),
        task("Ta", state=TaskState.FAILED, ended_at=NOW, detail="blank page"),
    )
    assert why("a.pdf")["decides"] == "task_failed: blank page."
