r"""The file system by Windows means: handles on the folders of a way keep it from being swapped under us.

Counterpart of `posix.py`, function by function; `system.py` picks. Knows no state, no ledger and no rule about files.
The module can be imported anywhere; its functions need Windows.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from agent.errors import LocalTrouble, NotRegular
from agent.folders import windows_calls as calls
from agent.folders.entries import (
    identity,
    irregular_entry,
    irregularity,
    parts_of,
    require_plain,
    sighting_of,
    split,
)
from agent.folders.trouble import (
    ERROR_LOCK_VIOLATION,
    ERROR_SHARING_VIOLATION,
    any_local_trouble,
    as_local_trouble,
    source_trouble,
    windows_code,
)
from agent.model import Irregular, LaneReason, Sighting, Signature
from agent.rules.naming import staged_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader
    from types import TracebackType

_SHARED_BY_OTHERS = "another program holds it open and shares it with nobody"

HARD_LINKS_CARRY_OWNERS = False
"""Only who may write a file can link it here."""


def native_path(path: Path) -> str:
    """Return the path as the system's calls want it."""
    return calls.long_path(os.fspath(path))


def entry_stat(entry: os.DirEntry[str]) -> os.stat_result:
    """Return a listed entry's own stat, links not followed; the listing itself knows neither device nor file id."""
    return os.lstat(entry.path)


# --- folders beneath a root ------------------------------------------------------------------------------------------


