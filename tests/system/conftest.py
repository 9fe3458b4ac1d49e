"""Fixtures of the system tests: a sandbox and a site for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.server import SandboxServer
from system.sites import QUICK_SANDBOX, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(AlumaSettings(**QUICK_SANDBOX)) as server:  # type: ignore[arg-type]  # all of them floats
        yield server


@pytest.fixture
def site(tmp_path: Path, sandbox: SandboxServer) -> Site:
    return Site.of(tmp_path / "site", sandbox)
