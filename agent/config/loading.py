"""One configuration file to checked settings, or every problem of it at once with line, column and key."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agent.config.checking import (
    Findings,
    check,
    check_certificates,
    open_at_once,
    read_secret,
    secret_key,
    warn_if_others_read,
)
from agent.config.document import LARGEST_FILE, DocumentError, compose
from agent.config.locations import default_path, find_path
from agent.config.problems import explain, problem_at
from agent.config.reading import Reading, read
from agent.config.resolving import absolute, resolve
from agent.config.safety import warn_about_unsafe_values
from agent.config.schema import Configuration
from agent.errors import ConfigurationError, ConfigurationProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from agent.config.document import Path as Keys
    from agent.model import Settings

__all__ = ["Loaded", "default_path", "find_path", "load"]

CREDENTIALS: frozenset[Keys] = frozenset(
    {("service", name) for name in ("client_id", "client_secret", "api_key", "webhook_secret")}
)
"""Keys that only a conversation with the service needs."""
_PLACEHOLDER = "?"
_MOST_REPAIRS = 8


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and sentences about what is allowed and unwise, each with file, line and key."""

    settings: Settings
    warnings: tuple[str, ...]


def load(
    path: Path, *, environment: Mapping[str, str], schema_only: bool = False, with_credentials: bool = True
) -> Loaded:
    """Read, check and resolve a configuration file. Raises ConfigurationError with all its problems.

    `schema_only` checks a file for another machine: variables and files may be missing (a placeholder stands for
    them), and folders are compared by their paths' text. Without `with_credentials` their variables may be unset and
    their file unread (a placeholder stands for each): for what asks the ledger, not the service.
    """
    source = Path(os.path.abspath(path))  # noqa: PTH100 -- Path has nothing that leaves links alone and drops `..`
    text, mode = _read_file(source)
    try:
        document = compose(text)
        reading = read(document.root, environment)
    except DocumentError as error:
        raise ConfigurationError(source, [error.problem]) from None
    if not isinstance(reading.data, dict):
        place = problem_at(reading, (), "expected keys and values such as `service:`, found something else")
        raise ConfigurationError(source, [place])
    findings = Findings(reading, document.problems)
    _repair(reading.data, document.lost, findings)
    may_be_unset = reading.unset if schema_only else reading.unset & (set() if with_credentials else CREDENTIALS)
    checked = _validate(reading, findings, may_be_unset)
    secret = _secret(checked, source, mode, findings, reads_file=with_credentials and not schema_only)
    settings = resolve(checked, source=source, secret=secret, environment=environment)
    check(checked, settings, findings, schema_only=schema_only)
    if settings.service.ca_file is not None and not schema_only:
        check_certificates(settings.service.ca_file, findings)
    if findings.problems:
        raise ConfigurationError(source, sorted(findings.problems, key=_position))
    warn_about_unsafe_values(settings, findings.warn)
    warnings = sorted(findings.warnings, key=_position)
    return Loaded(settings, tuple(ConfigurationError(source, [warning]).message for warning in warnings))


def _position(problem: ConfigurationProblem) -> tuple[int, int]:
    return problem.line, problem.column


def _read_file(path: Path) -> tuple[str, int]:
    """Return text and mode of the file."""
    try:
        with open(path, "rb", opener=open_at_once) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(LARGEST_FILE + 1) if stat.S_ISREG(mode) else None
    except FileNotFoundError:
        raise _failure(path, "there is no such file; `fsagent init` writes one") from None
    except IsADirectoryError:
        raise _failure(path, "is a folder, not a file") from None
    except OSError as error:
        raise _failure(path, f"cannot be read: {error.strerror or type(error).__name__}") from None
    if content is None:
        raise _failure(path, "is not a regular file")
    if len(content) > LARGEST_FILE:
        raise _failure(path, f"is larger than {LARGEST_FILE // 1024} KiB: not a configuration")
    try:
        return content.decode("utf-8-sig"), mode
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        what = "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "another encoding"
        message = f"not UTF-8 but {what}: save the file as UTF-8"
        raise ConfigurationError(path, [ConfigurationProblem(line, column, "", message)]) from None


def _failure(path: Path, message: str) -> ConfigurationError:
    return ConfigurationError(path, [ConfigurationProblem(0, 0, "", message)])


def _validate(reading: Reading, findings: Findings, may_be_unset: AbstractSet[Keys]) -> Configuration:
    """Return the checked configuration, wrong values replaced by defaults so that the rest can be checked too."""
    for path, message in reading.troubles.items():
        if path not in may_be_unset:
            findings.problem(path, message)
    _repair(reading.data, list(reading.troubles), findings)
    for _ in range(_MOST_REPAIRS):
        try:
            return Configuration.model_validate(reading.data)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        explained = [explain(detail, reading) for detail in details]
        findings.problems += [problem for path, problem in explained if not findings.is_wrong(path)]
        _repair(reading.data, [path for path, _ in explained], findings)
    raise AssertionError("a default of the schema does not pass its own check")


def _repair(data: Any, paths: Iterable[Keys], findings: Findings) -> None:
    """Make wrong or missing values pass: left out, or a placeholder where there must be one; note what was done."""
    findings.wrong.update(paths)
    for path in {_replaceable(data, path) for path in paths}:
        findings.wrong.add(path)
        holder: Any = data
        for part in path[:-1]:
            if holder[part] is None:
                holder[part] = {}
            holder = holder[part]
        if path[:-1] == ("watch_folders",) and isinstance(holder, list):
            holder[int(path[-1])] = {}
        elif path[-1] in holder:
            # What is required comes back as missing, and gets its placeholder then.
            del holder[path[-1]]
        else:
            holder[path[-1]] = _placeholder(path)


def _replaceable(data: Any, path: Keys) -> Keys:
    """Return the key that holds a wrong value: lists are left out whole, but a watch folder keeps its place."""
    last = 0
    for position, part in enumerate(path):
        # A section left empty is None in YAML and means its defaults.
        if data is None or isinstance(data, dict) or path[:position] == ("watch_folders",):
            last = position
        if data is None or (isinstance(data, dict) and part not in data):
            break
        data = data[part]
    return path[: last + 1]


def _placeholder(path: Keys) -> Any:
    match path[-1]:
        case "service":
            return {}
        case "watch_folders":
            return []
        case _:
            return _PLACEHOLDER


def _secret(checked: Configuration, source: Path, mode: int, findings: Findings, *, reads_file: bool) -> str:
    """Return the secret of the service from wherever the configuration has it; a placeholder where there is none."""
    key = secret_key(checked)
    for name in (key, "webhook_secret"):
        path = ("service", name)
        if getattr(checked.service, name) is not None and path not in findings.reading.referring:
            warn_if_others_read(mode, source, findings, path)
    secret: str | None = getattr(checked.service, key)
    file: str | None = getattr(checked.service, f"{key}_file")
    if secret is not None:
        return secret
    if file is None or not reads_file:
        return _PLACEHOLDER
    return read_secret(absolute(source.parent, file), findings, ("service", f"{key}_file"))
