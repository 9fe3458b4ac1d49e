"""The token and secret canary (faults.md, security rules): looked for in everything that real agents write.

| where a secret could get out | test |
|---|---|
| log at debug level, ledger, notes, status, every command, argv, through all kinds of trouble | `test_nothing_…` |
| a service or proxy that repeats what it was sent | `test_a_service_that_repeats_…` |
| mistakes in a configuration | `test_no_mistake_in_a_configuration_…` |
| where it may come from: file, environment | `test_a_secret_from_a_file_or_the_environment_…` |
| the canary itself | `test_the_canary_finds_…`, `test_a_run_that_leaks_…` |

The whole of the system tests under the canary: `FSAGENT_TEST_CANARY=1 pytest tests/system` (canary.py).
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from system.sites import PATIENCE, QUICK_SANDBOX, REPOSITORY, Process, Site, completed, pdf, wait_until

from agent.sandbox.aluma.settings import DEMO_PROJECT_ID, AlumaSettings
from agent.sandbox.aluma.tokens import TOKEN_PREFIX
from agent.sandbox.faults import Fault
from agent.sandbox.samples import BROKEN, read_sample
from agent.sandbox.server import SandboxServer
from faults.canary import NEEDLES, leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(300)

SECRETS = {
    "plain": "kanarienvogel-5f0c1d2e",
    "awkward": "kanarien \"vogel' & 100%41 \\x {stem} ${ \u00fc\U0001f424",
}
EVERYTHING = (
    "one.pdf",
    "sub/two.tif",
    "three.pdf",
)


@pytest.fixture(params=[SECRETS["awkward"]], ids=["awkward"])
def secret(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sandbox(secret: str) -> Iterator[SandboxServer]:
    settings = AlumaSettings(**QUICK_SANDBOX, client_secret=secret)  # type: ignore[arg-type]  # all of them floats
    with SandboxServer(settings) as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, sandbox: SandboxServer, secret: str) -> Site:
    site = Site.of(tmp_path / "site", sandbox)
    use(site, secret)
    return site


def use(site: Site, secret: str, **service: Any) -> None:
    """Write the configuration with that secret, logging all it can."""
    site.settings["logging"] = {"level": "debug", "format": "json", "file": "logs/fsagent.log"}
    site.configure(service={"client_secret": secret.replace("${", "$${"), **service})


class Written:
    """Everything commands said, kept as files beside the rest, so that one look finds all."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._folder = site.root / "said"
        self._folder.mkdir()
        self._count = 0

    def by(self, *arguments: str, status: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command and keep what it said."""
        done = self._site.command(*arguments)
        self._count += 1
        (self._folder / f"{self._count}.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
        assert "Traceback" not in done.stderr
        if status is not None:
            assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done


def forms(secret: str) -> list[bytes]:
    """Return how a secret could stand in a text: as it is, in JSON, in an address, in Python's own notation."""
    shapes = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    return [shape.encode() for shape in shapes] + [TOKEN_PREFIX.encode()]


def test_nothing_that_agents_and_commands_write_shows_secret_or_token(
    site: Site, sandbox: SandboxServer, secret: str
) -> None:
    written = Written(site)
    for name in EVERYTHING:
        site.drop(name)
    site.drop("broken.pdf", read_sample(BROKEN))
    faults = sandbox.sandbox.faults
    with site.run() as running:
        assert not any(form in Path(f"/proc/{running.pid}/cmdline").read_bytes() for form in forms(secret))
        site.wait_done(tasks=len(EVERYTHING), seconds=60)
        # 401 in the middle, a redirect to elsewhere, refusals with and without words.
        sandbox.sandbox.revoke_tokens()
        faults.add(Fault(307, method="POST", path="/tasks", headers={"Location": "http://127.0.0.1:9/tasks"}))
        faults.add(Fault(403, method="POST", path="/tasks"))
        faults.add(Fault(400, method="POST", path="/tasks"))
        faults.add(Fault(302, method="POST", path="/oauth/token", headers={"Location": "http://127.0.0.1:9/"}))
        faults.add(Fault(500, method="POST", path="/tasks", applied=True))
        for number in range(4):
            site.drop(f"later {number}.pdf")
        wait_until(lambda: not site.inbox_files() and site.is_done(), seconds=60, what=site.records)
        task = site.task_records()[0].task_id
        for command in (
            *(("status",), ("status", "--json"), ("history",), ("history", "--json"), ("check",), ("check", "--json")),
            *(("why", task), ("why", task, "--json"), ("why", str(site.error / "broken.pdf"))),
            *(("projects", "list"), ("projects", "show", DEMO_PROJECT_ID, "--json"), ("retry", "--all", "--json")),
            *(("pause",), ("resume",), ("rescan",), ("adopt", "scans"), ("run",)),
        ):
            written.by(*command)
        running.stop()
    (site.root / "elsewhere.pdf").write_bytes(pdf("elsewhere"))
    written.by("submit", str(site.root / "elsewhere.pdf"), "--wait", "20s", status=0)
    # No TLS where it is expected, nobody there, and a secret that is wrong by now.
    use(site, secret, url=sandbox.url.replace("http://", "https://"))
    site.drop("in vain.pdf")
    written.by("run", "--once", "--wait", "1s", status=1)
    use(site, secret, url="https://127.0.0.1:9")
    written.by("check", status=1)
    use(site, f"wrong {secret}", url=sandbox.url)
    written.by("run", "--once", "--wait", "1s", status=1)
    written.by("check", "--json", status=1)

    log = (site.root / "logs" / "fsagent.log").read_text(encoding="utf-8")
    assert '"level": "debug"' in log
    assert "credentials_refused" in log
    assert leaks(site.root, forms(secret)) == []


ECHOES: dict[str, Callable[[str], Any]] = {
    "problem": lambda said: {"title": "Unprocessable", "detail": f"input was {said}"},
    "list": lambda said: {"detail": [{"loc": ["body"], "input": {"client_secret": said}}]},
    "message": lambda said: {"message": said, "error_description": f"bad {said}"},
    "fields": lambda said: {"requestErrors": {"client_secret": [said]}},
    "html": lambda said: f"<html><title>Bad request: {said}</title></html>",
    "text": lambda said: f"cannot understand {said}",
}


@pytest.mark.parametrize("status", [400, 503])
def test_a_service_that_repeats_what_it_was_sent_is_not_quoted_with_it(
    site: Site, sandbox: SandboxServer, secret: str, status: int
) -> None:
    written = Written(site)
    with site.run() as running:
        site.wait_scanned()
        for number, (kind, echo) in enumerate(ECHOES.items()):
            sandbox.sandbox.faults.add(Fault(status, method="POST", path="/oauth/token", body=echo(secret), times=None))
            sandbox.sandbox.revoke_tokens()
            site.drop(f"{kind}.pdf")
            wait_until(lambda: "service" in site.lanes(), seconds=60, what=lambda: running.log)
            written.by("status", *(["--json"] if number % 2 else []))
            sandbox.sandbox.faults.clear()
            site.wait_done(tasks=number + 1, seconds=60)
        running.stop()

    assert leaks(site.root, forms(secret)) == []


def test_a_service_that_repeats_the_token_is_not_quoted_with_it(site: Site, sandbox: SandboxServer) -> None:
    written = Written(site)
    token = f"{TOKEN_PREFIX}repeated-by-the-service"
    faults = sandbox.sandbox.faults
    faults.add(Fault(200, method="POST", path="/oauth/token", body={"access_token": token, "expires_in": 3600}))
    said = {"title": "Forbidden", "detail": f"Bearer {token} may not do that", "message": token}
    faults.add(Fault(403, method="POST", path="/tasks", body=said))
    faults.add(Fault(400, method="POST", path="/tasks", body=said))
    site.drop("one.pdf")
    with site.run() as running:
        wait_until((site.error / "one.pdf.error.txt").exists, seconds=60, what=site.records)
        written.by("status", "--json")
        written.by("why", str(site.error / "one.pdf"))
        written.by("history", "--json")
        running.stop()

    assert site.note("one.pdf")["reason"].startswith("refused_by_service: ")
    assert leaks(site.root, [TOKEN_PREFIX.encode()]) == []


MISTAKES = {
    "unknown key": "service:\n  client_secrets: SECRET\n",
    "a list": "service:\n  client_secret: [SECRET]\n",
    "a map": "service:\n  client_secret: {value: SECRET}\n",
    "a map with it as its key": "service:\n  client_secret: {SECRET: x}\n",
    "in place of the section": "service: SECRET\n",
    "twice": "service:\n  client_secret: SECRET\n  client_secret: SECRET\n",
    "both": "service:\n  client_secret: SECRET\n  client_secret_file: SECRET\n",
    "never closed": "service:\n  client_secret: 'SECRET\n",
    "a tab": "service:\n\tclient_secret: SECRET\n",
    "a tag": "service:\n  client_secret: !SECRET\n",
    "an alias": "service:\n  client_secret: *SECRET\n",
    "in a reference": "service:\n  client_secret: ${SECRET\n",
    "not indented": "service:\nclient_secret: SECRET\n",
    "below another section": "retry:\n  client_secret: SECRET\n",
}


@pytest.mark.parametrize("text", MISTAKES.values(), ids=MISTAKES)
def test_no_mistake_in_a_configuration_shows_the_secret(tmp_path: Path, text: str) -> None:
    secret = SECRETS["plain"]
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("SECRET", secret), encoding="utf-8")
    for command in (("check",), ("check", "--json"), ("run",), ("status",)):
        done = completed("-c", str(config), *command)
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert secret not in done.stdout + done.stderr, command


