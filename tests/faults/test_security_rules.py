"""The security rules of faults.md, as far as they concern what an agent process does on its machine.

| rule | test |
|---|---|
| own user: root is a warning, on run and check | `test_running_as_root_…`, `test_any_other_account_…` |
| TLS 1.2 or newer, whatever the machine's settings allow | `test_an_old_protocol_…` |
| verification always on; token and secret only to the API's origin | network tests (canaries), tests/unit/services |
| a secret file others can read is a warning | `test_a_secret_others_can_read_…` |
| secrets never in log, argv, ledger, notes, output | test_secret_canary.py |
| state, ledger, log 0600/0640 in a folder of 0700 | `test_what_is_the_agents_own_…`, `test_a_ledger_others_…` |
| published files with the rights of their folder | `test_what_is_published_…` |
| nothing a service says forges a line of the log | `test_no_word_of_the_service_…` |
| one safe name | test_hostile_exports.py |
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fakes.scripted_server import ScriptedServer
from system.sites import PATIENCE, Process, Site, tree, wait_until

from agent.config.account import runtime_warnings
from agent.sandbox.faults import Fault
from faults import means
from faults.certificates import Authority, outdated
from faults.checker import judge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.sandbox.server import SandboxServer

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="accounts, modes and umask of POSIX"),
]

NOBODY = 65534


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Let processes of this test begin with another umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# --- account ---------------------------------------------------------------------------------------------------------


def test_running_as_root_is_a_warning_and_changes_no_exit_status(site: Site) -> None:
    means.root()
    done = site.run_once()
    checked = site.command("check")
    assert (done.returncode, checked.returncode) == (0, 0)
    assert "warning: running as root" in done.stderr
    assert "running as root" in checked.stdout


def test_any_other_account_is_no_warning() -> None:
    means.root()  # to become somebody else
    os.seteuid(NOBODY)
    try:
        assert runtime_warnings() == ()
    finally:
        os.seteuid(0)


# --- the network -----------------------------------------------------------------------------------------------------


OPENSSL_OF_YESTERDAY = """
openssl_conf = all
[all]
ssl_conf = protocols
[protocols]
system_default = old
[old]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
"""


def test_an_old_protocol_is_refused_even_where_the_machine_allows_it(site: Site, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    (tmp_path / "openssl.cnf").write_text(OPENSSL_OF_YESTERDAY)
    site.drop("one.pdf")
    environment = {"OPENSSL_CONF": str(tmp_path / "openssl.cnf")}
    with (
        ScriptedServer(tls=outdated(authority.server("old"))) as old,
        ScriptedServer(tls=authority.server("new")) as new,
    ):
        for server in (new, old):
            site.configure(service={"url": server.url, "ca_file": str(authority.certificate)})
            log = site.root / "tls.log"
            with Process("-c", str(site.config), "check", log=log, environment=environment) as checking:
                checking.wait(2 * PATIENCE)
        # The new one got the secret, so that certificate and settings are right; the old one heard nothing at all.
        assert [request.path for request in new.requests][:1] == ["/oauth/token"]
        assert old.requests == []
    assert "✗" in checking.output
    assert re.search("protocol|version|TLS", checking.output), checking.output
    assert site.inbox_files() == {"one.pdf"}


# --- secrets and modes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["the configuration", "a file"])
def test_a_secret_others_can_read_is_a_warning_and_no_more(site: Site, where: str) -> None:
    if where == "a file":
        secret = site.root / "secret"
        secret.write_text(site.settings["service"].pop("client_secret"))
        site.configure(service={"client_secret_file": "secret"})
        secret.chmod(0o644)
    else:
        site.config.chmod(0o644)
    done = site.run_once()
    assert done.returncode == 0
    assert re.search(r"warning: .*client_secret.*read", done.stderr), done.stderr


def test_what_is_the_agents_own_is_for_nobody_else_whatever_the_umask(site: Site) -> None:
    site.settings["logging"] = {"level": "debug", "file": "logs/fsagent.log", "max_size": "3KB", "backups": 2}
    site.configure()
    for number in range(12):
        site.drop(f"{number}.pdf")
    with umask(0), site.run() as running:
        site.wait_done(tasks=12, seconds=60)
        own = {path: mode(path) for path in tree(site.state_dir).values()}
        running.stop()
    logs = {path.name: mode(path) for path in (site.root / "logs").iterdir()}

    assert mode(site.state_dir) == 0o700
    assert mode(site.root / "logs") == 0o700
    assert {path.name: bits for path, bits in own.items() if bits != 0o600} == {}
    assert len(own) >= 3
    assert {name: bits for name, bits in logs.items() if bits not in {0o600, 0o640}} == {}
    assert len(logs) == 3, "the log was not rotated"


def test_a_ledger_others_could_read_is_closed_to_them(site: Site) -> None:
    assert site.run_once().returncode == 0
    ledger = site.state_dir / "ledger.sqlite3"
    ledger.chmod(0o666)
    site.drop("one.pdf")
    assert site.run_once().returncode == 0
    assert {path.name: bits for path in tree(site.state_dir).values() if (bits := mode(path)) != 0o600} == {}


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_what_is_published_has_the_rights_of_a_file_made_there(site: Site, mask: int) -> None:
    (site.output / "shared").mkdir()
    (site.output / "shared").chmod(0o2775)
    os.chown(site.output / "shared", -1, os.getgid() if os.geteuid() else NOBODY)
    site.drop("one.pdf")
    site.drop("shared/two.pdf")
    site.drop("shared/deeper/three.pdf")
    site.drop("empty.pdf", b"")
    with umask(mask):
        site.run_once()

    exports = [path for name, path in tree(site.output).items() if not name.startswith("error/")]
    assert len(exports) == 9
    assert {path.name: oct(mode(path)) for path in exports if mode(path) != 0o666 & ~mask} == {}
    shared = (site.output / "shared").stat()
    for path in (site.output / "shared").rglob("*"):
        assert path.stat().st_gid == shared.st_gid, path
    assert (site.output / "shared" / "deeper").stat().st_mode & 0o7777 == 0o2777 & ~mask
    assert mode(site.error / "empty.pdf.error.txt") == 0o666 & ~mask


# --- log injection ---------------------------------------------------------------------------------------------------

FORGED = "ok\n2031-01-01T00:00:00.000Z info    forged \x1b]0;owned\x07\x1b[2J\r\u202e\x9b1m\u2028forged"


def hostile_answers() -> list[Fault]:
    """Return answers in which a service says what should not reach a terminal, at every place it may speak."""
    said: Any = {"title": FORGED, "detail": FORGED, "message": FORGED, "requestErrors": {FORGED: [FORGED]}}
    return [
        Fault(400, method="POST", path="/oauth/token", body=said),
        Fault(503, method="POST", path="/tasks", body=said),
        Fault(403, method="POST", path="/tasks", body=f"<html><title>{FORGED}</title></html>"),
        Fault(307, method="POST", path="/tasks", headers={"Location": "http://h/\x1b]0;owned\x07"}),
        Fault(500, method="POST", path="/tasks", body=FORGED, applied=True),
        Fault(422, method="POST", path="/tasks", body=said),
        Fault(201, method="POST", path="/tasks", body={"id": f"../../x?{FORGED}", "state": FORGED}),
        Fault(404, method="GET", path="/file_collections/*", body=said),
    ]


def test_no_word_of_the_service_forges_a_line_or_moves_a_cursor(site: Site, sandbox: SandboxServer) -> None:
    site.settings["logging"] = {"level": "debug", "file": "logs/fsagent.log"}
    site.configure(service={"connections": 1})
    answers = hostile_answers()
    for answer in answers:
        sandbox.sandbox.faults.add(answer)
    with site.run() as running:
        for number in range(4):
            site.drop(f"{number}.pdf")
        wait_until(lambda: not sandbox.sandbox.faults.waiting(), seconds=90, what=sandbox.sandbox.faults.waiting)
        wait_until(lambda: not site.inbox_files(), seconds=90, what=site.inbox_files)
        said = [site.command(*command) for command in (("status",), ("history",), ("status", "--json"))]
        running.stop()

    texts = [(site.root / "logs" / "fsagent.log").read_text(encoding="utf-8"), *(done.stdout for done in said)]
    texts += [path.read_text(encoding="utf-8") for name, path in tree(site.root).items() if name.endswith(".error.txt")]
    lines = [line for text in texts for line in text.split("\n")]
    assert [line for line in lines if re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", line)] == []
    assert [line for line in lines if line.startswith("2031-")] == []
    assert any("forged" in line for line in lines), "the service was never quoted"
    # What it called its task never became another address.
    paths = {seen.target.partition("?")[0].rsplit("/", 1)[0] for seen in sandbox.sandbox.requests.recent()}
    assert {path for path in paths if ".." in path or "x?" in path} == set()


def test_after_all_that_every_file_is_one_task(site: Site, sandbox: SandboxServer) -> None:
    dropped = [site.drop(f"{number}.pdf") for number in range(3)]
    for answer in hostile_answers()[:5]:
        sandbox.sandbox.faults.add(answer)
    with site.run() as running:
        wait_until(lambda: not sandbox.sandbox.faults.waiting(), seconds=90, what=sandbox.sandbox.faults.waiting)
        site.wait_done(tasks=3, seconds=90)
        running.stop()

    assert judge(site, sent=dropped) == []
