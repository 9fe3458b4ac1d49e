"""Agents whose order is broken in one place: the sweeps must find each of them.

`python broken_agents.py WHICH ARGUMENTS…` runs `fsagent ARGUMENTS…` with that order.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.cli import main
from agent.export.writing import Writing
from agent.model import FileState
from agent.rules.naming import clash_name
from agent.submission.file_away import FileAway
from agent.submission.unknown import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.model import FileRecord, TaskRecord, WatchFolder


def _moves_before_the_ledger_knows_where_to() -> None:
    def plan_anew(self: FileAway, record: FileRecord) -> FileRecord:
        name = clash_name(record.relative_path, now=self._clock.now(), entropy=self._entropy())
        return replace(record, destination=name)

    FileAway._plan_anew = plan_anew  # type: ignore[method-assign]


def _completes_before_the_files_are_in_place() -> None:
    publish = Writing.publish

    def complete_first(self: Writing, folder: WatchFolder, record: TaskRecord) -> TaskRecord:
        self._service.complete_export(record.task_id)
        return publish(self, folder, record)

    Writing.publish = complete_first  # type: ignore[method-assign]


def _sends_again_at_once() -> None:
    def work(self: Unknown, watch_folder: str) -> Sequence[FileRecord]:
        unknown = self._ledger.find_files(watch_folder=watch_folder, states=[FileState.UNKNOWN])
        return [self._send_again(record) for record in unknown]

    Unknown.work = work  # type: ignore[method-assign]


BROKEN: Final[dict[str, Callable[[], None]]] = {
    "ledger after rename": _moves_before_the_ledger_knows_where_to,
    "complete before publishing": _completes_before_the_files_are_in_place,
    "retry at once": _sends_again_at_once,
}

if __name__ == "__main__":
    which = sys.argv.pop(1)
    BROKEN[which]()
    main()
