"""Logging as configured: to standard error or a rotated file, as text or JSON, never with a secret."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.errors import UserError
from agent.rules.naming import for_display

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import LoggingSettings

HIDDEN = "…"


class _Formatter(logging.Formatter):
    """What both formats share: nothing in a record can start a line, colour a terminal or show a secret."""

    def __init__(self, secrets: list[str]) -> None:
        super().__init__()
        self._secrets = [secret for secret in secrets if secret]

    def message(self, record: logging.LogRecord) -> str:
        """Return the message, whoever wrote it, libraries too."""
        return for_display(self._without_secrets(record.getMessage()))

    def trace(self, record: logging.LogRecord) -> list[str]:
        """Return the lines of the trace, if there is one; exceptions carry names and answers as they are."""
        if not record.exc_info:
            return []
        lines = self._without_secrets(self.formatException(record.exc_info)).splitlines()
        return [for_display(line) for line in lines]

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


class TextFormatter(_Formatter):
    """One line for each record: UTC time, level, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a trace follows it, indented."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"{when} {record.levelname.lower():<7} {self.message(record)}"
        return "\n    ".join([line, *self.trace(record)])


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object: at, level, logger, thread, message and, where there is one, trace."""
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": self.message(record),
        }
        if trace := self.trace(record):
            entry["trace"] = "\n".join(trace)
        return json.dumps(entry, ensure_ascii=False)


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o640)


class PrivateRotatingFileHandler(logging.handlers.RotatingFileHandler):
    """A rotated log file that others cannot read (0640; on Windows the folder's rights say so)."""

    def _open(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- the base class's type is private
        return open(self.baseFilename, self.mode, encoding="utf-8", errors="replace", opener=_private_opener)


def _file_handler(settings: LoggingSettings, path: Path) -> logging.Handler:
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o700, parents=True)
    return PrivateRotatingFileHandler(path, maxBytes=settings.max_size, backupCount=settings.backups)


def set_up_logging(settings: LoggingSettings, *, secrets: list[str], to_console: bool = True) -> None:
    """Send the agent's log where the configuration says; `to_console` False: only to the file, if there is one.

    Raises UserError where the file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if settings.file is not None:
        try:
            handlers.append(_file_handler(settings, settings.file))
        except OSError as error:
            raise UserError(
                f"the log file {for_display(str(settings.file))} cannot be written: {error.strerror or error}",
                hint="set logging.file to a place where the agent's account may write",
            ) from error
    elif to_console:
        handlers.append(logging.StreamHandler(sys.stderr))
    formatter = (JsonFormatter if settings.format == "json" else TextFormatter)(secrets)
    root = logging.getLogger()
    for handler in handlers or [logging.NullHandler()]:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(settings.level.upper())
    logging.captureWarnings(capture=True)
