"""What one stat says of an entry, and which relative paths may be asked for: the same on every platform.

Opens and changes nothing.
"""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

from agent.errors import NotRegular
from agent.model import Irregular, Sighting, Signature
from agent.rules.naming import for_display

if TYPE_CHECKING:
    import os
    from pathlib import Path

_IRREGULAR = {stat.S_IFLNK: Irregular.SYMLINK, stat.S_IFIFO: Irregular.FIFO, stat.S_IFSOCK: Irregular.SOCKET}
# winnt.h; `stat` has these names on Windows only
_TAG_MOUNT_POINT = 0xA0000003
_TAG_SYMLINK = 0xA000000C


def identity(status: os.stat_result) -> str:
    """Return "device:file id", both in hexadecimal."""
    return f"{status.st_dev:x}:{status.st_ino:x}"


def irregularity(status: os.stat_result) -> Irregular | None:
    """Return why an entry is never opened; None for plain files and folders.

    Of the reparse points of Windows only symlinks and mount points (junctions) are links: deduplicated, tiered and
    synchronised files are reparse points too, and plain files to everybody who opens them.
    """
    tag = getattr(status, "st_reparse_tag", 0)
    if tag == _TAG_MOUNT_POINT:
        return Irregular.JUNCTION
    if tag == _TAG_SYMLINK:
        return Irregular.SYMLINK
    kind = stat.S_IFMT(status.st_mode)
    return None if kind in (stat.S_IFREG, stat.S_IFDIR) else _IRREGULAR.get(kind, Irregular.DEVICE)


def is_plain(status: os.stat_result) -> bool:
    """Tell whether a stat, taken without following links, is a plain file's."""
    return stat.S_ISREG(status.st_mode) and irregularity(status) is None


def sighting_of(status: os.stat_result, relative_path: str) -> Sighting | None:
    """Return what one stat (links not followed) says of an entry; None for a folder."""
    irregular = irregularity(status)
    if stat.S_ISDIR(status.st_mode) and irregular is None:
        return None
    return Sighting(
        relative_path=relative_path,
        signature=Signature(identity(status), status.st_size, status.st_mtime_ns),
        links=status.st_nlink,
        owner=None if sys.platform == "win32" else status.st_uid,
        born_at=_born_at(status),
        irregular=irregular,
    )


def _born_at(status: os.stat_result) -> float | None:
    """Return the birth time where Windows tells it; `st_ctime` is that time there before Python 3.12."""
    if sys.platform == "win32":
        return float(getattr(status, "st_birthtime", status.st_ctime))
    return None


def require_plain(status: os.stat_result, path: Path) -> None:
    """Raise NotRegular where a stat is not a plain file's."""
    if is_plain(status):
        return
    kind = irregularity(status)
    if kind is None:
        raise NotRegular(f"{for_display(str(path))} is a folder")
    raise irregular_entry(path, kind)


def irregular_entry(path: Path, kind: Irregular) -> NotRegular:
    """Return the error for an entry that is never opened."""
    name = kind.value.replace("_", " ")
    return NotRegular(f"{for_display(str(path))} is a {name}, not a plain file", hint="put a copy there instead")


def parts_of(relative_path: str) -> list[str]:
    """Return the parts of a relative path. Raises ValueError for one that is absolute, climbs, or names a stream."""
    parts = relative_path.split("/") if relative_path else []
    strange = "\0\\:" if sys.platform == "win32" else "\0"
    if any(part in ("", ".", "..") or any(character in part for character in strange) for part in parts):
        raise ValueError(f"not a path beneath a root: {relative_path!r}")
    return parts


def split(relative_path: str) -> tuple[str, str]:
    """Return the folder and the name of a relative path; raises ValueError as `parts_of`, and for no name."""
    *parents, name = parts_of(relative_path) or [""]
    if not name:
        raise ValueError("no name in an empty path")
    return "/".join(parents), name
