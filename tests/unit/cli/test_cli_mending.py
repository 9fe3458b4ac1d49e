from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from fakes.office import AT, Office

from agent.app import running_agent
from agent.model import FileState, Reason, TaskState
from agent.sandbox.aluma.settings import DEMO_PROJECT_ID
from agent.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


# --- retry -----------------------------------------------------------------------------------------------------------


def test_retry_brings_a_file_back_to_the_inbox_and_removes_its_note(office: Office) -> None:
    office.keep(office.rejected("letter.pdf"))

    result = office.run("retry", office.error / "letter.pdf")

    assert result.status == 0, result.err
    assert "letter.pdf" in result.out
    assert office.names(office.inbox) == ["letter.pdf"]
    assert office.names(office.error) == []


def test_retry_takes_the_note_for_its_file(office: Office) -> None:
    office.keep(office.rejected("letter.pdf"))

    assert office.run("retry", office.error / "letter.pdf.error.txt").status == 0
    assert office.names(office.inbox) == ["letter.pdf"]


def test_retry_takes_the_path_a_file_had_in_the_inbox(office: Office) -> None:
    office.keep(office.rejected("letter.pdf"))

    assert office.run("retry", office.inbox / "letter.pdf").status == 0
    assert office.names(office.inbox) == ["letter.pdf"]


def test_retry_gives_a_clash_name_where_the_inbox_has_one_of_that_name(office: Office) -> None:
    office.keep(office.rejected("letter.pdf"))
    (office.inbox / "letter.pdf").write_bytes(b"another")

    result = office.run("retry", office.error / "letter.pdf")

    assert result.status == 0
    assert (office.inbox / "letter.pdf").read_bytes() == b"another"
    assert len(office.names(office.inbox)) == 2


def test_retry_means_the_file_that_lies_at_the_path_and_not_one_under_a_clash_name(office: Office) -> None:
    first = office.rejected("letter.pdf")
    second = office.rejected("letter-20260101T000000Z-0001.pdf", relative_path="letter.pdf", state_at=AT + 10)
    office.keep(first, second)

    assert office.run("retry", office.error / "letter.pdf").status == 0
    assert office.names(office.error) == [
        "letter-20260101T000000Z-0001.pdf",
        "letter-20260101T000000Z-0001.pdf.error.txt",
    ]


def test_retry_finds_a_file_under_its_clash_name(office: Office) -> None:
    office.keep(office.rejected("letter-20260101T000000Z-0001.pdf", relative_path="letter.pdf"))

    assert office.run("retry", office.error / "letter-20260101T000000Z-0001.pdf").status == 0
    assert office.names(office.inbox) == ["letter.pdf"]


def test_retry_all_brings_back_everything_in_error(office: Office) -> None:
    office.keep(office.rejected("one.pdf"), office.rejected("deep/two.pdf"))

    result = office.run("retry", "--all")

    assert result.status == 0
    assert (office.inbox / "one.pdf").exists()
    assert (office.inbox / "deep" / "two.pdf").exists()


def test_retry_all_with_nothing_in_error_is_no_failure(office: Office) -> None:
    office.keep()

    result = office.run("retry", "--all")

    assert (result.status, result.out) == (0, "nothing to retry\n")


def test_retry_names_what_it_does_not_know_and_does_the_rest(office: Office) -> None:
    office.keep(office.rejected("letter.pdf"))

    result = office.run("retry", "nobody.pdf", "letter.pdf")

    assert result.status == 1
    assert "nobody.pdf: the ledger knows no such file or task" in result.err
    assert office.names(office.inbox) == ["letter.pdf"]


def test_retry_says_why_a_file_that_is_not_in_error_is_not_sent_again(office: Office) -> None:
    office.keep(office.file("letter.pdf"))

    result = office.run("retry", "letter.pdf")

    assert result.status == 1
    assert "only files in error/ can be sent again" in result.err


def test_retry_says_that_somebody_took_the_file_away(office: Office) -> None:
    office.keep(office.rejected("letter.pdf"))
    office.run("adopt", "--all")
    (office.error / "letter.pdf").unlink()

    result = office.run("retry", "letter.pdf")

    assert result.status == 1
    assert "moved, deleted or replaced" in result.err


