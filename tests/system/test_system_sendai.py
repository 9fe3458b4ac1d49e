"""Send AI over real processes: uploads of a folder, tasks before people, mails, and answers that got lost."""

from __future__ import annotations

import email.message
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from agent.sandbox.sendai.settings import Fate, SendaiSettings, TaskStatus
from agent.sandbox.server import SandboxServer
from system.sites import Site, pdf, sha256, tree, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.sandbox.sendai.core import SendaiSandbox

pytestmark = pytest.mark.system

CASE = [f"{number:02}.pdf" for number in range(12)]
FAILING = ("03.pdf", "07.pdf")
REVIEWED = "05.pdf"


@pytest.fixture
def server() -> Iterator[SandboxServer[SendaiSandbox]]:
    with SandboxServer(SendaiSettings(processing_delay=0.05, review_delay=0.05)) as server:
        yield server


@pytest.fixture
def sandbox(server: SandboxServer[SendaiSandbox]) -> SendaiSandbox:
    return server.sandbox


@pytest.fixture
def site(tmp_path: Path, server: SandboxServer[SendaiSandbox]) -> Site:
    return Site.of_kind(tmp_path / "site", server)


def move_in(site: Site, name: str, files: dict[str, bytes]) -> None:
    """Let a folder appear in the inbox at once, as a move does."""
    beside = site.root / "beside" / name
    beside.mkdir(parents=True)
    for file_name, content in files.items():
        (beside / file_name).write_bytes(content)
    beside.rename(site.inbox / name)


def wait_for(site: Site, **counts: int) -> None:
    """Wait until the ledger has so many tasks in these states, the rows of uploads left out."""

    def found() -> Counter[str]:
        return Counter(task.state.value for task in site.task_records())

    wait_until(lambda: all(found()[state] == count for state, count in counts.items()), what=found)


