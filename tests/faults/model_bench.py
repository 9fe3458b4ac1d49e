"""The agent of the model test, that may work with the real ledger and across devices; and the ear for what it logs."""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING, Any, cast

from fakes.workbench import Workbench

from agent.folders import system
from agent.ledger.opening import open_ledger
from agent.runtime.operations import Operations

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from fakes.memory_ledger import MemoryLedger

    from agent.model import WatchFolder


class ModelBench(Workbench):
    """A bench that may work with the real ledger, opened anew by every process."""

    def __init__(self, base: Path, *folders: WatchFolder, real_ledger: bool, **options: Any) -> None:
        self._real_ledger = real_ledger
        super().__init__(base, *folders, **options)

    def start(self) -> None:
        if self._real_ledger:
            self.ledger.close()
            self.ledger = cast("MemoryLedger", open_ledger(self.settings.state_dir, create=True))
        super().start()

    def operations(self) -> Operations:
        """Return what an operator can ask the present process for."""
        return Operations(
            self.settings,
            ledger=self.parts.ledger,
            clock=self.process_clock,
            file_away=self.parts.file_away,
            files_in_hand=self.parts.files_in_hand,
        )


class Unexpected(logging.Handler):
    """Hears of errors that a loop logged and survived: in this test they are failures."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.heard.append(self.format(record))


def put_across_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no rename lead out of an inbox's own folders: archive/ and error/ are devices of their own."""
    rename = system.Folder.rename

    def renamed(self: system.Folder, name: str, destination: system.Folder, new_name: str) -> None:
        if self.path != destination.path:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(self, name, destination, new_name)

    monkeypatch.setattr(system.Folder, "rename", renamed)
