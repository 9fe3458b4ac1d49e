"""`fsagent sandbox`: the embedded service in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.durations import seconds

if TYPE_CHECKING:
    from agent.sandbox.server import SandboxServer


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8766, show_default=True, help="0: a free one.")
@click.option(
    "--delay",
    metavar="DURATION",
    callback=seconds,
    default="500ms",
    show_default=True,
    help="Processing time of a task.",
)
@click.option(
    "--lease", metavar="DURATION", callback=seconds, default="30m", show_default=True, help="Time for a started export."
)
@click.option(
    "--retention",
    metavar="DURATION",
    callback=seconds,
    default="72h",
    show_default=True,
    help="How long ended tasks are listed.",
)
@click.option("--control", is_flag=True, help="Serve /control/…: anybody may script faults. For tests only.")
def sandbox(*, port: int, delay: float, lease: float, retention: float, control: bool) -> None:
    """Run the embedded service: it behaves like the Tasks API, reads what it is sent and offers an export of it.

    Point a new configuration at it before going live: service.url, client_id and client_secret as it prints them.
    """
    from agent.sandbox.server import serve_forever  # noqa: PLC0415 -- starlette and uvicorn cost only who serves
    from agent.sandbox.settings import SandboxSettings  # noqa: PLC0415

    settings = SandboxSettings(
        queue_delay=delay / 2, processing_delay=delay / 2, lease=lease, retention=retention, control=control
    )

    def announce(server: SandboxServer) -> None:
        click.echo(f"url: {server.url}")
        click.echo(f"client_id: {settings.client_id}")
        click.echo(f"client_secret: {settings.client_secret}")
        for project in settings.projects:
            click.echo(f"project_id: {project.id}  # {project.name}")
        click.echo("Ctrl-C stops it; what it holds is gone then.")

    serve_forever(settings, host="127.0.0.1", port=port, ready=announce)
