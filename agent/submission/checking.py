"""Check: decides on the open file whether it may be sent; what is checked here is what is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import FileIncomplete, FileRefused
from agent.model import DocumentType, Reason
from agent.rules.documents import CONTENT_TYPES, examine
from agent.rules.filters import FilterVerdict

if TYPE_CHECKING:
    from typing import BinaryIO

    from agent.model import WatchFolder
    from agent.submission.inbox import Inbox

RETRY_HINT = "mend the file and drop it into the inbox again"


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that may be sent."""

    kind: DocumentType
    content_type: str


def check(inbox: Inbox, file: BinaryIO, *, size: int, relative_path: str, unchanged_for: float) -> Checked:
    """Return what the file is, ready to be sent.

    `unchanged_for`: seconds since its last change. Raises FileRefused (goes to error/) and FileIncomplete (looked at
    again); `wrong_type` and `empty` are decided no sooner than `stalled_after` (design.md §3.3).
    """
    folder = inbox.folder
    if inbox.name_filter.judge(relative_path) is FilterVerdict.UNMATCHED:
        raise FileRefused(
            f"no pattern of `include` matches {relative_path.rsplit('/', 1)[-1]}",
            reason=Reason.UNMATCHED,
            hint="rename the file or add a pattern to `include`",
        )
    if folder.max_size is not None and size > folder.max_size:
        raise FileRefused(
            f"the file has {size} bytes, max_size allows {folder.max_size}",
            reason=Reason.TOO_LARGE,
            hint="split the file or raise max_size, then drop it into the inbox again",
        )
    is_old = unchanged_for >= folder.stalled_after
    if size == 0:
        if not is_old:
            raise FileIncomplete("the file is empty so far")
        raise FileRefused("the file has no bytes", reason=Reason.EMPTY, hint=RETRY_HINT)
    examination = examine(file, size)
    file.seek(0)
    kind = examination.kind
    # A type that is not accepted stays refused however much of it is still to come.
    if not examination.whole and (kind is None or kind in folder.accept):
        return _incomplete(kind, examination.detail, unchanged_for=unchanged_for, folder=folder)
    if kind is None or kind not in folder.accept:
        accepted = ", ".join(each.value for each in folder.accept)
        found = f"the content is {kind.value}" if kind else "the content is of no known type"
        if not is_old:
            raise FileIncomplete(f"{found} so far")
        raise FileRefused(
            f"{found}, this watch folder accepts {accepted}",
            reason=Reason.WRONG_TYPE,
            hint="convert the file, or add its type to `accept`, then drop it into the inbox again",
        )
    return Checked(kind, CONTENT_TYPES[kind])


def _incomplete(kind: DocumentType | None, detail: str, *, unchanged_for: float, folder: WatchFolder) -> Checked:
    """Decide about a file whose structure says that something is missing."""
    if folder.give_up_after is None or unchanged_for < folder.give_up_after:
        raise FileIncomplete(detail)
    if folder.truncated == "submit" and kind is not None and kind in folder.accept:
        return Checked(kind, CONTENT_TYPES[kind])
    raise FileRefused(detail, reason=Reason.TRUNCATED, hint=RETRY_HINT)
