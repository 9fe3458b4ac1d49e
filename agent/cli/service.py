"""`fsagent service`: the agent as a service of the operating system; its commands are listed before they work."""

from __future__ import annotations

import os

import click

from agent.cli.failures import EXIT_FAILED

INSTEAD = (
    "let the Task Scheduler run `fsagent run` at start-up, as an account that may use the folders"
    if os.name == "nt"
    else "let a systemd unit of your own run `fsagent run` (Type=exec, Restart=on-failure, User=…)"
)


@click.group()
def service() -> None:
    """Install and control the agent as a system service: a systemd unit or a Windows service."""


@service.command()
def install() -> int:
    """Install the service, to be started with the machine."""
    return _not_yet("install")


@service.command(short_help="Stop and remove the service.")
def uninstall() -> int:
    """Stop and remove the service; configuration, ledger and folders stay."""
    return _not_yet("uninstall")


@service.command()
def start() -> int:
    """Start the service."""
    return _not_yet("start")


@service.command()
def stop() -> int:
    """Stop the service in an orderly way."""
    return _not_yet("stop")


@service.command()
def status() -> int:
    """Show whether the service is installed and runs."""
    return _not_yet("status")


def _not_yet(command: str) -> int:
    click.echo(f"fsagent: `service {command}` is not yet supported", err=True)
    click.echo(f"  what to do: {INSTEAD}", err=True)
    return EXIT_FAILED
