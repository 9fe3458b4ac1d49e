"""The thread that sends this sandbox's webhooks: each once, whatever is answered (T-hook)."""

from __future__ import annotations

import http.client
import json
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from agent.sandbox.typless.core import Notice, TyplessSandbox


class WebhookSender:
    """Owns the thread; it ends after the request under way when the sandbox is released."""

    def __init__(self, sandbox: TyplessSandbox) -> None:
        self._sandbox = sandbox
        self.thread = threading.Thread(target=self._run, name="sandbox-webhooks", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self.thread.start()

    def _run(self) -> None:
        while (notice := self._sandbox.next_notice()) is not None:
            try:
                outcome = f"sent {_send(notice, timeout=self._sandbox.settings.webhook_timeout)}"
            except (OSError, ValueError, http.client.HTTPException) as error:
                outcome = f"failed: {type(error).__name__}"
            self._sandbox.record_notice(notice, outcome)


def _send(notice: Notice, *, timeout: float) -> int:
    """Return the status a webhook was answered with. Raises OSError, ValueError, HTTPException."""
    target = urlsplit(notice.url)
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = kind(target.hostname or "", target.port, timeout=timeout)
    try:
        path = f"{target.path or '/'}{'?' if target.query else ''}{target.query}"
        connection.request("POST", path, json.dumps(notice.body), {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()
