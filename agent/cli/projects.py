"""`fsagent projects`: what projects the service has, and uploading one."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.configuration import load_settings
from agent.cli.failures import EXIT_DONE
from agent.cli.rendering import echo_json, moment
from agent.cli.targets import TargetCommand
from agent.errors import AgentError, UserError
from agent.rules.naming import for_display

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Project, Settings
    from agent.ports import Service

SUFFIX = ".alproj"
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")


@click.group()
def projects() -> None:
    """List, show or upload projects of the service."""


@projects.command("list", short_help="List the projects of this account.")
@_JSON
@click.pass_context
def list_projects(ctx: click.Context, *, as_json: bool) -> int:
    """List the projects of this account; project_id of a watch folder is one of their ids."""
    settings = load_settings(ctx)
    with _service(settings) as service:
        found = service.projects()
    if as_json:
        echo_json({"projects": [_document(project, settings) for project in found]})
    elif not found:
        click.echo("this account has no project; to make one: fsagent projects upload FILE.alproj")
    for project in () if as_json else found:
        click.echo(_line(project, settings))
    return EXIT_DONE


@projects.command(cls=TargetCommand, short_help="Show one project, by its id or name.")
@click.argument("project_id", metavar="ID")
@_JSON
@click.pass_context
def show(ctx: click.Context, *, project_id: str, as_json: bool) -> int:
    """Show one project, by its id or name, and the watch folders that use it."""
    settings = load_settings(ctx)
    with _service(settings) as service:
        found = [project for project in service.projects() if project_id in (project.id, project.name)]
    if not found:
        raise AgentError(f"this account has no project {project_id}", hint="type: fsagent projects list")
    if as_json:
        echo_json({"projects": [_document(project, settings) for project in found]})
        return EXIT_DONE
    for project in found:
        document = _document(project, settings)
        click.echo(f"id:            {for_display(project.id)}")
        click.echo(f"name:          {for_display(project.name)}")
        click.echo(f"made:          {moment(project.created_at) or 'not known'}")
        click.echo(f"watch folders: {', '.join(document['watch_folders']) or 'none'}")
    return EXIT_DONE


@projects.command()
@click.argument("file", metavar="FILE.alproj", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_JSON
@click.pass_context
def upload(ctx: click.Context, *, file: Path, as_json: bool) -> int:
    """Upload a project file and show the project it became."""
    if file.suffix.lower() != SUFFIX:
        raise click.UsageError(f"{file.name} is no {SUFFIX} file")
    settings = load_settings(ctx)
    with _service(settings) as service:
        try:
            project = service.upload_project(file)
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if as_json:
        echo_json(_document(project, settings))
    else:
        click.echo(f"uploaded as {_line(project, settings)}")
        click.echo(f"to use it, in a watch folder: project_id: {for_display(project.id)}")
    return EXIT_DONE


@contextmanager
def _service(settings: Settings) -> Iterator[Service]:
    from agent.runtime.clock import SystemClock  # noqa: PLC0415 -- `fsagent --help` must not pay for it
    from agent.services.opening import open_service  # noqa: PLC0415

    service = open_service(settings.service, SystemClock())
    try:
        yield service
    finally:
        service.close()


def _line(project: Project, settings: Settings) -> str:
    users = _users(project, settings)
    used = f"  (watch folder {', '.join(users)})" if users else ""
    return f"{for_display(project.id)}  {for_display(project.name)}{used}"


def _users(project: Project, settings: Settings) -> list[str]:
    return [folder.name for folder in settings.watch_folders if folder.project_id == project.id]


def _document(project: Project, settings: Settings) -> dict[str, Any]:
    at = project.created_at
    return {
        "id": project.id,
        "name": project.name,
        "created_at": None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
        "watch_folders": _users(project, settings),
    }
