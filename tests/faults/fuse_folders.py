"""A folder passed through by FUSE whose calls fail or hang at will: a share that breaks in every way a share can.

`FuseFolder` mounts it in a process of its own, tells it by a file what shall fail, and takes it away again whatever
hangs in it. Run as a program it is that process: `fuse_folders.py FOLDER MOUNT_POINT FAULTS`.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

HANG = -1
"""In place of an errno: the call comes back only once the fault is over."""
DATA = "write fsync flush release"
"""Calls that bring bytes to the disk; `flush` is what close(2) waits for and hears of."""
EVERYTHING = "*"


class FuseFolder:
    """A folder below a mount point of FUSE; a context manager that leaves nothing mounted or running."""

    def __init__(self, mount_point: Path, scratch: Path) -> None:
        self.mount_point = mount_point
        self.behind = scratch / f"behind {mount_point.name}"
        """The real folder, for looking at it while the mount hangs."""
        self._faults = scratch / f"faults of {mount_point.name}.json"
        self._log = scratch / f"fuse {mount_point.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Mount it."""
        self.behind.mkdir()
        self.mount_point.mkdir(parents=True, exist_ok=True)
        self._tell([])
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(self.behind), str(self.mount_point), str(self._faults)],
                stdout=log,
                stderr=log,
            )
        never = threading.Event()
        try:
            while not self.mount_point.is_mount():
                assert self._process.poll() is None, f"no FUSE here: {self._log.read_text()}"
                never.wait(0.02)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Take it away; whoever hangs in it gets ENOTCONN."""
        self.clear()
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        # Killed first: what waits for an answer cannot even be killed while somebody might still give it.
        self._process.kill()
        self._process.wait()
        from faults.mounts import detach  # noqa: PLC0415 -- the program below is run without this package

        with contextlib.suppress(OSError):
            detach(self.mount_point)

    def fault(self, calls: str, error: int | str, path: str = "*") -> None:
        """Let the named calls (separated by spaces, or EVERYTHING) on paths below it fail until `clear`."""
        number = getattr(errno, error) if isinstance(error, str) else error
        self._tell([{"calls": calls.split(), "path": path, "error": number}])

    def clear(self) -> None:
        """Let every call through again, those that hang too."""
        self._tell([])

    @contextmanager
    def hanging(self, calls: str = EVERYTHING, path: str = "*") -> Iterator[None]:
        """Let calls hang for as long as the block lasts."""
        self.fault(calls, HANG, path)
        try:
            yield
        finally:
            self.clear()

    def met(self) -> int:
        """Return how many calls met the present faults."""
        met = self._faults.with_suffix(".met")
        return len(met.read_bytes()) if met.exists() else 0

    def _tell(self, faults: list[dict[str, Any]]) -> None:
        self._faults.with_suffix(".met").unlink(missing_ok=True)
        new = self._faults.with_suffix(".new")
        new.write_text(json.dumps(faults), encoding="utf-8")
        new.replace(self._faults)


def available() -> None:
    """Skip the test where FUSE cannot be used."""
    import pytest  # noqa: PLC0415 -- the program below has no use for it

    from faults import means  # noqa: PLC0415 -- nor is it run beside this package

    means.root()
    means.device("/dev/fuse")
    try:
        importlib.import_module("fuse")
    except (ImportError, OSError) as error:  # OSError: fusepy without libfuse2
        pytest.skip(f"no FUSE for Python: {error}")


def _serve(folder: Path, mount_point: Path, faults: Path) -> None:
    """Mount and serve until unmounted."""
    fuse = importlib.import_module("fuse")  # only this process needs it
    os.umask(0)
    options = {"use_ino": True, "hard_remove": True, "attr_timeout": 0, "entry_timeout": 0}
    fuse.FUSE(_PassedThrough(folder, faults), str(mount_point), foreground=True, **options)


class _Faults:
    """What shall fail now, read again whenever the test has changed it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read_at = (0, 0)
        self._faults: list[dict[str, Any]] = []

    def meet(self, call: str, path: str) -> None:
        """Raise the errno a call meets, or hang while it is to hang."""
        never = threading.Event()
        is_met = False
        while (error := self._error(call, path)) is not None:
            if not is_met:
                with self._path.with_suffix(".met").open("ab") as met:
                    met.write(b".")
            is_met = True
            if error != HANG:
                raise OSError(error, os.strerror(error))
            never.wait(0.02)

    def _error(self, call: str, path: str) -> int | None:
        with self._lock:
            status = self._path.stat()
            changed = status.st_ino, status.st_mtime_ns
            if changed != self._read_at:
                self._faults = json.loads(self._path.read_text(encoding="utf-8"))
                self._read_at = changed
            for fault in self._faults:
                if (call in fault["calls"] or EVERYTHING in fault["calls"]) and fnmatchcase(path, fault["path"]):
                    return int(fault["error"])
        return None


