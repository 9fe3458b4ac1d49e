"""What concerns several keys at once or the machine: rules of the configuration that one value cannot break alone."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config.belonging import EXPORT_KEYS, FOLDER_KEYS, SERVICE_KEYS, services_of
from agent.config.document import dotted
from agent.config.fields import is_loopback
from agent.config.overlaps import Folder, Lineages, find_overlaps, spelled_lineage
from agent.config.problems import problem_at
from agent.config.resolving import absolute, is_foreign
from agent.model import ExportScope, ServiceType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.config import document
    from agent.config.reading import Reading
    from agent.config.schema import Configuration
    from agent.errors import ConfigurationProblem
    from agent.model import Settings

LARGEST_SECRET = 64 * 1024


@dataclass(slots=True)
class Findings:
    """Problems and warnings so far, and which values are known to be wrong."""

    reading: Reading
    problems: list[ConfigurationProblem] = field(default_factory=list)
    warnings: list[ConfigurationProblem] = field(default_factory=list)
    wrong: set[document.Path] = field(default_factory=set)

    def is_wrong(self, *paths: document.Path) -> bool:
        """Tell whether any of these values, or something around it, has a problem already."""
        return any(path[:length] in self.wrong for path in paths for length in range(len(path) + 1))

    def problem(self, path: document.Path, message: str, *depends: document.Path) -> None:
        """Note a problem unless it only follows from another one."""
        if not self.is_wrong(path, *depends):
            self.problems.append(problem_at(self.reading, path, message))

    def warn(self, path: document.Path, message: str) -> None:
        """Note a warning."""
        self.warnings.append(problem_at(self.reading, path, message))


def check(checked: Configuration, settings: Settings, findings: Findings, *, schema_only: bool) -> None:
    """Note every rule that keys break together; `schema_only` leaves this machine's files out."""
    _check_service(checked, findings)
    _check_support(checked, findings)
    _check_watch_folders(checked, settings, findings)
    _check_names(settings, findings)
    _check_project_scopes(settings, findings)
    if not schema_only:
        _check_paths(checked, findings)
    _check_overlaps(settings, findings, schema_only=schema_only)


def _check_service(checked: Configuration, findings: Findings) -> None:
    service = checked.service
    url = service.url or ""
    if url.startswith("http://") and not service.insecure_http and not is_loopback(url):
        findings.problem(
            ("service", "url"),
            "http:// shows the secret to the network: use https://, or allow it with insecure_http: true",
            ("service", "insecure_http"),
        )
    kind = ServiceType(service.type)
    required = {
        ServiceType.ALUMA: ("client_id",),
        ServiceType.SENDAI: ("team_id",) if "{team_id}" in service.path_prefix else (),
        ServiceType.TYPLESS: (),
    }
    for name in required[kind]:
        if getattr(service, name) is None:
            findings.problem(("service", name), "is missing; it is required")
    name = secret_key(checked)
    secret, file = ("service", name), ("service", f"{name}_file")
    given = [getattr(service, key) is not None for key in (name, f"{name}_file")]
    if all(given):
        findings.problem(file, f"give {name} or {name}_file, not both", secret)
    if not any(given):
        findings.problem(secret, f"is missing; it is required, here or by {name}_file", file)
    _check_belonging(("service",), SERVICE_KEYS, kind, findings)


def secret_key(checked: Configuration) -> str:
    """Return the key of `service:` that holds the secret of its type."""
    return "client_secret" if ServiceType(checked.service.type) is ServiceType.ALUMA else "api_key"


def _check_belonging(
    here: document.Path, table: Mapping[str, frozenset[ServiceType]], service: ServiceType, findings: Findings
) -> None:
    """Note every key the file has that means nothing to its service: it would be ignored."""
    for name, types in table.items():
        path = (*here, name)
        if service not in types and path in findings.reading.places:
            findings.problem(
                path, f"belongs to {services_of(types)}; this service is {service.value}", ("service", "type")
            )


