"""The checks of `fsagent check`: what would keep an agent with this configuration from working, and what to do.

Looks, and makes, renames and deletes hidden files of its own; disturbs no running agent and takes no lock. Shows
nothing: every check is a Finding.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from agent.errors import AgentError, CredentialsRefused, ServiceTrouble, SetupRefused, UserError
from agent.folders import system
from agent.folders.roots import DAMAGED, MARKER, read_marker
from agent.folders.trouble import said
from agent.ledger.network import network_file_system as network_of_ledger
from agent.rules.naming import for_display
from agent.rules.sizes import readable
from agent.runtime import probing
from agent.runtime.control import STATUS_NOTE
from agent.runtime.lanes import WEB_LANE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.model import Settings, WatchFolder
    from agent.ports import Clock, Ledger, Service


class Level(StrEnum):
    """What a finding means: all is well, works but unwise or unproven, will not work."""

    GOOD = "good"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`; `subject` says what was looked at."""

    level: Level
    subject: str
    message: str
    hint: str = ""


def _good(subject: str, message: str) -> Finding:
    return Finding(Level.GOOD, subject, message)


def _warning(subject: str, message: str, hint: str = "") -> Finding:
    return Finding(Level.WARNING, subject, message, hint)


def _problem(subject: str, message: str, hint: str = "") -> Finding:
    return Finding(Level.PROBLEM, subject, message, hint)


# --- folders ---------------------------------------------------------------------------------------------------------

UNREAD = ""
"""Instead of the id of a ledger that cannot be opened: whose its folders are is not known then."""


def check_folders(settings: Settings, *, clock: Clock, ledger_id: str | None) -> Iterator[Finding]:
    """Check every root and what lies in it.

    `ledger_id`: of the ledger in the state_dir, None where there is none, UNREAD where one cannot be opened.
    """
    for folder in settings.watch_folders:
        if folder.inbox is not None:
            yield from _check_inbox(folder, folder.inbox, clock=clock, ledger_id=ledger_id, min_free=settings.min_free)
        if folder.output is not None:
            yield from _check_output(folder, folder.output, ledger_id=ledger_id, min_free=settings.min_free)


def _check_inbox(
    folder: WatchFolder, inbox: Path, *, clock: Clock, ledger_id: str | None, min_free: int
) -> Iterator[Finding]:
    subject = f"{folder.name}: inbox {_shown(inbox)}"
    events = probing.Events(inbox, folder.observer, clock=clock)
    try:
        yield (finding := _check_root(subject, inbox, saw_probe=events.expect))
        if finding.level is Level.PROBLEM:
            return
        yield from _check_stickiness(subject, inbox)
        yield from _check_owner(subject, inbox, ledger_id, folder.name)
        yield from _check_mapped_drive(subject, inbox)
        kind, why = events.wait()
    finally:
        events.close()
    if kind == "native":
        yield _good(subject, "native events")
    elif folder.observer == "native":
        hint = "set observer: auto, or look why the system gives no events"
        yield _warning(subject, f"observer is native, but there are no events: {why}", hint)
    else:
        yield _good(subject, f"polling every {folder.poll_interval:g} s" + (f" ({why})" if why else ""))
    for name, place in (("archive", folder.archive), ("error", folder.error)):
        if place is not None:
            subject = f"{folder.name}: {name} {_shown(place)}"
            yield from _check_place(subject, place, inbox, min_free=min_free)
            if probing.is_folder(place):
                yield from _check_stickiness(subject, place)


def _check_output(folder: WatchFolder, output: Path, *, ledger_id: str | None, min_free: int) -> Iterator[Finding]:
    subject = f"{folder.name}: output {_shown(output)}"
    yield (finding := _check_root(subject, output))
    if finding.level is Level.PROBLEM:
        return
    yield from _check_owner(subject, output, ledger_id, folder.name)
    yield from _check_mapped_drive(subject, output)
    yield _check_space(subject, output, min_free)
    for name, place in (("export.archive", folder.export.archive), ("export.error", folder.export.error)):
        if place is not None:
            yield from _check_place(f"{folder.name}: {name} {_shown(place)}", place, output, min_free=min_free)


def _check_root(subject: str, root: Path, saw_probe: probing.Watch | None = None) -> Finding:
    """Check that a folder is there and that files can be made, renamed and deleted in it."""
    trouble = probing.try_writing(root, watch=saw_probe)
    if trouble is not None:
        return _problem(subject, *trouble)
    return _good(subject, "create, rename and delete work")