class Folder:
    """A folder held open; its methods take names in it, never paths, and raise OSError as the system does.

    The handles on it and on every folder of the way to it share no deletion: none can be renamed or replaced by a
    junction while they are open, so the path stays true.
    """

    def __init__(self, handles: list[int], path: Path) -> None:
        self._handles = handles
        self.path = path
        self._native = native_path(path)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the handles back."""
        while self._handles:
            calls.close_handle(self._handles.pop())

    def _of(self, name: str) -> str:
        return f"{self._native}\\{name}"

    def stat(self, name: str) -> os.stat_result:
        """Return an entry's own stat."""
        return os.lstat(self._of(name))

    def open(self, name: str) -> BufferedReader:
        """Open a plain file for reading. Raises NotRegular."""
        return os.fdopen(self.descriptor(name), "rb")

    def descriptor(self, name: str) -> int:
        """Return a descriptor of a plain file for reading. Raises NotRegular.

        Shares everything: who writes, renames or deletes is not disturbed. Opened once without following a link, for
        the look; a deduplicated or tiered file must then be opened as what it is, to be read.
        """
        before = self.stat(name)
        require_plain(before, self.path / name)
        share = calls.SHARE_READ | calls.SHARE_WRITE | calls.SHARE_DELETE
        is_reparse_point = bool(getattr(before, "st_reparse_tag", 0))
        flags = 0 if is_reparse_point else calls.FLAG_OPEN_REPARSE_POINT
        handle = calls.open_handle(self._of(name), access=calls.GENERIC_READ, share=share, flags=flags)
        descriptor = calls.descriptor_of(handle, os.O_RDONLY)
        try:
            _require_same(before, os.fstat(descriptor), self.path / name)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def create(self, name: str, *, mode: int = 0o600) -> BinaryIO:
        """Create a hidden file for writing; raises FileExistsError. Rights are inherited here, `mode` says nothing."""
        del mode
        handle = calls.open_handle(
            self._of(name),
            access=calls.GENERIC_READ | calls.GENERIC_WRITE,
            share=calls.SHARE_READ | calls.SHARE_DELETE,
            disposition=calls.CREATE_NEW,
            flags=calls.ATTRIBUTE_HIDDEN,
        )
        return os.fdopen(calls.descriptor_of(handle, os.O_WRONLY), "wb")

    def rename(self, name: str, destination: Folder, new_name: str) -> None:
        """Rename without replacing. Raises FileExistsError, and OSError(EXDEV) where it is another volume."""
        calls.move(self._of(name), destination._of(new_name), replace=False)

    def replace(self, name: str, destination: Folder, new_name: str) -> None:
        """Rename over what is there."""
        calls.move(self._of(name), destination._of(new_name), replace=True)

    def unlink(self, name: str) -> None:
        """Delete a file, one marked read-only too; a link itself, never what it leads to."""
        calls.delete(self._of(name))

    def show(self, name: str) -> None:
        """Make a staged file visible."""
        calls.set_hidden(self._of(name), hidden=False)

    def names(self) -> list[tuple[str, bool]]:
        """Return the entries' names and whether each is a folder (a link to one is none)."""
        with os.scandir(self._native) as entries:
            return [(entry.name, _is_real_folder(entry)) for entry in entries]

    def sync(self) -> None:
        """Make its entries durable: nothing to do, every move here is written through and NTFS keeps a journal."""

    def free_space(self) -> int:
        """Return the bytes the agent's user may still write here."""
        return calls.free_space(self._native)

    def is_writable(self) -> bool:
        """Tell whether names may be added and removed here, by making a file that vanishes with its handle."""
        name = staged_name(os.urandom(8).hex())
        try:
            handle = calls.open_handle(
                self._of(name),
                access=calls.GENERIC_WRITE | calls.DELETE,
                share=calls.SHARE_READ | calls.SHARE_DELETE,
                disposition=calls.CREATE_NEW,
                flags=calls.ATTRIBUTE_HIDDEN | calls.FLAG_DELETE_ON_CLOSE,
            )
        except OSError:
            return False
        calls.close_handle(handle)
        return True

    def deeper(self, name: str) -> Folder:
        """Open a folder in this one. Raises NotRegular for a link, NotADirectoryError for a file.

        On success this folder's handles go to the one returned.
        """
        path = self.path / name
        handle = _hold_folder(self._of(name))
        try:
            # Looked at after it is held: nobody can swap it any more.
            _require_folder(self.stat(name), path)
        except BaseException:
            calls.close_handle(handle)
            raise
        folder = Folder([*self._handles, handle], path)
        self._handles = []
        return folder

    def make_deeper(self, name: str, *, mode: int | None) -> Folder:
        """Make a folder in this one and open it; its rights are inherited, `mode` says nothing here."""
        del mode
        try:
            Path(self._of(name)).mkdir()
        except FileExistsError:  # somebody else made it since we looked
            return self.deeper(name)
        except FileNotFoundError as error:
            # This folder is held and so is there: it is the new one's name that cannot be.
            raise OSError(errno.EINVAL, "the system refuses this name", os.fspath(self.path / name)) from error
        return self.deeper(name)


def _require_same(before: os.stat_result, after: os.stat_result, path: Path) -> None:
    """Raise where what was opened is not the plain file that was looked at: swapped in between, perhaps by a link."""
    require_plain(after, path)
    if identity(after) != identity(before):
        raise FileNotFoundError(errno.ENOENT, "replaced while it was opened", os.fspath(path))


def _require_folder(status: os.stat_result, path: Path) -> None:
    """Raise NotRegular for a link, NotADirectoryError for a file."""
    kind = irregularity(status)
    if kind is not None:
        raise irregular_entry(path, kind)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", os.fspath(path))


def _is_real_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and irregularity(entry.stat(follow_symlinks=False)) is None


def _hold_folder(path: str) -> int:
    """Open a folder (or what is in its place) so that nobody can rename or delete it."""
    return calls.open_handle(
        path,
        access=calls.FILE_LIST_DIRECTORY,
        share=calls.SHARE_READ | calls.SHARE_WRITE,
        flags=calls.FLAG_BACKUP_SEMANTICS | calls.FLAG_OPEN_REPARSE_POINT,
    )


