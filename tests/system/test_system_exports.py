"""What exports become on disk: names, conflicts, hostile specifications, failures and their notes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.faults import Fault
from agent.sandbox.server import SandboxServer
from system.sites import QUICK_SANDBOX, Site, document_for, tree, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system


def content_file(folder: str, filename: str, content: str = "a;b\n") -> dict[str, Any]:
    return {"folder": folder, "filename": filename, "source": "content", "content": content, "url": None}


def specify(sandbox: SandboxServer, *files: dict[str, Any], times: int | None = 1) -> None:
    """Let the next start of an export answer this specification."""
    body = {"documents": [{"files": list(files)}]}
    sandbox.sandbox.faults.add(
        Fault(200, method="PUT", path="/tasks/*/start_client_action", body=body, applied=True, times=times)
    )


def failed(site: Site) -> dict[str, Any] | None:
    """Return the one task the agent failed at the service, once it did."""
    return next((task for task in site.describe() if task["calls"].get("fail") and task["state"] == "failed"), None)


def export_note(site: Site, name: str) -> dict[str, str]:
    text = (site.output / "error" / f"{name}.error.txt").read_text(encoding="utf-8")
    return dict(line.split(": ", 1) for line in text.splitlines())


HOSTILE = {
    "parent": content_file("../../outside", "x.csv"),
    "inner parent": content_file("a/../../..", "x.csv"),
    "absolute": content_file("/etc", "x.csv"),
    "drive": content_file("C:\\Windows", "x.csv"),
    "share": content_file("\\\\host\\share", "x.csv"),
    "empty name": content_file("", ""),
    "dots": content_file("a", ".."),
    "path too long": content_file("/".join(["d" * 150] * 8), "x.csv"),
    "other origin": {
        "folder": "",
        "filename": "x.pdf",
        "source": "url",
        "url": "http://127.0.0.1:9/x",
        "content": None,
    },
}


def test_a_hostile_specification_fails_its_task_with_a_note_and_leaves_the_others_alone(
    site: Site, sandbox: SandboxServer
) -> None:
    victims = [f"victim {number}.pdf" for number in range(len(HOSTILE))]
    for victim, file in zip(victims, HOSTILE.values(), strict=True):
        specify(sandbox, content_file("", "fine.csv"), file)
        site.drop(f"sub/{victim}")
    with site.run() as running:
        wait_until(lambda: all((site.error / "sub" / f"{victim}.error.txt").exists() for victim in victims))
        wait_until(site.is_done)
        site.drop("good.pdf")
        site.wait_done(tasks=len(victims) + 1)
        running.stop()

    tasks = site.tasks()
    for victim in victims:
        note, export = site.note(f"sub/{victim}"), export_note(site, victim)
        assert export["reason"].startswith("export_failed: ")
        assert note["reason"].startswith("task_failed: ")
        assert note["task"] == export["task"] == tasks[victim]["id"]
        assert (tasks[victim]["state"], tasks[victim]["calls"]) == ("failed", {"start": 1, "fail": 1})
    notes = {f"error/{victim}.error.txt" for victim in victims}
    assert set(tree(site.output)) == {"good.pdf", "good.csv", "good.json"} | notes
    sources = {f"error/sub/{name}" for victim in victims for name in (victim, f"{victim}.error.txt")}
    assert set(tree(site.inbox)) == {"archive/good.pdf"} | sources
    assert {path.name for path in site.root.parent.iterdir()} == {"site"}


def test_dangerous_names_are_made_safe_by_one_rule_on_every_platform(site: Site, sandbox: SandboxServer) -> None:
    specify(
        sandbox,
        content_file("x/a:b\\c*d/./e", "CON.csv"),
        content_file("trail. ", 'what?".csv'),
        content_file("", "tab\there\u202e.csv"),
        content_file("", "Same.csv", "1"),
        content_file("", "same.CSV", "2"),
        content_file("", f"{'x' * 300}.csv"),
        content_file("", ".fsagent-0000.part"),
    )
    site.drop("one.pdf")

    assert site.run_once().returncode == 0

    names = set(tree(site.output))
    long = next(name for name in names if name.startswith("xxx"))
    assert len(long.encode()) <= 200
    assert names - {long} == {
        "x/a_b/c_d/e/_CON.csv",
        "trail_/what__.csv",
        "tab_here_.csv",
        "Same.csv",
        "same-2.CSV",
        "_.fsagent-0000.part",
    }


def test_a_folder_of_the_specification_stands_below_the_mirrored_folder(tmp_path: Path) -> None:
    with SandboxServer(AlumaSettings(**QUICK_SANDBOX, export_folder="{kind}/{stem}")) as server:  # type: ignore[arg-type]
        site = Site.of(tmp_path / "site", server)
        site.drop("branch/one.pdf")
        assert site.run_once().returncode == 0

    assert set(tree(site.output)) == {f"branch/pdf/one/one.{kind}" for kind in ("pdf", "csv", "json")}


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="links in folders")
def test_a_link_planted_below_the_output_is_never_followed(site: Site, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    try:
        (site.output / "sub").symlink_to(outside, target_is_directory=True)
    except OSError:
        pytest.skip("this user may not make symbolic links here")
    site.drop("sub/victim.pdf")
    site.drop("good.pdf")
    with site.run() as running:
        wait_until(lambda: failed(site))
        wait_until(lambda: site.exported("good.csv"))
        running.stop()

    assert tree(outside) == {}
    assert "export_failed: " in export_note(site, "victim.pdf")["reason"]


def test_where_a_name_is_taken_all_files_of_the_task_get_the_same_suffix(site: Site) -> None:
    (site.output / "one.csv").write_text("somebody's")
    site.drop("one.pdf")

    assert site.run_once().returncode == 0

    assert (site.output / "one.csv").read_text() == "somebody's"
    names = set(tree(site.output)) - {"one.csv"}
    suffixes = {name.removeprefix("one").rpartition(".")[0] for name in names}
    assert len(names) == 3
    assert len(suffixes) == 1
    assert suffixes.pop().startswith("-20")


def test_overwrite_replaces_plain_files(site: Site) -> None:
    site.configure(export={"on_conflict": "overwrite"})
    (site.output / "one.csv").write_text("somebody's")
    (site.output / "one.pdf").write_text("somebody's")
    content = site.drop("one.pdf")

    assert site.run_once().returncode == 0

    assert set(tree(site.output)) == {"one.pdf", "one.csv", "one.json"}
    assert (site.output / "one.pdf").read_bytes() == content
    assert (site.output / "one.csv").read_text() != "somebody's"


@pytest.mark.parametrize("on_conflict", ["overwrite", "rename"])
def test_a_folder_in_the_place_of_a_file_fails_the_task(site: Site, on_conflict: str) -> None:
    site.configure(export={"on_conflict": on_conflict})
    (site.output / "one.csv").mkdir()
    site.drop("one.pdf")
    with site.run() as running:
        wait_until(lambda: failed(site))
        wait_until((site.error / "one.pdf.error.txt").exists)
        running.stop()

    assert set(tree(site.output)) == {"error/one.pdf.error.txt"}


def test_fail_fails_the_task_where_a_name_is_taken(site: Site) -> None:
    site.configure(export={"on_conflict": "fail"})
    (site.output / "one.csv").write_text("somebody's")
    site.drop("one.pdf")
    with site.run() as running:
        wait_until(lambda: failed(site))
        wait_until((site.error / "one.pdf.error.txt").exists)
        running.stop()

    assert set(tree(site.output)) == {"one.csv", "error/one.pdf.error.txt"}
    assert "one.csv" in export_note(site, "one.pdf")["reason"]


def test_a_download_that_fails_is_tried_again_later_and_nothing_is_visible_before(
    site: Site, sandbox: SandboxServer
) -> None:
    sandbox.sandbox.faults.add(Fault(404, method="GET", path="/file_collections/*", times=None))
    site.drop("one.pdf")
    with site.run() as running:
        wait_until(lambda: [task for task in site.describe() if task["calls"].get("cancel", 0) >= 2])
        # A try under way has hidden files there.
        assert [name for name in tree(site.output) if not name.startswith(".fsagent-")] == []
        sandbox.sandbox.faults.clear()
        site.wait_done(tasks=1)
        running.stop()

    site.assert_each_once({"one.pdf": document_for("one.pdf")})
    assert site.task_records()[0].attempts >= 2


def test_after_max_attempts_a_task_is_held_for_the_operator_who_retries_it(site: Site, sandbox: SandboxServer) -> None:
    site.configure(export={"max_attempts": 2, "retry_delay": "50ms"})
    sandbox.sandbox.faults.add(Fault(404, method="GET", path="/file_collections/*", times=None))
    site.drop("one.pdf")
    with site.run() as running:
        wait_until(lambda: any(record.held for record in site.task_records()))
        sandbox.sandbox.faults.clear()
        retried = site.command("retry", site.task_records()[0].task_id)
        assert retried.returncode == 0, retried.stderr
        site.wait_done(tasks=1)
        running.stop()

    site.assert_each_once({"one.pdf": document_for("one.pdf")})


def test_after_max_attempts_a_task_is_failed_where_the_configuration_says_so(
    site: Site, sandbox: SandboxServer
) -> None:
    site.configure(export={"max_attempts": 2, "retry_delay": "50ms", "on_exhausted": "fail"})
    sandbox.sandbox.faults.add(Fault(404, method="GET", path="/file_collections/*", times=None))
    site.drop("one.pdf")
    with site.run() as running:
        wait_until(lambda: failed(site))
        wait_until((site.error / "one.pdf.error.txt").exists)
        running.stop()

    assert set(tree(site.output)) == {"error/one.pdf.error.txt"}


def test_content_files_have_the_newlines_and_the_encoding_that_are_configured(
    site: Site, sandbox: SandboxServer
) -> None:
    site.configure(export={"newline": "crlf", "encoding": "utf-8-sig"})
    specify(sandbox, content_file("", "one.csv", "größe;1\r\nzwei;2\n"))
    site.drop("one.pdf")

    assert site.run_once().returncode == 0

    assert (site.output / "one.csv").read_bytes() == b"\xef\xbb\xbf" + "größe;1\r\nzwei;2\r\n".encode()


def test_a_copy_of_each_export_is_kept_below_the_archive_of_exports(site: Site) -> None:
    site.configure(export={"archive": "kept"})
    site.drop("sub/one.pdf")

    assert site.run_once().returncode == 0

    names = {f"sub/one.{kind}" for kind in ("pdf", "csv", "json")}
    assert set(tree(site.output)) == names | {f"kept/{name}" for name in names}
    assert all((site.output / name).read_bytes() == (site.output / "kept" / name).read_bytes() for name in names)


@pytest.mark.skipif(os.name != "posix", reason="modes of files belong to POSIX")
def test_published_files_and_folders_have_the_modes_that_are_configured(site: Site) -> None:
    site.configure(export={"file_mode": "0640", "folder_mode": "0750"})
    site.drop("sub/one.pdf")

    assert site.run_once().returncode == 0

    assert {(site.output / "sub" / f"one.{kind}").stat().st_mode & 0o777 for kind in ("pdf", "csv", "json")} == {0o640}
    assert (site.output / "sub").stat().st_mode & 0o777 == 0o750


def test_a_lost_lease_is_never_completed_and_the_next_one_completes_the_same_files(tmp_path: Path) -> None:
    with SandboxServer(AlumaSettings(**QUICK_SANDBOX)) as server:  # type: ignore[arg-type]  # all of them floats
        site = Site.of(tmp_path / "site", server)
        server.sandbox.faults.add(Fault(409, method="PUT", path="/tasks/*/complete_client_action", times=1))
        content = site.drop("one.pdf")
        with site.run() as running:
            wait_until(lambda: site.exported("one.csv"))
            server.sandbox.advance_clock(AlumaSettings().lease + 1)
            site.wait_done(tasks=1)
            running.stop()
        site.assert_each_once({"one.pdf": content})
