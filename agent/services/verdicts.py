"""What answers of a service mean for file, task and service, as the errors of the port.

The table itself is `rules.retrying`; here its outcomes get their words.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from agent.errors import FileRefused, OutcomeUnknown, TaskMoved, TaskTransient
from agent.model import Reason
from agent.rules.retrying import ControlOutcome, Outcome, classify_control, classify_interruption
from agent.services.answers import sentence, setup_refused

if TYPE_CHECKING:
    from agent.errors import AgentError
    from agent.services.answers import Answer
    from agent.services.http import ServiceSession
    from agent.services.uploading import UploadInterrupted

GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_NOT_NOW = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def after_interruption(interrupted: UploadInterrupted, *, size: int) -> AgentError:
    """Return what an upload without an answer means."""
    outcome = classify_interruption(
        sent=interrupted.sent, size=size, proxied=interrupted.proxied, connected=interrupted.connected
    )
    if outcome is Outcome.SERVICE:
        return interrupted.trouble
    return OutcomeUnknown(f"sent, but no answer: {interrupted.trouble.message}", hint=interrupted.trouble.hint)


def not_accepted(session: ServiceSession, answer: Answer, outcome: Outcome, what: str) -> AgentError:
    """Return what an answer to an upload means that is no acceptance."""
    if outcome is Outcome.SERVICE:
        return session.unavailable(answer)
    if outcome is Outcome.SETUP:
        return setup_refused(answer, origin=session.origin, what=what)
    if outcome is Outcome.FILE:
        return FileRefused(
            f"the service refuses it: {sentence(answer)}",
            reason=Reason.REFUSED_BY_SERVICE,
            hint="correct the document or the project's settings, then try again",
        )
    said = f"{answer.status} without a task id" if answer.is_success else sentence(answer)
    return OutcomeUnknown(f"sent, but the answer does not say whether a task exists: {said}")


def no_file(session: ServiceSession, answer: Answer, name: str) -> AgentError:
    """Return what an answer in place of an exported file means."""
    if answer.status in GONE:
        return TaskTransient(f"the service has no file for {name}: {sentence(answer)}")
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return session.credentials_refused(answer, "a token fresh from it")
    outcome = classify_control(answer.status)
    if outcome is ControlOutcome.SERVICE:
        return session.unavailable(answer)
    if outcome is ControlOutcome.SETUP:
        return setup_refused(answer, origin=session.origin, what=f"the download of {name}")
    return TaskTransient(f"the service does not hand out {name}: {sentence(answer)}")


def require_done(session: ServiceSession, answer: Answer, what: str) -> None:
    """Let the success of a task's call through. Raises TaskMoved, SetupRefused, ServiceUnavailable."""
    outcome = classify_control(answer.status)
    if outcome is ControlOutcome.MOVED:
        raise TaskMoved(f"the service refuses {what}: {sentence(answer)}", gone=answer.status in GONE)
    if outcome is not ControlOutcome.DONE:
        require_success(session, answer, what)


def require_success(session: ServiceSession, answer: Answer, what: str) -> None:
    """Let a success through. Raises SetupRefused for other 4xx than "not now", else ServiceUnavailable."""
    if answer.is_success:
        return
    refused = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
    if refused and answer.status not in _NOT_NOW:
        raise setup_refused(answer, origin=session.origin, what=what)
    raise session.unavailable(answer)
