"""Inboxes, outputs and archives that become read-only, immutable, unmounted, broken or dead while the agent works.

In each case two watch folders: one whose place is in trouble, and one that must not feel it.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from system.sites import QUICK_SANDBOX, Process, Site, pdf, tree, wait_until

from agent.config.loading import load
from agent.runtime.looking import reading_ledger
from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.server import SandboxServer
from faults import means
from faults.checker import judge
from faults.fuse_folders import DATA, EVERYTHING, FuseFolder, available
from faults.mounts import bind, detach, remount, tmpfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any, Literal

    from system.sites import T

    from agent.model import FileRecord, Settings, TaskRecord

pytestmark = pytest.mark.timeout(300)

LANES = {"inbox": "scans/submission", "archive": "scans/submission", "output": "scans/export"}


class Part(Site):
    """One watch folder of a site that has several, seen by itself: its folders, its tasks, its rows."""

    def __init__(self, whole: Site, name: str) -> None:
        self.__dict__.update(vars(whole))
        self._whole = whole
        self._name = name
        self._settings: Settings | None = None
        describe = whole.describe
        if name != "scans":
            self.inbox, self.output = whole.root / f"{name} in", whole.root / f"{name} out"
            self.archive, self.error = self.inbox / "archive", self.inbox / "error"

        def own() -> list[dict[str, Any]]:
            return [task for task in describe() if _is_below(task["tags"]["file_path"], self.inbox)]

        self.describe = own

    @contextmanager
    def _ledger(self) -> Iterator[Any]:
        # Read once: whoever reads the configuration looks at every folder, and waits for those that hang.
        self._settings = self._settings or load(self.config, environment=os.environ).settings
        with reading_ledger(self._settings) as ledger:
            yield ledger

    def _wait(self, condition: Callable[[], T | Literal[False] | None], **more: Any) -> T:
        self._running = self._whole._running
        return super()._wait(condition, **more)

    def records(self) -> list[FileRecord]:
        return [record for record in super().records() if record.watch_folder == self._name]

    def task_records(self) -> list[TaskRecord]:
        return [record for record in super().task_records() if record.watch_folder == self._name]


def _is_below(path: str, folder: Path) -> bool:
    return path == os.fspath(folder) or path.startswith(f"{folder}/")


@pytest.fixture
def other(site: Site) -> Part:
    """A second watch folder beside `scans`."""
    part = Part(site, "other")
    part.inbox.mkdir()
    part.output.mkdir()
    site.settings["watch_folders"].append(Site.watch_folder("other", inbox="other in", output="other out"))
    site.settings["min_free"] = "0"
    site.configure()
    return part


def _judge_both(site: Site, other: Part, *, sent: list[bytes], others: list[bytes]) -> list[str]:
    return judge(Part(site, "scans"), sent=sent) + judge(other, sent=others)


def _goes_on(other: Part, number: int) -> bytes:
    """Drop a file into the healthy watch folder and see it all the way through."""
    content = other.drop(f"{number}.pdf", pdf(f"other {number}"))
    other._wait(
        lambda: other.exported(f"{number}.csv", f"{number}.pdf") and (other.archive / f"{number}.pdf").exists(),
        what=lambda: (other.records(), other.task_records(), other.lanes()),
    )
    other._wait(other.is_done, what=other.task_records)
    return content


@contextmanager
def standing_still(running: Process) -> Iterator[None]:
    """Let an agent do nothing for as long as the block lasts: what happens meanwhile comes at one moment to it."""
    running.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    try:
        yield
    finally:
        running.process.send_signal(signal.SIGCONT)


def _place(site: Site, place: str, elsewhere: Path) -> Path:
    """Return the folder of a place; an archive is put elsewhere, so that it can be mounted by itself."""
    if place != "archive":
        return {"inbox": site.inbox, "output": site.output}[place]
    site.archive = elsewhere / "archive"
    site.archive.mkdir(parents=True)
    site.configure(archive=str(site.archive))
    return site.archive


# --- read-only, immutable, unmounted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["inbox", "archive", "output"])
def test_a_file_system_that_becomes_read_only_pauses_its_lane_alone_and_heals(
    site: Site, other: Part, tmp_path: Path, place: str
) -> None:
    means.root()
    with tmpfs(_place(site, place, tmp_path)) as mount, site.run() as running:
        site.wait_scanned()
        sent = [site.drop("before.pdf")]
        site.wait_done(tasks=1)
        with standing_still(running):
            if place == "inbox":  # into what is read-only nobody can drop it later
                sent.append(site.drop("sub/meanwhile.pdf"))
            remount(mount, "ro")
        if place != "inbox":
            sent.append(site.drop("sub/meanwhile.pdf"))
        site.waits_for(LANES[place], "read_only")
        others = [_goes_on(other, 1)]
        remount(mount, "rw")
        site.wait_done(tasks=3)
        wait_until(lambda: site.lanes() == {}, what=site.lanes)
        assert running.stop() == 0

        assert _judge_both(site, other, sent=sent, others=others) == []


@pytest.mark.parametrize("place", ["inbox", "archive", "output"])
def test_an_immutable_folder_pauses_its_lane_alone_and_heals(
    site: Site, other: Part, tmp_path: Path, place: str
) -> None:
    means.root()
    chattr = means.program("chattr")
    folder = _place(site, place, tmp_path)
    with site.run() as running:
        site.wait_scanned()
        with standing_still(running):
            if place == "inbox":
                sent = site.drop("one.pdf")
            means.run(chattr, "+i", folder)
        try:
            if place != "inbox":
                sent = site.drop("one.pdf")
            site.waits_for(LANES[place], "not_writable")
            others = [_goes_on(other, 1)]
        finally:
            means.run(chattr, "-i", folder)
        site.wait_done(tasks=2)
        assert running.stop() == 0

    assert _judge_both(site, other, sent=[sent], others=others) == []


@pytest.mark.parametrize("place", ["inbox", "output"])
def test_behind_an_empty_mount_point_nothing_is_taken_for_gone_and_nothing_is_written(
    site: Site, other: Part, tmp_path: Path, place: str
) -> None:
    means.root()
    disk = tmp_path / "disk"
    disk.mkdir()
    mount_point = _place(site, place, tmp_path)
    bind(disk, mount_point)
    try:
        with site.run() as running:
            site.wait_scanned()
            sent = [site.drop("before.pdf")]
            site.wait_done(tasks=1)
            detach(mount_point)
            if place == "output":
                sent.append(site.drop("meanwhile.pdf"))
            site.waits_for(LANES[place], "root_changed")
            others = [_goes_on(other, 1), _goes_on(other, 2)]  # two scans and more
            assert list(mount_point.iterdir()) == []
            bind(disk, mount_point)
            sent.append(site.drop("afterwards.pdf"))
            site.wait_done(tasks=len(sent) + 2)
            assert running.stop() == 0

        assert {record.state.value for record in site.records()} == {"archived"}
        assert _judge_both(site, other, sent=sent, others=others) == []
    finally:
        with suppress(OSError):  # where the test failed meanwhile, nothing is there
            detach(mount_point)


# --- broken and dead shares -------------------------------------------------------------------------------------------


@pytest.fixture
def share(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FuseFolder]:
    """The place of `scans` that the test names, on a share."""
    available()
    with FuseFolder(_place(site, request.param, tmp_path / "elsewhere"), tmp_path) as share:
        yield share


@pytest.mark.parametrize(
    ("share", "lane", "error", "reasons"),
    [
        ("inbox", "scans/submission", "EIO", {"io_error"}),
        ("inbox", "scans/submission", "EHOSTDOWN", {"inbox_missing", "io_error"}),
        ("output", "scans/export", "EIO", {"io_error"}),
        ("output", "scans/export", "ENOTCONN", {"output_missing", "io_error"}),
        ("archive", "scans/submission", "ESTALE", {"io_error"}),
    ],
    indirect=["share"],
    ids=["inbox, EIO", "inbox, host down", "output, EIO", "output, not connected", "archive, stale"],
)
def test_a_share_that_answers_everything_with_an_error_pauses_its_lane_alone_and_heals(
    site: Site, other: Part, *, share: FuseFolder, lane: str, error: str, reasons: set[str]
) -> None:
    is_inbox = share.mount_point == site.inbox
    with site.run() as running:
        site.wait_scanned()
        sent = [site.drop("before.pdf")]
        site.wait_done(tasks=1)
        share.fault(EVERYTHING, error)
        if not is_inbox:
            sent.append(site.drop("meanwhile.pdf"))
        found = site._wait(lambda: site.lanes().get(lane), what=site.lanes)
        others = [_goes_on(other, 1)]
        share.clear()
        if is_inbox:
            sent.append(site.drop("afterwards.pdf"))
        site.wait_done(tasks=3)
        wait_until(lambda: site.lanes() == {}, what=site.lanes)
        assert running.stop() == 0

    assert found["reason"] in reasons, found
    assert _judge_both(site, other, sent=sent, others=others) == []


@pytest.mark.parametrize(
    ("share", "lane", "reason"),
    [
        ("inbox", "scans/submission", "inbox_missing"),
        ("archive", "scans/submission", "io_error"),
        ("output", "scans/export", "output_missing"),
    ],
    indirect=["share"],
    ids=LANES,
)
def test_a_share_that_hangs_pauses_its_lane_alone_and_heals(
    site: Site, other: Part, *, share: FuseFolder, lane: str, reason: str
) -> None:
    scans = Part(site, "scans")
    with site.run() as running:
        scans.wait_scanned()
        sent = [site.drop("before.pdf")]
        scans.wait_done(tasks=1)
        # More than all workers together: the share could have every one of them if it were let.
        names = [f"{number}/one.pdf" for number in range(20)]
        if share.mount_point == site.inbox:
            sent += [site.drop(name) for name in names]
        # Ended last: beside a share that hangs not even a signal ends a process that looks at it.
        with ExitStack() as commands, share.hanging():
            if share.mount_point != site.inbox:
                sent += [site.drop(name) for name in names]
            others = [_goes_on(other, number) for number in range(3)]
            scans.waits_for(lane, reason)
            others.append(_goes_on(other, 3))
            status = Process("-c", str(site.config), "status", "--json", log=site.root / "status.log")
            commands.enter_context(status)
            said = json.loads(wait_until(lambda: status.output.endswith("}\n") and status.output))
        scans.wait_done(tasks=len(sent))
        wait_until(lambda: scans.lanes() == {}, what=scans.lanes)
        assert running.stop() == 0

    assert reason in {each["reason"] for each in said["reasons"]}
    assert _judge_both(site, other, sent=sent, others=others) == []


@pytest.mark.parametrize("share", ["inbox"], indirect=True)
def test_a_command_for_a_share_that_hangs_is_answered_at_once_and_keeps_no_other(
    site: Site, other: Part, share: FuseFolder
) -> None:
    scans = Part(site, "scans")
    with site.run() as running:
        scans.wait_scanned()
        site.drop("refused.pdf", b"no document of any kind" * 100)
        wait_until((site.error / "refused.pdf.error.txt").exists)

        def ask(*arguments: str) -> Process:
            name = f"{arguments[0]}-{len(list(site.root.iterdir()))}.log"
            return commands.enter_context(Process("-c", str(site.config), *arguments, log=site.root / name))

        with ExitStack() as commands, share.hanging():
            # Asked before anybody knows: it hangs, and only itself.
            early = ask("retry", "refused.pdf")
            wait_until(share.met)
            pause = ask("pause", "other")
            wait_until(lambda: "other is paused" in pause.output)
            scans.waits_for("scans/submission", "inbox_missing")
            late = ask("retry", "--all")
            wait_until(lambda: "inbox has not answered for more than 10 s; try again when it does" in late.log)
            resume = ask("resume", "other")
            wait_until(lambda: "other goes on" in resume.output)
            others = [_goes_on(other, 1)]
        scans.wait_done(tasks=0)
        wait_until(lambda: scans.lanes() == {}, what=scans.lanes)
        assert running.stop() == 0
    assert early.process.poll() is not None
    assert len(others) == 1


@pytest.mark.parametrize("share", ["inbox"], indirect=True)
def test_an_agent_that_starts_beside_a_share_that_hangs_works_for_the_others(
    site: Site, other: Part, share: FuseFolder
) -> None:
    scans = Part(site, "scans")
    with site.run() as running:
        scans.wait_scanned()
        sent = [site.drop("before.pdf")]
        scans.wait_done(tasks=1)
        running.kill()  # so that the next one looks for what it left behind
    sent.append(site.drop("meanwhile.pdf"))
    with ExitStack() as agents:
        with share.hanging():
            running = agents.enter_context(site.run())
            others = [_goes_on(other, number) for number in range(2)]
        scans.wait_done(tasks=2)
        assert running.stop() == 0

    assert _judge_both(site, other, sent=sent, others=others) == []


# --- the output share is away for long (row 24) -----------------------------------------------------------------------


def test_while_the_output_is_away_no_lease_is_held_and_afterwards_the_export_goes_on(
    site: Site, sandbox: SandboxServer, tmp_path: Path
) -> None:
    available()
    site.configure(service={"lease": "4s"})
    with FuseFolder(site.output, tmp_path) as share, site.run() as running:
        site.wait_scanned()
        share.fault(DATA, "EHOSTDOWN", "*.part")
        content = site.drop("one.pdf")
        site.waits_for("scans/export", "io_error")
        # Longer away than a lease lasts: each try has given its own back.
        wait_until(lambda: sandbox.sandbox.describe()[0]["calls"].get("cancel", 0) >= 4)
        calls = sandbox.sandbox.describe()[0]["calls"]
        assert calls["start"] - calls["cancel"] in {0, 1}
        share.clear()
        site.wait_done(tasks=1)
        assert running.stop() == 0

        assert judge(site, sent=[content]) == []


def test_an_output_renamed_away_in_the_middle_of_an_export_costs_no_lease_and_no_start_before_it_is_back(
    site: Site, sandbox: SandboxServer, tmp_path: Path
) -> None:
    available()
    site.configure(service={"lease": "8s"})
    away = site.root / "away"
    with FuseFolder(site.output / "sub", tmp_path) as share, site.run() as running:
        site.wait_scanned()
        share.fault(DATA, "EIO", "*.part")
        content = site.drop("sub/one.pdf")
        site.waits_for("scans/export", "io_error")
        # Still broken as it goes: a try at this very moment has nowhere to write.
        site.output.rename(away)
        detach(away / "sub")
        share.clear()
        site.waits_for("scans/export", "output_missing")
        calls = wait_until(lambda: _nothing_held(sandbox))
        assert not site.output.exists()
        for _ in range(3):  # looks at the root
            started = site.lanes()["scans/export"]["retry_at"]
            wait_until(lambda started=started: site.lanes()["scans/export"]["retry_at"] != started)  # type: ignore[misc]
        assert sandbox.sandbox.describe()[0]["calls"] == calls
        away.rename(site.output)
        site.wait_done(tasks=1)
        assert running.stop() == 0

    assert judge(site, sent=[content]) == []


def _nothing_held(sandbox: SandboxServer) -> dict[str, int] | None:
    [task] = sandbox.sandbox.describe()
    calls: dict[str, int] = task["calls"]
    return calls if calls["start"] == calls.get("cancel", 0) else None


def test_an_export_whose_output_hangs_beyond_its_lease_is_completed_once_and_never_on_a_lost_one(
    tmp_path: Path,
) -> None:
    available()
    settings = AlumaSettings(**QUICK_SANDBOX, lease=2.0)  # type: ignore[arg-type]  # all of them floats
    with SandboxServer(settings) as sandbox:
        site = Site.of(tmp_path / "site", sandbox)
        site.configure(service={"lease": "2s"})
        with FuseFolder(site.output, tmp_path) as share, site.run() as running:
            site.wait_scanned()
            with share.hanging("fsync", "*.part"):
                content = site.drop("one.pdf")
                wait_until(lambda: share.met() and site.describe()[0]["state"] == "pending:start_client_action")
            site.wait_done(tasks=1)
            assert running.stop() == 0

            actions = [seen.target for seen in sandbox.sandbox.requests.recent() if seen.method == "PUT"]
            before = actions[: next(index for index, target in enumerate(actions) if "/complete_" in target)]
            assert sum("/start_" in target for target in before) >= 2, "completed on the lease that was lost"
            assert tree(site.output).keys() == {"one.pdf", "one.csv", "one.json"}
            assert judge(site, sent=[content]) == []
