"""Folders that go away and come back, names that are taken, ready files, duplicates, purging."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from system.sites import Site, document_for, pdf, sha256, tree, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from agent.sandbox.server import SandboxServer

pytestmark = pytest.mark.system


def test_an_inbox_renamed_away_pauses_its_lane_and_heals_when_it_is_back(site: Site) -> None:
    dropped = {"one.pdf": site.drop("one.pdf")}
    with site.run() as running:
        site.wait_done(tasks=1)
        site.inbox.rename(site.root / "away")
        lane = site.waits_for("scans/submission", "inbox_missing")
        assert not site.inbox.exists()  # an inbox is never made by the agent
        (site.root / "away").rename(site.inbox)
        dropped["two.pdf"] = site.drop("two.pdf")
        site.wait_done(tasks=2)
        wait_until(lambda: site.lanes() == {})
        running.stop()

    assert str(site.inbox) in lane["detail"]
    assert {record.state.value for record in site.records()} == {"archived"}
    site.assert_each_once(dropped)


def test_an_inbox_removed_and_made_anew_waits_for_adoption(site: Site) -> None:
    with site.run() as running:
        site.wait_scanned()
        site.inbox.rename(site.root / "old")  # kept, so that the new folder cannot get the same file id
        site.inbox.mkdir()
        content = site.drop("one.pdf")
        lane = site.waits_for("scans/submission", "root_changed")
        assert "fsagent adopt" in lane["hint"]
        assert site.describe() == []
        shutil.rmtree(site.root / "old")
        adopted = site.command("adopt", "scans")
        assert adopted.returncode == 0, adopted.stderr
        site.wait_done(tasks=1)
        running.stop()

    site.assert_each_once({"one.pdf": content})


def test_an_output_renamed_away_holds_the_exports_and_heals_when_it_is_back(site: Site) -> None:
    with site.run() as running:
        site.wait_scanned()
        site.output.rename(site.root / "away")
        site.waits_for("scans/export", "output_missing")
        content = site.drop("one.pdf")
        wait_until((site.archive / "one.pdf").exists)
        wait_until(lambda: site.describe()[0]["state"] == "pending:start_client_action")
        assert not site.output.exists()
        (site.root / "away").rename(site.output)
        site.wait_done(tasks=1)
        running.stop()

    site.assert_each_once({"one.pdf": content})
    assert site.describe()[0]["calls"] == {"start": 1, "complete": 1}


def test_a_healthy_watch_folder_goes_on_beside_one_whose_inbox_is_away(site: Site) -> None:
    for name in ("other in", "other out"):
        (site.root / name).mkdir()
    site.settings["watch_folders"].append(Site.watch_folder("other", inbox="other in", output="other out"))
    site.configure()
    with site.run() as running:
        site.wait_scanned()
        site.inbox.rename(site.root / "away")
        site.waits_for("scans/submission", "inbox_missing")
        (site.root / "other in" / "one.pdf").write_bytes(pdf("one"))
        site.wait_done(tasks=1)
        assert "other/submission" not in site.lanes()
        running.stop()

    assert set(tree(site.root / "other out")) == {"one.pdf", "one.csv", "one.json"}


def test_a_taken_name_in_the_archive_is_never_overwritten(site: Site) -> None:
    (site.archive / "sub").mkdir(parents=True)
    (site.archive / "sub" / "one.pdf").write_bytes(b"somebody's")
    content = site.drop("sub/one.pdf")

    assert site.run_once().returncode == 0

    assert (site.archive / "sub" / "one.pdf").read_bytes() == b"somebody's"
    clash = next(name for name in tree(site.archive) if name != "sub/one.pdf")
    assert clash.startswith("sub/one-20")
    assert clash.endswith(".pdf")
    assert (site.archive / clash).read_bytes() == content


def test_the_same_content_again_is_a_duplicate_where_the_configuration_says_so(site: Site) -> None:
    site.configure(on_duplicate="skip")
    content = pdf("the one content")
    site.drop("first.pdf", content)
    assert site.run_once().returncode == 0
    site.drop("again.pdf", content)
    site.drop("twin.pdf", content)
    site.drop("other.pdf")

    assert site.run_once().returncode == 0

    assert sorted(task["name"] for task in site.describe()) == ["first.pdf", "other.pdf"]
    assert {name: record.state.value for name, record in site.files().items()} == {
        "first.pdf": "archived",
        "again.pdf": "duplicate",
        "twin.pdf": "duplicate",
        "other.pdf": "archived",
    }
    assert set(tree(site.archive)) == {"first.pdf", "again.pdf", "twin.pdf", "other.pdf"}


def test_the_same_content_again_is_a_second_task_otherwise(site: Site) -> None:
    for name in ("first.pdf", "again.pdf"):
        site.drop(name, pdf("the one content"))

    assert site.run_once().returncode == 0

    assert site.tasks().keys() == {"first.pdf", "again.pdf"}


def test_a_file_waits_for_its_ready_file_and_takes_it_along(site: Site) -> None:
    site.configure(ready_file="{file_name}.ready")
    waiting, announced = site.drop("sub/one.pdf"), site.drop("two.pdf")
    site.drop("two.pdf.ready", b"")
    with site.run() as running:
        wait_until((site.archive / "two.pdf.ready").exists)
        wait_until(lambda: (found := site.files().get("sub/one.pdf")) and "one.pdf.ready" in found.detail)
        assert site.tasks().keys() == {"two.pdf"}
        site.drop("sub/one.pdf.ready", b"")
        site.wait_done(tasks=2)
        wait_until(lambda: not site.inbox_files(), what=site.inbox_files)
        running.stop()

    archived = {name: path.read_bytes() for name, path in tree(site.archive).items()}
    assert archived == {"sub/one.pdf": waiting, "two.pdf": announced, "sub/one.pdf.ready": b"", "two.pdf.ready": b""}


def test_a_ready_file_of_two_documents_goes_with_the_last_of_them(site: Site) -> None:
    site.configure(ready_file="{stem}.go")
    for name in ("sub/both.pdf", "sub/both.tif", "sub/both.go"):
        site.drop(name)

    assert site.run_once().returncode == 0

    assert site.tasks().keys() == {"both.pdf", "both.tif"}
    assert set(tree(site.archive)) == {"sub/both.pdf", "sub/both.tif", "sub/both.go"}
    assert site.inbox_files() == set()


def test_a_ready_file_goes_to_error_with_its_document_and_comes_back_with_retry(site: Site) -> None:
    site.configure(ready_file="{file_name}.go", accept=["tiff"])
    site.drop("one.pdf")
    site.drop("one.pdf.go", b"go")
    assert site.run_once().returncode == 1
    assert set(tree(site.error)) == {"one.pdf", "one.pdf.go", "one.pdf.error.txt"}
    site.configure(accept=["pdf"])

    assert site.command("retry", "--all").returncode == 0
    assert site.run_once().returncode == 0

    assert set(tree(site.archive)) == {"one.pdf", "one.pdf.go"}
    assert tree(site.error) == {}


def test_what_no_pattern_matches_stays_and_is_counted(site: Site) -> None:
    site.drop("readme.txt", b"hello")
    site.drop("one.pdf")

    assert site.run_once().returncode == 0

    assert site.inbox_files() == {"readme.txt"}


def test_the_archive_is_purged_of_what_ended_long_enough_ago_and_of_nothing_else(site: Site) -> None:
    site.configure(archive_keep="0s")
    site.archive.mkdir()
    (site.archive / "a person's.pdf").write_bytes(pdf("mine"))
    site.drop("one.pdf")
    assert site.run_once().returncode == 0
    with site.run() as running:  # the first purge of a process comes at once
        wait_until(lambda: set(tree(site.archive)) == {"a person's.pdf"}, what=lambda: tree(site.archive))
        running.stop()

    assert site.files()["one.pdf"].filed_in == "deleted"
    assert site.exported("one.pdf", "one.csv")


def test_an_open_task_keeps_its_source_from_being_purged(site: Site) -> None:
    site.configure(archive_keep="0s")
    site.drop("one.pdf")
    assert site.run_once("--submit-only").returncode == 0
    assert site.run_once("--submit-only").returncode == 0

    assert set(tree(site.archive)) == {"one.pdf"}


def test_after_submit_delete_removes_the_source_once_its_export_is_durable(site: Site) -> None:
    site.configure(after_submit="delete")
    site.drop("one.pdf")
    assert site.run_once("--submit-only").returncode == 0
    assert set(tree(site.archive)) == {"one.pdf"}
    assert site.run_once().returncode == 0
    with site.run() as running:
        wait_until(lambda: tree(site.archive) == {})
        running.stop()

    assert site.exported("one.pdf", "one.csv", "one.json")
    assert site.inbox_files() == set()


def test_a_task_that_fails_brings_its_source_from_archive_to_error_with_a_note(
    site: Site, sandbox: SandboxServer
) -> None:
    site.drop("sub/bad.pdf", pdf("bad").replace(b"/Pages", b"/Pagan"))
    with site.run() as running:
        wait_until((site.error / "sub" / "bad.pdf.error.txt").exists)
        wait_until(site.is_done)
        running.stop()

    note = site.note("sub/bad.pdf")
    assert note["reason"].startswith("task_failed: ")
    assert note["task"] == sandbox.sandbox.describe()[0]["id"]
    assert note["attempts"] == "1"
    assert tree(site.archive) == {}
    assert set(tree(site.error)) == {"sub/bad.pdf", "sub/bad.pdf.error.txt"}
    assert site.files()["sub/bad.pdf"].state.value == "rejected"


def test_a_file_in_error_is_sent_again_by_retry_and_its_note_goes(site: Site) -> None:
    site.configure(accept=["tiff"])
    content = site.drop("one.pdf")
    assert site.run_once().returncode == 1
    assert set(tree(site.error)) == {"one.pdf", "one.pdf.error.txt"}
    site.configure(accept=["tiff", "pdf"])

    retried = site.command("retry", str(site.error / "one.pdf"))
    assert retried.returncode == 0, retried.stderr
    assert site.run_once().returncode == 0

    site.assert_each_once({"one.pdf": content})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_stays_and_is_sent_once_it_can_be_read(site: Site) -> None:
    content = site.drop("one.pdf")
    (site.inbox / "one.pdf").chmod(0)
    with site.run() as running:
        wait_until(lambda: site.files().get("one.pdf") and site.files()["one.pdf"].state.value == "stalled")
        (site.inbox / "one.pdf").chmod(0o600)
        site.wait_done(tasks=1)
        running.stop()

    site.assert_each_once({"one.pdf": content})


def test_an_archive_elsewhere_gets_the_same_tree(site: Site, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    site.configure(archive=str(elsewhere / "kept"), error=str(elsewhere / "refused"))
    content = site.drop("sub/one.pdf")
    site.drop("sub/text.pdf", b"only text")

    assert site.run_once().returncode == 1

    assert (elsewhere / "kept" / "sub" / "one.pdf").read_bytes() == content
    assert set(tree(elsewhere / "refused")) == {"sub/text.pdf", "sub/text.pdf.error.txt"}


def test_a_file_removed_before_it_settles_is_forgotten(site: Site) -> None:
    site.configure(settle="1h")
    site.drop("fleeting.pdf")
    with site.run() as running:
        wait_until(lambda: site.files().get("fleeting.pdf"))
        (site.inbox / "fleeting.pdf").unlink()
        wait_until(lambda: site.files()["fleeting.pdf"].state.value == "gone")
        running.stop()

    assert site.describe() == []
    assert sha256(document_for("fleeting.pdf"))
