"""`fsagent demo`: the main job from drop to export, with nothing configured and nothing left running."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.failures import EXIT_DONE, EXIT_FAILED
from agent.cli.rendering import marks_for
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Settings
    from agent.sandbox.kinds import AnySettings

PATIENCE = 18.0
"""Seconds the whole of it may take."""

# where it is dropped → which sample
DROPS = {
    "invoice.pdf": "invoice.pdf",
    "delivery-note.tiff": "delivery-note.tiff",
    "branch office/letter.pdf": "letter.pdf",
    "broken.pdf": "broken.pdf",
}


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--service",
    "kind",
    type=click.Choice(("aluma", "sendai", "typless")),
    default="aluma",
    show_default=True,
    help="Which service is played.",
)
def demo(directory: Path | None, *, kind: str) -> int:
    """Show the main job with nothing configured: sandbox, agent, sample PDF and TIFF files, exported files.

    Everything stays in DIR (else a new folder `fsagent-demo` here) to look at.
    """
    from agent.app import running_agent  # noqa: PLC0415 -- `fsagent --help` must not pay for it
    from agent.cli.logs import set_up_logging  # noqa: PLC0415
    from agent.config.loading import load  # noqa: PLC0415
    from agent.sandbox.server import SandboxServer  # noqa: PLC0415

    folder = _make_folder(directory)
    with SandboxServer(_sandbox_settings(kind)) as server:
        config = _write_config(folder, server.sandbox.settings, server.url)
        settings = load(config, environment=os.environ).settings
        secrets = [settings.service.client_secret or settings.service.api_key]
        set_up_logging(settings.logging, secrets=secrets, to_console=False)
        click.echo(f"The sandbox, a service for trying things out, answers at {server.url}.")
        click.echo(f"An agent watches {folder / 'inbox'}; four files are dropped there, one of them broken.")
        with running_agent(settings) as (agent, parts):
            _drop_samples(folder / "inbox")
            deadline = parts.clock.monotonic() + PATIENCE
            never = threading.Event()
            while parts.clock.monotonic() < deadline and not (_all_seen(settings) and agent.is_idle()):
                parts.clock.wait(never, 0.1)
    done = _tell(folder, settings)
    _how_to_go_on(folder, server.port, kind)
    return EXIT_DONE if done else EXIT_FAILED


def _make_folder(directory: Path | None) -> Path:
    """Return an empty folder of its own. Raises UserError for one that holds something."""
    if directory is None:
        here = Path.cwd()
        names = ["fsagent-demo", *(f"fsagent-demo-{number}" for number in range(2, 1000))]
        directory = next(here / name for name in names if not (here / name).exists())
    directory = directory.absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        why = "not empty" if directory.is_dir() else "no folder"
        raise UserError(f"{directory} is there already and {why}", hint="name another folder: fsagent demo DIR")
    try:
        for name in ("inbox", "output"):
            (directory / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{directory} cannot be made: {error.strerror}", hint="name another folder: fsagent demo DIR"
        ) from error
    return directory


def _sandbox_settings(kind: str) -> AnySettings:
    """Return the settings of a sandbox of that kind, quick enough to look on."""
    from agent.sandbox.aluma.settings import AlumaSettings  # noqa: PLC0415
    from agent.sandbox.sendai.settings import SendaiSettings  # noqa: PLC0415 -- as above
    from agent.sandbox.typless.settings import TyplessSettings  # noqa: PLC0415

    if kind == "sendai":
        return SendaiSettings()
    return TyplessSettings() if kind == "typless" else AlumaSettings()


def _write_config(folder: Path, sandbox: AnySettings, url: str) -> Path:
    from agent.config.sample import DEMO, sample_text  # noqa: PLC0415 -- as above
    from agent.model import ServiceType  # noqa: PLC0415
    from agent.sandbox.aluma.settings import AlumaSettings  # noqa: PLC0415
    from agent.sandbox.sendai.settings import SendaiSettings  # noqa: PLC0415

    overrides = {**DEMO, "logging.file": "logs/fsagent.log"}
    if isinstance(sandbox, AlumaSettings):
        service, project_id = ServiceType.ALUMA, sandbox.projects[0].id
        credentials = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    elif isinstance(sandbox, SendaiSettings):
        service, project_id = ServiceType.SENDAI, sandbox.projects[0]
        credentials = {"api_key": sandbox.api_key}
        overrides |= {"service.team_id": sandbox.team_id, "service.path_prefix": sandbox.path_prefix}
    else:
        service, project_id = ServiceType.TYPLESS, sandbox.document_types[0]
        credentials = {"api_key": sandbox.api_key}
        url = f"{url}/api"
    text = sample_text(
        service_url=url,
        project_id=project_id,
        inbox="inbox",
        output="output",
        state_dir="state",
        name="demo",
        service=service,
        credentials=credentials,
        overrides=overrides,
    )
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    if os.name == "posix":
        path.chmod(0o600)
    return path


def _drop_samples(inbox: Path) -> None:
    from agent.sandbox.samples import read_sample  # noqa: PLC0415 -- as above

    for relative_path, sample in DROPS.items():
        target = inbox.joinpath(*relative_path.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read_sample(sample))


def _all_seen(settings: Settings) -> bool:
    """Return whether nothing but folders of ours is left in the inbox."""
    inbox = settings.watch_folders[0].inbox
    assert inbox is not None
    return not any(inbox.joinpath(*name.split("/")).exists() for name in DROPS)


def _tell(folder: Path, settings: Settings) -> bool:
    """Print what happened to each file; return whether all went as it should."""
    watch_folder = settings.watch_folders[0]
    assert watch_folder.archive is not None
    assert watch_folder.error is not None
    assert watch_folder.output is not None
    click.echo()
    marks = marks_for()
    good = True
    for relative_path in DROPS:
        parts = relative_path.split("/")
        exported = list(watch_folder.output.joinpath(*parts[:-1]).glob(f"{Path(parts[-1]).stem}.*"))
        note = watch_folder.error.joinpath(*parts[:-1], f"{parts[-1]}.error.txt")
        if watch_folder.archive.joinpath(*parts).exists() and exported:
            click.echo(f"  {marks.good} {relative_path}: sent, archived, {len(exported)} files exported")
        elif note.exists():
            reason = note.read_text(encoding="utf-8").splitlines()[0].removeprefix("reason: ")
            click.echo(f"  {marks.bad} {relative_path}: in error/: {reason}")
            good = good and relative_path == "broken.pdf"
        else:
            click.echo(f"  ? {relative_path}: not done in time; the log says more: {settings.logging.file}")
            good = False
    click.echo()
    for name in ("inbox", "output"):
        click.echo(f"{folder / name}")
        for line in _tree(folder / name, "  "):
            click.echo(line)
    note = watch_folder.error / "broken.pdf.error.txt"
    if note.exists():
        click.echo(f"\nThe note beside broken.pdf ({note.name}):")
        for line in note.read_text(encoding="utf-8").splitlines():
            click.echo(f"  {line}")
    return good


def _tree(folder: Path, indent: str) -> Iterator[str]:
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.name.startswith(".fsagent"):
            continue
        yield f"{indent}{path.name}{'/' if path.is_dir() else ''}"
        if path.is_dir():
            yield from _tree(path, indent + "  ")


def _how_to_go_on(folder: Path, port: int, kind: str) -> None:
    program = _program()
    config = folder / "config.yaml"
    click.echo("\nTo go on:")
    played = "" if kind == "aluma" else f" --type {kind}"
    click.echo(f"  {program} sandbox{played} --port {port}    # in one terminal: the service")
    click.echo(f'  {program} -c "{config}" run    # in another: the agent; then drop files into the inbox')
    click.echo(f'  {program} -c "{config}" status')
    click.echo(f"  {program} init    # a configuration of your own")


def _program() -> str:
    """Return what to type for this very program: its name where the shell finds it, else its path."""
    called = Path(sys.argv[0])
    found = shutil.which("fsagent")
    if found is not None and Path(found) == called.absolute():
        return "fsagent"
    return f'"{called}"' if called.stem == "fsagent" else f'"{sys.executable}" -m agent'
