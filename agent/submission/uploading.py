"""What is told to the service about a file that is sent: its name, tags and pairs (design.md §3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.model import Upload
from agent.rules.naming import base_name, fill_placeholders, relative_parent
from agent.rules.tags import further_tags

if TYPE_CHECKING:
    from agent.submission.inbox import Inbox
    from agent.submission.preparing import Prepared


def upload_of(inbox: Inbox, prepared: Prepared) -> Upload:
    """Return what is told about one file."""
    folder, record, sighting = inbox.folder, prepared.record, prepared.opened.sighting
    created_at = sighting.born_at if sighting.born_at is not None else sighting.signature.modified_ns / 1e9
    source_folder = relative_parent(record.relative_path)
    file_path = None
    if folder.send_path:
        file_path = str(inbox.root.joinpath(*source_folder.split("/")) if source_folder else inbox.root)
    custom = {name: fill_placeholders(value, record.relative_path, folder.name) for name, value in folder.tags.items()}
    return Upload(
        key=record.key,
        project_id=record.project_id,
        file_name=base_name(record.relative_path),
        content_type=prepared.checked.content_type,
        size=record.signature.size,
        task_name=record.task_name,
        tags=further_tags(file_path=file_path, created_at=created_at, custom=custom, key=record.key),
        customer=folder.customer,
        meta={**folder.meta, "relative_folder": source_folder, "fsagent_key": record.key},
    )
