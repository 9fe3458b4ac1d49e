"""One agent per state_dir, one ledger per folder, and nothing starts anew by accident."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from system.sites import Site, sha256, tree, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from agent.sandbox.server import SandboxServer

pytestmark = pytest.mark.system


def test_a_second_run_on_the_state_dir_exits_3_and_says_who_holds_it_and_since_when(site: Site) -> None:
    with site.run() as running:
        wait_until(lambda: "fsagent runs" in running.log)
        second = site.command("run")
        assert running.process.poll() is None
        running.stop()

    assert second.returncode == 3
    assert f"process {running.pid} " in second.stderr
    assert "since 20" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_lock_of_a_killed_agent_is_free(site: Site) -> None:
    with site.run() as running:
        wait_until(lambda: "fsagent runs" in running.log)
        running.kill()

    assert site.run_once().returncode == 0


def test_of_two_agents_on_one_inbox_the_second_leaves_it_alone_and_says_why(
    site: Site, sandbox: SandboxServer, tmp_path: Path
) -> None:
    rival = Site.of(tmp_path / "rival", sandbox)
    assert rival.run_once().returncode == 0  # a ledger of its own
    rival.configure(inbox=str(site.inbox), output=str(rival.output))
    with site.run() as first:
        site.wait_scanned()
        with rival.run() as second:
            lane = rival.waits_for("scans/submission", "owned_by_other_agent")
            dropped = {"one.pdf": site.drop("one.pdf"), "sub/two.tif": site.drop("sub/two.tif")}
            site.wait_done(tasks=2)
            assert "scans/submission" in rival.lanes()
            second.stop()
        assert site.lanes() == {}
        first.stop()

    site.assert_each_once(dropped)
    assert rival.records() == []
    assert tree(rival.output) == {}
    assert "adopt" in lane["hint"]
    said = [line for line in second.log.splitlines() if "owned_by_other_agent" in line and " debug " not in line]
    assert len(said) == 1, "said once, not every few seconds"
    marker = (site.inbox / ".fsagent").read_text(encoding="utf-8")
    assert len(marker.splitlines()) == 1


def test_a_new_agent_does_not_begin_on_the_inbox_of_another_and_says_why(
    site: Site, sandbox: SandboxServer, tmp_path: Path
) -> None:
    rival = Site.of(tmp_path / "rival", sandbox)
    rival.configure(inbox=str(site.inbox), output=str(rival.output))
    with site.run() as first:
        site.wait_scanned()
        refused = rival.command("run")
        dropped = {"one.pdf": site.drop("one.pdf")}
        site.wait_done(tasks=1)
        first.stop()

    assert refused.returncode == 4
    assert str(site.inbox) in refused.stderr
    assert "another agent" in refused.stderr
    site.assert_each_once(dropped)


def test_without_its_ledger_the_agent_exits_4_and_adopting_sends_nothing_again(
    site: Site, sandbox: SandboxServer
) -> None:
    content = site.drop("one.pdf")
    assert site.run_once().returncode == 0
    shutil.rmtree(site.state_dir)

    refused = site.command("run")
    assert refused.returncode == 4
    assert "adopt --all" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert sha256((site.archive / "one.pdf").read_bytes()) == sha256(content)

    adopted = site.command("adopt", "--all")
    assert adopted.returncode == 0, adopted.stderr
    second = site.drop("two.pdf")
    assert site.run_once().returncode == 0
    assert {task["sha256"] for task in sandbox.sandbox.describe()} == {sha256(content), sha256(second)}
    site.assert_each_once({"one.pdf": content, "two.pdf": second})


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_a_damaged_ledger_is_refused_with_status_4_and_left_as_it_is(site: Site, damage: str) -> None:
    site.drop("one.pdf")
    assert site.run_once().returncode == 0
    ledger = next(path for path in site.state_dir.iterdir() if path.suffix in {".db", ".sqlite", ".sqlite3"})
    whole = ledger.read_bytes()
    damaged = b"this is no database" * 500 if damage == "garbage" else whole[: len(whole) // 2 // 4096 * 4096]
    ledger.write_bytes(damaged)

    refused = site.command("run", "--once")

    assert refused.returncode == 4
    assert "Traceback" not in refused.stderr
    assert "what to do: " in refused.stderr
    assert ledger.read_bytes() == damaged


def test_a_missing_marker_of_a_known_folder_is_written_again(site: Site) -> None:
    site.drop("one.pdf")
    assert site.run_once().returncode == 0
    marker = (site.inbox / ".fsagent").read_bytes()
    (site.inbox / ".fsagent").unlink()
    (site.output / ".fsagent").unlink()

    site.drop("two.pdf")
    assert site.run_once().returncode == 0

    assert (site.inbox / ".fsagent").read_bytes() == marker
    assert (site.output / ".fsagent").exists()