class _PassedThrough:
    """fusepy's operations on a real folder: it looks here for their names, then calls this with one of them."""

    use_ns = True

    def __init__(self, folder: Path, faults: Path) -> None:
        self._folder = folder
        self._faults = _Faults(faults)
        self._operations: dict[str, Callable[..., Any]] = {
            "getattr": _attributes,
            "readdir": lambda real, _: [".", "..", *os.listdir(real)],  # noqa: PTH208 -- names are what it answers
            "access": _access,
            "mkdir": os.mkdir,
            "rmdir": os.rmdir,
            "unlink": os.unlink,
            "rename": lambda real, new: os.rename(real, self._beneath(new)),  # noqa: PTH104 -- as the system does
            "link": lambda real, existing: os.link(self._beneath(existing), real),
            "chmod": os.chmod,
            "chown": os.chown,
            "utimens": lambda real, times: os.utime(real, ns=times),
            "statfs": _space,
            "open": os.open,
            "create": lambda real, mode, _=None: os.open(real, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode),
            "read": lambda _, size, offset, handle: os.pread(handle, size, offset),
            "write": lambda _, data, offset, handle: os.pwrite(handle, data, offset),
            "truncate": lambda real, size, handle=None: os.truncate(real if handle is None else handle, size),
            "flush": lambda *_: 0,
            "fsync": lambda _, __, handle: os.fsync(handle),
            "fsyncdir": lambda real, *_: _sync_folder(real),
            "release": lambda _, handle: os.close(handle),
            "opendir": lambda *_: 0,
            "releasedir": lambda *_: 0,
        }

    def __getattr__(self, name: str) -> object:
        """Say of an operation that it is there."""
        if name in self._operations:
            return self._operations[name]
        raise AttributeError(name)

    def __call__(self, operation: str, path: str, *arguments: Any) -> Any:
        """Carry out one operation, or let it fail."""
        if operation in {"init", "destroy"}:
            return None
        self._faults.meet(operation, path)
        return self._operations[operation](os.fspath(self._folder) + path, *arguments)

    def _beneath(self, path: str) -> str:
        return os.fspath(self._folder) + path


def _attributes(real: str, _handle: object = None) -> dict[str, int]:
    status = os.lstat(real)
    names = ("st_gid", "st_ino", "st_mode", "st_nlink", "st_size", "st_uid")
    times = {name: getattr(status, f"{name}_ns") for name in ("st_atime", "st_ctime", "st_mtime")}
    return times | {name: getattr(status, name) for name in names}


def _access(real: str, mode: int) -> int:
    if not os.access(real, mode):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    return 0


def _space(real: str) -> dict[str, int]:
    space = os.statvfs(real)
    names = ("bavail", "bfree", "blocks", "bsize", "favail", "ffree", "files", "flag", "frsize", "namemax")
    return {f"f_{name}": getattr(space, f"f_{name}") for name in names}


def _sync_folder(real: str) -> None:
    handle = os.open(real, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


if __name__ == "__main__":
    _serve(*(Path(argument) for argument in sys.argv[1:4]))
