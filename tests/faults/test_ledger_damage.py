"""A ledger that is gone, damaged, too new or in the wrong place: nothing starts anew by accident or goes twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from system.sites import pdf, sha256, tree, wait_until

from agent.ledger.opening import LEDGER_NAME
from faults.errno_injection import Injection

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from system.sites import Site

    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)

NAMES = ("one.pdf", "sub/two.tif", "sub/three.pdf")


def _ledger(site: Site) -> Path:
    return site.state_dir / LEDGER_NAME


def _bytes(site: Site) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in site.state_dir.iterdir() if path.name.startswith(LEDGER_NAME)}


def _delete(site: Site) -> None:
    for path in site.state_dir.glob(f"{LEDGER_NAME}*"):
        path.unlink()


def _cut(site: Site, *, to: float) -> None:
    with _ledger(site).open("r+b") as file:
        size = file.seek(0, 2)
        file.truncate(int(size * to) // 512 * 512)


def _overwrite(site: Site, *, at: float, byte: bytes) -> None:
    with _ledger(site).open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(int(size * at) // 4096 * 4096)
        file.write(byte * 4096 * 3)


def _make_newer(site: Site) -> None:
    with closing(sqlite3.connect(_ledger(site))) as connection:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 1}")


def _make_anothers(site: Site) -> None:
    _ledger(site).unlink()
    with closing(sqlite3.connect(_ledger(site))) as connection:
        connection.execute("CREATE TABLE others (thing)")


DAMAGES: dict[str, Callable[[Site], object]] = {
    "deleted": _delete,
    "emptied": lambda site: _cut(site, to=0),
    "cut": lambda site: _cut(site, to=0.6),
    "header gone": lambda site: _overwrite(site, at=0, byte=b"\0"),
    "zeros in the middle": lambda site: _overwrite(site, at=0.3, byte=b"\0"),
    "noise in the middle": lambda site: _overwrite(site, at=0.5, byte=b"\xa5"),
    "newer": _make_newer,
    "another program's": _make_anothers,
}


def test_no_damage_of_the_ledger_is_started_with_and_none_is_mended_by_accident(
    site: Site, sweep: Callable[[str], Sweep]
) -> None:
    found = sweep("ledger damage")
    for name in NAMES:
        site.drop(name)
    assert site.run_once().returncode == 0
    whole = _ledger(site).read_bytes()
    for damage, do in DAMAGES.items():
        _ledger(site).write_bytes(whole)
        do(site)
        lying = _bytes(site)
        refused = site.command("run", "--once")
        found.point(damage, reached=lying != {LEDGER_NAME: whole}, complaints=_not_refused(refused))
        if _bytes(site) != lying:
            found.bad.append(f"{damage}: the evidence was changed")
    assert len(site.describe()) == len(NAMES)
    found.conclude(at_least=len(DAMAGES))


def _not_refused(done: subprocess.CompletedProcess[str]) -> list[str]:
    complaints = [] if done.returncode == 4 else [f"exit status {done.returncode}"]
    if "what to do: " not in done.stderr or "Traceback" in done.stderr:
        complaints.append(f"said {done.stderr!r}")
    return complaints


def test_after_a_damaged_ledger_was_moved_away_and_all_adopted_nothing_in_archive_is_sent_again(site: Site) -> None:
    contents = [site.drop(name) for name in NAMES]
    assert site.run_once().returncode == 0
    DAMAGES["noise in the middle"](site)
    assert site.command("run", "--once").returncode == 4

    _ledger(site).rename(site.root / "damaged.sqlite3")
    adopted = site.command("adopt", "--all")
    assert adopted.returncode == 0, adopted.stderr
    contents += [site.drop("one.pdf", pdf("the same name, other bytes")), site.drop("four.pdf")]
    assert site.run_once().returncode == 0

    wanted = sorted(sha256(content) for content in contents)
    assert sorted(task["sha256"] for task in site.describe()) == wanted
    assert sorted(sha256(path.read_bytes()) for path in tree(site.archive).values()) == wanted
    assert [task["calls"]["complete"] for task in site.describe()] == [1] * len(contents)


def test_a_ledger_deleted_under_a_running_agent_is_missed_at_the_next_start_and_costs_no_file(site: Site) -> None:
    first = site.drop("one.pdf")
    with site.run() as running:
        site.wait_done(tasks=1)
        _delete(site)
        second = site.drop("two.pdf")
        wait_until(lambda: (site.archive / "two.pdf").exists() or "ledger" in running.log)
        running.stop()
    sent_before = len(site.describe())
    refused = site.command("run", "--once")

    assert refused.returncode == 4
    assert "adopt --all" in refused.stderr
    assert site.command("adopt", "--all").returncode == 0
    assert site.run_once().returncode == 0
    assert sorted(path.name for path in site.archive.rglob("*.pdf")) == ["one.pdf", "two.pdf"]
    assert sent_before in {1, 2}
    assert sorted(task["sha256"] for task in site.describe()) == sorted([sha256(first), sha256(second)])


def test_a_ledger_on_a_network_share_is_refused_with_status_4(site: Site, tmp_path: Path) -> None:
    site.state_dir.mkdir()
    with Injection(tmp_path) as injection:
        injection.arm("statfs", str(site.state_dir), answer=0x6969)  # NFS
        with injection.run(site) as running:
            assert running.wait() == 4
            said = running.log

    assert "NFS" in said
    assert "what to do: Set state_dir to a folder on a local disk" in said
    assert "Traceback" not in said
    assert list(site.state_dir.glob(f"{LEDGER_NAME}*")) == []


def test_a_state_dir_that_cannot_be_written_is_refused_with_status_4(site: Site, tmp_path: Path) -> None:
    site.state_dir.mkdir()
    with Injection(tmp_path) as injection:
        rule = injection.arm("open", "*/state/ledger.sqlite3*", error="EROFS")
        with injection.run(site) as running:
            status = running.wait()
            said = running.log

    assert rule.failed
    assert status == 4
    assert "what to do: " in said
    assert "Traceback" not in said
