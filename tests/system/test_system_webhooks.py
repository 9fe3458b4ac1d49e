"""Typless tells when an extraction has ended: exported at once, polled for once, and all the same without webhooks."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.sandbox.server import SandboxServer
from agent.sandbox.typless.settings import ExtractionStatus, Fate, TyplessSettings
from system.sites import PATIENCE, Site, completed, unused_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agent.sandbox.typless.core import TyplessSandbox

pytestmark = pytest.mark.system

SECRET = "webhooks-come-in-here_0123456789"
PATH = f"/webhooks/typless/{SECRET}"
NAMES = tuple(f"bill-{number:02}.pdf" for number in range(12))


class Scene:
    """An agent's site and the sandbox of Typless that calls it back."""

    def __init__(self, root: Path, server: SandboxServer[TyplessSandbox], port: int) -> None:
        self.sandbox = server.sandbox
        self.port = port
        self.site = Site.of_kind(root, server)
        self.site.settings["web"] = {"listen": f"127.0.0.1:{port}"}
        self.site.configure(
            service={"webhook_secret": SECRET}, export={"poll_min": "200ms", "poll_max": "30s", "formats": ["json"]}
        )

    def post(self, body: bytes, *, path: str = PATH) -> int:
        """Call the agent as anybody may, and return the status of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", path, body)
            return connection.getresponse().status
        finally:
            connection.close()

    def tell(self, task_id: str) -> int:
        """Send the webhook of one extraction."""
        return self.post(json.dumps({"type": "extraction.finished", "data": {"id": task_id}}).encode())

    def polls(self) -> Mapping[str, int]:
        """Return how often each extraction was polled for."""
        count = dict.fromkeys((task["id"] for task in self.site.describe()), 0)
        for seen in self.sandbox.requests.recent():
            identifier = seen.target.partition("extraction_id=")[2]
            if identifier in count:
                count[identifier] += 1
        return count

    def wait_for_the_receiver(self) -> None:
        wait_until(self._answers, what="nobody listens for webhooks")

    def _answers(self) -> bool:
        try:
            return self.post(b"{}") == 200
        except OSError:
            return False


@contextmanager
def scene(root: Path, *, webhook: str = PATH, **options: Any) -> Iterator[Scene]:
    port = unused_port()
    settings = TyplessSettings(webhook_url=f"http://127.0.0.1:{port}{webhook}", **options)
    with SandboxServer(settings) as server:
        yield Scene(root / "site", server, port)


def seconds_to_export(site: Site, task: Mapping[str, Any]) -> float:
    """Return the seconds from an extraction's end to its visible result."""
    result = site.output / f"{task['name'].removesuffix('.pdf')}.json"
    return result.stat().st_ctime - float(task["finished"])


def leaks(root: Path, *, told: tuple[Path, ...]) -> list[Path]:
    """Return the files below a folder that hold the secret, without those it belongs in."""
    found = []
    for folder, _, names in os.walk(root):
        paths = [type(root)(folder, name) for name in names]
        found += [path for path in paths if path not in told and SECRET.encode() in path.read_bytes()]
    return found


def test_what_webhooks_tell_is_exported_within_a_second_and_polled_for_once(tmp_path: Path) -> None:
    with scene(tmp_path, extraction_delay=0.4) as here, here.site.run() as running:
        here.wait_for_the_receiver()
        for name in NAMES:
            here.site.drop(name)
        here.site.wait_done(tasks=len(NAMES))
        running.stop()

        tasks = here.site.describe()
        assert here.site.exported(*(name.replace(".pdf", ".json") for name in NAMES))
        assert {task["webhook"] for task in tasks} == {"sent 200"}
        assert set(here.polls().values()) == {1}, here.polls()
        took = [seconds_to_export(here.site, task) for task in tasks]
        print(f"finish to export: median {statistics.median(took):.3f} s, longest {max(took):.3f} s")  # noqa: T201
        assert statistics.median(took) < 1


def test_a_webhook_that_overtakes_the_answer_to_its_submission_is_not_lost(tmp_path: Path) -> None:
    with scene(tmp_path, extraction_delay=0.0) as here, here.site.run() as running:
        here.wait_for_the_receiver()
        for name in NAMES[:4]:
            here.site.drop(name)
        here.site.wait_done(tasks=4)  # far less than the 30 s of poll_max
        running.stop()

        assert set(here.polls().values()) == {1}, here.polls()


