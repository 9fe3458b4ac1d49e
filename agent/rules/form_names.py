"""File names as they travel in a form (RFC 7578), where services show them as a task's name (apis.md 2.2).

How a service reads what is escaped is not documented; the assumption that it is shown as sent lives here.
"""

from __future__ import annotations

import re

from agent.rules.naming import base_name

# What ends a quoted string or a header, and the escape sign that some parsers take away and others leave.
_NOT_IN_QUOTES = re.compile(r'["\\\x00-\x1f\x7f]')
_SURROGATE = re.compile("[\ud800-\udfff]")


def file_name_in_form(name: str) -> str:
    """Return a file's base name such that no name it can have ends the header or the quotes it stands in.

    As browsers do it: UTF-8, and what may not stand there percent-encoded; `%` itself is left as it is.
    """
    return _NOT_IN_QUOTES.sub(lambda match: f"%{ord(match[0]):02X}", as_utf8(base_name(name)))


def as_utf8(text: str) -> str:
    """Return text that can be sent: what was no UTF-8 in a file name (a lone surrogate) becomes U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)
