"""Tells whether a folder lies on a file system that others change unseen by this kernel: events are no use there.

Asks the operating system about the mount, never the folder's content. Does not decide what follows (watching does).
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NETWORK_TYPES = {
    0x6969: "NFS",
    0xFF534D42: "SMB",
    0xFE534D42: "SMB",
    0x517B: "SMB",
    0x01021997: "9p",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x47504653: "GPFS",
    0x65735546: "FUSE",
    0x6A656A63: "virtiofs",
    0x786F4256: "a VirtualBox folder",
    0xBACBACBC: "a VMware folder",
}
"""`f_type` of statfs(2) → name. FUSE is among them: sshfs, rclone and GlusterFS look the same as a local disk by it."""

_STATFS_SIZE = 256
"""Bytes, more than `struct statfs` of any Linux has; `f_type` is its first word."""

_DRIVE_REMOTE = 4


def network_file_system(path: Path) -> str:
    """Return the name of the network file system a folder lies on, "" on a local one. Raises OSError."""
    return _network_on_windows(path) if sys.platform == "win32" else _network_on_linux(path)


def _network_on_linux(path: Path) -> str:
    library = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_byte * _STATFS_SIZE)()
    if library.statfs(os.fsencode(path), ctypes.byref(buffer)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(path))
    # A signed word where SMB's number is negative on 32-bit systems: only its lower 32 bits mean anything.
    return _NETWORK_TYPES.get(ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF, "")


def _network_on_windows(path: Path) -> str:
    if sys.platform != "win32":
        raise NotImplementedError
    drive = os.path.splitdrive(path.absolute())[0].removeprefix("\\\\?\\")
    if drive.upper().startswith("UNC\\") or drive.startswith("\\\\"):
        return f"the share {drive}"
    if ctypes.WinDLL("kernel32").GetDriveTypeW(ctypes.c_wchar_p(f"{drive}\\")) == _DRIVE_REMOTE:
        return f"the network drive {drive}"
    return ""