def totals(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.status()["totals"]
    return found


def wait_for_totals(site: Site, **numbers: int) -> None:
    """Wait until status says so: a task may have failed before its source was filed."""

    def said() -> dict[str, Any]:
        now = totals(site)
        return {key: now[key] for key in numbers}

    wait_until(lambda: said() == numbers, what=said)


def task_of(sandbox: SendaiSandbox, name: str) -> dict[str, Any]:
    (found,) = (task for task in sandbox.describe() if task["name"] == name)
    return found


def answered(site: Site, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command with --json and return its exit status and its document."""
    done = site.command(*arguments, "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


# --- a folder at once -------------------------------------------------------------------------------------------------


def test_twelve_files_moved_in_are_one_upload_with_its_failures_and_its_review(
    site: Site, sandbox: SendaiSandbox
) -> None:
    for name in FAILING:
        sandbox.add_fate(Fate(name, TaskStatus.FAILED))
    sandbox.add_fate(Fate(REVIEWED, TaskStatus.REVIEWING))
    site.configure(batch="folder", meta={"branch": "Bern"})
    contents = {name: pdf(name) for name in CASE}
    with site.run() as running:
        site.wait_scanned()
        move_in(site, "case 7", contents)
        wait_for(site, exported=9, failed=2, reviewing=1)
        wait_for_totals(site, exported=9, errors=2, reviewing=1)
        exported = set(CASE) - {*FAILING, REVIEWED}
        assert set(tree(site.output)) == {f"case 7/{n[:2]}.{end}" for n in exported for end in ("csv", "json")}

        assert site.command("tasks", "complete", task_of(sandbox, REVIEWED)["id"]).returncode == 0
        wait_for(site, exported=10, failed=2, reviewing=0)
        wait_for_totals(site, exported=10, errors=2, reviewing=0)
        wait_until(site.is_done, what=site.records)
        running.stop()

    (upload,) = sandbox.describe_uploads()
    assert (upload["name"], upload["state"], [file["name"] for file in upload["files"]]) == ("case 7", "PARTIAL", CASE)
    assert {file["name"]: file["sha256"] for file in upload["files"]} == {n: sha256(c) for n, c in contents.items()}
    pairs = [(pair["name"], pair["value"]) for pair in upload["meta"]]
    assert {("branch", "Bern"), ("relative_folder", "case 7")} <= set(pairs)
    assert len([value for name, value in pairs if name == "fsagent_key"]) == len(CASE)
    for name in FAILING:
        assert (site.error / "case 7" / name).read_bytes() == contents[name]
        note = site.note(f"case 7/{name}")
        assert note["reason"].startswith("task_failed: ")
        assert note["task"] == task_of(sandbox, name)["id"]
    assert set(tree(site.archive)) == {f"case 7/{name}" for name in CASE if name not in FAILING}
    assert site.inbox_files() == set()


# --- what people decide -----------------------------------------------------------------------------------------------


def test_what_people_decide_about_tasks_is_carried_out_and_the_state_shown_is_believed(
    site: Site, sandbox: SendaiSandbox
) -> None:
    sandbox.add_fate(Fate("discarded.pdf", TaskStatus.REVIEWING))
    sandbox.add_fate(Fate("incomplete.pdf", TaskStatus.REVIEWING, after_review=TaskStatus.REVIEWING))
    sandbox.add_fate(Fate("filtered.pdf", TaskStatus.FILTERED))
    for name in ("discarded.pdf", "incomplete.pdf", "filtered.pdf", "plain.pdf"):
        site.drop(name)
    with site.run() as running:
        wait_for(site, reviewing=2)
        discarded, incomplete = (task_of(sandbox, name)["id"] for name in ("discarded.pdf", "incomplete.pdf"))
        assert answered(site, "tasks", "report", discarded, "--issue", "poor scan", "--message", "page 2") == (
            0,
            {"id": discarded, "name": "discarded.pdf", "state": "reviewing", "done": True},
        )
        assert answered(site, "tasks", "discard", discarded)[0] == 0
        # What was entered is not valid: the service takes it, and puts it before people again.
        assert answered(site, "tasks", "complete", incomplete)[0] == 0
        wait_until(lambda: task_of(sandbox, "incomplete.pdf")["state"] == "REVIEWING")
        wait_for(site, discarded=2, reviewing=1, exported=1)

        # The service ignores what comes in a state that does not allow it, and answers 200 all the same.
        status, answer = answered(site, "tasks", "discard", task_of(sandbox, "plain.pdf")["id"])
        assert (status, answer["done"]) == (1, False)
        assert task_of(sandbox, "plain.pdf")["state"] == "COMPLETED"
        running.stop()

    assert task_of(sandbox, "discarded.pdf")["issues"] != []
    assert task_of(sandbox, "discarded.pdf")["message"] == "page 2"
    assert set(tree(site.output)) == {"plain.json", "plain.csv"}
    assert set(tree(site.archive)) == {"discarded.pdf", "incomplete.pdf", "filtered.pdf", "plain.pdf"}
    assert totals(site)["errors"] == 0


def test_an_upload_is_shown_and_moved(site: Site, sandbox: SendaiSandbox) -> None:
    site.drop("one.pdf")
    assert site.run_once().returncode == 0
    (upload,) = sandbox.describe_uploads()
    status, shown = answered(site, "uploads", "show", upload["id"])
    assert (status, shown["name"], shown["may_grow"]) == (0, "one.pdf", False)
    assert [(task["id"], task["name"]) for task in shown["tasks"]] == [(upload["tasks"][0], "one.pdf")]

    assert answered(site, "uploads", "move", upload["id"], "folder_processed")[0] == 0
    assert sandbox.describe_uploads()[0]["folder_id"] == "folder_processed"

    refused = site.command("uploads", "move", "upl_nobodys", "folder_processed")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr


# --- several tasks of one file ----------------------------------------------------------------------------------------


def mail_with(*attachments: tuple[str, bytes]) -> bytes:
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@sender.example", "b@receiver.example", "Two documents"
    message.set_content("Invoice number: 4711\nPlease find both enclosed.\n")
    for name, content in attachments:
        message.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    return message.as_bytes()


def test_a_mail_is_sent_whole_and_each_of_its_tasks_has_a_result_of_its_own(site: Site, sandbox: SendaiSandbox) -> None:
    site.configure(include=["*.eml"], accept=["email"])
    mail = mail_with(("invoice.pdf", pdf("invoice")), ("terms.pdf", pdf("terms")))
    site.drop("post/mail.eml", mail)
    assert site.run_once().returncode == 0

    (upload,) = sandbox.describe_uploads()
    assert [(file["name"], file["sha256"]) for file in upload["files"]] == [("mail.eml", sha256(mail))]
    assert set(tree(site.output)) == {f"post/mail{n}.{end}" for n in ("", "-2", "-3") for end in ("csv", "json")}
    names = [json.loads((site.output / "post" / f"mail{n}.json").read_bytes())["name"] for n in ("", "-2", "-3")]
    assert names == ["mail.eml", "invoice.pdf", "terms.pdf"]
    assert (site.archive / "post" / "mail.eml").read_bytes() == mail


def test_an_attachment_that_fails_brings_the_mail_to_error_and_the_others_are_exported(
    site: Site, sandbox: SendaiSandbox
) -> None:
    site.configure(include=["*.eml"], accept=["email"])
    sandbox.add_fate(Fate("terms.pdf", TaskStatus.FAILED))
    mail = mail_with(("invoice.pdf", pdf("invoice")), ("terms.pdf", pdf("terms")))
    site.drop("mail.eml", mail)
    assert site.run_once().returncode == 1

    assert set(tree(site.output)) == {f"mail{n}.{end}" for n in ("", "-2") for end in ("csv", "json")}
    assert (site.error / "mail.eml").read_bytes() == mail
    assert site.note("mail.eml")["task"] == task_of(sandbox, "terms.pdf")["id"]
