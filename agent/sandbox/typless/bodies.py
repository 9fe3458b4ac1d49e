"""Reading the body of extract-data-async: JSON with the file as base64 (apis.md 3.2).

The body is read whole, which costs some times the size of the file for a moment: this is a sandbox.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from agent.sandbox.refusals import bad_request

_TEXTS: Final = ("file", "file_name", "document_type_name")


class Invalid(Exception):
    """A body or query that does not fit the schema; `problems` are (place, message, type)."""

    def __init__(self, problems: list[tuple[str, str, str]], *, part: str = "body") -> None:
        super().__init__(f"the {part} does not fit the schema")
        self.problems = problems
        self.part = part


@dataclass(frozen=True, slots=True)
class ExtractionRequest:
    """What a client asks for; `file` is base64 still."""

    file: str
    file_name: str
    document_type_name: str
    customer: str | None


def read_request(body: bytes | bytearray) -> ExtractionRequest:
    """Return the request a body holds. Raises Invalid, Refusal (400)."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise bad_request("invalid_json", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise Invalid([("", "value is not a valid dict", "type_error.dict")])
    problems = [*_text_problems(document), *_option_problems(document)]
    if problems:
        raise Invalid(problems)
    request = ExtractionRequest(
        file=document["file"],
        file_name=document["file_name"],
        document_type_name=document["document_type_name"],
        customer=document.get("customer"),
    )
    stem, _, extension = request.file_name.rpartition(".")
    if not (stem and extension) or set("/\\\0") & set(request.file_name):
        raise bad_request("invalid_file_name", "file_name is not a base name with an extension.")
    return request


def _text_problems(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    problems = []
    for name in _TEXTS:
        if name not in document:
            problems.append((name, "field required", "value_error.missing"))
        elif not isinstance(document[name], str):
            problems.append((name, "str type expected", "type_error.str"))
        elif not document[name]:
            problems.append((name, "ensure this value has at least 1 characters", "value_error.any_str.min_length"))
    return problems


def _option_problems(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    problems = []
    if not isinstance(document.get("customer"), str | None):
        problems.append(("customer", "str type expected", "type_error.str"))
    if not isinstance(document.get("parse_text_blocks", False), bool):
        problems.append(("parse_text_blocks", "value could not be parsed to a boolean", "type_error.bool"))
    return problems


def decode_file(text: str, *, limit: int) -> bytes:
    """Return the bytes of a file. Raises Refusal (400)."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise bad_request("invalid_file", "file is not plain base64.") from None
    if not data:
        raise bad_request("invalid_file", "The file is empty.")
    if len(data) > limit:
        raise bad_request("file_too_large", f"The file is larger than {limit} bytes.")
    return data
