"""A way to the service on which uploads take their time: in turn before they arrive, and before their answer does.

Who is killed meanwhile has sent nothing, or made a task of which nobody told it.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading

from faults.proxies import Listener

_BLOCK = 256 * 1024


class SlowUploads(Listener):
    """Forwards to a port of loopback; what is posted waits `seconds` on one of its two ways."""

    def __init__(self, target: int, *, seconds: float) -> None:
        super().__init__()
        self._target = target
        self._seconds = seconds
        self._uploads = itertools.count()
        self.under_way = threading.Event()
        """Set while an upload waits for its answer: its sender has said all and knows nothing."""

    @property
    def url(self) -> str:
        """Where the agent finds the service."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, client: socket.socket) -> None:
        """Forward both ways until one side ends."""
        with self.keep(socket.create_connection(("127.0.0.1", self._target))) as server:
            is_answer_slow = False
            while not self.over.is_set():
                for source in select.select([client, server], [], [])[0]:
                    block = source.recv(_BLOCK)
                    if not block:
                        return
                    if source is client and block.startswith(b"POST "):
                        is_answer_slow = next(self._uploads) % 2 == 0
                        if not is_answer_slow and self._is_left(client):
                            return
                    elif source is server and is_answer_slow:
                        is_answer_slow = False
                        self.under_way.set()
                        self.over.wait(self._seconds)
                        self.under_way.clear()
                    (server if source is client else client).sendall(block)

    def _is_left(self, client: socket.socket) -> bool:
        """Let time pass and tell whether the client went meanwhile: then nothing of its upload arrives."""
        self.over.wait(self._seconds)
        readable, _, _ = select.select([client], [], [], 0)
        return bool(readable) and not client.recv(1, socket.MSG_PEEK)
