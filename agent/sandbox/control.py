"""The control interface: script faults, move the clock, look inside. Served only where the settings ask for it.

It asks for no token, so it belongs on loopback and in tests.

- `POST /control/faults` with one Fault as JSON (`status`, and any of `method`, `path`, `headers`, `body`, `times`,
  `applied`; see `faults.Fault`); `DELETE /control/faults` forgets them, specifications too.
- `POST /control/specifications` with `{"file_name": pattern, "specification": JSON}`: what Start answers for the tasks
  of these files; `{document}` in a `url` becomes the path of the task's document.
- `POST /control/clock` with `{"advance": seconds}` answers `{"now": unix seconds}`.
- `DELETE /control/tokens` makes every access token invalid.
- `GET /control/state` answers every task with tags, content type, size, sha256, the files its export names and how
  often start, complete, cancel and fail succeeded; counts of requests; the last requests; the faults not used up; the
  time.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from agent.sandbox.faults import Fault
from agent.sandbox.problems import bad_request
from agent.sandbox.routing import resource

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from agent.sandbox.core import Sandbox

_FIRST_FINAL_STATUS = 200
_LAST_STATUS = 599
_FAULT_TYPES: dict[str, type | tuple[type, ...]] = {
    "status": int,
    "method": str,
    "path": str,
    "headers": dict,
    "body": object,
    "times": (int, type(None)),
    "applied": bool,
}


class ControlApi:
    """The control end points of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            resource("/control/faults", {"POST": self._add_fault, "DELETE": self._clear_faults}),
            resource("/control/specifications", {"POST": self._specify}),
            resource("/control/clock", {"POST": self._advance}),
            resource("/control/tokens", {"DELETE": self._revoke}),
            resource("/control/state", {"GET": self._state}),
        ]

    async def _add_fault(self, request: Request) -> Response:
        self._sandbox.faults.add(_fault(await _json_object(request)))
        return Response(status_code=201)

    async def _clear_faults(self, _: Request) -> Response:
        self._sandbox.faults.clear()
        return Response(status_code=204)

    async def _specify(self, request: Request) -> Response:
        document = await _json_object(request)
        if document.keys() != {"file_name", "specification"} or not isinstance(document["file_name"], str):
            raise bad_request("control", "A specification has a text file_name and a specification.")
        self._sandbox.faults.specify(document["file_name"], document["specification"])
        return Response(status_code=201)

    async def _advance(self, request: Request) -> Response:
        seconds = (await _json_object(request)).get("advance")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise bad_request("control", "advance is not a number of seconds.")
        self._sandbox.advance_clock(seconds)
        return _answer({"now": self._sandbox.now()})

    async def _revoke(self, _: Request) -> Response:
        self._sandbox.revoke_tokens()
        return Response(status_code=204)

    async def _state(self, _: Request) -> Response:
        sandbox = self._sandbox
        return _answer(
            {
                "now": sandbox.now(),
                "tasks": sandbox.describe(),
                "requests": sandbox.requests.counts(),
                "recent": [asdict(seen) for seen in sandbox.requests.recent()],
                "faults": [{**asdict(fault), "left": left} for fault, left in sandbox.faults.waiting()],
            }
        )


def _answer(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document), media_type="application/json")


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        document = json.loads(await request.body())
    except ValueError:
        raise bad_request("control", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise bad_request("control", "The body is not a JSON object.")
    return document


def _fault(document: dict[str, Any]) -> Fault:
    unknown = document.keys() - _FAULT_TYPES.keys()
    wrong = [key for key, value in document.items() if key not in unknown and not isinstance(value, _FAULT_TYPES[key])]
    if unknown or wrong or "status" not in document:
        raise bad_request("control", f"A fault has wrong keys or values: {sorted([*unknown, *wrong]) or ['status']}.")
    if not _FIRST_FINAL_STATUS <= document["status"] <= _LAST_STATUS:
        raise bad_request("control", "status is not between 200 and 599.")
    headers = document.get("headers", {})
    if not all(isinstance(text, str) and text.isascii() for item in headers.items() for text in item):
        raise bad_request("control", "headers are not ASCII texts.")
    return Fault(**document)
