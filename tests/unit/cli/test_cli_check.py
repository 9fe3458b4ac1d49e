from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from fakes.office import NOWHERE, Office, Result, run
from system.sites import unused_port

from agent.app import running_agent
from agent.sandbox.aluma.settings import DEMO_PROJECT_ID
from agent.sandbox.faults import Fault
from agent.sandbox.sendai.settings import SendaiSettings
from agent.sandbox.server import SandboxServer
from agent.sandbox.typless.settings import TyplessSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def running_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def server(running_server: SandboxServer) -> Iterator[SandboxServer]:
    yield running_server
    running_server.sandbox.faults.clear()


@pytest.fixture
def office(tmp_path: Path, server: SandboxServer) -> Office:
    return Office(tmp_path, url=server.url, project_id=DEMO_PROJECT_ID)


def problems(result: Result) -> list[str]:
    return [line for line in result.out.splitlines() if line.startswith("✗")]


def test_all_is_well(office: Office) -> None:
    result = office.run("check")

    assert result.status == 0, result.out
    assert problems(result) == []
    for subject in ("configuration", "state_dir", "inbox", "output", "service", "project"):
        assert any(line.startswith("✓") and subject in line for line in result.out.splitlines()), subject


def test_leaves_nothing_behind(office: Office) -> None:
    before = sorted(str(path) for path in office.base.rglob("*"))

    office.run("check")

    assert sorted(str(path) for path in office.base.rglob("*")) == before


def test_prints_one_document(office: Office) -> None:
    document = office.run("check", "--json").document

    assert document["ok"] is True
    assert {finding["level"] for finding in document["findings"]} <= {"good", "warning"}


# --- configuration ---------------------------------------------------------------------------------------------------


def test_a_wrong_configuration_names_line_and_key(office: Office) -> None:
    office.config.write_text(office.config.read_text("utf-8").replace("settle:", "settel:"), encoding="utf-8")

    result = office.run("check")

    assert result.status == 2
    assert "settel" in result.err
    assert "did you mean `settle`" in result.err
    assert "config.yaml:" in result.err


def test_a_wrong_configuration_is_one_document_too(office: Office) -> None:
    office.config.write_text(office.config.read_text("utf-8").replace("settle:", "settel:"), encoding="utf-8")

    result = office.run("check", "--json")

    assert result.status == 2
    (problem,) = result.document["problems"]
    assert problem["line"] > 0
    assert "settel" in problem["key"]


def test_an_unwise_value_is_a_warning(office: Office, server: SandboxServer) -> None:
    office.write_config(url=server.url, project_id=DEMO_PROJECT_ID, watch_folders__max_size="0")

    result = office.run("check")

    assert result.status == 0
    assert any(line.startswith("⚠") and "max_size" in line for line in result.out.splitlines())


def test_schema_needs_no_configuration() -> None:
    result = run("check", "--schema")

    assert result.status == 0
    assert "watch_folders" in result.document["properties"]


def test_schema_only_asks_for_no_folder_variable_or_service(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "service: {url: https://service.example, client_id: '${NOT_SET}', client_secret: '${NOT_SET_EITHER}'}\n"
        "watch_folders:\n  - {project_id: p, inbox: nowhere}\n",
        encoding="utf-8",
    )

    result = run("-c", path, "check", "--schema-only")

    assert result.status == 0, result.err
    assert "valid, 1 watch folder" in result.out


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["inbox", "output"])
def test_a_root_that_is_not_there_is_a_problem(office: Office, name: str) -> None:
    (office.base / name).rename(office.base / "away")

    result = office.run("check")

    assert result.status == 1
    (line,) = problems(result)
    assert name in line
    assert "fsagent init" in line


def test_an_archive_elsewhere_whose_parent_is_not_there_is_a_problem(office: Office, server: SandboxServer) -> None:
    office.write_config(
        url=server.url,
        project_id=DEMO_PROJECT_ID,
        watch_folders__archive=str(office.base / "not mounted" / "archive"),
    )

    (line,) = problems(office.run("check"))

    assert "not mounted" in line
    assert "make its parent folder" in line