def _check_stickiness(subject: str, place: Path) -> Iterator[Finding]:
    """Warn of a folder where the agent's own files can be moved, which is all that was tried, and no others."""
    if system.keeps_files_of_others(place):
        yield _warning(
            subject,
            "files of others cannot be moved out of it: it is sticky, and another account's",
            "take the sticky bit away (chmod -t), or give the folder to the agent's account (chown)",
        )


def _check_owner(subject: str, root: Path, ledger_id: str | None, name: str) -> Iterator[Finding]:
    """Check the root marker; nothing to say where there is none or it is ours."""
    try:
        marker = read_marker(root)
    except OSError as error:
        yield _problem(subject, f"its marker {MARKER} cannot be read: {said(error)}", f"look at the rights of {MARKER}")
        return
    if marker is None or marker == ledger_id or (ledger_id == UNREAD and marker != DAMAGED):
        return
    if ledger_id is None:
        yield _problem(
            subject,
            "belongs to a ledger, and there is none in the state_dir",
            "restore the ledger; or, to start anew: fsagent adopt --all (nothing in archive/ is sent)",
        )
        return
    yield _problem(
        subject,
        f"its {MARKER} is no marker of fsagent"
        if marker == DAMAGED
        else f"belongs to another agent: its marker {MARKER} names another ledger",
        f"give each agent folders of its own; where no other agent works on it any more: fsagent adopt {name}",
    )


def _check_mapped_drive(subject: str, root: Path) -> Iterator[Finding]:
    drive = probing.mapped_drive(root)
    if drive:
        yield _warning(
            subject,
            f"{drive} is a network drive of this logon: a service does not see it",
            "write the share's own name: \\\\server\\share\\folder",
        )


def _check_place(subject: str, place: Path, root: Path, *, min_free: int) -> Iterator[Finding]:
    """Check a folder that `run` makes: archive or error, below its root or elsewhere."""
    if probing.is_folder(place):
        if trouble := probing.try_writing(place):
            yield _problem(subject, *trouble)
            return
    elif os.path.lexists(place):
        yield _problem(subject, "is no folder", "move away what has its name")
        return
    elif not place.is_relative_to(root):
        if not probing.is_folder(place.parent):
            yield _problem(subject, "neither it nor its parent folder is there", "make its parent folder")
            return
        if trouble := probing.try_writing(place.parent):
            yield _problem(subject, f"cannot be made: {trouble[0]}", trouble[1])
            return
    if not system.same_device(place, root):
        yield _check_space(subject, probing.nearest_folder(place), min_free)
        yield _warning(
            subject,
            f"is on another device than {_shown(root)}: files are copied, then deleted",
            "a folder on the same device is quicker and needs no space of its own",
        )
        return
    yield _good(subject, "is there" if probing.is_folder(place) else "is made when the agent starts")


def _check_space(subject: str, folder: Path, min_free: int) -> Finding:
    try:
        free = system.free_space(folder)
    except AgentError as error:
        return _problem(subject, error.message, error.hint)
    if free < min_free:
        return _problem(
            subject,
            f"{readable(free)} are free, min_free asks for {readable(min_free)}",
            "make room, or lower min_free; the agent waits until there is",
        )
    return _good(subject, f"{readable(free)} are free")


# --- the agent's own folders -----------------------------------------------------------------------------------------


def check_own_folders(settings: Settings) -> Iterator[Finding]:
    """Check state_dir and log folder."""
    state_dir = settings.state_dir
    subject = f"state_dir {_shown(state_dir)}"
    is_there = probing.is_folder(state_dir)
    if not is_there and os.path.lexists(state_dir):
        yield _problem(subject, "is no folder", "move away what has its name, or set state_dir")
        return
    if not is_there and not probing.is_folder(state_dir.parent):
        yield _problem(subject, "neither it nor its parent folder is there", "make its parent folder, or set state_dir")
        return
    if trouble := probing.try_writing(state_dir if is_there else state_dir.parent):
        yield _problem(subject, *trouble)
        return
    network = network_of_ledger(state_dir if is_there else state_dir.parent)
    if network:
        yield _problem(
            subject, f"lies on {network}, where a ledger breaks", "set state_dir to a folder on a local disk"
        )
        return
    yield _good(subject, "local and writable" if is_there else "is made when the agent starts")
    yield _check_space(subject, state_dir if is_there else state_dir.parent, settings.min_free)
    log = settings.logging.file
    if log is not None:
        folder = probing.nearest_folder(log.parent)
        subject = f"logging.file {_shown(log)}"
        trouble = probing.try_writing(folder)
        yield _problem(subject, *trouble) if trouble else _good(subject, "its folder can be written")


