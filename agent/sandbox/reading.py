"""Waiting for documents to be read: the thread that reads them, and requests that let it catch up."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.sandbox.driven import DrivenService


class DocumentReader:
    """Owns the thread; it ends after the document under way when the sandbox is released."""

    def __init__(self, sandbox: DrivenService) -> None:
        self._sandbox = sandbox
        self.thread = threading.Thread(target=self._run, name="sandbox-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self.thread.start()

    def _run(self) -> None:
        while self._sandbox.wait_for_unread():
            self._sandbox.read_next()


async def let_reading_catch_up(sandbox: DrivenService, patience: float, job_id: str | None = None) -> None:
    """Wait, bounded, for documents whose processing time is over, so that a driven clock gives one answer."""
    if sandbox.is_reading_overdue(job_id):
        await asyncio.to_thread(sandbox.wait_until_read, patience, job_id)
