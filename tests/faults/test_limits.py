"""Limits of the process and of the kernel: open files, watches, queued events."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from system.sites import wait_until

from faults import means
from faults.checker import judge
from faults.errno_injection import Injection

if TYPE_CHECKING:
    from system.sites import Process, Site

pytestmark = pytest.mark.timeout(300)

QUEUED_EVENTS = Path("/proc/sys/fs/inotify/max_queued_events")


def _open_files(running: Process) -> int:
    return sum(1 for _ in Path(f"/proc/{running.pid}/fd").iterdir())


def _allow_open_files(running: Process, number: int) -> None:
    _, hard = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (number, hard))


def _observer(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site._status().get("inboxes", {}).get("scans", {})
    return found


def _wait_observer(site: Site, kind: str) -> dict[str, Any]:
    return site._wait(
        lambda: found if (found := _observer(site)) and found["observer"] == kind else None, what=site._status
    )


def test_out_of_open_files_the_agent_stays_up_says_so_and_goes_on(site: Site) -> None:
    with site.run() as running:
        site.wait_scanned()
        _allow_open_files(running, _open_files(running) + 1)
        dropped = [site.drop(f"{number}/one.pdf") for number in range(12)]
        wait_until(lambda: "Too many open files" in running.log or "too_many_open_files" in running.log)
        site._wait(
            lambda: "too_many_open_files" in {lane["reason"] for lane in site.lanes().values()},
            what=lambda: (site.lanes(), running.log),
        )
        _allow_open_files(running, 1024)
        site.wait_done(tasks=12)
        wait_until(lambda: site.lanes() == {}, what=site.lanes)
        assert running.stop() == 0

    assert judge(site, sent=dropped) == []


def test_with_few_open_files_from_the_start_everything_is_done_once(site: Site) -> None:
    dropped = [site.drop(f"{number % 5}/{number}.pdf") for number in range(20)]
    with site.run() as running:
        _allow_open_files(running, 40)
        site.wait_done(tasks=20)
        assert running.stop() == 0

    assert judge(site, sent=dropped) == []


def test_where_no_more_watches_are_to_be_had_the_inbox_is_polled_says_why_and_is_watched_again_later(
    site: Site, tmp_path: Path
) -> None:
    site.configure(rescan="1h", poll_interval="300ms")
    dropped = [site.drop("sub/one.pdf")]
    with Injection(tmp_path) as injection:
        limit = injection.arm("watch", "*/inbox*", error="ENOSPC")
        with injection.run(site) as running:
            said = _wait_observer(site, "polling")
            site.wait_done(tasks=1)
            dropped.append(site.drop("sub/two.pdf"))
            site.wait_done(tasks=2)
            limit.disarm()
            _wait_observer(site, "native")
            dropped.append(site.drop("sub/three.pdf"))
            site.wait_done(tasks=3)
            assert running.stop() == 0

    assert limit.failed
    assert "max_user_watches" in said["detail"]
    assert judge(site, sent=dropped) == []


def test_the_kernels_own_limit_of_watches_is_named_and_the_inbox_is_polled(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unshare = means.program("unshare")
    if subprocess.run([unshare, "--user", "--map-root-user", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    site.configure(rescan="1h", poll_interval="300ms")
    dropped = [site.drop(f"{number}/one.pdf") for number in range(4)]
    # A namespace of its own has limits of its own: two watches, for an inbox with four folders.
    within = f'echo 2 > /proc/sys/user/max_inotify_watches && exec {sys.executable} "$@"'
    limited = tmp_path / "limited"
    limited.write_text(f"#!/bin/sh\nexec {unshare} --user --map-root-user sh -c '{within}' sh \"$@\"\n")
    limited.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(limited))
        running = site.run()
    with running:
        site.wait_done(tasks=4)
        said = _wait_observer(site, "polling")
        dropped.append(site.drop("0/two.pdf"))
        site.wait_done(tasks=5)
        assert running.stop() == 0

    assert "max_user_watches" in said["detail"]
    assert judge(site, sent=dropped) == []


def test_files_whose_events_the_kernel_dropped_are_found_at_once_and_their_folders_watched(site: Site) -> None:
    site.configure(rescan="1h")
    with site.run() as running:
        site.wait_scanned()
        _wait_observer(site, "native")
        running.process.send_signal(signal.SIGSTOP)
        try:
            junk = site.inbox / "junk.tmp"
            for _ in range(int(QUEUED_EVENTS.read_text()) // 2 + 500):  # each gives two events
                junk.touch()
                junk.unlink()
            dropped = [site.drop("late/one.pdf"), site.drop("two.pdf")]
        finally:
            running.process.send_signal(signal.SIGCONT)
        site.wait_done(tasks=2)
        dropped.append(site.drop("late/three.pdf"))
        site.wait_done(tasks=3)
        assert running.stop() == 0

    assert judge(site, sent=dropped) == []