def ledger_problem(error: AgentError) -> Finding:
    """Return the finding of a ledger that cannot be opened."""
    return _problem("ledger", error.message, error.hint)


# --- the service -----------------------------------------------------------------------------------------------------


def check_service(settings: Settings, service: Service) -> Iterator[Finding]:
    """Check types and credentials, and that every project_id is one of the service's."""
    yield from _check_types(settings, service)
    subject = f"service {settings.service.url}"
    try:
        service.check_credentials()
    except CredentialsRefused as refused:
        yield _problem(subject, refused.message, refused.hint)
        return
    except ServiceTrouble as trouble:
        yield _problem(subject, trouble.message, trouble.hint or "the agent waits and goes on by itself")
        return
    yield _good(subject, "takes the credentials")
    yield from _check_projects(settings, service)


def _check_types(settings: Settings, service: Service) -> Iterator[Finding]:
    """Warn of watch folders that accept what the service is not known to take."""
    known = service.abilities.accepted_types
    if known is None:
        return
    for folder in settings.watch_folders:
        beyond = [kind.value for kind in folder.accept if kind not in known]
        if folder.inbox is not None and beyond:
            message = f"{', '.join(beyond)}: the service is known to take {', '.join(sorted(known))} only"
            hint = "they are sent all the same; what the service refuses goes to error/"
            yield _warning(f"{folder.name}: accept", message, hint)


def _check_projects(settings: Settings, service: Service) -> Iterator[Finding]:
    try:
        known = {project.id: project.name for project in service.projects()}
    except UserError as impossible:
        hint = f"{impossible.hint}; a wrong one shows with the first file"
        yield _warning("projects", f"cannot be looked up: {impossible.message}", hint)
        return
    except SetupRefused as refused:
        message = f"the service does not list its projects ({refused.message})"
        yield _warning("projects", message, "look project_id up in the service; a wrong one shows with the first file")
        return
    except ServiceTrouble as trouble:
        yield _problem("projects", trouble.message, trouble.hint)
        return
    for folder in settings.watch_folders:
        subject = f"{folder.name}: project {for_display(folder.project_id)}"
        if folder.project_id in known:
            yield _good(subject, for_display(known[folder.project_id]) or "known to the service")
        else:
            yield _problem(subject, "the service has no such project", "type: fsagent projects list")


# --- webhooks --------------------------------------------------------------------------------------------------------

_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 -- recognised, not listened on


def webhook_url(settings: Settings) -> str | None:
    """Return the address at which webhooks of the service arrive, secret and all; None where none do."""
    web, secret = settings.web, settings.service.webhook_secret
    if not secret or web.port is None:
        return None
    host = socket.gethostname() if web.host in _EVERYWHERE else web.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{web.port}/webhooks/{settings.service.type.value}/{secret}"


def listens(ledger: Ledger) -> bool:
    """Return whether the running agent, by its own note, has the address of `web.listen`."""
    note = ledger.note(STATUS_NOTE) or {}
    return not any(lane["lane"] == WEB_LANE for lane in note.get("lanes", ()))


def check_webhooks(settings: Settings, *, is_ours: bool) -> Iterator[Finding]:
    """Show where webhooks arrive, and check that the port is free or `is_ours`: of the running agent."""
    url, web = webhook_url(settings), settings.web
    if url is None or web.port is None:
        return
    hint = "enter it at the service; where a proxy leads to it from outside, with the proxy's address in front"
    yield Finding(Level.GOOD, "webhook", url, hint)
    subject = f"web.listen {web.host}:{web.port}"
    trouble = probing.try_listening(web.host, web.port)
    if not trouble:
        yield _good(subject, "is free")
    elif is_ours:
        yield _good(subject, "the running agent listens")
    else:
        hint = "end the program that uses it, or set another; until then no webhook arrives, and results are polled for"
        yield _problem(subject, trouble, hint)


def _shown(path: Path) -> str:
    return for_display(str(path))
