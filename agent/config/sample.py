"""The commented configuration: the sample of the repository, and what `init` and `demo` write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticUndefined

from agent.config.belonging import URLS, is_of
from agent.config.schema import (
    Configuration,
    ExportSection,
    LoggingSection,
    RetrySection,
    ServiceSection,
    WatchFolderSection,
    WebSection,
)
from agent.config.variables import escape
from agent.model import ServiceType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo

    from agent.config.schema import Section

CREDENTIALS: Mapping[ServiceType, Mapping[str, str]] = {
    ServiceType.ALUMA: {"client_id": "${ALUMA_CLIENT_ID}", "client_secret": "${ALUMA_CLIENT_SECRET}"},
    ServiceType.SENDAI: {"api_key": "${SENDAI_API_KEY}"},
    ServiceType.TYPLESS: {"api_key": "${TYPLESS_API_KEY}"},
}
"""Which variables a configuration takes the secrets of each service from."""

DEMO: Mapping[str, str] = {
    "watch_folders.settle": "300ms",
    "watch_folders.poll_interval": "300ms",
    "watch_folders.rescan": "1s",
    "watch_folders.stalled_after": "2s",
    "watch_folders.give_up_after": "3s",
    "watch_folders.export.poll_min": "200ms",
    "watch_folders.export.poll_max": "500ms",
    "retry.first": "200ms",
}
"""Waits short enough to look on; too short for scanners and networks."""

_EXAMPLES: Mapping[str, str] = {
    "service.url": URLS[ServiceType.ALUMA],
    **{f"service.{key}": value for key, value in CREDENTIALS[ServiceType.ALUMA].items()},
    "state_dir": "/var/lib/fsagent",
    "watch_folders.name": "invoices",
    "watch_folders.project_id": "ZbfzIZorTFOV60GX58YUuQ",
    "watch_folders.inbox": "/srv/scans/invoices",
    "watch_folders.output": "/srv/exports/invoices",
}
_SECTIONS: Mapping[str, type[Section]] = {
    "service": ServiceSection,
    "watch_folders": WatchFolderSection,
    "watch_folders.export": ExportSection,
    "retry": RetrySection,
    "web": WebSection,
    "logging": LoggingSection,
}
_UNSUPPORTED = frozenset({"web"})
"""Sections whose keys stand as comments: what they ask for comes later."""

_COMMENT_COLUMN = 44
_HEAD = """\
# Configuration of fsagent. Durations: 500ms 2s 5m 1h 30d. Sizes: 10MB 2GiB. ${NAME} is an environment variable,
# ${NAME:-default} likewise. Relative paths are relative to this file. `fsagent check` says whether all is well.
"""
_INIT_HEAD = "# What stands behind # is the default: take the # away to change it.\n"
_PLAIN = re.compile(r"[A-Za-z0-9_./$][A-Za-z0-9_./:+@%=~(){}$ -]*")
_NOT_PLAIN = re.compile(r"(?i)(null|true|false|yes|no|on|off|y|n|[-+.0-9][-+.0-9e_:xo]*)$")


def full_sample_text() -> str:
    """Return every key with its default, or an example where it has none, and one line about it."""
    return _HEAD + "\n".join(_Renderer(_EXAMPLES, defaults_as_comments=False).lines()) + "\n"


def sample_text(
    *,
    service_url: str,
    project_id: str,
    inbox: str | None,
    output: str | None,
    state_dir: str | None = None,
    name: str | None = None,
    service: ServiceType = ServiceType.ALUMA,
    credentials: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> str:
    """Return a configuration with these values and everything else as commented defaults.

    `credentials` are keys of `service:` that may name variables (`${NAME}`), by default `CREDENTIALS`; all else is
    taken literally. `project_id` is the document type's name for Typless. `name` is the folder's unless given;
    `overrides` holds further keys such as `watch_folders.settle`, for example `DEMO`.
    """
    project_key = "document_type_name" if service is ServiceType.TYPLESS else "project_id"
    literal = {
        "service.type": None if service is ServiceType.ALUMA else service.value,
        "service.url": service_url,
        "state_dir": state_dir,
        f"watch_folders.{project_key}": project_id,
        "watch_folders.name": name or Path(inbox or output or "").name or "documents",
        "watch_folders.inbox": inbox,
        "watch_folders.output": output,
        **(overrides or {}),
    }
    given = {key: escape(value) for key, value in literal.items() if value is not None}
    given |= {f"service.{key}": value for key, value in (credentials or CREDENTIALS[service]).items()}
    return _HEAD + _INIT_HEAD + "\n".join(_Renderer(given, defaults_as_comments=True, service=service).lines()) + "\n"


class _Renderer:
    """Writes the models down in their order; keys that mean nothing to the service stand as comments."""

    def __init__(
        self, values: Mapping[str, str], *, defaults_as_comments: bool, service: ServiceType = ServiceType.ALUMA
    ) -> None:
        self._values = values
        self._service = service
        self._defaults_as_comments = defaults_as_comments

    def lines(self) -> Iterator[str]:
        """Yield the lines of the file."""
        yield from self._section(Configuration, "", "")

    def _section(self, model: type[Section], prefix: str, indent: str) -> Iterator[str]:
        after_section = False
        for name, described in model.model_fields.items():
            key = f"{prefix}{name}"
            below = _SECTIONS.get(key)
            if heading := model.groups.get(name):
                yield ""
                yield f"{indent}# {heading}"
            elif not prefix and (after_section or below):
                yield ""
            after_section = below is not None
            if below is None:
                yield self._line(key, name, described, indent)
            else:
                lead = "# " if key in _UNSUPPORTED else indent
                yield _with_comment(f"{lead}{name}:", described.description)
                yield from self._section(below, f"{key}.", lead + ("    " if key == "watch_folders" else "  "))

    def _line(self, key: str, name: str, described: FieldInfo, indent: str) -> str:
        value = self._values.get(key)
        is_foreign = not is_of(key, self._service)
        silent = value is None and (self._defaults_as_comments or is_foreign) and not indent.startswith("#")
        default = None if described.default is PydanticUndefined else described.default
        text = f"{name}: {_yaml(default) if value is None else _scalar(value)}"
        if key == "watch_folders.name":
            # The list's dash stands before its first key.
            return _with_comment(f"{indent[:-2]}- {text}", described.description)
        return _with_comment(f"{indent}{'# ' if silent else ''}{text}", described.description)


def _with_comment(text: str, comment: str | None) -> str:
    return f"{text:<{_COMMENT_COLUMN}} # {comment}"


def _yaml(value: Any) -> str:
    match value:
        case None:
            return "null"
        case {}:
            return "{}"
        case tuple():
            return f"[{', '.join(_scalar(item, flow=True) for item in value)}]"
        case _:
            # Defaults are the texts that stand in the file; numbers and truth values need no quotes there.
            return str(value) if re.fullmatch(r"[0-9]+|true|false", str(value)) else _scalar(str(value))


def _scalar(text: str, *, flow: bool = False) -> str:
    """Return text as YAML of every version reads it back."""
    plain = _PLAIN.fullmatch(text) and not _NOT_PLAIN.match(text) and ": " not in text and not text.endswith((":", " "))
    if plain and not (flow and re.search(r"[{}\[\],]", text)):
        return text
    if "'" in text or text.startswith(("{", "*")) or not text.isprintable():
        return _quoted(text)
    return f"'{text}'"


def _quoted(text: str) -> str:
    """Return text in double quotes; JSON would write an astral character as two that YAML does not join."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'
