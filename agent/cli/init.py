"""`fsagent init`: writes a commented configuration and makes the folders it names."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.configuration import configuration_path
from agent.cli.failures import EXIT_DONE
from agent.config.belonging import URLS
from agent.errors import ConfigurationError, UserError
from agent.model import ServiceType

if TYPE_CHECKING:
    from agent.model import Settings

SERVICES = ("aluma", "sendai", "typless")


PROJECT_PROMPTS = {
    ServiceType.ALUMA: "Id of the project documents go to",
    ServiceType.SENDAI: "Id of the project documents go to",
    ServiceType.TYPLESS: "Name of the document type",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What goes into the configuration; folders are absolute."""

    service: ServiceType
    url: str
    project_id: str
    team_id: str | None
    inbox: Path | None
    output: Path | None
    state_dir: Path
    name: str | None


@click.command()
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--type", "kind", type=click.Choice(SERVICES), default="aluma", show_default=True, help="The service's type."
)
@click.option("--url", help="Address of the service.  [default: the usual one of its type]")
@click.option("--team-id", help="sendai: id of the team the project belongs to.")
@click.option("--project-id", help="Id of the project documents go to; typless: name of the document type.")
@click.option("--inbox", type=click.Path(path_type=Path), help="Folder where files are dropped; none: export only.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for exported files; none: submit only.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Folder for ledger and lock, on a local disk.")
@click.option("--name", help="Name of the watch folder.  [default: the inbox folder's]")
@click.option("--force", is_flag=True, help="Replace FILE where it is there.")
@click.pass_context
def init(
    ctx: click.Context,
    *,
    file: Path | None,
    kind: str,
    url: str | None,
    team_id: str | None,
    project_id: str | None,
    inbox: Path | None,
    output: Path | None,
    state_dir: Path | None,
    name: str | None,
    force: bool,
) -> int:
    """Write a commented configuration to FILE (else -c, FSAGENT_CONFIG or the default path), and make its folders.

    On a terminal it asks for what no option says. Folders are taken relative to where you are.
    """
    path = _absolute(file or configuration_path(ctx))
    if os.path.lexists(path) and not force:
        raise _is_there(path)
    service = ServiceType(kind)
    usual_url = URLS[service]
    if sys.stdin.isatty():
        url = url or click.prompt("Address of the service", default=usual_url)
        if service is ServiceType.SENDAI:
            team_id = team_id or click.prompt("Id of the team")
        project_id = project_id or click.prompt(PROJECT_PROMPTS[service])
        inbox, output = _ask_for_folders(inbox, output)
        if inbox is None and output is None:
            raise UserError("there is nothing to do without a folder: name an inbox, an output, or both")
    if not project_id or (inbox is None and output is None):
        raise click.UsageError("without a terminal to ask on: --project-id, and --inbox or --output or both")
    if service is ServiceType.SENDAI and not team_id:
        raise click.UsageError("without a terminal to ask on: --team-id")
    wishes = Wishes(
        service=service,
        url=url or usual_url,
        project_id=project_id,
        team_id=team_id,
        inbox=None if inbox is None else _absolute(inbox),
        output=None if output is None else _absolute(output),
        state_dir=_absolute(state_dir) if state_dir is not None else _usual_state_dir(path),
        name=name,
    )
    settings = _write(path, wishes, force=force)
    made = _make_folders(settings)
    click.echo(f"written: {path}")
    for folder in made:
        click.echo(f"made:    {folder}")
    _tell_what_is_next(path, service)
    return EXIT_DONE


def _ask_for_folders(inbox: Path | None, output: Path | None) -> tuple[Path | None, Path | None]:
    """Ask for the folders that no option named; an empty answer leaves one out."""
    if inbox is None:
        answer = click.prompt("Inbox, where files are dropped (empty: export only)", default="", show_default=False)
        inbox = Path(answer) if answer.strip() else None
    if output is None:
        answer = click.prompt("Output, for exported files (empty: submit only)", default="", show_default=False)
        output = Path(answer) if answer.strip() else None
    return inbox, output


