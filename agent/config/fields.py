"""The types of single values: how their text is checked, and how the JSON Schema describes them to editors.

Every check raises ValueError with what is expected and never with what was found: `problems` adds that where it may.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from agent.config import values
from agent.config.variables import REFERENCE_PATTERN
from agent.model import DocumentType, ExportScope, Observer, OnConflict, ServiceType
from agent.rules.filters import READY_PLACEHOLDERS, Filter
from agent.rules.naming import fill, fill_placeholders
from agent.rules.tags import RESERVED_TAGS

if TYPE_CHECKING:
    from enum import StrEnum
    from urllib.parse import SplitResult

LONGEST_NAME = 100
LARGEST_PORT = 65_535

# Codecs that Python counts as text encodings but that no reader of a CSV file could read.
_ODD_ENCODINGS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf_7"})
_BRACES = "expected no braces but those of {}; {{{{ and }}}} stand for braces of the text"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _duration(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError(values.DURATION_EXPECTED)  # noqa: TRY004 -- pydantic turns only ValueError into a problem
    return values.parse_duration(value)


def _duration_or_never(value: Any) -> float | None:
    if value == values.NEVER:
        return None
    try:
        return _duration(value)
    except ValueError as error:
        raise ValueError(f"{error}, or {values.NEVER}") from None


def _size(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError(values.SIZE_EXPECTED)  # noqa: TRY004 -- as above
    return values.parse_size(value)


def _size_or_never(value: Any) -> int | None:
    if value == values.NEVER:
        return None
    try:
        return _size(value)
    except ValueError as error:
        raise ValueError(f"{error}, or {values.NEVER} for no limit") from None


def _mode(value: Any) -> int | None:
    if not isinstance(value, str):
        raise ValueError(values.MODE_EXPECTED)  # noqa: TRY004 -- as above
    return values.parse_mode(value)


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    return value


def _name(value: str) -> str:
    if value != value.strip() or len(value) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} characters and no space at either end")
    return _text(value)


def _path(value: str) -> str:
    _text(value)
    if value.startswith("~"):
        raise ValueError("expected a path written out in full: ~ stands for nothing here")
    return value


def _template(value: str) -> str:
    _text(value)
    try:
        fill_placeholders(value, "x", "x")
    except ValueError:
        # The rule's own message repeats the text, which may come from a variable.
        raise ValueError(_BRACES.format("{file_name} {stem} {relative_path} {watch_folder}")) from None
    return value


def _ready_file(value: str) -> str:
    _text(value)
    try:
        fill(value, dict.fromkeys(READY_PLACEHOLDERS, "x"))
    except ValueError:
        raise ValueError(_BRACES.format("{file_name} {stem}")) from None
    try:
        Filter((), ready_file=value)
    except ValueError as error:
        raise ValueError(f'expected something like "{{file_name}}.ready": {error}') from None
    return value


def _pattern(value: str) -> str:
    _text(value)
    if ".." in re.split(r"[/\\]", value):
        raise ValueError("expected a pattern for names or for paths below the inbox, without `..`")
    try:
        Filter((value,))
    except ValueError:
        raise ValueError("expected a pattern such as *.pdf or invoices/*.tif") from None
    return value


def _tag_name(value: str) -> str:
    if value.casefold() in RESERVED_TAGS:
        raise ValueError("the agent sets this tag itself; choose another name")
    return _text(value)


def _encoding(value: str) -> str:
    try:
        usable = "a;1\r\n".encode(value).decode(value) == "a;1\r\n"
    except (LookupError, ValueError):
        usable = False
    if not usable or value.lower().replace("-", "_") in _ODD_ENCODINGS:
        raise ValueError("expected a text encoding such as utf-8, utf-8-sig, cp1252 or iso-8859-15")
    return value


def _http_parts(value: str, expected: str) -> SplitResult:
    """Return the parts of an address that can be connected to. Raises ValueError with what is expected."""
    _text(value)
    try:
        parts = urlsplit(value)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
    if not port_fits or parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", value):
        raise ValueError(expected)
    return parts


def _url(value: str) -> str:
    parts = _http_parts(value, "expected an address such as https://api.aluma.io")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the address of the service has no user, `?` or `#` in it")
    return value.rstrip("/")


def _path_prefix(value: str) -> str:
    try:
        filled = value.format(team_id="x", project_id="x")
    except (KeyError, IndexError, ValueError):
        raise ValueError(
            "expected a path; {team_id} and {project_id} are filled in, other braces are not known"
        ) from None
    if not value.startswith("/") or not re.fullmatch(r"[A-Za-z0-9._~/-]*", filled) or ".." in filled:
        raise ValueError("expected a path such as /v2/{team_id}/project/{project_id}")
    return value.rstrip("/")


def _webhook_secret(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~-]{16,}", value):
        raise ValueError("expected 16 or more of the characters A-Z a-z 0-9 . _ ~ -")
    return value


def _proxy(value: str) -> str:
    _http_parts(value, "expected the address of a proxy such as http://proxy.example:3128")
    return value


def _ledger(value: str) -> str:
    if value != "sqlite" and not re.match(r"postgres(ql)?://[^/\s]+/\S+$", value):
        raise ValueError("expected sqlite or postgresql://user@host/db")
    return value


def _listen(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not host or not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > LARGEST_PORT:
        raise ValueError("expected an address and a port such as 127.0.0.1:8765, or null")
    return value


def is_loopback(url: str) -> bool:
    """Tell whether an address can only mean this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _schema(pattern: str, other: dict[str, Any]) -> WithJsonSchema:
    texts = [{"type": "string", "pattern": f"^({pattern})$"}, {"type": "string", "pattern": REFERENCE_PATTERN}]
    return WithJsonSchema({"anyOf": [*texts, other]})


