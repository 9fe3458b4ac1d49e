"""`fsagent sandbox --type …`: says what a configuration needs, and serves the service it names."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from system.sites import PATIENCE, Process, wait_until

from agent.cli.sandbox import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = {
    "aluma": {"url", "client_id", "client_secret", "project_id"},
    "sendai": {"type", "url", "path_prefix", "team_id", "api_key", "project_id"},
    "typless": {"type", "url", "api_key", "document_type_name"},
}


class Announced:
    """A sandbox as a process of its own, and what it said of itself."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.process = Process("sandbox", "--type", kind, "--port", "0", "--control", log=folder / "sandbox.log")

    def lines(self) -> dict[str, str]:
        wait_until(lambda: "Ctrl-C" in self.process.output, what=lambda: self.process.log)
        said = (line.partition(": ") for line in self.process.output.splitlines() if ": " in line)
        return {key: value for key, _, value in said}

    def get(self, path: str) -> Any:
        url = self.lines()["url"].removesuffix("/api")
        with urllib.request.urlopen(url + path, timeout=PATIENCE) as answer:
            return json.load(answer)


@pytest.fixture(params=list(KEYS))
def announced(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Announced]]:
    started = Announced(request.param, tmp_path)
    try:
        yield request.param, started
    finally:
        started.process.stop()


def test_each_type_says_what_a_configuration_needs_and_is_served(announced: tuple[str, Announced]) -> None:
    kind, started = announced
    titles = {
        "aluma": "fsagent sandbox",
        "sendai": "fsagent sandbox of Send AI",
        "typless": "fsagent sandbox of Typless",
    }
    assert started.lines().keys() == KEYS[kind]
    assert started.get("/openapi.json")["info"]["title"] == titles[kind]
    assert started.get("/control/state")["tasks"] == []


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("sendai", "--lease=5m"),
        ("typless", "--retention=1h"),
        ("aluma", "--review=*"),
        ("sendai", "--webhook-url=http://a"),
    ],
)
def test_an_option_of_another_type_is_a_usage_error(kind: str, option: str) -> None:
    result = CliRunner().invoke(sandbox, ["--type", kind, option])
    assert (result.exit_code, option.partition("=")[0] in result.output) == (2, True)
