"""What the kernel says of a process: how much memory it ever had, how much it read."""

from __future__ import annotations

from pathlib import Path


def peak_memory(pid: int) -> int:
    """Return the most bytes of memory a process had resident at any time."""
    return _field(pid, "status", "VmHWM:") * 1024


def bytes_read(pid: int) -> int:
    """Return how many bytes a process has read by system calls, from files and sockets alike."""
    return _field(pid, "io", "rchar:")


def _field(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return _field(pid, "status", "Threads:")
