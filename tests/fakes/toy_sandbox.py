"""The toy's sandbox: what `fakes.toy_service` talks to. A document of no pages is broken."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

KEY = "toy-key"


class ToySandbox:
    """A running toy; `jobs` holds what it took, by id."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        sandbox = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = self.rfile.read(size)
                if len(body) < size:
                    return  # the client went away
                name = parse_qs(urlsplit(self.path).query)["name"][0]
                self._answer(*(sandbox.take(name, body) if self._is_known() else (401, {})))

            def do_GET(self) -> None:
                identifier = urlsplit(self.path).path.removeprefix("/jobs").strip("/")
                if not self._is_known():
                    self._answer(401, {})
                elif identifier and identifier not in sandbox.jobs:
                    self._answer(404, {})
                else:
                    self._answer(200, sandbox.jobs[identifier] if identifier else {"jobs": len(sandbox.jobs)})

            def _is_known(self) -> bool:
                return self.headers["Authorization"] == f"Toy {KEY}"

            def _answer(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, name: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Take a document and read it at once."""
        identifier = f"job-{len(self.jobs) + 1}"
        job: dict[str, Any] = {"name": name, "state": "done", "sha256": hashlib.sha256(body).hexdigest()}
        if b"/Page" in body:
            job["read"] = {"bytes": len(body), "pages": body.count(b"/Type /Page ")}
        else:
            job |= {"state": "broken", "why": "there is no page in it"}
        self.jobs[identifier] = job
        return 201, {"job": identifier}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
