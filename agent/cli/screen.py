"""Lines that stand in one place of a terminal and are renewed there: for `run` and for `status --watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from types import TracebackType


class LiveStatus:
    """Lines in one place of the terminal; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._live = Live(console=console or Console(highlight=False), auto_refresh=False)

    def __enter__(self) -> Self:
        """Take the place."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last lines where they stand."""
        self._live.stop()

    def show(self, lines: list[str]) -> None:
        """Replace what stands there."""
        self._live.update(Text.from_ansi("\n".join(lines)), refresh=True)
