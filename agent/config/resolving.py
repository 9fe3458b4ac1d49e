"""The checked configuration to the records the agent works with: absolute paths, platform defaults."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config.belonging import URLS
from agent.config.locations import default_state_dir
from agent.model import (
    ExportScope,
    ExportSettings,
    LoggingSettings,
    RetrySettings,
    ServiceSettings,
    ServiceType,
    Settings,
    WatchFolder,
    WebSettings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.config.schema import Configuration, ExportSection, Section, WatchFolderSection

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def absolute(base: Path, text: str) -> Path:
    """Return a path, relative ones below `base`, without `.` and `..`; links are not followed."""
    # abspath, not resolve: a link an administrator set up on purpose stays the path people know.
    return Path(os.path.abspath(base / text))  # noqa: PTH100 -- Path.absolute keeps `..`


def is_foreign(text: str) -> bool:
    """Tell whether a path is written for Windows while this is another system."""
    return os.name != "nt" and _WINDOWS_PATH.match(text) is not None


def resolve(checked: Configuration, *, source: Path, secret: str, environment: Mapping[str, str]) -> Settings:
    """Return the settings; `source` is the absolute path of the file, `secret` what the service knows."""
    base = source.parent
    service = checked.service
    kind = ServiceType(service.type)
    is_aluma = kind is ServiceType.ALUMA
    return Settings(
        service=ServiceSettings(
            **_same(
                service,
                ServiceSettings,
                url=service.url or URLS[kind],
                client_id=service.client_id or "",
                client_secret=secret if is_aluma else "",
                api_key="" if is_aluma else secret,
                team_id=service.team_id or "",
                webhook_secret=service.webhook_secret or "",
                ca_file=_optional(base, service.ca_file),
            )
        ),
        state_dir=_optional(base, checked.state_dir) or absolute(base, str(default_state_dir(environment))),
        watch_folders=tuple(_watch_folder(base, section) for section in checked.watch_folders),
        ledger=checked.ledger,
        retry=RetrySettings(**_same(checked.retry, RetrySettings)),
        min_free=checked.min_free,
        logging=LoggingSettings(**_same(checked.logging, LoggingSettings, file=_optional(base, checked.logging.file))),
        history_keep=checked.history_keep,
        web=_web(checked.web.listen),
        source=source,
    )


def _web(listen: str | None) -> WebSettings:
    if listen is None:
        return WebSettings()
    host, _, port = listen.rpartition(":")
    return WebSettings(host.strip("[]"), int(port))


def _watch_folder(base: Path, section: WatchFolderSection) -> WatchFolder:
    inbox, output = _optional(base, section.inbox), _optional(base, section.output)
    home = inbox or output or base
    return WatchFolder(
        **_same(
            section,
            WatchFolder,
            name=section.name or home.name,
            project_id=section.project_id or section.document_type_name or "",
            customer=section.customer or "",
            max_size_is_set="max_size" in section.model_fields_set,
            inbox=inbox,
            output=output,
            archive=absolute(inbox, section.archive) if inbox else None,
            error=absolute(inbox, section.error) if inbox else None,
            export=_export(section.export, inbox=inbox, output=output),
        )
    )


def _export(section: ExportSection, *, inbox: Path | None, output: Path | None) -> ExportSettings:
    return ExportSettings(
        **_same(
            section,
            ExportSettings,
            scope=section.scope or (ExportScope.OWN if inbox else ExportScope.PROJECT),
            archive=absolute(output, section.archive) if output and section.archive else None,
            error=absolute(output, section.error) if output else None,
        )
    )


def _optional(base: Path, text: str | None) -> Path | None:
    return None if text is None else absolute(base, text)


def _same(section: Section, record: type[Any], **resolved: Any) -> dict[str, Any]:
    """Return a record's values: those given, the rest from the section's key of the same name."""
    return {each.name: getattr(section, each.name) for each in fields(record) if each.name not in resolved} | resolved
