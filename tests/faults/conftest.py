"""Fixtures of the fault tests; skips that count as failures; the numbers of every sweep at the end.

`REQUIRE_FAULTS=1` turns each skip into a failure.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from system.sites import QUICK_SANDBOX, Site

from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.server import SandboxServer
from faults.points import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

_NUMBERS = "sweep"


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(AlumaSettings(**QUICK_SANDBOX)) as server:  # type: ignore[arg-type]  # all of them floats
        yield server


@pytest.fixture
def site(tmp_path: Path, sandbox: SandboxServer) -> Site:
    return Site.of(tmp_path / "site", sandbox)


@pytest.fixture
def sweep(record_property: Callable[[str, object], None]) -> Iterator[Callable[[str], Sweep]]:
    """Give a function that begins a sweep by name; its numbers are printed at the end of the run."""
    begun: list[Sweep] = []

    def begin(name: str) -> Sweep:
        begun.append(Sweep(name))
        return begun[-1]

    yield begin
    for each in begun:
        record_property(_NUMBERS, (each.name, each.tried, each.reached, len(each.bad)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.CallInfo[None], None]:
    outcome: pytest.CallInfo[pytest.TestReport] = yield  # type: ignore[assignment]
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("REQUIRE_FAULTS") == "1":
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_FAULTS=1, but the test was skipped: {report.longrepr}"


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    totals: dict[str, list[int]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) != "teardown":
                continue
            for name, value in report.user_properties:
                if name == _NUMBERS:
                    sweep, *numbers = value
                    before = totals.get(sweep, [0, 0, 0])
                    totals[sweep] = [a + b for a, b in zip(before, numbers, strict=True)]
    if totals:
        terminalreporter.section("sweeps")
        for sweep, (tried, reached, bad) in sorted(totals.items()):
            terminalreporter.write_line(f"{sweep}: {tried} points tried, {reached} reached, bad = {bad}")
