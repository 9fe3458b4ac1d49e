"""Sizes in the units people read and write in the configuration; decides nothing."""

from __future__ import annotations

_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))


def readable(size: int) -> str:
    """Return bytes in their largest unit, to a tenth."""
    for factor, unit in _UNITS:
        if size >= factor:
            return f"{round(size / factor, 1):g} {unit}"
    return f"{size} B"
