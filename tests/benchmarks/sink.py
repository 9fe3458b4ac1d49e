"""The service of a measurement: just enough of the Tasks API (apis.md 1), in one process, faster than what it measures.

One thread, plain sockets: it reads what it is sent, keeps nothing, and answers each upload with a task of its own.
`GET /reset` gives the times of the uploads since the last one.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

BLOCK = 1 << 20
UPLOADS_PATH = b"POST /tasks"
LENGTH = b"content-length:"


class Sink:
    """What was uploaded since the last reset, and what each request is answered."""

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self.first = 0.0
        self.last = 0.0
        self._tasks = 0

    def answer(self, line: bytes, length: int) -> bytes:
        if line.startswith(UPLOADS_PATH):
            self._tasks += 1
            self.last = time.monotonic()
            self.first = self.first or self.last
            self.count += 1
            self.bytes += length
            body = b'{"id":"task-%d","state":"pending","tags":{}}' % self._tasks
            return b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
                len(body),
                body,
            )
        if line.startswith(b"POST /oauth/token"):
            return _document({"access_token": "of-the-sink", "token_type": "Bearer", "expires_in": 86400})
        if line.startswith(b"GET /reset"):
            said = {"count": self.count, "bytes": self.bytes, "first": self.first, "last": self.last}
            self.count = self.bytes = 0
            self.first = self.last = 0.0
            return _document(said)
        return _document({"tasks": []})


def _document(value: object) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Line:
    """One connection: a head that gathers, then a body that is only counted."""

    def __init__(self, sink: Sink, sock: socket.socket) -> None:
        self._sink = sink
        self._socket = sock
        self._head = b""
        self._request = b""
        self._length = 0
        self._left = -1

    def close(self) -> None:
        self._socket.close()

    def read(self, buffer: bytearray) -> bool:
        """Take in what came; return whether the connection still stands."""
        try:
            count = self._socket.recv_into(buffer)
        except OSError:
            return False
        if not count:
            return False
        if self._left >= 0:
            self._left -= count
        else:
            self._head += buffer[:count]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return True
            self._request, self._length = self._head[:64], _length(self._head[:end])
            self._left = self._length - (len(self._head) - end - 4)
        if self._left <= 0:
            # No client here sends a second request before it has the answer.
            self._socket.sendall(self._sink.answer(self._request, self._length))
            self._head, self._left = b"", -1
        return True


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(LENGTH)
    return int(lowered[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def main() -> None:
    """Serve on the port of the first argument (0: any), and say which."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
    print(listener.getsockname()[1], flush=True)
    sink, buffer, selector = Sink(), bytearray(BLOCK), selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                sock, _address = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sock, selectors.EVENT_READ, Line(sink, sock))
            elif not key.data.read(buffer):
                selector.unregister(key.fileobj)
                key.data.close()


if __name__ == "__main__":
    main()
