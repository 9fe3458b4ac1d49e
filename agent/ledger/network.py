"""Whether a folder lies on another machine, where SQLite's locks and its shared memory do not hold.

Owns the question to the operating system; must not decide what follows.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# linux/magic.h and the file systems' own headers; statfs(2). 9P is left out: virtual machines and containers mount
# their local disks by it.
_NETWORK_TYPES = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB",
    0x564C: "NCP",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
    0x19830326: "BeeGFS",
}
_STATFS_BYTES = 512  # struct statfs is 120 bytes on 64-bit Linux; its first field is f_type, a long
_DRIVE_REMOTE = 4


def network_file_system(folder: Path) -> str | None:
    """Return the name of the network file system the existing folder lies on; None: local, or it cannot be told."""
    if sys.platform == "win32":
        kind = ctypes.windll.kernel32.GetDriveTypeW(folder.resolve().drive + "\\")
        return "a network drive" if kind == _DRIVE_REMOTE else None
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        answer = ctypes.create_string_buffer(_STATFS_BYTES)
        if libc.statfs(os.fsencode(folder), answer) != 0:
            return None
        return _NETWORK_TYPES.get(ctypes.c_long.from_buffer(answer).value & 0xFFFFFFFF)
    return None