def test_retry_of_a_failed_task_sends_its_source_in_error_again(office: Office) -> None:
    source = office.rejected("letter.pdf", task_id="task-1", reason=Reason.TASK_FAILED)
    office.keep(source, office.task("task-1", file_key=source.key))

    result = office.run("retry", "task-1")

    assert result.status == 0, result.err
    assert office.names(office.inbox) == ["letter.pdf"]
    assert office.names(office.error) == []


def test_retry_of_a_task_of_unknown_end_sends_its_source_in_the_archive_again(office: Office) -> None:
    source = office.file(
        "letter.pdf",
        root=office.archive,
        state=FileState.ARCHIVED,
        in_inbox=False,
        task_id="task-1",
        filing="archive",
        destination="letter.pdf",
        filed_at=1.0,
        filed_in="archive",
        filed_as="letter.pdf",
    )
    office.keep(source, office.task("task-1", file_key=source.key, state=TaskState.ENDED_UNKNOWN))

    assert office.run("retry", "task-1").status == 0
    assert office.names(office.inbox) == ["letter.pdf"]
    assert office.names(office.archive) == []


def test_retry_of_a_failed_task_of_others_says_that_there_is_nothing_to_send(office: Office) -> None:
    office.keep(office.task("task-1"))

    result = office.run("retry", "task-1")

    assert result.status == 1
    assert "the service has deleted what it held" in result.err


def test_retry_of_a_task_whose_source_was_removed_says_so(office: Office) -> None:
    source = office.rejected("letter.pdf", task_id="task-1", filed_in="deleted")
    office.keep(source, office.task("task-1", file_key=source.key))

    result = office.run("retry", "task-1")

    assert result.status == 1
    assert "its source was removed" in result.err


def test_retry_gives_a_held_export_another_round(office: Office) -> None:
    held = office.task("task-1", state=TaskState.PROCESSING, ended_at=None, held=True, attempts=10)
    office.keep(held)

    assert office.run("retry", "task-1").status == 0
    with office.ledger() as ledger:
        task = ledger.task("task-1")
    assert task is not None
    assert (task.held, task.attempts) == (False, 0)


@pytest.mark.parametrize("arguments", [("-y_ahN2", "--json"), ("--json", "-y_ahN2"), ("--json", "--", "-y_ahN2")])
def test_retry_takes_a_task_whose_id_begins_with_a_dash(office: Office, arguments: tuple[str, ...]) -> None:
    office.keep(office.task("-y_ahN2", state=TaskState.PROCESSING, ended_at=None, held=True))

    result = office.run("retry", *arguments)

    assert result.status == 0, result.err
    assert "-y_ahN2" in result.out


def test_retry_refuses_an_option_it_does_not_have(office: Office) -> None:
    assert "No such option" in office.run("retry", "--al").err


def test_retry_prints_one_document(office: Office) -> None:
    office.keep(office.rejected("letter.pdf"))

    result = office.run("retry", "--json", "nobody.pdf", "letter.pdf")

    assert result.status == 1
    assert [each["ok"] for each in result.document["results"]] == [False, True]
    assert result.document["ok"] is False


def test_retry_asks_for_a_target(office: Office) -> None:
    assert office.run("retry").status == 2
    assert office.run("retry", "--all", "letter.pdf").status == 2


def test_retry_makes_no_ledger_where_there_is_none(office: Office) -> None:
    result = office.run("retry", "--all")

    assert result.status == 1
    assert "no agent has run" in result.err
    assert not office.state.exists()


def test_retry_says_with_status_4_that_the_ledger_is_gone(office: Office) -> None:
    (office.inbox / ".fsagent").write_text(f"{'a' * 32}\n", encoding="ascii")

    result = office.run("retry", "--all")

    assert result.status == 4
    assert "adopt --all" in result.err


