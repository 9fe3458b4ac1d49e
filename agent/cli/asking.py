"""Getting an operator's wish carried out: by the running agent through the ledger, else here, under the lock.

Owns the waiting for an answer and how it is shown. What is carried out, and how, is `runtime.operations`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import click

from agent.app import locked_ledger, operations_here
from agent.cli.failures import EXIT_DONE, EXIT_FAILED
from agent.cli.rendering import echo_json, one_line
from agent.errors import AgentError, LedgerError, LockHeld, StaleRecord
from agent.runtime.clock import SystemClock
from agent.runtime.looking import is_running, reading_ledger
from agent.runtime.recovery import refuse_without_ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.model import Settings
    from agent.ports import Clock, Ledger
    from agent.runtime.operations import Operations

PATIENCE = 60.0
"""Seconds an agent that runs may take for its answer; it looks for requests twice a second."""
LOOK_EVERY = 0.1
ALIVE_EVERY = 2.0
"""Seconds between two looks whether whoever held the lock still does: each look holds it for a moment."""

Answer = dict[str, Any]


def carry_out(
    settings: Settings,
    command: str,
    arguments: Mapping[str, Any],
    *,
    makes_ledger: bool = True,
    start_anew: bool = False,
    asks_service: bool = False,
    clock: Clock | None = None,
    patience: float = PATIENCE,
) -> Answer:
    """Have one operation carried out and return its answer: `ok`, `message` and, where there is one, `hint`.

    `makes_ledger` False: where there is none yet there is nothing to do either. `start_anew`: make one although
    folders belong to one that is gone. `asks_service`: the settings hold its credentials, for what only the service
    knows. `patience` in seconds. Raises LedgerError, and LockHeld where another one-shot
    command keeps the lock.
    """
    clock = clock or SystemClock()
    request: int | None = None
    if not makes_ledger and not _has_ledger(settings):
        # Not made on the way: by an administrator's account it would not be the service's to write.
        refuse_without_ledger(settings)
        message = f"there is nothing to do: no agent has run with the state_dir {settings.state_dir} yet"
        return {"ok": False, "message": message, "hint": "start one: fsagent run"}
    if is_running(settings):
        request, answer = _ask(settings, command, arguments, clock=clock, patience=patience)
        if answer is not None:
            return answer
    try:
        with (
            locked_ledger(settings, start_anew=start_anew) as ledger,
            operations_here(settings, ledger, asks_service=asks_service) as operations,
        ):
            return _do_here(operations, ledger, command, arguments, request=request, clock=clock)
    except LockHeld:
        if request is not None:
            raise
        # An agent started between the look and the lock.
        request, answer = _ask(settings, command, arguments, clock=clock, patience=patience)
        if answer is None:
            raise
        return answer


def show_answer(answer: Answer, *, as_json: bool) -> int:
    """Show an answer and return the exit status: its document, or its messages, what failed on standard error."""
    if as_json:
        echo_json(answer if answer["ok"] else {"hint": "", **answer, "status": EXIT_FAILED})
    else:
        for result in answer.get("results") or [answer]:
            _show_result(result)
    return EXIT_DONE if answer["ok"] else EXIT_FAILED


def _show_result(result: Answer) -> None:
    if result["ok"]:
        click.echo(one_line(result["message"]))
        return
    click.echo(f"fsagent: {one_line(result['message'])}", err=True)
    if result.get("hint"):
        click.echo(f"  what to do: {one_line(result['hint'])}", err=True)


def _has_ledger(settings: Settings) -> bool:
    with reading_ledger(settings) as ledger:
        return ledger is not None


def _ask(
    settings: Settings, command: str, arguments: Mapping[str, Any], *, clock: Clock, patience: float
) -> tuple[int | None, Answer | None]:
    """Leave a request and wait for its answer.

    No answer: whoever held the lock is gone. No request either: there is no ledger yet.
    """
    with reading_ledger(settings) as ledger:
        if ledger is None:
            return None, None
        request = ledger.ask(command, arguments, now=clock.now())
        try:
            return request, _wait(settings, ledger, request, clock=clock, patience=patience)
        except KeyboardInterrupt:
            click.echo("the agent still carries it out: the request is in the ledger", err=True)
            raise


def _wait(settings: Settings, ledger: Ledger, request: int, *, clock: Clock, patience: float) -> Answer | None:
    never = threading.Event()
    deadline = clock.monotonic() + patience
    look_at_lock = clock.monotonic() + ALIVE_EVERY
    while True:
        if (answer := _answer(ledger, request)) is not None:
            return answer
        now = clock.monotonic()
        if now >= deadline:
            return {
                "ok": False,
                "message": f"the agent has not answered for {patience:.0f} s; it carries the request out once it can",
                "hint": "look what it does: fsagent status",
            }
        if now >= look_at_lock:
            if not is_running(settings):
                return _answer(ledger, request)
            look_at_lock = now + ALIVE_EVERY
        clock.wait(never, LOOK_EVERY)


def _answer(ledger: Ledger, request: int) -> Answer | None:
    found = ledger.request(request)
    if found is None or found.done_at is None:
        return None
    return {"message": "", **found.answer, "ok": found.ok}


def _do_here(
    operations: Operations,
    ledger: Ledger,
    command: str,
    arguments: Mapping[str, Any],
    *,
    request: int | None,
    clock: Clock,
) -> Answer:
    """Carry it out under the lock; an own request nobody answered is answered, so that no agent does it again."""
    if request is not None and (given := _answer(ledger, request)) is not None:
        return given
    try:
        answer = operations.carry_out(command, arguments)
    except LedgerError:
        raise
    except AgentError as error:
        answer = {"ok": False, "message": error.message, "hint": error.hint}
    if request is not None:
        try:
            ledger.answer(request, ok=bool(answer["ok"]), answer=answer, now=clock.now())
        except StaleRecord:
            click.echo("the agent that ended had answered meanwhile", err=True)
    return answer
