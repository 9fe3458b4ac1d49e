"""The control interface: script faults, move the clock, look inside. Served only where the settings ask for it.

It asks for no token, so it belongs on loopback and in tests. What only one service has is in its own `control`.

- `POST /control/faults` with one fault as JSON: `kind` and the fields of its class in `faults`, which say what they
  mean. `{"kind": "answer", "status": 503}` is a `Fault` (the kind when none is named), `"drop"` a `Dropped`, `"spoil"`
  a `Spoiled`; every kind takes `method`, `path`, `query` and `times`. `DELETE /control/faults` forgets all of them,
  specifications and the lag of the listing too.
- `POST /control/specifications` with `{"file_name": pattern, "specification": JSON}`: what is answered for these files
  in place of the service's own result, for Aluma what Start answers; `{document}` in a `url` becomes the path of the
  task's document.
- `POST /control/clock` with `{"advance": seconds}` answers `{"now": unix seconds}`.
- `GET /control/state` answers all that is known of every task, counts of requests, the last requests, the faults not
  used up, and the time.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from agent.sandbox.fault_documents import read_fault, write_fault
from agent.sandbox.messages import json_answer
from agent.sandbox.refusals import bad_request
from agent.sandbox.routing import resource

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from agent.sandbox.playable import Playable


class CommonControl:
    """The control end points that every kind of sandbox has."""

    def __init__(self, sandbox: Playable) -> None:
        self._played = sandbox

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            resource("/control/faults", {"POST": self._add_fault, "DELETE": self._clear_faults}),
            resource("/control/specifications", {"POST": self._specify}),
            resource("/control/clock", {"POST": self._advance}),
            resource("/control/state", {"GET": self._state}),
        ]

    def state(self) -> dict[str, Any]:
        """Return what `/control/state` answers."""
        played = self._played
        return {
            "now": played.now(),
            "tasks": played.describe(),
            "requests": played.requests.counts(),
            "recent": [asdict(seen) for seen in played.requests.recent()],
            "faults": [{**write_fault(fault), "left": left} for fault, left in played.faults.waiting()],
        }

    async def _add_fault(self, request: Request) -> Response:
        self._played.faults.add(read_fault(await json_object(request)))
        return Response(status_code=201)

    async def _clear_faults(self, _: Request) -> Response:
        self._played.faults.clear()
        return Response(status_code=204)

    async def _specify(self, request: Request) -> Response:
        document = await json_object(request)
        if document.keys() != {"file_name", "specification"} or not isinstance(document["file_name"], str):
            raise bad_request("control", "A specification has a text file_name and a specification.")
        self._played.faults.specify(document["file_name"], document["specification"])
        return Response(status_code=201)

    async def _advance(self, request: Request) -> Response:
        seconds = seconds_of(await json_object(request), "advance")
        self._played.advance_clock(seconds)
        return json_answer({"now": self._played.now()})

    async def _state(self, _: Request) -> Response:
        return json_answer(self.state())


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body of a control request. Raises Refusal (400)."""
    try:
        document = json.loads(await request.body())
    except ValueError:
        raise bad_request("control", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise bad_request("control", "The body is not a JSON object.")
    return document


def seconds_of(document: dict[str, Any], key: str) -> float:
    """Return a number of seconds in a control request. Raises Refusal (400)."""
    seconds = document.get(key)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise bad_request("control", f"{key} is not a number of seconds.")
    return seconds
