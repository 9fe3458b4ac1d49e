"""The file system by POSIX means: every way beneath a root is walked by folder handles, so no link is ever followed.

Counterpart of `windows.py`, function by function; `system.py` picks. `O_NOFOLLOW` alone guards the last part of a path
only (faults.md 9), hence the walk. Knows no state, no ledger and no rule about files.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Self

from agent.errors import LocalTrouble, NotRegular
from agent.folders import durable
from agent.folders.entries import identity, irregular_entry, parts_of, require_plain, sighting_of, split
from agent.folders.posix_calls import rename_noreplace
from agent.folders.trouble import any_local_trouble, as_local_trouble, source_trouble
from agent.model import Irregular, LaneReason, Sighting, Signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader
    from pathlib import Path
    from types import TracebackType

assert sys.platform != "win32", "the counterpart for Windows is agent.folders.windows"

_WALK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_OFFERED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK})
"""What file systems without hard links, or kernels without renameat2, answer; EPERM: FAT and protected_hardlinks."""

_CANNOT_BE_GIVEN = frozenset({errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""EPERM for a user who may not, and for FAT and SMB that keep no owners; EINVAL for a user unknown in a container."""

HARD_LINKS_CARRY_OWNERS = True
"""A link made by somebody else keeps its first owner, so a second name may lead to a file its maker cannot read."""


# --- names and stats ------------------------------------------------------------------------------------------------


def native_path(path: Path) -> str:
    """Return the path as the system's calls want it."""
    return os.fspath(path)


def entry_stat(entry: os.DirEntry[str]) -> os.stat_result:
    """Return a listed entry's own stat, links not followed, with device and file id."""
    return entry.stat(follow_symlinks=False)


# --- folders beneath a root ------------------------------------------------------------------------------------------