@pytest.mark.parametrize("secret", [SECRETS["plain"]], indirect=True)
@pytest.mark.parametrize("source", ["a file", "the environment", "a credential of systemd"])
def test_a_secret_from_a_file_or_the_environment_works_and_stays_there(
    site: Site, sandbox: SandboxServer, secret: str, tmp_path: Path, source: str
) -> None:
    kept = tmp_path / "credentials"
    kept.mkdir(mode=0o700)
    (kept / "aluma").write_text(f"{secret}\n", encoding="utf-8")
    (kept / "aluma").chmod(0o400)
    environment = {"ALUMA_CLIENT_SECRET": secret, "CREDENTIALS_DIRECTORY": str(kept)}
    del site.settings["service"]["client_secret"]
    site.configure(
        service={
            "a file": {"client_secret_file": str(kept / "aluma")},
            "the environment": {"client_secret": "${ALUMA_CLIENT_SECRET}"},
            "a credential of systemd": {"client_secret_file": "${CREDENTIALS_DIRECTORY}/aluma"},
        }[source]
    )
    site.drop("one.pdf")
    log = site.root / "run.log"
    with Process("-c", str(site.config), "run", "--once", log=log, environment=environment) as running:
        assert running.wait(2 * PATIENCE) == 0, running.log

    assert [task["state"] for task in sandbox.sandbox.describe()] == ["completed"]
    assert leaks(site.root, forms(secret)) == []
    assert secret not in site.config.read_text(encoding="utf-8")


