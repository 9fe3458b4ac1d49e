"""The services a sandbox can play: which settings belong to which state, application and threads.

The only place that knows all of them; a further service is added here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.sandbox.aluma.control import AlumaControl
from agent.sandbox.aluma.core import AlumaSandbox
from agent.sandbox.aluma.endpoints import AlumaApi
from agent.sandbox.aluma.openapi import openapi_document as aluma_document
from agent.sandbox.aluma.problems import say_no as say_no_as_aluma
from agent.sandbox.aluma.settings import AlumaSettings
from agent.sandbox.app import make_app
from agent.sandbox.reading import DocumentReader
from agent.sandbox.sendai.control import SendaiControl
from agent.sandbox.sendai.core import SendaiSandbox
from agent.sandbox.sendai.endpoints import SendaiApi
from agent.sandbox.sendai.endpoints import say_no as say_no_as_sendai
from agent.sandbox.sendai.openapi import openapi_document as sendai_document
from agent.sandbox.sendai.settings import SendaiSettings
from agent.sandbox.typless.control import TyplessControl
from agent.sandbox.typless.core import TyplessSandbox
from agent.sandbox.typless.endpoints import TyplessApi
from agent.sandbox.typless.endpoints import say_no as say_no_as_typless
from agent.sandbox.typless.openapi import openapi_document as typless_document
from agent.sandbox.typless.settings import TyplessSettings
from agent.sandbox.typless.webhooks import WebhookSender

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from starlette.types import ASGIApp

    from agent.sandbox.clock import WallClock

AnySettings = AlumaSettings | SendaiSettings | TyplessSettings
AnySandbox = AlumaSandbox | SendaiSandbox | TyplessSandbox


class Worker(Protocol):
    """Something with a thread of its own that ends when the sandbox is released."""

    thread: threading.Thread

    def start(self) -> None:
        """Begin."""


class Played(NamedTuple):
    """One service, ready to be served."""

    sandbox: AnySandbox
    app: ASGIApp
    workers: Sequence[Worker]


def play(settings: AnySettings, *, clock: WallClock) -> Played:
    """Return the service these settings are for."""
    match settings:
        case AlumaSettings():
            return _play_aluma(AlumaSandbox(settings, clock=clock))
        case SendaiSettings():
            return _play_sendai(SendaiSandbox(settings, clock=clock))
        case TyplessSettings():
            return _play_typless(TyplessSandbox(settings, clock=clock))


def _play_aluma(sandbox: AlumaSandbox) -> Played:
    app = make_app(
        sandbox,
        routes=AlumaApi(sandbox).routes(),
        control=AlumaControl(sandbox).routes(),
        document=aluma_document(),
        say_no=say_no_as_aluma,
    )
    return Played(sandbox, app, (DocumentReader(sandbox),))


def _play_sendai(sandbox: SendaiSandbox) -> Played:
    app = make_app(
        sandbox,
        routes=SendaiApi(sandbox).routes(),
        control=SendaiControl(sandbox).routes(),
        document=sendai_document(sandbox.settings),
        say_no=say_no_as_sendai,
    )
    return Played(sandbox, app, (DocumentReader(sandbox),))


def _play_typless(sandbox: TyplessSandbox) -> Played:
    app = make_app(
        sandbox,
        routes=TyplessApi(sandbox).routes(),
        control=TyplessControl(sandbox).routes(),
        document=typless_document(),
        say_no=say_no_as_typless,
    )
    return Played(sandbox, app, (DocumentReader(sandbox), WebhookSender(sandbox)))
