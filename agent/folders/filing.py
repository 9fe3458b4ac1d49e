"""Files sources away: into `archive/` and `error/`, back again, and out of them in the end; with the notes beside them.

Replaces nothing and follows no link. Decides nothing: which file goes where is in the ledger before this module is
asked, and everything here may be asked twice.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from agent.errors import FileBusy, LocalTrouble, NotRegular
from agent.folders import system
from agent.folders.moving import Move, name_of_copy, sha256_of
from agent.folders.staging import create_staged, discard_staged
from agent.folders.trouble import any_local_trouble, as_local_trouble, source_trouble
from agent.model import LaneReason
from agent.rules.naming import error_note_name, for_display, join, staged_name, with_suffix_in_stem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.folders.system import Folder
    from agent.model import Signature

PATIENCE = 5.0
"""Seconds a rename waits for a virus scanner or indexer; after that the filing stays planned and is tried again."""

_LONGEST_NOTE = 64 * 1024
_NOTE_BEGINS = b"reason:"


# --- moving ----------------------------------------------------------------------------------------------------------


def file_away(
    *,
    source_root: Path,
    relative_path: str,
    signature: Signature,
    destination_root: Path,
    destination: str,
    sha256: str = "",
    min_free: int = 0,
    copy: bool = True,
    patience: float = PATIENCE,
    wait: Callable[[float], object] = time.sleep,
) -> str:
    """Move the file of that signature to `destination` beneath another root and return its identity there.

    Durable on return. `sha256`, where given, is what a copy to another device must have; `min_free`: bytes that must
    stay free there. `patience` in seconds.
    With `copy` False nothing is copied: "" is returned where a rename cannot do it.

    Raises FileExistsError where the name is taken; FileBusy where others hold the file or something stands in the way
    of this one, `gone` where what was sent is not there any more (deleted, replaced, written to); NotRegular where a
    link leads to the source by now; LocalTrouble for what concerns a folder or device. Then nothing was moved, but for
    a copy to another device whose source cannot be deleted: `find_filed` knows it the next time.
    """
    parent, name = system.split(relative_path)
    new_parent, new_name = system.split(destination)
    with (
        _source_folder(source_root, parent, source_root / relative_path) as source,
        _destination_folder(destination_root, new_parent, source_root) as target,
    ):
        move = Move(
            source=source,
            name=name,
            target=target,
            new_name=new_name,
            signature=signature,
            sha256=sha256,
            patience=patience,
            wait=wait,
            is_deeper=bool(parent),
        )
        if not move.rename():
            return move.copy(min_free) if copy else ""
        with as_local_trouble("make durable", target.path):
            target.sync()
            source.sync()
    return signature.identity


def digest_of(root: Path, relative_path: str) -> str:
    """Return the SHA-256 of a source as it is now. Raises NotRegular, FileBusy, LocalTrouble."""
    parent, name = system.split(relative_path)
    with _source_folder(root, parent, root / relative_path) as folder:
        return sha256_of(folder, name)


def _source_folder(root: Path, relative_folder: str, path: Path) -> Folder:
    try:
        return system.open_folder(root, relative_folder)
    except OSError as error:
        raise source_trouble(error, "reach", path) from error


def _destination_folder(root: Path, relative_folder: str, source_root: Path) -> Folder:
    """Open and make a folder to move into; a link or a file in its place is the trouble of this one move alone."""
    if root.parent == source_root:
        # Its place is known to be there: no mount that is away can be mistaken for a folder somebody has removed.
        make_root(root)
    place = for_display(str(root / relative_folder))
    try:
        return system.make_folder(root, relative_folder, missing=LaneReason.NOT_WRITABLE)
    except NotRegular as error:
        raise FileBusy(f"{error.message}: nothing is moved through it", hint="put a real folder there") from error
    except (NotADirectoryError, FileExistsError) as error:
        raise FileBusy(f"{place} cannot be a folder: a file has its name", hint="move that file away") from error
    except OSError as error:
        raise any_local_trouble(error, "make the folder", place) from error


def make_root(path: Path, *, mode: int | None = None) -> None:
    """Make `archive/` or `error/` itself, durably; the folder it lies in must be there. Raises LocalTrouble.

    `mode` None: what a newly made folder there would have.
    """
    with as_local_trouble("make durable", path):
        if path.is_dir():
            system.make_name_durable(path)
            return
    with system.open_root(path.parent, missing=LaneReason.NOT_WRITABLE) as parent:
        try:
            parent.make_deeper(path.name, mode=mode).close()
        except (NotRegular, OSError) as error:
            if path.is_dir():  # a link to a folder: a root is configured, it may be one
                return
            if isinstance(error, NotRegular | NotADirectoryError):
                raise LocalTrouble(
                    f"{path} is no folder", reason=LaneReason.NOT_WRITABLE, hint="move away what has its name"
                ) from error
            raise any_local_trouble(error, "make the folder", path) from error


# --- what was filed --------------------------------------------------------------------------------------------------


def find_filed(destination_root: Path, destination: str, signature: Signature, sha256: str) -> str | None:
    """Return the identity of what lies at a destination where it is the very file, moved or copied before a crash.

    The same file (by device, file id and size) or, where a digest is given, the same bytes. Raises LocalTrouble,
    and FileBusy where it cannot be read to tell.
    """
    parent, name = system.split(destination)
    path = destination_root / destination
    try:
        with system.open_folder(destination_root, parent) as folder:
            status = folder.stat(name)
            if not system.is_plain(status) or status.st_size != signature.size:
                return None
            found = system.identity(status)
            is_same = found == signature.identity and status.st_mtime_ns == signature.modified_ns
            if is_same or (sha256 and sha256_of(folder, name) == sha256):
                return found
    except (FileNotFoundError, NotADirectoryError, NotRegular):
        return None
    except FileBusy as busy:
        if busy.gone:
            return None
        raise
    except OSError as error:
        raise any_local_trouble(error, "look at", path) from error
    return None


def make_durable(root: Path, relative_path: str) -> None:
    """Make the entries of a file's folder durable, for a move whose own sync failed or never came after a crash.

    A folder that is not there any more has none. Raises LocalTrouble.
    """
    parent, _ = system.split(relative_path)
    try:
        with system.open_folder(root, parent) as folder:
            folder.sync()
    except (FileNotFoundError, NotADirectoryError, NotRegular):
        return
    except OSError as error:
        raise any_local_trouble(error, "make durable", root / parent) from error


def remove_cut_off_copy(destination_root: Path, destination: str, signature: Signature) -> None:
    """Remove what a crash left of a copy to another device whose source is there no more. Raises LocalTrouble."""
    parent, name = system.split(destination)
    try:
        with system.open_folder(destination_root, parent) as folder:
            discard_staged(folder, name_of_copy(signature, name))
    except (FileNotFoundError, NotADirectoryError, NotRegular):
        return
    except OSError as error:
        raise any_local_trouble(error, "look into", destination_root / parent) from error


def remove_filed(
    root: Path,
    relative_path: str,
    *,
    identity: str,
    size: int,
    patience: float = PATIENCE,
    wait: Callable[[float], object] = time.sleep,
) -> bool:
    """Delete a file that is still the one of that identity and size, durably; return whether its name is free now.

    False: something else lies there, or others hold it open. Raises LocalTrouble.
    """
    parent, name = system.split(relative_path)
    path = root / relative_path
    try:
        with system.open_folder(root, parent) as folder:
            status = folder.stat(name)
            if not system.is_plain(status) or system.identity(status) != identity or status.st_size != size:
                return False
            system.patiently(lambda: folder.unlink(name), patience=patience, wait=wait)
            folder.sync()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except NotRegular:
        return False
    except OSError as error:
        trouble = source_trouble(error, "delete", path)
        if isinstance(trouble, LocalTrouble):
            raise trouble from error
        return False
    return True


# --- notes -----------------------------------------------------------------------------------------------------------


def write_note(root: Path, relative_path: str, text: str, *, own: str = "") -> str:
    """Write `<file name>.error.txt` beside a file, whole and durable, and return the relative path it got.

    A note there that contains `own` (a line only we write, with the task's id say) is our earlier one and is replaced;
    any other has its name kept, and ours gets eight hexadecimal digits in its own. Raises LocalTrouble.
    """
    parent, _ = system.split(relative_path)
    content = text.encode("utf-8", errors="replace")
    digest = hashlib.sha256(content).hexdigest()
    # The digest makes the second name the same when the same note is written again after a crash.
    for path in (relative_path, with_suffix_in_stem(relative_path, f"-{digest[:8]}")):
        name = error_note_name(path.rpartition("/")[2])
        with _note_folder(root, parent) as folder, as_local_trouble("write a note in", folder.path):
            if _publish_note(folder, name, content, own=own):
                return join(parent, name)
    return join(parent, name)


def remove_note(root: Path, relative_path: str) -> bool:
    """Delete the note beside a file, durably; return False where there is none that is ours. Raises LocalTrouble."""
    parent, file_name = system.split(relative_path)
    name = error_note_name(file_name)
    try:
        with system.open_folder(root, parent) as folder:
            if not _read_note(folder, name).startswith(_NOTE_BEGINS):
                return False
            folder.unlink(name)
            folder.sync()
    except (FileNotFoundError, NotADirectoryError, NotRegular):
        return False
    except OSError as error:
        raise any_local_trouble(error, "delete", root / join(parent, name)) from error
    return True


def _note_folder(root: Path, relative_folder: str) -> Folder:
    try:
        return system.make_folder(root, relative_folder, missing=LaneReason.NOT_WRITABLE)
    except NotRegular as error:
        raise LocalTrouble(error.message, reason=LaneReason.NOT_WRITABLE, hint="put a real folder there") from error
    except OSError as error:
        raise any_local_trouble(error, "make the folder", root / relative_folder) from error


def _publish_note(folder: Folder, name: str, content: bytes, *, own: str) -> bool:
    """Write one note; return False where a stranger's has its name. Raises OSError."""
    temporary = staged_name(hashlib.sha256(name.encode(errors="surrogatepass") + content).hexdigest()[:16])
    create_staged(folder, temporary).fill([content])
    try:
        folder.show(temporary)
        if not _rename_note(folder, temporary, name, own.encode("utf-8", errors="replace"), content):
            discard_staged(folder, temporary)
            return False
    except BaseException:
        discard_staged(folder, temporary)
        raise
    folder.sync()
    return True


def _rename_note(folder: Folder, temporary: str, name: str, own: bytes, content: bytes) -> bool:
    try:
        folder.rename(temporary, folder, name)
    except FileExistsError:
        try:
            found = _read_note(folder, name)
        except NotRegular:
            return False
        if found != content and not (own and own in found):
            return False
        folder.replace(temporary, folder, name)
    return True


def _read_note(folder: Folder, name: str) -> bytes:
    with folder.open(name) as file:
        return file.read(_LONGEST_NOTE)