def test_a_folder_that_may_not_be_written_to_is_a_problem(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.output.chmod(0o500)
    may_write = os.access(office.output, os.W_OK)
    result = office.run("check")
    office.output.chmod(0o700)
    if may_write:
        pytest.skip("this account, or file system, may write everywhere")

    assert result.status == 1
    assert any("output" in line for line in problems(result))
    assert caplog.messages == [], "nothing was made, so nothing is left over"


def test_an_error_folder_that_is_a_file_is_a_problem(office: Office) -> None:
    (office.output / "error").write_text("", encoding="utf-8")

    result = office.run("check")

    assert result.status == 1
    (line,) = problems(result)
    assert "export.error" in line


def test_a_folder_of_another_agent_is_a_problem(office: Office) -> None:
    office.keep()
    (office.inbox / ".fsagent").write_text(f"{'a' * 32}\n", encoding="ascii")

    result = office.run("check")

    assert result.status == 1
    (line,) = problems(result)
    assert "another agent" in line
    assert "fsagent adopt invoices" in line


def test_markers_without_a_ledger_are_a_problem(office: Office) -> None:
    (office.inbox / ".fsagent").write_text(f"{'a' * 32}\n", encoding="ascii")

    (line,) = problems(office.run("check"))

    assert "fsagent adopt --all" in line


def test_too_little_space_is_a_problem(office: Office, server: SandboxServer) -> None:
    office.write_config(url=server.url, project_id=DEMO_PROJECT_ID, min_free="900000TB")

    result = office.run("check")

    assert result.status == 1
    assert any("output" in line and "min_free" in line for line in problems(result))


def test_polling_is_said_where_it_is_asked_for(office: Office, server: SandboxServer) -> None:
    office.write_config(url=server.url, project_id=DEMO_PROJECT_ID, watch_folders__observer="polling")

    assert "polling every 0.1 s" in office.run("check").out


def test_a_state_dir_without_its_parent_is_a_problem(office: Office) -> None:
    text = office.config.read_text("utf-8").replace("state_dir: state", "state_dir: no/where/state")
    office.config.write_text(text, encoding="utf-8")

    result = office.run("check")

    assert result.status == 1
    assert any("state_dir" in line and "parent" in line for line in problems(result))


def test_a_damaged_ledger_is_a_problem(office: Office) -> None:
    office.keep()
    (office.state / "ledger.sqlite3").write_bytes(b"nonsense")

    result = office.run("check")

    assert result.status == 1
    assert any("ledger" in line and "damaged" in line for line in problems(result))


def test_beside_a_ledger_that_cannot_be_read_nobody_is_told_that_there_is_none(office: Office) -> None:
    office.keep()
    (office.state / "ledger.sqlite3").write_bytes(b"nonsense")
    (office.inbox / ".fsagent").write_text(f"{'a' * 32}\n", encoding="ascii")

    (line,) = problems(office.run("check"))

    assert "damaged" in line


def test_a_state_dir_that_is_no_folder_is_a_problem(office: Office) -> None:
    office.state.write_bytes(b"")

    (line,) = problems(office.run("check"))

    assert "state_dir" in line
    assert "no folder" in line


# --- service ---------------------------------------------------------------------------------------------------------


def test_wrong_credentials_are_a_problem(office: Office) -> None:
    text = office.config.read_text("utf-8").replace("sandbox-secret", "another-secret")
    office.config.write_text(text, encoding="utf-8")

    result = office.run("check")

    assert result.status == 1
    (line,) = problems(result)
    assert "service.client_secret" in line
    assert "another-secret" not in result.out


def test_a_project_the_service_does_not_know_is_a_problem(office: Office, server: SandboxServer) -> None:
    office.write_config(url=server.url, project_id="nothing")

    result = office.run("check")

    assert result.status == 1
    (line,) = problems(result)
    assert "project nothing" in line
    assert "fsagent projects list" in line


@pytest.mark.parametrize("status", [404, 405])
def test_a_service_that_lists_no_projects_is_a_warning(office: Office, server: SandboxServer, status: int) -> None:
    server.sandbox.faults.add(Fault(status, path="/projects"))

    result = office.run("check")

    assert result.status == 0
    assert any(line.startswith("⚠ projects") for line in result.out.splitlines())


def test_a_service_that_is_away_is_a_problem(office: Office) -> None:
    office.write_config(url=NOWHERE, project_id=DEMO_PROJECT_ID)

    result = office.run("check")

    assert result.status == 1
    (line,) = problems(result)
    assert "cannot reach" in line


# --- services without projects ---------------------------------------------------------------------------------------

SECRET = "webhooks-come-in-here_0123456789"


class Desk:
    """A configuration for a service of another type."""

    def __init__(self, base: Path, service: dict[str, Any], folder: dict[str, Any], **sections: Any) -> None:
        self.config = base / "config.yaml"
        for name in ("inbox", "output"):
            (base / name).mkdir()
        watch_folder = {"inbox": "inbox", "output": "output", **folder}
        document = {"service": service, "state_dir": "state", "watch_folders": [watch_folder], **sections}
        self.config.write_text(json.dumps(document), encoding="utf-8")
        self.config.chmod(0o600)

    def accept(self, *types: str) -> None:
        document = json.loads(self.config.read_text(encoding="utf-8"))
        document["watch_folders"][0]["accept"] = types
        self.config.write_text(json.dumps(document), encoding="utf-8")

    def check(self, *arguments: str) -> Result:
        return run("-c", self.config, "check", *arguments)


def sendai(base: Path, url: str, **changes: Any) -> Desk:
    settings = SendaiSettings()
    service = {"type": "sendai", "url": url, "api_key": settings.api_key, "team_id": settings.team_id, **changes}
    return Desk(base, service, {"project_id": settings.projects[0]})


def typless(base: Path, url: str, *, listen: str | None = None, **changes: Any) -> Desk:
    service = {"type": "typless", "url": f"{url}/api", "api_key": TyplessSettings().api_key, **changes}
    return Desk(base, service, {"document_type_name": "line-item-invoice"}, web={"listen": listen})


OTHERS = pytest.mark.parametrize(("make", "settings"), [(sendai, SendaiSettings()), (typless, TyplessSettings())])


@OTHERS
def test_a_service_without_a_list_of_projects_is_checked_by_its_key(tmp_path: Path, make: Any, settings: Any) -> None:
    with SandboxServer(settings) as server:
        result = make(tmp_path, server.url).check()

    assert result.status == 0, result.out
    assert any(line.startswith("✓ service") and "takes the credentials" in line for line in result.out.splitlines())
    assert any(line.startswith("⚠ projects") and "cannot be looked up" in line for line in result.out.splitlines())


@OTHERS
def test_a_wrong_key_is_a_problem_and_is_not_shown(tmp_path: Path, make: Any, settings: Any) -> None:
    with SandboxServer(settings) as server:
        result = make(tmp_path, server.url, api_key="another-key-than-that").check()

    assert result.status == 1
    (line,) = problems(result)
    assert "service.api_key" in line
    assert "another-key" not in result.out


@pytest.mark.parametrize(("make", "beyond"), [(sendai, "zip"), (typless, "email, zip")])
def test_types_a_service_is_not_known_to_take_are_a_warning(tmp_path: Path, make: Any, beyond: str) -> None:
    desk = make(tmp_path, NOWHERE)
    desk.accept("pdf", "email", "zip")

    found = [line for line in desk.check().out.splitlines() if "accept" in line]

    assert [line.split(": the service")[0] for line in found] == [f"⚠ inbox: accept: {beyond}"]


def test_types_a_service_is_known_to_take_are_no_matter(tmp_path: Path) -> None:
    desk = typless(tmp_path, NOWHERE)
    desk.accept("pdf", "tiff", "jpeg", "png")

    assert "accept" not in desk.check().out


@OTHERS
def test_nothing_is_sent_by_a_check(tmp_path: Path, make: Any, settings: Any) -> None:
    with SandboxServer(settings) as server:
        make(tmp_path, server.url).check()

    # Noted once the answer has left, so only a server that ended knows all.
    assert {seen.method for seen in server.sandbox.requests.recent()} == {"GET"}


# --- webhooks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other


@pytest.fixture
def free_port() -> int:
    return unused_port()


def test_the_full_address_of_webhooks_is_shown(tmp_path: Path, free_port: int) -> None:
    desk = typless(tmp_path, NOWHERE, listen=f"127.0.0.1:{free_port}", webhook_secret=SECRET)
    url = f"http://127.0.0.1:{free_port}/webhooks/typless/{SECRET}"

    (line,) = [line for line in desk.check().out.splitlines() if "webhook:" in line]
    assert line.startswith(f"✓ webhook: {url}; ")
    assert desk.check("--json").document["webhook_url"] == url


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "[::]"])
def test_the_address_names_this_machine_where_all_its_addresses_are_listened_on(
    tmp_path: Path, free_port: int, everywhere: str
) -> None:
    desk = typless(tmp_path, NOWHERE, listen=f"{everywhere}:{free_port}", webhook_secret=SECRET)

    url = desk.check("--json").document["webhook_url"]
    assert url == f"http://{socket.gethostname()}:{free_port}/webhooks/typless/{SECRET}"