class Folder:
    """A handle on one folder; its methods take names in it, never paths, and raise OSError as the system does."""

    def __init__(self, handle: int, path: Path) -> None:
        self._handle = handle
        self.path = path
        """Where it was when it was opened: for messages."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the handle back."""
        os.close(self._handle)

    def stat(self, name: str) -> os.stat_result:
        """Return an entry's own stat."""
        return os.stat(name, dir_fd=self._handle, follow_symlinks=False)

    def open(self, name: str) -> BufferedReader:
        """Open a plain file for reading; never blocks. Raises NotRegular."""
        return os.fdopen(self.descriptor(name), "rb")

    def descriptor(self, name: str) -> int:
        """Return a descriptor of a plain file for reading; never blocks. Raises NotRegular."""
        # Looked at before it is opened, since opening a device may act on it, and after, since it may be replaced.
        require_plain(self.stat(name), self.path / name)
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._handle)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise irregular_entry(self.path / name, Irregular.SYMLINK) from error
            raise
        try:
            require_plain(os.fstat(handle), self.path / name)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def create(self, name: str, *, mode: int = 0o600) -> BinaryIO:
        """Create a file for writing; raises FileExistsError where the name is taken, by a link too."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(name, flags, mode, dir_fd=self._handle), "wb")

    def rename(self, name: str, destination: Folder, new_name: str) -> None:
        """Rename without replacing. Raises FileExistsError, and OSError(EXDEV) where it is another device."""
        try:
            rename_noreplace(self._handle, name, destination._handle, new_name)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            self._link_and_unlink(name, destination, new_name)

    def _link_and_unlink(self, name: str, destination: Folder, new_name: str) -> None:
        """Rename without replacing where the file system has no such rename (FUSE, some shares)."""
        there = destination._handle
        try:
            os.link(name, new_name, src_dir_fd=self._handle, dst_dir_fd=there, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            self._reserve_and_replace(name, destination, new_name)
            return
        os.unlink(name, dir_fd=self._handle)

    def _reserve_and_replace(self, name: str, destination: Folder, new_name: str) -> None:
        """Rename over an empty file of our own: the last resort, it leaves a moment for a stranger's replacement."""
        with destination.create(new_name) as file:
            reserved = os.fstat(file.fileno())
        try:
            # The race: whoever replaces our reservation between this look and the rename loses his file; no call
            # of such a file system closes the gap.
            if identity(destination.stat(new_name)) != identity(reserved):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
            self.replace(name, destination, new_name)
        except OSError:
            destination._drop_reservation(new_name, reserved)
            raise

    def _drop_reservation(self, name: str, reserved: os.stat_result) -> None:
        with suppress(FileNotFoundError):
            found = self.stat(name)
            if identity(found) == identity(reserved) and found.st_size == 0:
                self.unlink(name)

    def replace(self, name: str, destination: Folder, new_name: str) -> None:
        """Rename over what is there."""
        there = destination._handle
        os.rename(name, new_name, src_dir_fd=self._handle, dst_dir_fd=there)

    def unlink(self, name: str) -> None:
        """Delete a file; a link itself, never what it leads to."""
        os.unlink(name, dir_fd=self._handle)

    def show(self, name: str) -> None:
        """Make a staged file visible: nothing to do, a dot in front hides it here."""

    def names(self) -> list[tuple[str, bool]]:
        """Return the entries' names and whether each is a folder (a link to one is none)."""
        handle = self._readable()
        try:
            with os.scandir(handle) as entries:
                return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        finally:
            os.close(handle)

    def sync(self) -> None:
        """Make its entries durable (faults.md 2); raises OSError where that failed, EINVAL means it is not offered."""
        handle = self._readable()
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some shares and FUSE know no fsync of folders
                raise
        finally:
            os.close(handle)

    def free_space(self) -> int:
        """Return the bytes the agent's user may still write here."""
        space = os.fstatvfs(self._handle)
        return space.f_bavail * space.f_frsize

    def is_writable(self) -> bool:
        """Tell whether names may be added and removed here, as far as rights and attributes of the folder say."""
        effectively = os.access in os.supports_effective_ids
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self._handle, effective_ids=effectively)

    def deeper(self, name: str) -> Folder:
        """Open a folder in this one. Raises NotRegular for a link, NotADirectoryError for a file."""
        path = self.path / name
        try:
            return Folder(os.open(name, _WALK | os.O_NOFOLLOW, dir_fd=self._handle), path)
        except OSError as error:
            # A link gives ENOTDIR with O_DIRECTORY, ELOOP without: only a look tells it from a plain file.
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and stat.S_ISLNK(self.stat(name).st_mode):
                raise irregular_entry(path, Irregular.SYMLINK) from error
            raise

    def make_deeper(self, name: str, *, mode: int | None) -> Folder:
        """Make a folder in this one, durably, and open it; `mode` None: what a newly made one would have."""
        durable.forget(self.path / name)
        try:
            os.mkdir(name, 0o777 if mode is None else 0o700, dir_fd=self._handle)
        except FileExistsError:  # somebody else made it since we looked
            return self.durably_deeper(name)
        if mode is not None:
            # By handle, not by name: the name may lead elsewhere by now. A setgid bit it was born with stays.
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._handle)
            try:
                os.fchmod(handle, mode | (os.fstat(handle).st_mode & stat.S_ISGID))
            finally:
                os.close(handle)
        return self.durably_deeper(name)

    def durably_deeper(self, name: str) -> Folder:
        """Open a folder in this one whose name is durable by then, whoever made it."""
        deeper = self.deeper(name)
        try:
            durable.once(deeper.path, self.sync)
        except BaseException:
            deeper.close()
            raise
        return deeper

    def _readable(self) -> int:
        """Return a handle that may be read and synced, which one for walking may not."""
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._handle)


def open_root(root: Path, *, missing: LaneReason = LaneReason.NOT_READABLE) -> Folder:
    """Open a root itself (it may be a link, it is configured). Raises LocalTrouble(`missing`) where it is not there."""
    with as_local_trouble("open", root):
        try:
            return Folder(os.open(root, _WALK), root)
        except (FileNotFoundError, NotADirectoryError) as error:
            hint = "look whether the disk or share is connected; the agent goes on once the folder is there"
            raise LocalTrouble(f"the folder {root} is missing", reason=missing, hint=hint) from error


def _walk(root: Path, relative_folder: str, step: Callable[[Folder, str], Folder], missing: LaneReason) -> Folder:
    parts = parts_of(relative_folder)
    folder = open_root(root, missing=missing)
    for part in parts:
        with folder:
            folder = step(folder, part)
    return folder


def open_folder(root: Path, relative_folder: str = "", *, missing: LaneReason = LaneReason.NOT_READABLE) -> Folder:
    """Open a folder beneath a root, following no link.

    Raises NotRegular for a link on the way, LocalTrouble(`missing`) for a missing root, OSError for the rest.
    """
    return _walk(root, relative_folder, Folder.deeper, missing)


