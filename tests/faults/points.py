"""Points of a sweep: how many were tried, how many were reached, how many went bad."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Sweep:
    """The points of one sweep; a point is reached when the fault really happened there."""

    name: str
    tried: int = 0
    reached: int = 0
    bad: list[str] = field(default_factory=list)

    def point(self, where: str, *, reached: bool, complaints: Sequence[str]) -> None:
        """Count one point and what the checker says of it."""
        self.tried += 1
        self.reached += reached
        if complaints:
            self.bad.append(f"{where}: " + "; ".join(complaints))

    def conclude(self, *, at_least: int) -> None:
        """Fail where a point went bad or fewer were reached than this sweep is worth."""
        assert not self.bad, f"{self}\n" + "\n".join(self.bad)
        assert self.reached >= at_least, f"{self}, but at least {at_least} must be reached"

    def __str__(self) -> str:
        """Return the numbers as they are printed."""
        return f"{self.name}: {self.tried} points tried, {self.reached} reached, bad = {len(self.bad)}"