def test_a_port_for_webhooks_that_is_free_is_good(tmp_path: Path, free_port: int) -> None:
    result = typless(tmp_path, NOWHERE, listen=f"127.0.0.1:{free_port}", webhook_secret=SECRET).check()

    assert f"✓ web.listen 127.0.0.1:{free_port}: is free" in result.out


def test_a_port_for_webhooks_that_another_program_has_is_a_problem(tmp_path: Path, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with SandboxServer(TyplessSettings()) as server:
        result = typless(tmp_path, server.url, listen=f"127.0.0.1:{port}", webhook_secret=SECRET).check()

    assert result.status == 1
    (line,) = problems(result)
    assert f"web.listen 127.0.0.1:{port}" in line
    assert "results are polled for" in line


def test_without_webhooks_there_is_no_address(tmp_path: Path) -> None:
    result = typless(tmp_path, NOWHERE).check("--json")

    assert result.document["webhook_url"] is None
    assert not [finding for finding in result.document["findings"] if finding["subject"].startswith("web")]


def test_the_file_alone_has_no_address_either(tmp_path: Path) -> None:
    desk = typless(tmp_path, NOWHERE, listen="127.0.0.1:8765", webhook_secret=SECRET)

    assert desk.check("--schema-only", "--json").document["webhook_url"] is None


# --- beside an agent -------------------------------------------------------------------------------------------------


def test_works_beside_a_running_agent_and_leaves_no_trace_in_its_ledger(office: Office) -> None:
    with running_agent(office.settings) as (_, parts):
        result = office.run("check")

        assert result.status == 0, result.out
        assert "an agent runs" in result.out
        assert parts.ledger.find_files() == []
