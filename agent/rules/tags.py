"""X-Aluma-Tags: which tags a document gets and how they travel in one header (apis.md 1.4, design.md §3.4).

The header's escaping is not documented by the service; the assumption lives here and nowhere else.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from agent.rules.form_names import as_utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RESERVED_TAGS = ("task_name", "file_name", "file_path", "file_created_time", "fsagent_key")
"""Set by the agent; `tags:` of the configuration may not name them."""

_ENCODED = re.compile(r"[%&=+\x00-\x1f\x7f]|[^\x00-\x7f]")
_NOT_IN_A_HEADER = re.compile(r"[^\x20-\x7e]")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPED = re.compile(r"(?:%[0-9A-Fa-f]{2})+")


def encode_tags(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the header's value for tags in their order.

    Only `%`, `&`, `=`, `+`, controls and non-ASCII are percent-encoded, as UTF-8; the rest stays readable. What was no
    UTF-8 in a file name (a lone surrogate) becomes U+FFFD. No value a file name can have adds a tag or ends the header.
    """
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs)


def decode_tags(header: str) -> tuple[tuple[str, str], ...]:
    """Return the tags of a header in their order: split at `&`, then at the first `=`, then percent-decode.

    Raises ValueError for what `encode_tags` never makes: characters no header carries, a tag without `=` or name,
    a `%` without two digits, bytes that are not UTF-8.
    """
    if not header:
        return ()
    if match := _NOT_IN_A_HEADER.search(header):
        raise ValueError(f"character {match[0]!r} may not stand in a header")
    return tuple(_pair(tag) for tag in header.split("&"))


def further_tags(*, file_path: str | None, created_at: float, custom: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the tags beside task_name and file_name, in order; these are what an `Upload` calls its tags.

    `file_path` is the absolute folder as configured, None: not told; `created_at` unix seconds, sent whole; `custom`
    are the configured tags, filled; `key` stands last, since a space at a header's end would get lost. Raises
    ValueError for a custom tag without a name or with one of the agent's own.
    """
    for name in custom:
        if not name or name in RESERVED_TAGS:
            raise ValueError(f"tag {name!r} cannot be set; the agent's own are {' '.join(RESERVED_TAGS)}")
    tags = {} if file_path is None else {"file_path": file_path}
    tags["file_created_time"] = str(math.floor(created_at))
    return {**tags, **custom, "fsagent_key": key}


def as_told(text: str) -> str:
    """Return text as the service is told it: what was no UTF-8 in a file name (a lone surrogate) becomes U+FFFD."""
    return as_utf8(text)


def _encoded(text: str) -> str:
    """Return a name or value such that it contains nothing that separates tags or cannot stand in a header."""
    return _ENCODED.sub(_percent, as_told(text))


def _percent(match: re.Match[str]) -> str:
    """Return one character as the percent-encoded bytes of its UTF-8."""
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _pair(tag: str) -> tuple[str, str]:
    """Return name and value of one tag."""
    name, separator, value = tag.partition("=")
    if not separator or not name:
        raise ValueError(f"tag {tag!r} is no name=value")
    return _decoded(name), _decoded(value)


def _decoded(text: str) -> str:
    """Return a name or value as it was before it was encoded."""
    if _STRAY_PERCENT.search(text):
        raise ValueError(f"{text!r} has a % that encodes nothing")
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[0].replace("%", "")).decode(), text)
