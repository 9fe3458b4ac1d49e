"""Configurations for Send AI and Typless: what they mean, and which keys belong to which service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.config.loading import load
from agent.errors import ConfigurationError
from agent.model import ServiceType

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config.loading import Loaded
    from agent.errors import ConfigurationProblem

ALUMA = """\
service: {client_id: me, client_secret: hush-hush}
watch_folders:
  - {project_id: P, inbox: in, output: out}
"""
SENDAI = """\
service: {type: sendai, team_id: team_1, api_key: hush-hush}
watch_folders:
  - {project_id: proj_1, inbox: in, output: out, batch: folder, meta: {site: Bern}, export: {formats: [json]}}
"""
TYPLESS = """\
service: {type: typless, api_key: Token hush-hush, on_unknown: resubmit, lookup_by_customer: true}
watch_folders:
  - {document_type_name: line-item-invoice, inbox: in, output: out, customer: ACME}
"""
SECRET = "0123456789abcdef"


def loaded(text: str, folder: Path) -> Loaded:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, environment={})


def problems_of(text: str, folder: Path) -> list[ConfigurationProblem]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(text, folder)
    assert "hush" not in str(caught.value)
    assert SECRET not in str(caught.value)
    return list(caught.value.problems)


def test_send_ai_is_found_at_its_usual_place(tmp_path: Path) -> None:
    service = loaded(SENDAI, tmp_path).settings.service
    assert (service.type, service.url, service.path_prefix) == (
        ServiceType.SENDAI,
        "https://api.send.ai",
        "/v2/{team_id}/project/{project_id}",
    )
    assert (service.team_id, service.api_key, service.client_secret, service.on_unknown) == (
        "team_1",
        "hush-hush",
        "",
        "hold",
    )


def test_a_watch_folder_of_send_ai_has_batches_pairs_and_formats(tmp_path: Path) -> None:
    folder = loaded(SENDAI, tmp_path).settings.watch_folders[0]
    assert (folder.batch, folder.meta, folder.export.formats) == ("folder", {"site": "Bern"}, ("json",))


def test_documents_of_typless_are_sorted_by_their_type(tmp_path: Path) -> None:
    settings = loaded(TYPLESS, tmp_path).settings
    folder = settings.watch_folders[0]
    assert (settings.service.url, settings.service.api_key) == (
        "https://developers.typless.com/api",
        "Token hush-hush",
    )
    assert (folder.project_id, folder.customer, folder.export.formats) == (
        "line-item-invoice",
        "ACME",
        ("json", "csv"),
    )
    assert (settings.service.on_unknown, settings.service.lookup_by_customer) == ("resubmit", True)


def test_the_key_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush-hush\n", encoding="utf-8")
    text = SENDAI.replace("api_key: hush-hush", "api_key_file: key")
    assert loaded(text, tmp_path).settings.service.api_key == "hush-hush"


def test_webhooks_have_a_secret_and_an_address(tmp_path: Path) -> None:
    text = TYPLESS.replace("on_unknown", f"webhook_secret: {SECRET}, on_unknown") + "web: {listen: 127.0.0.1:8765}\n"
    settings = loaded(text, tmp_path).settings
    assert (settings.web.host, settings.web.port, settings.service.webhook_secret) == ("127.0.0.1", 8765, SECRET)


@pytest.mark.parametrize("text", [ALUMA, SENDAI, TYPLESS], ids=["aluma", "sendai", "typless"])
def test_nothing_listens_unless_it_is_asked_for(tmp_path: Path, text: str) -> None:
    assert loaded(text, tmp_path).settings.web.port is None


MISTAKES = {
    "key of another service": (
        SENDAI.replace("team_id", "client_id: me, team_id"),
        "service.client_id",
        "belongs to `type: aluma`; this service is sendai",
    ),
    "api key for aluma": (
        ALUMA.replace("client_id: me", "client_id: me, api_key: hush"),
        "service.api_key",
        "belongs to `type: sendai` and `type: typless`; this service is aluma",
    ),
    "folder key of another service": (
        ALUMA.replace("inbox", "customer: ACME, inbox"),
        "watch_folders[0].customer",
        "belongs to `type: typless`",
    ),
    "formats for a service that names its files": (
        ALUMA.replace("output: out", "output: out, export: {formats: [csv]}"),
        "watch_folders[0].export.formats",
        "belongs to `type: sendai` and `type: typless`",
    ),
    "scope where nothing is listed": (
        SENDAI.replace("formats: [json]", "scope: own"),
        "watch_folders[0].export.scope",
        "belongs to `type: aluma`",
    ),
    "no team": (SENDAI.replace("team_id: team_1, ", ""), "service.team_id", "is missing"),
    "no key": (SENDAI.replace(", api_key: hush-hush", ""), "service.api_key", "or by api_key_file"),
    "two keys": (
        SENDAI.replace("api_key", "api_key_file: key, api_key"),
        "service.api_key_file",
        "give api_key or api_key_file, not both",
    ),
    "no project": (SENDAI.replace("project_id: proj_1, ", ""), "watch_folders[0].project_id", "is missing"),
    "no document type": (
        TYPLESS.replace("document_type_name: line-item-invoice, ", ""),
        "watch_folders[0].document_type_name",
        "is missing",
    ),
    "export only where nothing is listed": (
        TYPLESS.replace("inbox: in, ", ""),
        "watch_folders[0].inbox",
        "only what was sent from here can be exported",
    ),
    "unknown braces": (
        SENDAI.replace("team_id:", "path_prefix: '/v2/{team}', team_id:"),
        "service.path_prefix",
        "{team_id} and {project_id} are filled in",
    ),
    "short webhook secret": (
        TYPLESS.replace("on_unknown", "webhook_secret: hush, on_unknown"),
        "service.webhook_secret",
        "expected 16 or more",
    ),
    "webhooks without an address": (
        TYPLESS.replace("on_unknown", f"webhook_secret: {SECRET}, on_unknown"),
        "service.webhook_secret",
        "give web.listen",
    ),
    "address without webhooks": (
        TYPLESS + "web: {listen: 127.0.0.1:8765}\n",
        "web.listen",
        "a status page is not yet supported",
    ),
    "unknown format": (SENDAI.replace("[json]", "[xml]"), "watch_folders[0].export.formats[0]", "expected json or csv"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_key(tmp_path: Path, mistake: str) -> None:
    text, key, message = MISTAKES[mistake]
    (problem,) = problems_of(text, tmp_path)
    assert problem.key == key
    assert message in problem.message
    assert problem.line > 0