def test_all_is_exported_by_polling_where_webhooks_are_cut_off(tmp_path: Path) -> None:
    with scene(tmp_path, extraction_delay=0.2) as here:
        here.sandbox.cut_webhooks_off(cut_off=True)
        here.site.configure(export={"poll_max": "1s"})
        with here.site.run() as running:
            here.wait_for_the_receiver()
            for name in NAMES:
                here.site.drop(name)
            here.site.wait_done(tasks=len(NAMES))
            running.stop()

        assert {task["webhook"] for task in here.site.describe()} == {"cut off"}
        assert here.site.exported(*(name.replace(".pdf", ".json") for name in NAMES))


def test_a_failed_extraction_that_is_told_brings_its_source_to_error_at_once(tmp_path: Path) -> None:
    fate = Fate("*", ExtractionStatus.ERROR, code=4711, message="Too dark.", details="page 1")
    with scene(tmp_path, extraction_delay=0.2, fates=(fate,), webhook_on_error=True) as here:
        with here.site.run() as running:
            here.wait_for_the_receiver()
            here.site.drop("dark.pdf")
            wait_until((here.site.error / "dark.pdf.error.txt").exists)
            running.stop()

        assert here.site.note("dark.pdf")["reason"].startswith("task_failed")
        assert set(here.polls().values()) == {1}


def test_strangers_change_nothing(tmp_path: Path) -> None:
    with scene(tmp_path, extraction_delay=1000, webhook="/nowhere") as here, here.site.run() as running:
        here.wait_for_the_receiver()
        here.site.drop("slow.pdf")
        wait_until(here.site.task_records)
        (record,) = before = here.site.task_records()

        assert here.tell("nobody's") == 200
        assert here.post(b"{") == 400
        assert here.post(b"{}", path="/") == 404
        known = json.dumps({"data": {"id": record.task_id}}).encode()
        assert here.post(known, path=PATH[:-1]) == 404
        assert here.post(known + b" " * 70_000) == 413
        assert here.site.task_records() == before
        assert set(here.polls().values()) == {0}

        assert here.tell(record.task_id) == 200
        wait_until(lambda: set(here.polls().values()) == {1})
        running.stop()

        assert here.site.inbox_files() == set()
        assert [task.state.value for task in here.site.task_records()] == ["processing"]


def test_the_secret_stands_in_the_configuration_and_in_check_alone(tmp_path: Path) -> None:
    with scene(tmp_path, extraction_delay=0.1) as here:
        site = here.site
        site.settings["logging"] = {"level": "debug", "format": "json"}
        site.configure()
        with site.run() as running:
            here.wait_for_the_receiver()
            site.drop("one.pdf")
            site.wait_done(tasks=1)
            here.post(b"{", path=f"{PATH}/")
            shown = [site.command(*words).stdout for words in (("status",), ("status", "--json"), ("why", "one.pdf"))]
            checked = json.loads(site.command("check", "--json").stdout)
            running.stop()

        assert checked["webhook_url"] == f"http://127.0.0.1:{here.port}{PATH}"
        assert any(finding["message"] == "the running agent listens" for finding in checked["findings"])
        assert SECRET not in "".join([*shown, running.log, running.output])
        assert leaks(tmp_path, told=(site.config,)) == []


def test_a_port_in_use_degrades_the_agent_until_it_is_free_and_stops_nothing(tmp_path: Path) -> None:
    with scene(tmp_path, extraction_delay=0.1) as here, socket.create_server(("127.0.0.1", here.port)) as other:
        here.site.configure(export={"poll_max": "300ms"})
        with here.site.run() as running:
            lane = here.site.waits_for("web", "web_unavailable")
            assert str(here.port) in lane["detail"]
            assert here.site.status()["health"] == "degraded"
            here.site.drop("one.pdf")
            here.site.wait_done(tasks=1)

            other.close()
            here.wait_for_the_receiver()
            wait_until(lambda: here.site.lanes() == {})
            running.stop()

        assert "cannot listen" in running.log
        assert here.site.exported("one.json")


def test_an_agent_stops_in_time_with_clients_that_send_nothing_more(tmp_path: Path) -> None:
    with scene(tmp_path, webhook="/nowhere") as here, here.site.run() as running:
        here.wait_for_the_receiver()
        with socket.create_connection(("127.0.0.1", here.port)) as slow:
            slow.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode())
            began = time.monotonic()
            assert running.stop() == 0
        assert time.monotonic() - began < 15


def test_an_agent_that_listens_nowhere_loads_no_web_server(site: Site) -> None:
    site.drop("one.pdf")
    arguments = ("-c", str(site.config), "run", "--once", "--wait", "20s")
    done = completed(*arguments, environment={"PYTHONPROFILEIMPORTTIME": "1"})

    assert done.returncode == 0, done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "agent.app" in loaded
    assert not {"agent.web.server", "starlette", "uvicorn", "asyncio"} & loaded
