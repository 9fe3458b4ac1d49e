"""Knows a root again: the marker `.fsagent` and the folder's own identity (design.md §3.1).

Owns the marker file. Makes no root, asks no ledger and decides nothing about files: it says whether a lane may touch a
root now, and if not, why and what to do. Every call goes to the root's file system and may hang as long as that does:
it belongs into the watch folder's own thread, never into one that serves others too.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import LocalTrouble
from agent.folders.system import hide, identity, irregularity, publish_without_replacing, sync_folder
from agent.folders.trouble import local_trouble
from agent.model import LaneReason, RootKind, RootRecord
from agent.rules.naming import for_display, staged_name

if TYPE_CHECKING:
    from pathlib import Path

MARKER = ".fsagent"
DAMAGED = ""
"""What `read_marker` returns of something that is there under the marker's name and is none."""

_WRITING: dict[str, threading.Lock] = {}
"""By root: whoever writes its marker has the staged name for himself, be it a guard, a filing or an operator's `adopt`.
Not one for all roots: who waits for a dead share must keep no other waiting."""
_LEDGER_ID = re.compile(rb"[0-9a-f]{32}\s*")
_LONGEST_MARKER = 64
_PATIENCE = 2.0  # seconds for a virus scanner to let go of the new marker
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_AS_IT_LIES = _FLAGS | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

_MISSING = {RootKind.INBOX: LaneReason.INBOX_MISSING, RootKind.OUTPUT: LaneReason.OUTPUT_MISSING}


@dataclass(frozen=True, slots=True)
class RootLook:
    """What one look at a root showed; without `reason` the lane may work, and `record` is stored where it changed."""

    reason: LaneReason | None = None
    detail: str = ""
    hint: str = ""
    record: RootRecord | None = None


def look_at_root(
    path: Path, *, kind: RootKind, watch_folder: str, ledger_id: str, known: RootRecord | None
) -> RootLook:
    """Say whether this ledger may work on a root, writing the marker where it is this ledger's to write.

    A root never known gets the marker; so does one whose marker is gone but which is the same folder as before. The
    marker of this ledger is believed wherever it lies: a restored or moved disk has other file ids. `known` of another
    path is another root's.
    """
    if known and (not known.marked or known.path != os.fspath(path)):
        known = None
    try:
        seen = _identity_of_folder(path)
        marker = read_marker(path)
    except OSError as error:
        return _trouble(path, kind, error, "read")
    if marker is None:
        if known and known.identity != seen:
            return _changed(path, kind, watch_folder)
        try:
            marker = _write_marker(path, ledger_id)
        except (OSError, LocalTrouble) as error:
            return _trouble(path, kind, error, "write to")
    if marker == ledger_id:
        return RootLook(record=RootRecord(watch_folder, kind, os.fspath(path), seen, marked=True))
    return _owned_by_other(path, watch_folder, marker, ledger_id)


def adopt_root(path: Path, *, kind: RootKind, watch_folder: str, ledger_id: str) -> RootRecord:
    """Make a root this ledger's whatever its marker said; raises LocalTrouble where that cannot be done."""
    try:
        seen = _identity_of_folder(path)
        with _writing(path):
            _stage_and_replace(path, ledger_id)
    except (OSError, LocalTrouble) as error:
        look = _trouble(path, kind, error, "write to")
        raise LocalTrouble(look.detail, reason=look.reason or _MISSING[kind], hint=look.hint) from error
    return RootRecord(watch_folder, kind, os.fspath(path), seen, marked=True)


def read_marker(root: Path) -> str | None:
    """Return the id of the ledger that owns a root, None without a marker, DAMAGED for anything else of that name.

    Reads at most 64 bytes, follows no link and never blocks on what lies there. Raises OSError where it cannot tell.
    """
    path = root / MARKER
    try:
        status = os.lstat(path)
        # Looked at before it is opened: opening a device may do something, and Windows opens through a link.
        if irregularity(status) or not stat.S_ISREG(status.st_mode):
            return DAMAGED
        handle = os.open(path, os.O_RDONLY | _AS_IT_LIES)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return DAMAGED
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return DAMAGED
        content = os.read(handle, _LONGEST_MARKER + 1)
    finally:
        os.close(handle)
    if len(content) > _LONGEST_MARKER or not _LEDGER_ID.fullmatch(content):
        return DAMAGED
    return content.decode("ascii").strip()


def require_ours(root: Path, *, kind: RootKind, ledger_id: str) -> None:
    """Raise LocalTrouble unless a root is there and carries our marker now.

    For whoever is about to take a file's absence for a fact: a share that went away leaves an empty folder behind.
    """
    try:
        marker = read_marker(root)
    except OSError as error:
        look = _trouble(root, kind, error, "read")
        raise LocalTrouble(look.detail, reason=look.reason or _MISSING[kind], hint=look.hint) from error
    if marker != ledger_id:
        raise LocalTrouble(
            f"{for_display(str(root))} is not the folder it was: its marker {MARKER} is not there",
            reason=_MISSING[kind],
            hint="look whether its share or disk is mounted; it goes on by itself",
        )


