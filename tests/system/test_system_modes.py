"""Submit only, export only and `--once`."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

import pytest

from agent.rules.tags import encode_tags
from agent.sandbox.aluma.settings import DEMO_PROJECT_ID
from agent.sandbox.faults import Fault
from agent.sandbox.samples import BROKEN, read_sample
from system.sites import Site, pdf, sha256, tree, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from agent.sandbox.server import SandboxServer

pytestmark = pytest.mark.system


def submit_elsewhere(sandbox: SandboxServer, name: str, content: bytes) -> None:
    """Create a task as another client of the service does."""
    settings = sandbox.sandbox.settings
    token = sandbox.sandbox.issue_token(settings.client_id, settings.client_secret)
    request = urllib.request.Request(
        f"{sandbox.url}/tasks?project_id={DEMO_PROJECT_ID}",
        data=content,
        method="POST",
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/pdf",
            "X-Aluma-Tags": encode_tags([("task_name", name)]),
        },
    )
    with urllib.request.urlopen(request, timeout=20):
        pass


def test_submit_only_sends_and_archives_and_leaves_the_exports_to_others(site: Site, sandbox: SandboxServer) -> None:
    content = site.drop("one.pdf")

    assert site.run_once("--submit-only").returncode == 0

    assert (site.archive / "one.pdf").read_bytes() == content
    assert tree(site.output) == {}
    assert site.tasks()["one.pdf"]["calls"] == {}

    # Whoever exports later finds it: the same site, the other half of the work.
    assert site.run_once("--export-only").returncode == 0
    site.assert_each_once({"one.pdf": content})
    assert sandbox.sandbox.describe()[0]["calls"] == {"start": 1, "complete": 1}


def test_once_ends_well_where_another_exporter_was_faster(site: Site, sandbox: SandboxServer) -> None:
    site.drop("one.pdf")
    assert site.run_once("--submit-only").returncode == 0
    (task,) = sandbox.sandbox.describe()
    wait_until(lambda: sandbox.sandbox.describe()[0]["state"] == "pending:start_client_action")
    sandbox.sandbox.faults.add(Fault(method="PUT", path="*/start_client_action", status=409, times=None))
    with site.run("--once", "--export-only") as exporting:
        wait_until(lambda: any(seen.method == "PUT" for seen in sandbox.sandbox.requests.recent()))
        sandbox.sandbox.start(task["id"], "export")
        sandbox.sandbox.complete(task["id"], "export")
        assert exporting.wait() == 0
    assert tree(site.output) == {}


def test_export_only_leaves_the_inbox_alone(site: Site) -> None:
    site.drop("one.pdf")

    assert site.run_once("--export-only").returncode == 0

    assert site.inbox_files() == {"one.pdf"}
    assert site.describe() == []


def test_a_watch_folder_without_inbox_exports_what_others_submitted(site: Site, sandbox: SandboxServer) -> None:
    site.configure(inbox=None)
    names = ["hers.pdf", "his.pdf"]
    for name in names:
        submit_elsewhere(sandbox, name, pdf(name))

    with site.run() as running:
        wait_until(lambda: {task["state"] for task in site.describe()} == {"completed"}, what=site.describe)
        running.stop()

    assert set(tree(site.output)) == {f"{name[:-4]}.{kind}" for name in names for kind in ("pdf", "csv", "json")}
    assert (site.output / "hers.pdf").read_bytes() == pdf("hers.pdf")
    assert tree(site.inbox) == {}


def test_own_scope_leaves_the_tasks_of_others_alone(site: Site, sandbox: SandboxServer) -> None:
    submit_elsewhere(sandbox, "hers.pdf", pdf("hers"))
    site.drop("mine.pdf")

    assert site.run_once().returncode == 0

    calls = {task["name"]: task["calls"] for task in site.describe()}
    assert calls == {"mine.pdf": {"start": 1, "complete": 1}, "hers.pdf": {}}
    assert set(tree(site.output)) == {"mine.pdf", "mine.csv", "mine.json"}


def test_project_scope_leaves_out_the_tasks_of_other_watch_folders(site: Site, tmp_path: Path) -> None:
    for name in ("own in", "own out"):
        (tmp_path / "site" / name).mkdir()
    site.configure(inbox=None)
    site.settings["watch_folders"].append(Site.watch_folder("own", inbox="own in", output="own out"))
    site.configure()
    (tmp_path / "site" / "own in" / "one.pdf").write_bytes(pdf("one"))

    assert site.run_once().returncode == 0

    assert set(tree(tmp_path / "site" / "own out")) == {"one.pdf", "one.csv", "one.json"}
    assert tree(site.output) == {}


def test_a_watch_folder_without_output_is_done_when_the_service_is(site: Site) -> None:
    site.configure(output=None)
    site.drop("bad.pdf", pdf("bad").replace(b"/Pages", b"/Pagan"))

    with site.run() as running:
        wait_until((site.error / "bad.pdf.error.txt").exists)
        running.stop()

    assert site.note("bad.pdf")["reason"].startswith("task_failed: ")


def test_once_works_off_what_is_there_and_exits_0(site: Site) -> None:
    dropped = {name: site.drop(name) for name in ("one.pdf", "sub/two.tif", "sub/three.pdf")}

    done = site.run_once()

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""
    site.assert_each_once(dropped)


def test_once_is_done_when_all_is_sent_where_there_is_no_output(site: Site) -> None:
    site.configure(output=None)
    content = site.drop("one.pdf")

    done = site.run_once()

    assert (done.returncode, done.stdout) == (0, "")
    assert (site.archive / "one.pdf").read_bytes() == content


def test_once_on_an_empty_inbox_exits_0_soon(site: Site) -> None:
    done = site.run_once()

    assert done.returncode == 0
    assert site.describe() == []


def test_once_exits_1_with_a_list_of_what_is_stalled_in_error_and_open(site: Site, sandbox: SandboxServer) -> None:
    site.configure(give_up_after="never")
    site.drop("stalled.pdf", read_sample(BROKEN))
    site.drop("wrong.pdf", b"just text")
    good = site.drop("good.pdf")
    sandbox.sandbox.faults.add(Fault(404, method="GET", path="/file_collections/*", times=None))
    site.configure(export={"max_attempts": 1})

    done = site.run_once()

    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith("stalled ") and "stalled.pdf" in line for line in lines), lines
    assert any(line.startswith("error ") and "wrong.pdf" in line and "wrong_type" in line for line in lines), lines
    assert any(line.startswith("held ") and "good.pdf" in line for line in lines), lines
    assert len(lines) == 3
    assert sha256((site.archive / "good.pdf").read_bytes()) == sha256(good)


def test_once_does_not_wait_for_a_ready_file_that_does_not_come(site: Site) -> None:
    site.configure(ready_file="{file_name}.ready")
    site.drop("one.pdf")

    done = site.command("run", "--once")

    assert (done.returncode, done.stdout) == (1, "waiting   scans: one.pdf: waits for one.pdf.ready\n")


def test_once_does_not_wait_for_a_move_that_cannot_be_made(site: Site) -> None:
    site.archive.mkdir()
    (site.archive / "sub").write_bytes(b"a file where the folder should be")
    site.drop("sub/one.pdf")

    done = site.command("run", "--once")

    assert done.returncode == 1
    assert done.stdout.startswith("submitted scans: sub/one.pdf: ")


def test_once_says_what_a_service_that_is_away_leaves_undone(site: Site, sandbox: SandboxServer) -> None:
    sandbox.sandbox.faults.add(Fault(403, method="POST", path="/tasks", times=None))
    site.drop("one.pdf")

    done = site.command("run", "--once", "--wait", "3s")

    assert done.returncode == 1
    assert "one.pdf" in done.stdout
    assert "setup_refused" in done.stdout
    assert site.inbox_files() == {"one.pdf"}


def test_submit_only_and_export_only_exclude_each_other(site: Site) -> None:
    assert site.command("run", "--submit-only", "--export-only").returncode == 2
