"""Shows what the sink can take: the same uploads from plain sockets, the request made beforehand, nothing read or kept.

`python raw_client.py PORT COUNT SIZE`
"""

from __future__ import annotations

import socket
import sys


def main() -> None:
    port, count, size = (int(argument) for argument in sys.argv[1:])
    head = f"POST /tasks?project_id=p HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode()
    request = head + b"%" * size
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            sock.sendall(request)
            assert sock.recv(4096).startswith(b"HTTP/1.1 201")


if __name__ == "__main__":
    main()
