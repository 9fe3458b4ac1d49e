"""Sending one document: a POST streamed in blocks, and what is known of it when no answer comes.

Judges no status; what an interruption means is the service's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.services.answers import FIRST_REFUSAL, Answer, read_answer, read_refusal
from agent.services.exchange import BodyStopped, UploadBody
from agent.services.trouble import TRANSPORT_ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.errors import ServiceTrouble
    from agent.services.exchange import Source
    from agent.services.http import ServiceSession


class UploadInterrupted(Exception):
    """An upload ended without an answer: `sent` bytes of the body had left; `trouble` says why."""

    def __init__(self, trouble: ServiceTrouble, *, sent: int, connected: bool, proxied: bool) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble
        self.sent = sent
        self.connected = connected
        self.proxied = proxied


def send_document(
    session: ServiceSession, address: str, *, headers: Mapping[str, str], body: Source, size: int
) -> Answer:
    """POST exactly `size` bytes of `body` and return the answer, whatever its status but 401.

    Raises UploadInterrupted where no answer came, what reading `body` raises, FileBusy where its length is not `size`
    (the request was cut before its last block), and ServiceTrouble before anything was sent.
    """
    tries = 0

    def send(token: str) -> Answer:
        nonlocal tries
        if tries:
            body.seek(0)
        tries += 1
        session.enter()
        everything = {**session.headers(token), **headers, "Content-Length": str(size)}
        return session.heed(_send_once(session, address, headers=everything, body=body, size=size))

    return session.authorised(send)


def _send_once(session: ServiceSession, address: str, *, headers: Mapping[str, str], body: Source, size: int) -> Answer:
    with session.seam():
        pools = session.open_pools()
    with session.exchange(size=size) as exchange:
        upload = exchange.body = UploadBody(body, size=size, exchange=exchange)
        try:
            response = pools.direct.urlopen(
                "POST",
                address,
                body=upload,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=session.timeouts(),
            )
            return read_refusal(response) if response.status >= FIRST_REFUSAL else read_answer(response)
        except BodyStopped:
            assert upload.failure is not None
            raise upload.failure from None
        except TRANSPORT_ERRORS as error:
            raise UploadInterrupted(
                session.trouble(error), sent=upload.sent, connected=upload.begun, proxied=pools.buffering_proxy
            ) from error