def _check_support(checked: Configuration, findings: Findings) -> None:
    if checked.ledger != "sqlite":
        findings.problem(("ledger",), "a PostgreSQL ledger is not yet supported; use sqlite")
    listen, secret = ("web", "listen"), ("service", "webhook_secret")
    if checked.web.listen is not None and checked.service.webhook_secret is None:
        findings.problem(
            listen,
            "only webhooks are served there (service.webhook_secret); a status page is not yet supported: write null",
            secret,
        )
    if checked.web.token_file is not None:
        findings.problem(
            ("web", "token_file"),
            "webhooks need no token, and a status page is not yet supported: write null",
        )
    if checked.service.webhook_secret is not None and checked.web.listen is None:
        findings.problem(
            secret, "webhooks need an address to arrive at: give web.listen, such as 127.0.0.1:8765", listen
        )


def _check_watch_folders(checked: Configuration, settings: Settings, findings: Findings) -> None:
    if not checked.watch_folders:
        findings.problem(("watch_folders",), "expected at least one watch folder, found an empty list")
    for index, (section, folder) in enumerate(zip(checked.watch_folders, settings.watch_folders, strict=True)):
        here = ("watch_folders", index)
        inbox, output = (*here, "inbox"), (*here, "output")
        service = settings.service.type
        for where, table in ((here, FOLDER_KEYS), ((*here, "export"), EXPORT_KEYS)):
            _check_belonging(where, table, service, findings)
        required = "document_type_name" if service is ServiceType.TYPLESS else "project_id"
        if getattr(section, required) is None:
            findings.problem((*here, required), "is missing; it is required", ("service", "type"))
        if folder.inbox is None and service is not ServiceType.ALUMA and folder.output is not None:
            message = f"is missing; with `type: {service.value}` only what was sent from here can be exported"
            findings.problem(inbox, message, ("service", "type"))
        if folder.inbox is None and folder.output is None:
            findings.problem(here, "needs an inbox, an output, or both", inbox, output)
        export = section.export
        for key, text, home, at_home in (
            ((*here, "archive"), section.archive, folder.inbox, inbox),
            ((*here, "error"), section.error, folder.inbox, inbox),
            ((*here, "export", "archive"), export.archive, folder.output, output),
            ((*here, "export", "error"), export.error, folder.output, output),
        ):
            # What begins with a separator is no relative path, though without a drive Windows calls it one.
            if home is None or text is None or text.startswith(("/", "\\")) or Path(text).is_absolute():
                continue
            path = absolute(home, text)
            if path != home and home not in path.parents:
                findings.problem(key, f"expected a folder below the {at_home[-1]}, or an absolute path", at_home)


def _check_names(settings: Settings, findings: Findings) -> None:
    taken: dict[str, document.Path] = {}
    for index, folder in enumerate(settings.watch_folders):
        here = ("watch_folders", index)
        at = (*here, "name") if (*here, "name") in findings.reading.places else here
        if findings.is_wrong((*here, "name"), (*here, "inbox"), (*here, "output")) or not (
            folder.inbox or folder.output
        ):
            continue
        if not folder.name:
            findings.problem(at, "needs a name: its folder has none")
        elif folder.name in taken:
            other = dotted(taken[folder.name])
            findings.problem(at, f"the name '{folder.name}' is taken by {other}; give one of them another `name`")
        else:
            taken[folder.name] = here
    for index, folder in enumerate(settings.watch_folders):
        for position, name in enumerate(folder.formerly):
            here = ("watch_folders", index)
            if name in taken:
                message = f"'{name}' is the name of {dotted(taken[name])}, or was of it"
                findings.problem((*here, "formerly", position), message, (*here, "formerly"))
            taken.setdefault(name, here)


def _check_project_scopes(settings: Settings, findings: Findings) -> None:
    seen: dict[str, document.Path] = {}
    for index, folder in enumerate(settings.watch_folders):
        here = ("watch_folders", index)
        if folder.output is None or folder.export.scope is not ExportScope.PROJECT:
            continue
        at = (*here, "export", "scope")
        project, inbox = (*here, "project_id"), (*here, "inbox")
        if findings.is_wrong(at, project, inbox):
            continue
        if folder.project_id in seen:
            other = dotted(seen[folder.project_id])
            message = f"{other} exports every task of this project already; one of them may have scope: project"
            findings.problem(at, message)
        seen.setdefault(folder.project_id, here)