def open_root(root: Path, *, missing: LaneReason = LaneReason.NOT_READABLE) -> Folder:
    """Open a root itself (it may be a link, it is configured). Raises LocalTrouble(`missing`) where it is not there."""
    path = native_path(root)
    with as_local_trouble("open", root):
        try:
            _require_folder(Path(path).stat(), root)
            share = calls.SHARE_READ | calls.SHARE_WRITE
            handle = calls.open_handle(
                path, access=calls.FILE_LIST_DIRECTORY, share=share, flags=calls.FLAG_BACKUP_SEMANTICS
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            hint = "look whether the disk or share is connected; the agent goes on once the folder is there"
            raise LocalTrouble(f"the folder {root} is missing", reason=missing, hint=hint) from error
    return Folder([handle], root)


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
    """Open a folder beneath a root and make what is missing of it; raises as `open_folder`."""

    def step(folder: Folder, part: str) -> Folder:
        try:
            return folder.deeper(part)
        except FileNotFoundError:
            return folder.make_deeper(part, mode=mode)

    return _walk(root, relative_folder, step, missing)


# --- single files ----------------------------------------------------------------------------------------------------


def descriptor_beneath(root: Path, relative_path: str) -> int:
    """Return a descriptor of a plain file beneath a root; follows no link on the way.

    Raises NotRegular, FileBusy (`gone` where it is not there), LocalTrouble.
    """
    parent, name = split(relative_path)
    path = root / relative_path
    try:
        with open_folder(root, parent) as folder:
            return folder.descriptor(name)
    except OSError as error:
        because = _SHARED_BY_OTHERS if windows_code(error) == ERROR_SHARING_VIOLATION else ""
        raise source_trouble(error, "open", path, because=because) from error


def open_beneath(root: Path, relative_path: str) -> BufferedReader:
    """Open a plain file beneath a root for reading; raises as `descriptor_beneath`."""
    return os.fdopen(descriptor_beneath(root, relative_path), "rb")


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
        return Sighting(relative_path, Signature("", 0, 0), irregular=Irregular.JUNCTION)
    except OSError as error:
        raise any_local_trouble(error, "look at", root / relative_path) from error


def is_held_for_writing(path: Path) -> bool:
    """Tell whether somebody holds a file open for writing: then it cannot be opened by one who shares no writing.

    Locked against everything counts too; what else keeps it from being opened is said when it is opened.
    """
    try:
        handle = calls.open_handle(
            native_path(path), access=calls.GENERIC_READ, share=calls.SHARE_READ | calls.SHARE_DELETE
        )
    except OSError as error:
        return windows_code(error) in (ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION)
    calls.close_handle(handle)
    return False


def hide(path: Path) -> None:
    """Hide a file by its attribute; raises OSError."""
    calls.set_hidden(native_path(path), hidden=True)


def sync_file(handle: int) -> None:
    """Make a file's bytes durable. After an error they are lost: never sync the same handle again (faults.md 4)."""
    os.fsync(handle)


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable: nothing to do, every move here is written through and NTFS keeps a journal."""
    del path


def free_space(path: Path) -> int:
    """Return the bytes the agent's user may still write in an existing folder. Raises LocalTrouble."""
    with as_local_trouble("ask for the free space of", path):
        return calls.free_space(native_path(path))


def keeps_files_of_others(path: Path) -> bool:
    """Return False: whether a file may be moved is said by its own rights here, as long as it does not lie there."""
    del path
    return False


def stat_open(file: BinaryIO) -> os.stat_result:
    """Return an open file's stat."""
    return os.fstat(file.fileno())


def set_mode(file: BinaryIO, mode: int) -> None:
    """Set an open file's rights: nothing to do, they are those the folder passes on."""
    del file, mode


def copy_owner_and_times(source: os.stat_result, destination: BinaryIO) -> None:
    """Give an open file the times of another; the owner and rights of a copy are those its folder passes on."""
    born_ns = int(getattr(source, "st_birthtime_ns", source.st_ctime_ns))
    read_ns, modified_ns = source.st_atime_ns, source.st_mtime_ns
    calls.set_times(destination.fileno(), born_ns=born_ns, read_ns=read_ns, modified_ns=modified_ns)
