"""Reading X-Aluma-Tags as strictly as `assumptions` says; the escaping itself is `rules.tags`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agent.rules.tags import decode_tags
from agent.sandbox.refusals import bad_request

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")


def read_tags(headers: Sequence[str]) -> dict[str, str]:
    """Return the tags of a request's X-Aluma-Tags headers, in order. Raises Refusal (400)."""
    if len(headers) != 1:
        raise bad_request("tags", f"There are {len(headers)} X-Aluma-Tags headers, not one with at least task_name.")
    try:
        pairs = decode_tags(headers[0])
    except ValueError as error:
        raise bad_request("tags", f"X-Aluma-Tags cannot be read: {error}") from None
    tags = dict(pairs)
    if len(tags) < len(pairs):
        raise bad_request("tags", "X-Aluma-Tags names a tag twice.")
    if not tags.get("task_name"):
        raise bad_request("tags", "X-Aluma-Tags has no task_name.")
    created = tags.get("file_created_time")
    if created is not None and not _WHOLE_NUMBER.fullmatch(created):
        raise bad_request("tags", "file_created_time is not a unix time in whole seconds.")
    return tags
