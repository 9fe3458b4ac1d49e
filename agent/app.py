"""Builds the edges and wires them: the only place that knows which ledger, service and clock are the real ones."""

from __future__ import annotations

import random
import secrets
import threading
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent.export.exporting import Exporting
from agent.export.polling import Polling
from agent.export.writing import Writing
from agent.ledger.opening import ledger_exists, make_state_dir, open_ledger
from agent.model import Reason
from agent.runtime.agent import Agent
from agent.runtime.clock import SystemClock
from agent.runtime.lanes import WEB_LANE, Lanes
from agent.runtime.lock import StateLock
from agent.runtime.operations import Operations
from agent.runtime.parts import Parts
from agent.runtime.recovery import refuse_without_ledger
from agent.runtime.roots import FirstLook
from agent.runtime.workers import Worker
from agent.services.opening import open_service
from agent.submission.asking import Asking
from agent.submission.batches import Batches
from agent.submission.file_away import FileAway
from agent.submission.follow import Follow, end_failed
from agent.submission.purge import Purge
from agent.submission.submit import Submit
from agent.submission.unknown import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.model import Settings, TaskRecord
    from agent.ports import Clock, Ledger, Service


WEB_GRACE = 5.0
"""Seconds in which the receiver of webhooks ends; a request there takes milliseconds."""


def entropy() -> int:
    """Return 16 random bits, for names."""
    return secrets.randbits(16)


def build_parts(settings: Settings, *, ledger: Ledger, service: Service, clock: Clock) -> Parts:
    """Wire the stages to their edges."""
    stop = threading.Event()
    writing = Writing(
        ledger=ledger, service=service, clock=clock, entropy=entropy, min_free=settings.min_free, stop=stop
    )

    submit = Submit(ledger=ledger, service=service, clock=clock, stop=stop, connections=settings.service.connections)

    def inbox_of(watch_folder: str) -> Path | None:
        folder = settings.watch_folder(watch_folder)
        return None if folder is None else folder.inbox

    def customer_of(watch_folder: str) -> str:
        folder = settings.watch_folder(watch_folder)
        return "" if folder is None else folder.customer

    def task_failed(record: TaskRecord, message: str) -> None:
        end_failed(ledger, record, reason=Reason.TASK_FAILED, detail=message, now=clock.now())

    return Parts(
        settings=settings,
        ledger=ledger,
        service=service,
        clock=clock,
        lanes=Lanes(retry=settings.retry, clock=clock, random=random.random),
        stop=stop,
        submit=submit,
        batches=Batches(ledger=ledger, service=service, clock=clock, submit=submit, stop=stop),
        file_away=FileAway(ledger=ledger, clock=clock, entropy=entropy, min_free=settings.min_free),
        unknown=Unknown(
            ledger=ledger,
            service=service,
            clock=clock,
            retry=settings.retry,
            inbox_of=inbox_of,
            customer_of=customer_of,
            resubmits=settings.service.on_unknown == "resubmit",
        ),
        follow=Follow(ledger=ledger, service=service, clock=clock),
        asking=Asking(
            settings,
            ledger=ledger,
            service=service,
            clock=clock,
            random=random.random,
            is_told=receives_webhooks(settings, service),
        ),
        purge=Purge(ledger=ledger, clock=clock),
        polling=Polling(ledger=ledger, service=service, clock=clock),
        exporting=Exporting(
            ledger=ledger,
            service=service,
            clock=clock,
            writing=writing,
            settings=settings.service,
            entropy=entropy,
            task_failed=task_failed,
        ),
        new_key=lambda: uuid.uuid4().hex,
        agent_id=secrets.token_hex(8),
    )


@contextmanager
def locked_ledger(settings: Settings, *, start_anew: bool = False) -> Iterator[Ledger]:
    """Hold the state_dir's lock and its ledger, made where there is none.

    `start_anew`: make a ledger although folders carry the marker of one that is gone. Raises LockHeld, LedgerError.
    """
    make_state_dir(settings.state_dir)
    lock = StateLock(settings.state_dir)
    lock.acquire(now=SystemClock().now())
    try:
        if not start_anew and not ledger_exists(settings.state_dir):
            refuse_without_ledger(settings)
        ledger = open_ledger(settings.state_dir, create=True)
        try:
            yield ledger
        finally:
            ledger.close()
    finally:
        lock.release()


@contextmanager
def running_agent(settings: Settings, *, submits: bool = True, exports: bool = True) -> Iterator[tuple[Agent, Parts]]:
    """Run an agent until the block ends. Raises LockHeld, LedgerError, UserError."""
    clock = SystemClock()
    with locked_ledger(settings) as ledger:
        service = open_service(settings.service, clock)
        parts = build_parts(settings, ledger=ledger, service=service, clock=clock)
        agent = Agent(parts, submits=submits, exports=exports)
        try:
            agent.start()
            with receiving(parts, agent):
                yield agent, parts
        finally:
            agent.stop()


def receives_webhooks(settings: Settings, service: Service) -> bool:
    """Return whether the service tells when a task has ended, and the configuration says where."""
    return service.abilities.webhook and bool(settings.service.webhook_secret) and settings.web.port is not None


@contextmanager
def receiving(parts: Parts, agent: Agent) -> Iterator[None]:
    """Receive webhooks until the block ends, where there are any; then the agent stops, too."""
    if not receives_webhooks(parts.settings, parts.service):
        yield
        return
    from agent.web.receiver import Receiver  # noqa: PLC0415 -- the HTTP server costs only who listens

    receiver = Receiver(parts.settings, lane=parts.lanes[WEB_LANE], tell=agent.tell, clock=parts.clock)
    worker = Worker(WEB_LANE, receiver.step, clock=parts.clock, stop=parts.stop)
    receiver.wake = worker.wake
    worker.start()
    try:
        yield
    finally:
        parts.stop.set()
        worker.join(WEB_GRACE)
        receiver.close()


@contextmanager
def operations_here(settings: Settings, ledger: Ledger, *, asks_service: bool = False) -> Iterator[Operations]:
    """Wire what an operator can ask for to a ledger whose lock is held.

    `asks_service`: the settings hold its credentials, and what is told of it is checked.
    """
    clock = SystemClock()
    service = open_service(settings.service, clock) if asks_service else None
    try:
        yield Operations(
            settings,
            ledger=ledger,
            clock=clock,
            file_away=FileAway(ledger=ledger, clock=clock, entropy=entropy, min_free=settings.min_free),
            service=service,
            silence=FirstLook().silence,
        )
    finally:
        if service is not None:
            service.close()
