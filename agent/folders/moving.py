"""Moves one file from a folder to another, both held open: by a rename, or by copy, verify, publish, unlink.

Serves `filing`. Moves nothing but the very file the caller names by its signature, replaces nothing.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from agent.errors import FileBusy, LocalTrouble
from agent.folders import system
from agent.folders.staging import create_staged, discard_staged, require_space
from agent.folders.trouble import (
    ERROR_LOCK_VIOLATION,
    ERROR_SHARING_VIOLATION,
    any_local_trouble,
    as_local_trouble,
    reason_of,
    said,
    source_trouble,
    windows_code,
)
from agent.model import LaneReason
from agent.rules.naming import for_display, staged_name

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from agent.folders.staging import Staged
    from agent.folders.system import Folder
    from agent.model import Signature

logger = logging.getLogger(__name__)

_BLOCK = 1024 * 1024
COARSEST_TIME = 2 * 10**9
"""Nanoseconds: FAT keeps times in steps of 2 s, so a file that was copied there may have lost as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One file on its way; `sha256` may be empty, `patience` is in seconds.

    `is_deeper`: the source is no root but a folder below, which may be somebody's own.
    """

    source: Folder
    name: str
    target: Folder
    new_name: str
    signature: Signature
    sha256: str
    patience: float
    wait: Callable[[float], object]
    is_deeper: bool

    @property
    def _path(self) -> str:
        return for_display(str(self.source.path / self.name))

    # --- on one device -----------------------------------------------------------------------------------------------

    def rename(self) -> bool:
        """Rename the file; return False where it has to be copied, the target being on another device.

        Raises as `filing.file_away`.
        """
        before = self._require_sent()
        try:
            self._patiently(lambda: self.source.rename(self.name, self.target, self.new_name))
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno == errno.EXDEV:
                return False
            raise self._trouble(error, "move") from error
        self._take_back_a_stranger(before)
        return True

    def _take_back_a_stranger(self, before: os.stat_result) -> None:
        """Undo the rename where it took another file, or other bytes, than were looked at just before: the one race."""
        try:
            after = self.target.stat(self.new_name)
        except FileNotFoundError:  # somebody who watches the folder was faster
            return
        if _is_same(before, after):
            return
        try:
            self.target.rename(self.new_name, self.source, self.name)
        except OSError as error:
            logger.warning(
                "%s was replaced while it was filed, and what replaced it stays as %s: %s",
                self._path,
                for_display(str(self.target.path / self.new_name)),
                said(error),
            )
        raise self._gone("was replaced or written to while it was filed")

    # --- to another device -------------------------------------------------------------------------------------------

    def copy(self, min_free: int) -> str:
        """Copy, verify, publish, delete the source; return the copy's identity. Raises as `filing.file_away`."""
        try:
            file = self.source.open(self.name)
        except OSError as error:
            raise source_trouble(error, "open", self.source.path / self.name) from error
        with file:
            before = system.stat_open(file)
            if system.identity(before) != self.signature.identity or before.st_size != self.signature.size:
                raise self._gone("was replaced or written to")
            if min_free:
                require_space(self.target, min_free + before.st_size)
            temporary = name_of_copy(self.signature, self.new_name)
            copy = self._stage(temporary, file, before)
            try:
                self._verify(temporary, copy)
                self._require_unchanged(before, file)
                self._publish(temporary)
            except BaseException:
                discard_staged(self.target, temporary)
                raise
        self._remove_source(before)
        return copy.identity

    def _stage(self, temporary: str, file: BinaryIO, like: os.stat_result) -> Staged:
        try:
            new = create_staged(self.target, temporary, like=like)
        except OSError as error:
            raise self._trouble(error, "copy") from error
        return new.fill(self._blocks(file))

    def _blocks(self, file: BinaryIO) -> Iterator[bytes]:
        while True:
            try:
                block = file.read(_BLOCK)
            except OSError as error:
                raise source_trouble(error, "read", self.source.path / self.name) from error
            if not block:
                return
            yield block

    def _verify(self, temporary: str, copy: Staged) -> None:
        """Read the copy back: a share may have cut it without an error."""
        if copy.size != self.signature.size or (self.sha256 and copy.sha256 != self.sha256):
            raise self._gone("has other bytes than were sent")
        with as_local_trouble("read back", self.target.path / temporary), self.target.open(temporary) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != copy.sha256:
                raise LocalTrouble(
                    f"{self.target.path} gives back other bytes than were written",
                    reason=LaneReason.IO_ERROR,
                    hint="look at the disk or share; the source is untouched",
                )

    def _require_unchanged(self, before: os.stat_result, file: BinaryIO) -> None:
        if not _is_same(before, system.stat_open(file)):
            raise self._gone("was written to while it was copied")

    def _publish(self, temporary: str) -> None:
        try:
            self.target.show(temporary)
            self._patiently(lambda: self.target.rename(temporary, self.target, self.new_name))
        except FileExistsError:
            raise
        except OSError as error:
            raise self._trouble(error, "move") from error
        with as_local_trouble("make durable", self.target.path):
            self.target.sync()

    def _remove_source(self, before: os.stat_result) -> None:
        try:
            if not _is_same(before, self.source.stat(self.name)):
                return  # other bytes by now: they settle as a file of their own
            self._patiently(lambda: self.source.unlink(self.name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._trouble(error, "delete") from error
        with as_local_trouble("make durable", self.source.path):
            self.source.sync()

    # --- what may be moved, and whose fault it is --------------------------------------------------------------------

    def _require_sent(self) -> os.stat_result:
        """Return the source's stat. Raises NotRegular, and FileBusy(gone) where it is not what was sent."""
        try:
            status = self.source.stat(self.name)
        except OSError as error:
            raise source_trouble(error, "look at", self.source.path / self.name) from error
        system.require_plain(status, self.source.path / self.name)
        if system.identity(status) != self.signature.identity:
            raise self._gone("was replaced by another file")
        if status.st_size != self.signature.size or not self._has_time(status):
            raise self._gone("was written to")
        return status

    def _has_time(self, status: os.stat_result) -> bool:
        """Tell whether the time is what it was; where a coarse file system may have rounded it, the bytes decide."""
        off = abs(status.st_mtime_ns - self.signature.modified_ns)
        if off == 0:
            return True
        if off >= COARSEST_TIME or not self.sha256:
            return False
        return sha256_of(self.source, self.name) == self.sha256

    def _gone(self, what: str) -> FileBusy:
        return FileBusy(f"{self._path} {what}", gone=True)

    def _patiently(self, action: Callable[[], None]) -> None:
        system.patiently(action, patience=self.patience, wait=self.wait)

    def _trouble(self, error: OSError, what: str) -> FileBusy | LocalTrouble:
        """Return whose fault an error of a move is: the source vanished, this one file, or a folder or device."""
        path = self.source.path / self.name
        code = windows_code(error)
        if error.errno == errno.ENOENT and not self._is_there():
            return self._gone("is not there any more")
        reason = reason_of(error)
        if code in (ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION):
            return FileBusy(f"cannot {what} {self._path}: another program holds it open")
        if reason is LaneReason.NOT_WRITABLE:
            for folder in (self.source, self.target):
                if folder.is_writable():
                    continue
                trouble = any_local_trouble(error, "add and remove files in", folder.path)
                if folder is self.source and self.is_deeper:
                    # People move folders of their own into an inbox: what lies beside them goes on.
                    return FileBusy(trouble.message, hint=trouble.hint)
                return trouble
            # Both folders take changes: it is this file (immutable, a sticky folder, its own rights). Others go on.
            return FileBusy(f"cannot {what} {self._path}: {said(error)}")
        if reason is None and error.errno != errno.ENOENT:
            return FileBusy(f"cannot {what} {self._path} to {for_display(str(self.target.path))}: {said(error)}")
        return any_local_trouble(error, what, path)

    def _is_there(self) -> bool:
        try:
            self.source.stat(self.name)
        except FileNotFoundError:
            return False
        return True


def name_of_copy(signature: Signature, new_name: str) -> str:
    """Return the staged name of a move's copy: one for one move, so that what a crash cut off is found again."""
    digest = hashlib.sha256(repr((signature, new_name)).encode(errors="surrogatepass")).hexdigest()
    return staged_name(digest[:16])


def sha256_of(folder: Folder, name: str) -> str:
    """Return the digest of a plain file. Raises NotRegular, FileBusy, LocalTrouble."""
    try:
        with folder.open(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise source_trouble(error, "read", folder.path / name) from error


def _is_same(before: os.stat_result, after: os.stat_result) -> bool:
    """Tell whether two stats are of the same file with the same bytes."""
    return (system.identity(before), before.st_size, before.st_mtime_ns) == (
        system.identity(after),
        after.st_size,
        after.st_mtime_ns,
    )
