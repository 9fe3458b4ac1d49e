"""`fsagent check`: whether an agent with this configuration would work, a line for each thing that was looked at."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from agent.cli.configuration import configuration_path
from agent.cli.failures import EXIT_DONE, EXIT_FAILED
from agent.cli.rendering import echo_json, marks_for, one_line
from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.config.loading import Loaded
    from agent.model import Settings
    from agent.runtime.checking import Finding


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the configuration, for editors.")
@click.option("--schema-only", is_flag=True, help="Look at the file alone: no variables, folders or service.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def check(ctx: click.Context, *, schema: bool, schema_only: bool, as_json: bool) -> int:
    """Check configuration, folders, credentials and projects: a line each, and what to do.

    Works beside a running agent and disturbs none. Exit status: 0 without ✗, else 1; 2 where the configuration is
    wrong.
    """
    from agent.config.loading import load  # noqa: PLC0415 -- pydantic costs 200 ms

    if schema:
        from agent.config.schema import json_schema  # noqa: PLC0415 -- as above

        click.echo(json.dumps(json_schema(), indent=2))
        return EXIT_DONE
    path = configuration_path(ctx)
    loaded = load(path, environment=os.environ, schema_only=schema_only)
    url = None if schema_only else _webhook_url(loaded.settings)
    return _show(path, _findings(path, loaded, schema_only=schema_only), webhook_url=url, as_json=as_json)


def _webhook_url(settings: Settings) -> str | None:
    from agent.runtime.checking import webhook_url  # noqa: PLC0415 -- `fsagent --help` must not pay for it

    return webhook_url(settings)


def _findings(path: Path, loaded: Loaded, *, schema_only: bool) -> Iterator[Finding]:
    """Yield every finding as soon as it is known: some wait for a disk or the service."""
    from agent.config.account import runtime_warnings  # noqa: PLC0415 -- `fsagent --help` must not pay for it
    from agent.runtime.checking import Finding, Level  # noqa: PLC0415

    count = len(loaded.settings.watch_folders)
    folders = f"{count} watch folder{'' if count == 1 else 's'}"
    yield Finding(Level.GOOD, f"configuration {path}", f"valid, {folders}")
    for warning in loaded.warnings:
        yield Finding(Level.WARNING, "configuration", warning)
    if schema_only:
        return
    for warning in runtime_warnings():
        yield Finding(Level.WARNING, "account", warning)
    yield from _findings_here(loaded.settings)


def _findings_here(settings: Settings) -> Iterator[Finding]:
    """Yield what this machine and the service say."""
    from agent.runtime import checking  # noqa: PLC0415 -- as above
    from agent.runtime.clock import SystemClock  # noqa: PLC0415
    from agent.runtime.looking import is_running, reading_ledger  # noqa: PLC0415
    from agent.services.opening import open_service  # noqa: PLC0415

    clock = SystemClock()
    yield from checking.check_own_folders(settings)
    ledger_id: str | None = None
    is_ours = False
    try:
        with reading_ledger(settings) as ledger:
            if ledger is not None:
                ledger_id = ledger.ledger_id
                runs = is_running(settings)
                is_ours = runs and checking.listens(ledger)
                message = f"can be read; {'an' if runs else 'no'} agent runs"
                yield checking.Finding(checking.Level.GOOD, "ledger", message)
    except AgentError as error:
        ledger_id = checking.UNREAD
        yield checking.ledger_problem(error)
    yield from checking.check_folders(settings, clock=clock, ledger_id=ledger_id)
    service = open_service(settings.service, clock)
    try:
        yield from checking.check_service(settings, service)
    finally:
        service.close()
    yield from checking.check_webhooks(settings, is_ours=is_ours)


def _show(path: Path, findings: Iterator[Finding], *, webhook_url: str | None, as_json: bool) -> int:
    from agent.runtime.checking import Level  # noqa: PLC0415 -- as above

    marks = marks_for()
    sign = {Level.GOOD: marks.good, Level.WARNING: marks.warning, Level.PROBLEM: marks.bad}
    seen: list[Finding] = []
    for finding in findings:
        seen.append(finding)
        if not as_json:
            what_to_do = f"; what to do: {finding.hint}" if finding.hint else ""
            click.echo(f"{sign[finding.level]} {one_line(f'{finding.subject}: {finding.message}{what_to_do}')}")
    is_good = all(finding.level is not Level.PROBLEM for finding in seen)
    if as_json:
        found = [asdict(finding) for finding in seen]
        echo_json({"ok": is_good, "configuration": str(path), "webhook_url": webhook_url, "findings": found})
    return EXIT_DONE if is_good else EXIT_FAILED