# --- the canary itself -----------------------------------------------------------------------------------------------


def test_the_canary_finds_a_secret_in_a_log_a_note_and_the_bytes_of_a_ledger(tmp_path: Path) -> None:
    needle = NEEDLES[0].decode()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "fsagent.log").write_text(f"told {needle} to nobody")
    (tmp_path / "one.pdf.error.txt").write_bytes(b"x" * (4 * 1024 * 1024 - 5) + NEEDLES[1])  # across two blocks
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as ledger:
        ledger.execute("CREATE TABLE notes (text)")
        ledger.execute("INSERT INTO notes VALUES (?)", (needle,))
    ledger.close()
    (tmp_path / "config.yaml").write_text(needle)
    (tmp_path / "clean.log").write_text("told … to nobody")

    found = {Path(leak.rsplit(": ", 1)[0]).name for leak in leaks(tmp_path)}

    assert found == {"fsagent.log", "one.pdf.error.txt", "ledger.sqlite3"}


@pytest.mark.parametrize(("text", "status"), [("told SECRET", 1), ("told …", 0)], ids=["leaks", "is clean"])
def test_a_run_that_leaks_fails_though_its_tests_pass(tmp_path: Path, text: str, status: int) -> None:
    text = text.replace("SECRET", NEEDLES[0].decode())
    (tmp_path / "test_it.py").write_text(f"def test_it(tmp_path):\n    (tmp_path / 'a.log').write_text({text!r})\n")
    tests = REPOSITORY / "tests"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "faults.canary", "-p", "no:randomly", "--basetemp", "base", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{REPOSITORY}", "FSAGENT_TEST_CANARY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert "1 passed" in done.stdout
    assert f"canary: {status} files" in done.stdout


def test_tokens_of_the_sandbox_are_known_by_their_prefix() -> None:
    with SandboxServer() as server, socket.create_connection(("127.0.0.1", server.port)) as connection:
        body = json.dumps({"client_id": "sandbox", "client_secret": NEEDLES[0].decode()}).encode()
        head = f"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        connection.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["access_token"].startswith(TOKEN_PREFIX)