def _paths(checked: Configuration) -> Iterator[tuple[document.Path, str | None]]:
    yield ("state_dir",), checked.state_dir
    yield ("logging", "file"), checked.logging.file
    yield ("service", "ca_file"), checked.service.ca_file
    yield ("service", "client_secret_file"), checked.service.client_secret_file
    yield ("service", "api_key_file"), checked.service.api_key_file
    for index, section in enumerate(checked.watch_folders):
        for name in ("inbox", "output", "archive", "error"):
            yield ("watch_folders", index, name), getattr(section, name)
        for name in ("archive", "error"):
            yield ("watch_folders", index, "export", name), getattr(section.export, name)


def _check_paths(checked: Configuration, findings: Findings) -> None:
    for path, text in _paths(checked):
        if text is not None and is_foreign(text):
            findings.problem(path, "expected a path of this system, found one of Windows")
            findings.wrong.add(path)


def _check_overlaps(settings: Settings, findings: Findings, *, schema_only: bool) -> None:
    folders = [folder for folder in _folders(settings) if not findings.is_wrong(folder.at, folder.home or folder.at)]
    lineage = spelled_lineage if schema_only else Lineages().lineage
    for overlap in find_overlaps(folders, lineage):
        inner, outer = overlap.inner, overlap.outer
        relation = "is the same folder as" if overlap.same else "lies in"
        name = dotted(outer.at)
        findings.problem(inner.at, f"{inner.path} {relation} {name} ({outer.path}); they must be apart")


def _folders(settings: Settings) -> Iterator[Folder]:
    yield Folder(("state_dir",), settings.state_dir)
    if settings.logging.file is not None:
        yield Folder(("logging", "file"), settings.logging.file.parent)
    for index, folder in enumerate(settings.watch_folders):
        here = ("watch_folders", index)
        export = (*here, "export")
        inbox, output = (*here, "inbox"), (*here, "output")
        for at, path, home in (
            (inbox, folder.inbox, None),
            ((*here, "archive"), folder.archive, inbox),
            ((*here, "error"), folder.error, inbox),
            (output, folder.output, None),
            ((*export, "archive"), folder.export.archive, output),
            ((*export, "error"), folder.export.error, output),
        ):
            if path is not None:
                yield Folder(at, path, home)


def open_at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody who writes, as a FIFO would: an `opener`."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_secret(path: Path, findings: Findings, key: document.Path) -> str:
    """Return the secret of a file without the line's end; note what is wrong with it and who else may read it."""
    try:
        with open(path, "rb", opener=open_at_once) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(LARGEST_SECRET + 1) if stat.S_ISREG(mode) else b""
        secret = content.decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        findings.problem(key, f"{path} cannot be read: {error.strerror or type(error).__name__}")
        return ""
    except UnicodeDecodeError:
        findings.problem(key, f"{path} is not UTF-8 text")
        return ""
    if not secret.strip() or "\n" in secret or len(content) > LARGEST_SECRET:
        findings.problem(key, f"expected one line with the secret in {path}")
    warn_if_others_read(mode, path, findings, key)
    return secret


def warn_if_others_read(mode: int, path: Path, findings: Findings, key: document.Path) -> None:
    """Warn where any user of this machine may read or change a file with a secret in it."""
    # On Windows the mode says nothing about who may read.
    if os.name != "nt" and mode & (stat.S_IROTH | stat.S_IWOTH):
        findings.warn(key, f"every user of this machine can read the secret in {path}; chmod o= takes that right away")


def check_certificates(path: Path, findings: Findings) -> None:
    """Note a problem where the file with certificates cannot be read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        findings.problem(("service", "ca_file"), f"{path} cannot be read: {error.strerror or type(error).__name__}")