def _becomes(kind: type[StrEnum]) -> AfterValidator:
    # pydantic cannot read the signature of an enum class itself (Python 3.12 and later).
    def convert(value: str) -> StrEnum:
        return kind(value)

    return AfterValidator(convert)


_ZERO = {"const": 0}
_NUMBER = {"type": "integer", "minimum": 0}
_OR_NEVER = f"|{values.NEVER}"

Duration: TypeAlias = Annotated[float, BeforeValidator(_duration), _schema(f"{values.DURATION_PATTERN}|0", _ZERO)]
DurationOrNever: TypeAlias = Annotated[
    float | None,
    BeforeValidator(_duration_or_never),
    _schema(f"{values.DURATION_PATTERN}|0{_OR_NEVER}", _ZERO),
]
Size: TypeAlias = Annotated[int, BeforeValidator(_size), _schema(values.SIZE_PATTERN, _NUMBER)]
SizeOrNever: TypeAlias = Annotated[
    int | None, BeforeValidator(_size_or_never), _schema(values.SIZE_PATTERN + _OR_NEVER, _NUMBER)
]
Mode: TypeAlias = Annotated[
    int | None, BeforeValidator(_mode), _schema(f"{values.INHERIT}|{values.MODE_PATTERN}", _NUMBER)
]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Number: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]

Text: TypeAlias = Annotated[str, AfterValidator(_text)]
Name: TypeAlias = Annotated[str, AfterValidator(_name)]
PathText: TypeAlias = Annotated[str, AfterValidator(_path)]
Template: TypeAlias = Annotated[str, AfterValidator(_template)]
ReadyFile: TypeAlias = Annotated[str, AfterValidator(_ready_file)]
Pattern: TypeAlias = Annotated[str, AfterValidator(_pattern)]
TagName: TypeAlias = Annotated[str, AfterValidator(_tag_name)]
Encoding: TypeAlias = Annotated[str, AfterValidator(_encoding)]
Url: TypeAlias = Annotated[str, AfterValidator(_url)]
PathPrefix: TypeAlias = Annotated[str, AfterValidator(_path_prefix)]
WebhookSecret: TypeAlias = Annotated[str, AfterValidator(_webhook_secret)]
Proxy: TypeAlias = Annotated[str, AfterValidator(_proxy)]
LedgerText: TypeAlias = Annotated[str, AfterValidator(_ledger)]
Listen: TypeAlias = Annotated[str, AfterValidator(_listen)]

ServiceTypeText: TypeAlias = Annotated[Literal["aluma", "sendai", "typless"], _becomes(ServiceType)]
ObserverText: TypeAlias = Annotated[Literal["native", "polling", "auto"], _becomes(Observer)]
DocumentTypeText: TypeAlias = Annotated[
    Literal["pdf", "tiff", "jpeg", "png", "office", "email", "text", "zip"], _becomes(DocumentType)
]
ScopeText: TypeAlias = Annotated[Literal["own", "project"], _becomes(ExportScope)]
OnConflictText: TypeAlias = Annotated[Literal["rename", "overwrite", "fail"], _becomes(OnConflict)]
