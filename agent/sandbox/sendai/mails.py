"""Taking a mail apart: its body is one document, each attachment another (seed 003)."""

from __future__ import annotations

import email
import email.policy
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import EmailMessage

    from agent.sandbox.storage import Incoming, StoredDocument

_EXTENSION: Final = ".eml"


def attachments_of(
    file_name: str, document: StoredDocument, receive: Callable[[], Incoming]
) -> list[tuple[str, StoredDocument]]:
    """Return name and data of each attachment of a mail, in order; nothing for any other file."""
    if not file_name.lower().endswith(_EXTENSION):
        return []
    with document.path.open("rb") as file:
        message: EmailMessage = email.message_from_binary_file(file, policy=email.policy.default)
    return [
        (part.get_filename() or f"attachment-{number}", _store(part, receive))
        for number, part in enumerate(message.iter_attachments(), 1)
    ]


def _store(part: EmailMessage, receive: Callable[[], Incoming]) -> StoredDocument:
    data = part.get_payload(decode=True)
    with receive() as incoming:
        incoming.write(data if isinstance(data, bytes) else part.as_bytes())
        return incoming.finish()
