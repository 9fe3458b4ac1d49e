"""`fsagent sandbox`: the embedded service in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agent.cli.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.sandbox.kinds import AnySettings

ALUMA, SENDAI, TYPLESS = KINDS = ("aluma", "sendai", "typless")
_ONLY = {
    "lease": ALUMA,
    "retention": ALUMA,
    "review": SENDAI,
    "webhook_url": TYPLESS,
}
"""Which service an option is for, where it is not for all."""


def _optional_seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    return None if value is None else seconds(ctx, param, value)


@click.command()
@click.option(
    "--type", "kind", type=click.Choice(KINDS), default=ALUMA, show_default=True, help="Which service it plays."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8766, show_default=True, help="0: a free one.")
@click.option(
    "--delay",
    metavar="DURATION",
    callback=seconds,
    default="500ms",
    show_default=True,
    help="Processing time of a document.",
)
@click.option("--lease", metavar="DURATION", callback=_optional_seconds, help="aluma: time for a started export (30m).")
@click.option(
    "--retention", metavar="DURATION", callback=_optional_seconds, help="aluma: how long ended tasks are listed (72h)."
)
@click.option(
    "--review", metavar="PATTERN", multiple=True, help="sendai: files people have to look at, as in '*scan*'."
)
@click.option("--webhook-url", metavar="URL", help="typless: where the end of an extraction is told.")
@click.option("--control", is_flag=True, help="Serve /control/…: anybody may script faults. For tests only.")
def sandbox(*, kind: str, port: int, delay: float, control: bool, **special: Any) -> None:
    """Run the embedded service: it behaves like the one of its type and reads what it is sent.

    Point a new configuration at it before going live: the section `service` with what it prints.
    """
    from agent.sandbox.server import serve_forever  # noqa: PLC0415 -- starlette and uvicorn cost only who serves

    given = {name: value for name, value in special.items() if value not in (None, ())}
    for name in given:
        if _ONLY[name] != kind:
            raise click.UsageError(f"--{name.replace('_', '-')} is for --type {_ONLY[name]} only.")
    settings = _settings(kind, delay=delay, control=control, **given)

    def announce(url: str) -> None:
        for line in _lines(settings, url):
            click.echo(line)
        click.echo("Ctrl-C stops it; what it holds is gone then.")

    serve_forever(settings, host="127.0.0.1", port=port, ready=lambda server: announce(server.url))


def _settings(kind: str, *, delay: float, control: bool, **given: Any) -> AnySettings:
    from agent.sandbox.aluma.settings import AlumaSettings  # noqa: PLC0415
    from agent.sandbox.sendai.settings import Fate, SendaiSettings, TaskStatus  # noqa: PLC0415 -- as above
    from agent.sandbox.typless.settings import TyplessSettings  # noqa: PLC0415

    if kind == SENDAI:
        fates = tuple(Fate(pattern, TaskStatus.REVIEWING) for pattern in given.get("review", ()))
        return SendaiSettings(processing_delay=delay, fates=fates, control=control)
    if kind == TYPLESS:
        return TyplessSettings(extraction_delay=delay, control=control, **given)
    return AlumaSettings(queue_delay=delay / 2, processing_delay=delay / 2, control=control, **given)


def _lines(settings: AnySettings, url: str) -> Sequence[str]:
    """Return what a configuration needs to know, key by key."""
    from agent.sandbox.aluma.settings import AlumaSettings  # noqa: PLC0415
    from agent.sandbox.sendai.settings import SendaiSettings  # noqa: PLC0415 -- as above

    if isinstance(settings, AlumaSettings):
        return [
            f"url: {url}",
            f"client_id: {settings.client_id}",
            f"client_secret: {settings.client_secret}",
            *(f"project_id: {project.id}  # {project.name}" for project in settings.projects),
        ]
    if isinstance(settings, SendaiSettings):
        return [
            f"type: {SENDAI}",
            f"url: {url}",
            f"path_prefix: {settings.path_prefix}",
            f"team_id: {settings.team_id}",
            f"api_key: {settings.api_key}",
            *(f"project_id: {project}" for project in settings.projects),
        ]
    return [
        f"type: {TYPLESS}",
        f"url: {url}/api",
        f"api_key: {settings.api_key}",
        *(f"document_type_name: {name}" for name in settings.document_types),
    ]