def _absolute(path: Path) -> Path:
    """Return the path without `..`, its links as they are, `~` understood where no shell did."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 -- resolve() would follow links


def _usual_state_dir(config: Path) -> Path:
    """Return the platform's place where this account may use it, else a folder beside the configuration."""
    from agent.config.locations import default_state_dir  # noqa: PLC0415 -- costs only who needs it

    usual = default_state_dir(os.environ)
    may_use = os.access(usual if usual.exists() else usual.parent, os.W_OK | os.X_OK)
    return usual if may_use else config.parent / "fsagent-state"


def _write(path: Path, wishes: Wishes, *, force: bool) -> Settings:
    """Write the file where it is valid, whole and readable for its owner alone, and return what it says."""
    from agent.config.loading import load  # noqa: PLC0415 -- pydantic costs 200 ms
    from agent.config.sample import sample_text  # noqa: PLC0415

    text = sample_text(
        service_url=wishes.url,
        project_id=wishes.project_id,
        inbox=None if wishes.inbox is None else str(wishes.inbox),
        output=None if wishes.output is None else str(wishes.output),
        state_dir=str(wishes.state_dir),
        name=wishes.name,
        service=wishes.service,
        overrides={} if wishes.team_id is None else {"service.team_id": wishes.team_id},
    )
    staged = path.with_name(f".fsagent-{secrets.token_hex(8)}.part")
    made: list[Path] = []
    is_written = False
    try:
        _make_folders_above(staged, made)
        _stage(staged, text)
        settings = load(staged, environment=os.environ, schema_only=True).settings
        _publish(staged, path, force=force)
        is_written = True
    except ConfigurationError as error:
        problems = "; ".join(f"{problem.key}: {problem.message}" for problem in error.problems)
        raise UserError(f"nothing was written, this would be no valid configuration: {problems}") from error
    except OSError as error:
        hint = "name a file in a folder you may write to: fsagent init FILE"
        raise UserError(f"{path} cannot be written: {error.strerror}", hint=hint) from error
    finally:
        with suppress(OSError):  # in a folder that cannot be written to there is nothing to remove
            staged.unlink(missing_ok=True)
        with suppress(OSError):  # somebody else's file in one of them stays, and so does that folder
            for folder in () if is_written else reversed(made):
                folder.rmdir()
    return settings


def _make_folders_above(path: Path, made: list[Path]) -> None:
    """Make the folders that are missing above a path; each goes into `made` as soon as it is there."""
    missing = [folder for folder in path.parents if not os.path.lexists(folder)]
    for folder in reversed(missing):
        with suppress(FileExistsError):  # somebody else was faster: then it is not ours to take back
            folder.mkdir()
            made.append(folder)


def _stage(staged: Path, text: str) -> None:
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _publish(staged: Path, path: Path, *, force: bool) -> None:
    from agent.folders import system  # noqa: PLC0415 -- costs only who needs it

    if force:
        system.replace(staged, path)
        return
    try:
        system.publish_without_replacing(staged, path)
    except FileExistsError as error:
        raise _is_there(path) from error


def _is_there(path: Path) -> UserError:
    return UserError(f"{path} is there already", hint="name another file, or replace it: --force")


def _make_folders(settings: Settings) -> list[Path]:
    """Make inbox, output and the folder above state_dir where they are missing; return those that were."""
    folder = settings.watch_folders[0]
    made = []
    for path in (folder.inbox, folder.output, settings.state_dir.parent):
        if path is None or path.is_dir():
            continue
        try:
            path.mkdir(parents=True)
        except OSError as error:
            hint = "the configuration is written; make the folder yourself, or name another and say --force"
            raise UserError(f"{path} cannot be made: {error.strerror}", hint=hint) from error
        made.append(path)
    return made


def _tell_what_is_next(path: Path, service: ServiceType) -> None:
    from agent.config.locations import find_path  # noqa: PLC0415 -- as above
    from agent.config.sample import CREDENTIALS  # noqa: PLC0415

    is_usual = path == _absolute(find_path(None, os.environ))
    command = "fsagent" if is_usual else f'fsagent -c "{path}"'
    setting = "set" if os.name == "nt" else "export"
    click.echo("\nWhat is next (the file refers to what is set here):")
    for reference in CREDENTIALS[service].values():
        click.echo(f"  {setting} {reference.strip('${}')}=...")
    click.echo(f"  {command} check")
    click.echo(f"  {command} run")
