"""The error tree: every error the agent raises itself; its class says who is to blame, its hint what to do.

AgentError
├── UserError                    the command line or the configuration; exit status 2
│   └── ConfigurationError       carries every problem of the file at once
├── LockHeld                     another agent works on this state_dir; exit status 3
├── LedgerError                  exit status 4 at start
│   ├── LedgerMissing            markers of a ledger, but no ledger
│   ├── LedgerDamaged            not a database, cut, or fails its integrity check
│   ├── LedgerTooNew             written by a newer version
│   ├── LedgerUnavailable        cannot be written now (disk full, I/O error, database away)
│   └── StaleRecord              somebody else changed the row since it was read
├── LaneTrouble                  a whole lane waits and resumes by itself; never an attempt of a file or task
│   ├── ServiceTrouble           the service as a whole
│   │   ├── ServiceUnavailable   no connection, TLS, 408 425 429 503 3xx, 5xx of a control call
│   │   ├── CredentialsRefused   the token end point or a fresh token is refused
│   │   └── SetupRefused         403 404 405 407: project, URL, proxy or rights are wrong
│   └── LocalTrouble             disk full, read-only, share away, too many open files
├── Stopping                     the agent stops; what is under way is given back
├── FileTrouble                  one source file
│   ├── FileBusy                 locked, unreadable, changed or vanished: looked at again later
│   ├── FileIncomplete           not whole yet, as far as its structure tells: looked at again later
│   ├── NotRegular               link, FIFO, socket, device: ignored where it lies
│   ├── FileRefused              goes to error/ with its reason
│   └── OutcomeUnknown           sent, but the answer does not say whether a task exists
└── TaskTrouble                  one task of the service
    ├── TaskMoved                no longer in the state we thought: read it again, drop what we planned
    ├── TaskTransient            cancel, try again after `retry_delay`; counts as an attempt
    └── TaskFatal                fail it with a message; `output/error/` gets a note
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.model import LaneReason, Reason


class AgentError(Exception):
    """An error with one clear sentence and, where there is one, a hint: what the operator can do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(AgentError):
    """The command line or the configuration asks for something that cannot be."""


@dataclass(frozen=True, slots=True)
class ConfigurationProblem:
    """One problem of the configuration file; `line` and `column` count from 1, 0 where the file as a whole is meant."""

    line: int
    column: int
    key: str
    message: str


class ConfigurationError(UserError):
    """Every problem of one configuration file."""

    def __init__(self, path: Path | None, problems: Sequence[ConfigurationProblem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(self._line(problem) for problem in self.problems))

    def _line(self, problem: ConfigurationProblem) -> str:
        place = str(self.path) if self.path else "configuration"
        if problem.line:
            place += f":{problem.line}:{problem.column}"
        return f"{place}: {problem.key}: {problem.message}" if problem.key else f"{place}: {problem.message}"


class LockHeld(AgentError):
    """Another agent works on this state_dir; the message names the holder and since when."""


class LedgerError(AgentError):
    """The ledger cannot be used."""


class LedgerMissing(LedgerError):
    """Folders carry the marker of a ledger that is not there."""


class LedgerDamaged(LedgerError):
    """The file is not a ledger, is cut, or fails its integrity check."""


class LedgerTooNew(LedgerError):
    """A newer version of fsagent wrote this ledger."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be written now; nothing may be sent before it can. `is_full`: its disk has no room."""

    def __init__(self, message: str, *, hint: str = "", is_full: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.is_full = is_full


class StaleRecord(LedgerError):
    """A row was changed by somebody else since it was read; read it again and decide anew."""


class LaneTrouble(AgentError):
    """A lane waits: nothing is moved, nothing counts as an attempt, it resumes by itself."""

    def __init__(self, message: str, *, reason: LaneReason, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.retry_after = retry_after
        """Seconds the other side asked for, already bounded; None: our own backoff decides."""


class ServiceTrouble(LaneTrouble):
    """The service as a whole does not take part now."""

    nothing_done = False
    """Whether the call was surely not carried out: it never left, or was refused; else nobody knows."""


class ServiceUnavailable(ServiceTrouble):
    """No connection, TLS failure, 408, 425, 429, 503, a redirect, or a 5xx to a call that may be repeated."""

    def __init__(
        self,
        message: str,
        *,
        reason: LaneReason,
        hint: str = "",
        retry_after: float | None = None,
        nothing_done: bool = False,
    ) -> None:
        super().__init__(message, reason=reason, hint=hint, retry_after=retry_after)
        self.nothing_done = nothing_done


class CredentialsRefused(ServiceTrouble):
    """The service refuses the client id and secret, or a token fresh from it."""

    nothing_done = True


class SetupRefused(ServiceTrouble):
    """403, 404, 405 or 407: the project, the address, the proxy or the account's rights are wrong."""

    nothing_done = True


class LocalTrouble(LaneTrouble):
    """The disk is full, the folder read-only or away, or the process out of file handles."""


class Stopping(AgentError):
    """The agent stops: what is under way and not yet visible is given back."""


class FileTrouble(AgentError):
    """Something about one source file."""


class FileBusy(FileTrouble):
    """The file is locked, unreadable, changed or gone; it stays and is looked at again."""

    def __init__(self, message: str, *, hint: str = "", gone: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.gone = gone


class FileIncomplete(FileTrouble):
    """The file is not whole yet, or too young to be judged; it stays and is looked at again."""


class NotRegular(FileTrouble):
    """Not a plain file, or reached through a link: stays where it lies, never opened, moved or sent."""


class FileRefused(FileTrouble):
    """The file goes to `error/`; `reason` is the public reason, the message its sentence."""

    def __init__(self, message: str, *, reason: Reason, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class OutcomeUnknown(FileTrouble):
    """The body left, but no answer says whether a task exists."""


class TaskTrouble(AgentError):
    """Something about one task of the service."""


class TaskMoved(TaskTrouble):
    """400, 404, 409 or 422 to start, complete, cancel or fail: the task is elsewhere by now; read it again."""

    def __init__(self, message: str, *, hint: str = "", gone: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.gone = gone
        """True where the service no longer knows the task (404)."""


class TaskTransient(TaskTrouble):
    """An error of this task that may pass: cancel it, try again later."""


class TaskFatal(TaskTrouble):
    """An error of this task that will not pass: fail it with this message."""
