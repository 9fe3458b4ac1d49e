"""Receiving the form of Create Upload: files to disk as they arrive, fields checked (apis.md 2.2)."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from agent.sandbox.refusals import bad_request, too_large
from agent.sandbox.sendai.assumptions import FIELD_LIMIT
from agent.sandbox.sendai.multipart import BrokenForm, MultipartReader, Part, boundary_of
from agent.sandbox.sendai.records import SentFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

    from agent.sandbox.sendai.core import SendaiSandbox
    from agent.sandbox.storage import Incoming

_FIELDS: Final = ("name", "meta", "projectId")
_SEPARATORS: Final = re.compile(r"[\x00/]")


class UploadForm:
    """One form on its way; without `take` nothing of its files stays."""

    def __init__(self, sandbox: SendaiSandbox) -> None:
        self._sandbox = sandbox
        self._incoming = ExitStack()
        self._fields: dict[str, bytearray] = {}
        self._taken = False
        self.files: list[SentFile] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete what was not taken."""
        self._incoming.close()
        if not self._taken:
            for file in self.files:
                for document in (file.document, *(attached for _, attached in file.attachments)):
                    self._sandbox.forget(document)

    async def read(self, content_type: str, blocks: AsyncIterator[bytes]) -> None:
        """Read the whole form. Raises Refusal (400, 413)."""
        try:
            reader = MultipartReader(boundary_of(content_type))
            part: Part | None = None
            target: Incoming | bytearray | None = None
            async for block in blocks:
                for event in reader.feed(block):
                    if isinstance(event, Part):
                        part, target = event, self._begin(event)
                    elif isinstance(event, bytes):
                        self._write(target, event)
                    else:
                        self._end(part, target)
        except BrokenForm as error:
            raise bad_request("form", f"The body cannot be read: {error}.") from None
        if not reader.is_over:
            raise bad_request("form", "The body ends before its last boundary.")
        if not self.files:
            raise bad_request("form", "The form has no file.")

    def _begin(self, part: Part) -> Incoming | bytearray | None:
        """Return where the data of a part goes; None: nowhere."""
        if part.name == "file":
            if not part.file_name or _SEPARATORS.search(part.file_name):
                raise bad_request("form", "A file has no name, or one of several parts.")
            if len(self.files) == self._sandbox.settings.files_limit:
                raise bad_request("form", f"There are more than {len(self.files)} files.")
            return self._incoming.enter_context(self._sandbox.receive())
        if part.name not in _FIELDS:
            return None
        if part.name in self._fields:
            raise bad_request("form", f"The field {part.name} is given twice.")
        self._fields[part.name] = bytearray()
        return self._fields[part.name]

    def _write(self, target: Incoming | bytearray | None, data: bytes) -> None:
        if isinstance(target, bytearray):
            target += data
            if len(target) > FIELD_LIMIT:
                raise too_large(FIELD_LIMIT)
        elif target is not None:
            target.write(data)
            if target.size > self._sandbox.settings.size_limit:
                raise too_large(self._sandbox.settings.size_limit)

    def _end(self, part: Part | None, target: Incoming | bytearray | None) -> None:
        if part is not None and part.file_name is not None and target is not None and not isinstance(target, bytearray):
            self.files.append(SentFile(part.file_name, part.content_type, target.finish()))

    def text(self, name: str) -> str | None:
        """Return a field; None: it was not sent. Raises Refusal (400)."""
        raw = self._fields.get(name)
        if raw is None:
            return None
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise bad_request("form", f"The field {name} is not UTF-8.") from None

    def meta(self) -> list[dict[str, str]]:
        """Return the pairs of `meta`. Raises Refusal (400)."""
        text = self.text("meta")
        if text is None:
            return []
        try:
            pairs = json.loads(text)
        except (ValueError, RecursionError):
            raise bad_request("form", "meta is not JSON.") from None
        if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
            raise bad_request("form", "meta is not an array of objects with the texts name and value.")
        return pairs

    def take(self) -> list[SentFile]:
        """Return the files; they are the caller's now."""
        self._taken = True
        return self.files


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, dict)
        and pair.keys() == {"name", "value"}
        and all(isinstance(text, str) for text in pair.values())
        and bool(pair["name"])
    )
