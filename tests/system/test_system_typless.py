"""Typless over real processes: results as files, errors in its own words, expired results, lost answers."""

from __future__ import annotations

import csv
import json
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from agent.model import FileState
from agent.sandbox.faults import Dropped, Fault
from agent.sandbox.server import SandboxServer
from agent.sandbox.typless.settings import ExtractionStatus, Fate, TyplessSettings
from system.sites import Site, sha256, tree, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.sandbox.typless.core import TyplessSandbox

pytestmark = pytest.mark.system

HOUR = 3600.0
UPLOAD = "*/extract-data-async"
NO_RESULTS = Fault(503, method="GET", path="*/get-extraction-data", times=None)
"""However long an agent runs, it is told of no result."""


@pytest.fixture
def server() -> Iterator[SandboxServer[TyplessSandbox]]:
    with SandboxServer(TyplessSettings(extraction_delay=0.05)) as server:
        yield server


@pytest.fixture
def sandbox(server: SandboxServer[TyplessSandbox]) -> TyplessSandbox:
    return server.sandbox


@pytest.fixture
def site(tmp_path: Path, server: SandboxServer[TyplessSandbox]) -> Site:
    return Site.of_kind(tmp_path / "site", server)


def reasons(site: Site) -> dict[str, dict[str, Any]]:
    return {reason["reason"]: reason for reason in site.status()["reasons"]}


# --- results ----------------------------------------------------------------------------------------------------------


def test_a_result_is_written_as_json_and_csv_after_one_poll_that_found_it(site: Site, sandbox: TyplessSandbox) -> None:
    site.configure(customer="Bern")
    content = site.drop("a/letter.pdf")
    assert site.run_once().returncode == 0

    (extraction,) = sandbox.describe()
    assert (extraction["file_name"], extraction["customer"]) == ("letter.pdf", "Bern")
    assert extraction["sha256"] == sha256(content)
    assert extraction["calls"]["SUCCESS"] == 1
    assert json.loads((site.output / "a" / "letter.json").read_bytes()) == extraction["result"]
    with (site.output / "a" / "letter.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["field", "value", "confidence", "page"]
    values = {field["name"]: field["values"][0]["value"] for field in extraction["result"]["extracted_fields"]}
    assert {name: value for name, value, *_ in rows} == {k: str(v) for k, v in values.items() if v is not None}
    assert (site.archive / "a" / "letter.pdf").read_bytes() == content


def test_an_error_stands_in_the_note_as_typless_said_it(site: Site, sandbox: TyplessSandbox) -> None:
    fate = Fate("bad.pdf", ExtractionStatus.ERROR, "invalid_file", "The file is upside down.", "page 2 of 3")
    sandbox.add_fate(fate)
    content = site.drop("bad.pdf")
    site.drop("good.pdf")
    assert site.run_once().returncode == 1

    assert (site.error / "bad.pdf").read_bytes() == content
    note = site.note("bad.pdf")
    assert note["reason"] == "task_failed: invalid_file: The file is upside down.: page 2 of 3"
    assert note["task"] == next(each["id"] for each in sandbox.describe() if each["name"] == "bad.pdf")
    assert set(tree(site.output)) == {"good.csv", "good.json"}


# --- results that expire ----------------------------------------------------------------------------------------------


def test_a_result_that_expired_while_no_agent_ran_goes_to_error_and_a_retry_sends_it_again(
    site: Site, sandbox: TyplessSandbox
) -> None:
    sandbox.faults.add(NO_RESULTS)
    content = site.drop("sub/one.pdf")
    with site.run() as running:
        wait_until(lambda: [each for each in site.task_records() if each.task_id])
        wait_until(lambda: [each for each in site.records() if each.state is FileState.ARCHIVED])
        running.stop()
    sandbox.advance_clock(1)  # it ends, and 48 hours later its result is deleted
    sandbox.advance_clock(49 * HOUR)
    sandbox.faults.clear()
    assert site.run_once().returncode == 1
    assert site.note("sub/one.pdf")["reason"].startswith("result_expired: ")
    assert tree(site.output) == {}

    assert site.command("retry", "--all").returncode == 0
    assert site.run_once().returncode == 0
    assert set(tree(site.output)) == {"sub/one.csv", "sub/one.json"}
    assert [each["sha256"] for each in sandbox.describe()] == [sha256(content)] * 2
    assert set(tree(site.archive)) == {"sub/one.pdf"}
    assert tree(site.error) == {}


def test_a_result_that_will_expire_soon_is_told_before(site: Site, sandbox: TyplessSandbox) -> None:
    sandbox.faults.add(NO_RESULTS)
    site.drop("one.pdf")
    with site.run() as running:
        wait_until(lambda: [each for each in site.records() if each.state is FileState.ARCHIVED])
        assert "result_expires" not in reasons(site)
        running.stop()
    (task,) = site.task_records()
    backdate(site, task.task_id, hours=40)

    told = reasons(site)["result_expires"]
    assert (told["where"], told["count"]) == ("scans", 1)
    assert "48 hours" in told["detail"]
    assert task.task_id in told["detail"]
    assert told["hint"]


def backdate(site: Site, task_id: str, *, hours: float) -> None:
    """Let a task have been submitted so long ago, as after days without an agent."""
    with sqlite3.connect(site.state_dir / "ledger.sqlite3") as ledger:
        ledger.execute("UPDATE tasks SET opened_at = ? WHERE task_id = ?", (time.time() - hours * HOUR, task_id))
    ledger.close()


# --- lost answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("applied", [True, False], ids=["arrived", "never arrived"])
def test_a_customer_of_its_own_finds_a_lost_answer(site: Site, sandbox: TyplessSandbox, *, applied: bool) -> None:
    site.configure(customer="Bern", service={"lookup_by_customer": True})
    sandbox.faults.add(Dropped(method="POST", path=UPLOAD, applied=applied))
    content = site.drop("one.pdf")
    with site.run() as running:
        site.wait_done(tasks=1)
        running.stop()

    (extraction,) = sandbox.describe()
    (record,) = site.records()
    assert extraction["customer"] == f"Bern-{record.key}"
    assert extraction["sha256"] == sha256(content)
    assert record.attempts == (1 if applied else 2)
    assert set(tree(site.output)) == {"one.csv", "one.json"}
    assert set(tree(site.archive)) == {"one.pdf"}
