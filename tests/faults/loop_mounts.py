"""File systems of a test's own on loop devices, whose power can be lost: what was not made durable is gone.

Owns the images, the mounts and the ioctl. Leaves nothing mounted, whatever the test does.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from faults import means

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KINDS: Final = ("ext4", "xfs")
_SIZE: Final = 400 * 1024 * 1024
"""Bytes of an image, nearly all of them a hole: mkfs.xfs asks for 300 MiB, the agent's `min_free` for 100 MB."""
_OPTIONS: Final = {"ext4": "commit=600", "xfs": "defaults"}
"""ext4 commits its journal every five seconds by itself: what the agent did not sync must not be kept by luck."""
_MAKE: Final = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q")}

_FS_IOC_SHUTDOWN: Final = 0x8004587D
_NO_LOG_FLUSH: Final = struct.pack("I", 2)
"""Shut down without writing the journal's memory to the disk: what a power loss leaves (linux/xfs_fs.h, fs/ext4)."""


@dataclass(slots=True)
class Disk:
    """One file system in an image; `at` is where it is mounted, `device` the loop device it is on."""

    kind: str
    image: Path
    at: Path
    device: str = ""
    is_mounted: bool = False

    def mount(self) -> None:
        """Mount it; after a power loss this replays its journal."""
        if not self.device:
            self.device = self._attached()
        means.run(means.program("mount"), "-t", self.kind, "-o", _OPTIONS[self.kind], self.device, self.at)
        self.is_mounted = True

    def _attached(self) -> str:
        return means.run(means.program("losetup"), "--find", "--show", self.image).stdout.strip()

    def renumber(self) -> None:
        """Let it come back under another device number, as disks do after a restart of the machine."""
        before, self.device = self.device, self._attached()
        means.run(means.program("losetup"), "--detach", before)

    def lose_power(self) -> None:
        """Shut the file system down: from now on nothing reaches the image, every call that writes fails."""
        handle = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, _FS_IOC_SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(handle)

    def is_down(self) -> bool:
        """Tell whether the file system was shut down: it takes nothing more, though what it remembers can be read."""
        try:
            (self.at / "is-down").touch()
        except OSError:
            return True
        return False

    def unmount(self) -> None:
        """Unmount it; nobody may have a file open there."""
        means.run(means.program("umount"), self.at)
        self.is_mounted = False

    def sync(self) -> None:
        """Make everything on it durable."""
        means.run(means.program("sync"), "-f", self.at)

    def drop(self) -> None:
        """Detach it whatever uses it still; the loop device goes with its last user."""
        with ExitStack() as stack:
            stack.callback(self.image.unlink)
            if self.device:
                stack.callback(means.run, means.program("losetup"), "--detach", self.device)
            if self.is_mounted:
                stack.callback(means.run, means.program("umount"), "--lazy", self.at)


@contextmanager
def mounted(folder: Path, kind: str, names: Sequence[str]) -> Iterator[list[Disk]]:
    """Give fresh, mounted file systems of one kind below a folder."""
    means.root()
    means.device("/dev/loop-control")
    with ExitStack() as stack:
        disks = []
        for name in names:
            disk = Disk(kind, folder / f"{name}.img", folder / name)
            disk.at.mkdir()
            disk.image.touch()
            os.truncate(disk.image, _SIZE)
            command, *options = _MAKE[kind]
            means.run(means.program(command), *options, disk.image)
            stack.callback(disk.drop)
            disk.mount()
            disks.append(disk)
        yield disks


def lose_power(disks: Sequence[Disk]) -> None:
    """Cut the power of all of them at one moment: nothing of the agent may run meanwhile."""
    for disk in disks:
        disk.lose_power()
        assert disk.is_down(), f"{disk.at} works on after its power was cut"