def make_folder(
    root: Path, relative_folder: str = "", *, mode: int | None = None, missing: LaneReason = LaneReason.NOT_READABLE
) -> Folder:
    """Open a folder beneath a root and make what is missing of it, all of it durable; raises as `open_folder`."""

    def step(folder: Folder, part: str) -> Folder:
        try:
            return folder.durably_deeper(part)
        except FileNotFoundError:
            return folder.make_deeper(part, mode=mode)

    return _walk(root, relative_folder, step, missing)


# --- single files ----------------------------------------------------------------------------------------------------


def descriptor_beneath(root: Path, relative_path: str) -> int:
    """Return a descriptor of a plain file beneath a root; follows no link on the way, never blocks.

    Raises NotRegular, FileBusy (`gone` where it is not there), LocalTrouble.
    """
    parent, name = split(relative_path)
    path = root / relative_path
    try:
        with open_folder(root, parent) as folder:
            try:
                return folder.descriptor(name)
            except PermissionError as error:
                raise source_trouble(error, "open", path, because=_who(folder.stat(name))) from error
    except OSError as error:
        raise source_trouble(error, "open", path) from error


def open_beneath(root: Path, relative_path: str) -> BufferedReader:
    """Open a plain file beneath a root for reading; raises as `descriptor_beneath`."""
    return os.fdopen(descriptor_beneath(root, relative_path), "rb")


def _who(status: os.stat_result) -> str:
    """Return whose file it is and what that user lets others do."""
    mode = stat.S_IMODE(status.st_mode)
    return f"it belongs to {_user(status.st_uid)} with mode {mode:04o}, the agent runs as {_user(os.geteuid())}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def sight(root: Path, relative_path: str) -> Sighting | None:
    """Return what lies at a path now, opening nothing; None where it is gone, or a folder.

    A link on the way counts as the link itself. Raises LocalTrouble.
    """
    parent, name = split(relative_path)
    try:
        with open_folder(root, parent) as folder:
            return sighting_of(folder.stat(name), relative_path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotRegular:
        return Sighting(relative_path, Signature("", 0, 0), irregular=Irregular.SYMLINK)
    except OSError as error:
        raise any_local_trouble(error, "look at", root / relative_path) from error


def is_held_for_writing(path: Path) -> bool:
    """Tell whether somebody holds a file open for writing: False, no POSIX system says so; settling is the guard."""
    del path
    return False


def hide(path: Path) -> None:
    """Hide a file: nothing to do, the dot in front of its name hides it here."""
    del path


def sync_file(handle: int) -> None:
    """Make a file's bytes durable. After an error they are lost: never sync the same handle again (faults.md 4)."""
    os.fsync(handle)


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable; raises OSError."""
    with Folder(os.open(path, _WALK), path) as folder:
        folder.sync()


def free_space(path: Path) -> int:
    """Return the bytes the agent's user may still write in an existing folder. Raises LocalTrouble."""
    with as_local_trouble("ask for the free space of", path):
        space = os.statvfs(path)
    return space.f_bavail * space.f_frsize


def keeps_files_of_others(path: Path) -> bool:
    """Tell whether this user may not move other users' files out of a folder: it is sticky, and not its own.

    Raises LocalTrouble.
    """
    with as_local_trouble("look at", path):
        status = path.stat()
    return bool(status.st_mode & stat.S_ISVTX) and os.geteuid() not in (0, status.st_uid)


def stat_open(file: BinaryIO) -> os.stat_result:
    """Return an open file's stat."""
    return os.fstat(file.fileno())


def set_mode(file: BinaryIO, mode: int) -> None:
    """Set an open file's rights; a file system that knows none keeps its own."""
    _give(lambda: os.fchmod(file.fileno(), mode))


def copy_owner_and_times(source: os.stat_result, destination: BinaryIO) -> None:
    """Give an open file the owner, rights and times of another, as far as this user may and the file system can.

    Only root may give files away: else the copy stays the agent's, with the group where that can be given. No setuid
    or setgid bit goes along.
    """
    handle = destination.fileno()
    if not _give(lambda: os.fchown(handle, source.st_uid, source.st_gid)):
        _give(lambda: os.fchown(handle, -1, source.st_gid))
    set_mode(destination, source.st_mode & 0o777)
    _give(lambda: os.utime(handle, ns=(source.st_atime_ns, source.st_mtime_ns)))


def _give(call: Callable[[], None]) -> bool:
    """Call and tell whether this user may do that here."""
    try:
        call()
    except OSError as error:
        if error.errno not in _CANNOT_BE_GIVEN:
            raise
        return False
    return True