def test_retry_is_carried_out_by_the_running_agent(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.keep(office.rejected("letter.pdf"))
    monkeypatch.chdir(office.error)
    with running_agent(office.settings, exports=False):
        result = office.run("retry", "letter.pdf")

    assert result.status == 0, result.err
    assert office.names(office.inbox) == ["letter.pdf"]


# --- resolve ---------------------------------------------------------------------------------------------------------


def held(office: Office) -> str:
    record = office.file("letter.pdf", state=FileState.HELD, detail="nobody knows")
    office.keep(record)
    return record.key


def state_of(office: Office, key: str) -> FileState:
    with office.ledger() as ledger:
        record = ledger.file(key)
    assert record is not None
    return record.state


def test_resolve_takes_a_task_for_what_became_of_the_file(office: Office) -> None:
    key = held(office)

    result = office.run("resolve", key[:8], "--submitted", "task-1")

    assert result.status == 0, result.err
    assert state_of(office, key) is FileState.SUBMITTED
    with office.ledger() as ledger:
        task = ledger.task("task-1")
    assert task is not None
    assert task.file_key == key
    assert "not checked" in result.out, "nobody answers at the service's address"


def test_resolve_refuses_a_task_that_the_service_does_not_know(office: Office) -> None:
    with SandboxServer() as server:
        office.write_config(url=server.url, project_id=DEMO_PROJECT_ID)
        key = held(office)

        result = office.run("resolve", key, "--submitted", "task-1")

    assert result.status == 1
    assert "the service knows no task task-1" in result.err
    assert state_of(office, key) is FileState.HELD


def test_resolve_asks_no_service_where_its_credentials_are_not_set(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = held(office)
    text = office.config.read_text(encoding="utf-8")
    secret = re.sub("client_secret: .*", "client_secret: ${FSAGENT_SECRET_OF_THE_SERVICE}", text, count=1)
    office.config.write_text(secret, encoding="utf-8")
    monkeypatch.delenv("FSAGENT_SECRET_OF_THE_SERVICE", raising=False)

    result = office.run("resolve", key, "--submitted", "task-1")

    assert result.status == 0, result.err
    assert "not checked: no agent runs, and the service's credentials are not set here" in result.out


def test_the_running_agent_refuses_a_task_that_the_service_does_not_know(office: Office) -> None:
    with SandboxServer() as server:
        office.write_config(url=server.url, project_id=DEMO_PROJECT_ID)
        key = held(office)
        with running_agent(office.settings, exports=False):
            result = office.run("resolve", key, "--submitted", "task-1")

    assert result.status == 1
    assert "the service knows no task task-1" in result.err


def test_resolve_has_the_file_sent_again(office: Office) -> None:
    key = held(office)

    assert office.run("resolve", "letter.pdf", "--resubmit").status == 0
    assert state_of(office, key) is FileState.WAITING


def test_resolve_finds_the_file_by_its_whole_path(office: Office) -> None:
    key = held(office)

    assert office.run("resolve", office.inbox / "letter.pdf", "--resubmit").status == 0
    assert state_of(office, key) is FileState.WAITING


def test_resolve_puts_the_file_into_error_with_a_note(office: Office) -> None:
    key = held(office)

    assert office.run("resolve", key, "--reject").status == 0
    assert state_of(office, key) is FileState.REJECTED
    assert office.names(office.error) == ["letter.pdf", "letter.pdf.error.txt"]


def test_resolve_lists_what_is_held_where_the_id_is_none(office: Office) -> None:
    key = held(office)

    result = office.run("resolve", "nothing", "--reject")

    assert result.status == 1
    assert f"{key[:8]} (letter.pdf)" in result.err


def test_resolve_does_not_take_a_task_of_another_file(office: Office) -> None:
    key = held(office)
    office.keep(office.task("task-1", file_key="another"))

    result = office.run("resolve", key, "--submitted", "task-1")

    assert result.status == 1
    assert "belongs to another file" in result.err


@pytest.mark.parametrize("options", [(), ("--resubmit", "--reject"), ("--submitted", "task-1", "--reject")])
def test_resolve_wants_exactly_one_decision(office: Office, options: tuple[str, ...]) -> None:
    assert office.run("resolve", "letter.pdf", *options).status == 2