def is_ours(root: Path, *, ledger_id: str) -> bool:
    """Return whether a root is there and carries the marker of this ledger; one that cannot be read does not."""
    try:
        return read_marker(root) == ledger_id
    except OSError:
        return False


def answers(path: Path) -> bool:
    """Ask a folder for something, and return once it answers, whatever it says: a dead share does not."""
    with suppress(OSError), os.scandir(path) as entries:
        next(entries, None)
    return True


def touch_marker(root: Path) -> None:
    """Make the marker's file give a native event, changing nothing but its times. Raises OSError where it cannot."""
    path = root / MARKER
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise FileNotFoundError(errno.ENOENT, "no marker", os.fspath(path))
    # Closed after it was open for writing: an event of its own on Linux, though nothing is written.
    handle = os.open(path, os.O_WRONLY | _AS_IT_LIES)
    try:
        if sys.platform == "win32":
            os.utime(path)
    finally:
        os.close(handle)


def _identity_of_folder(path: Path) -> str:
    """Return a root's identity; raises OSError where it is away, no folder, or cannot be listed."""
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):  # listing a file is an error of another kind on each platform
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))
    with os.scandir(path):
        return identity(status)


def _write_marker(root: Path, ledger_id: str) -> str:
    """Write the marker unless another agent was faster; return whose marker lies there then."""
    with _writing(root):
        return _stage_and_publish(root, ledger_id)


def _writing(root: Path) -> threading.Lock:
    return _WRITING.setdefault(os.fspath(root), threading.Lock())


def _stage_and_replace(root: Path, ledger_id: str) -> None:
    staged = _stage_marker(root, ledger_id)
    try:
        staged.replace(root / MARKER)
    except OSError:
        staged.unlink(missing_ok=True)
        raise
    sync_folder(root)


def _stage_and_publish(root: Path, ledger_id: str) -> str:
    staged = _stage_marker(root, ledger_id)
    try:
        publish_without_replacing(staged, root / MARKER, patience=_PATIENCE)
    except FileExistsError:
        staged.unlink(missing_ok=True)
        return read_marker(root) or DAMAGED
    except (OSError, LocalTrouble):
        staged.unlink(missing_ok=True)
        raise
    sync_folder(root)
    return ledger_id


def _stage_marker(root: Path, ledger_id: str) -> Path:
    """Write the marker under a staged name: nobody ever reads half a marker, not after a power loss either."""
    # One name for one ledger: what a crash cut off is written anew, not left lying.
    staged = root / staged_name(ledger_id[:16])
    staged.unlink(missing_ok=True)
    # Readable for everybody: another agent's account has to see whose folder this is.
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(f"{ledger_id}\n".encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        hide(staged)
    except OSError:
        staged.unlink(missing_ok=True)
        raise
    return staged


def _changed(path: Path, kind: RootKind, watch_folder: str) -> RootLook:
    return RootLook(
        LaneReason.ROOT_CHANGED,
        f"The {kind} {path} is not the folder it was: its marker {MARKER} is gone, its device or file id another.",
        "Mount the disk or put the folder back, and work goes on by itself; where this is meant to be the folder now,"
        f" run 'fsagent adopt {watch_folder}'.",
    )


def _owned_by_other(path: Path, watch_folder: str, marker: str, ledger_id: str) -> RootLook:
    marker_path = path / MARKER
    if marker == DAMAGED:
        detail = f"{marker_path} is not a marker fsagent wrote, so it cannot be told which agent owns {path}."
    else:
        detail = f"{path} belongs to another agent: {marker_path} names the ledger {marker}, this one is {ledger_id}."
    return RootLook(
        LaneReason.OWNED_BY_OTHER_AGENT,
        detail,
        "Give each agent folders of its own; where no other agent works on this one any more,"
        f" run 'fsagent adopt {watch_folder}'.",
    )


def _trouble(path: Path, kind: RootKind, error: OSError | LocalTrouble, doing: str) -> RootLook:
    """Translate what the file system says about a root; it is looked at again and heals by itself."""
    if isinstance(error, LocalTrouble):
        return RootLook(error.reason, error.message, error.hint)
    if isinstance(error, FileNotFoundError):
        return RootLook(
            _MISSING[kind], f"The {kind} {path} does not exist.", "Make it ('fsagent init' does) or mount its disk."
        )
    if isinstance(error, NotADirectoryError):
        return RootLook(_MISSING[kind], f"The {kind} {path} is not a folder.", "Correct the configuration.")
    if isinstance(error, PermissionError):
        return RootLook(
            LaneReason.NOT_READABLE if doing == "read" else LaneReason.NOT_WRITABLE,
            f"The agent's account may not {doing} the {kind} {path}: {error.strerror}.",
            "Give the account that runs fsagent the right to read, create, rename and delete there.",
        )
    trouble = local_trouble(error, f"{doing} the {kind}", path)
    if trouble is not None and (trouble.reason is not LaneReason.IO_ERROR or error.errno == errno.EIO):
        return RootLook(trouble.reason, trouble.message, trouble.hint)
    return RootLook(
        _MISSING[kind],
        f"The {kind} {path} does not answer: {error.strerror or error}.",
        "Look whether its disk or share is connected and sound; work goes on by itself once it answers.",
    )
