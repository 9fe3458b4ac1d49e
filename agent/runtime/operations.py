"""What an operator can ask for: retry, resolve, pause, resume, adopt (and rescan, which only a running agent can do).

The running agent carries these out for commands that leave a request in the ledger; without one the command does so
itself under the lock. Every operation returns a JSON answer with a `message` for people, or raises UserError.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.errors import FileBusy, LaneTrouble, LocalTrouble, UserError
from agent.folders.roots import adopt_root
from agent.model import Event, FileState, Reason, RootKind, ServiceTaskState, Task, TaskRecord, TaskState
from agent.rules.naming import for_display, relative_parent
from agent.runtime.confirming import unconfirmed
from agent.runtime.in_hand import InHand
from agent.runtime.roots import forget_staged
from agent.runtime.targets import find_target
from agent.submission.file_away import folder_of
from agent.submission.outcomes import accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from agent.model import FileRecord, Settings, WatchFolder
    from agent.ports import Clock, Ledger, Service
    from agent.submission.file_away import FileAway

Answer = dict[str, Any]

logger = logging.getLogger(__name__)

ALL = 100_000
"""More files in error/ than this are retried in several rounds."""

HELD_SHOWN = 20

PAUSES_NOTE = "pauses"
"""The note of paused lanes: {"all": bool, "folders": [names]}."""


class Operations:
    """Carries out what an operator asks for."""

    def __init__(
        self,
        settings: Settings,
        *,
        ledger: Ledger,
        clock: Clock,
        file_away: FileAway,
        files_in_hand: InHand | None = None,
        silence: Callable[[Path], str] = lambda _: "",
        service: Service | None = None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._file_away = file_away
        self._files_in_hand = files_in_hand or InHand()
        self._silence = silence
        """Says what is known not to answer at a path: touched there, nothing would come back from it."""
        self._service = service
        """None where it cannot be asked: its credentials are not here."""

    def carry_out(self, command: str, arguments: Mapping[str, Any]) -> Answer:
        """Carry out one operation by name. Raises UserError, LocalTrouble, FileBusy, LedgerError."""
        operations: dict[str, Callable[..., Answer]] = {
            "retry": self.retry,
            "resolve": self.resolve,
            "pause": self.pause,
            "resume": self.resume,
            "rescan": self.rescan,
            "adopt": self.adopt,
        }
        return operations[command](**arguments)

    # --- retry ------------------------------------------------------------------------------------------------------

    def retry(self, *, targets: Sequence[str] = (), everything: bool = False, here: str = "") -> Answer:
        """Move files from error/ back to the inbox; give held exports another round of attempts.

        `here` is the folder that relative paths count from. Each target has its own result; one that cannot be sent
        again keeps none of the others.
        """
        results = [self._retry_target(target, here) for target in targets]
        if everything:
            results += [
                self._retry_export(task) for task in self._ledger.find_tasks(is_open=True, limit=ALL) if task.held
            ]
            results += [self._retry_file(record) for record in self._rejected()]
        return {
            "ok": all(result["ok"] for result in results),
            "message": "\n".join(result["message"] for result in results) or "nothing to retry",
            "results": results,
        }

    def _rejected(self) -> list[FileRecord]:
        found = self._ledger.find_files(states=[FileState.REJECTED], in_inbox=False, limit=ALL)
        return [record for record in found if record.filed_in == "error"]

    def _retry_target(self, target: str, here: str) -> Answer:
        task = self._ledger.task(target)
        try:
            if task is not None and task.held:
                return self._retry_export(task)
            if task is not None and (refusal := self._without_source(task)):
                return {"ok": False, "message": refusal}
            return self._retry_file(self._find_rejected(target, here))
        except UserError as error:
            return {"ok": False, "message": error.message, "hint": error.hint}

    def _without_source(self, task: TaskRecord) -> str:
        """Return why a task has nothing here that could be sent again; "" where it has a source."""
        if task.file_key and self._ledger.file(task.file_key) is not None:
            return ""
        if task.ended_at is None:
            return f"task {task.task_id} is not over: its export is tried again by itself"
        if task.state is TaskState.EXPORTED:
            return f"task {task.task_id} was exported, and the service has deleted its copy"
        return (
            f"task {task.task_id} cannot be sent again: it has no source file here, and the service has deleted what it"
            " held; submit the document anew"
        )

    def _find_rejected(self, target: str, here: str) -> FileRecord:
        """Return the file in error/ a path, task or id means. Raises UserError in plain words where there is none."""
        found = find_target(self._settings, self._ledger, target, here=here)
        if found is None:
            raise UserError(f"{target}: the ledger knows no such file or task", hint="type: fsagent history")
        if found.filed_in == "deleted":
            raise UserError(
                f"{target}: its source was removed from {found.filing or 'archive'}/",
                hint="drop it into the inbox again",
            )
        if found.filed_in not in {"error", "archive"} or not (
            found.state is FileState.REJECTED or self._has_failed(found)
        ):
            raise UserError(
                f"{target} is {found.state.value}: only files in error/ can be sent again",
                hint=f"type: fsagent why {target}",
            )
        return found

    def _has_failed(self, record: FileRecord) -> bool:
        task = self._ledger.task(record.task_id) if record.task_id else None
        return task is not None and task.state in {TaskState.FAILED, TaskState.ENDED_UNKNOWN}

    def _retry_file(self, record: FileRecord) -> Answer:
        folder = self._settings.watch_folder(record.watch_folder)
        if folder is None or folder.inbox is None:
            return {
                "ok": False,
                "message": f"{record.relative_path}: watch folder {record.watch_folder} is not configured",
            }
        if silence := self._silence(folder.inbox) or self._silence(folder_of(folder, record.filed_in)):
            shown = for_display(record.filed_as)
            return {"ok": False, "message": f"{shown} stays where it is: {silence}; try again when it does"}
        if not self._files_in_hand.take(record.key):
            return {"ok": False, "message": f"{for_display(record.filed_as)} is being moved just now; try again"}
        try:
            return self._back_to_inbox(folder, record)
        finally:
            self._files_in_hand.release(record.key)

    def _back_to_inbox(self, folder: WatchFolder, record: FileRecord) -> Answer:
        lay_at, planned = record.filed_as, record
        # One on its way keeps its name: a copy may lie there since before a crash, and a second would be sent too.
        if record.filing != "inbox" or record.filed_at is not None:
            planned = record.change(
                state=FileState.REJECTED,
                filing="inbox",
                destination=record.relative_path,
                filed_at=None,
                detail="retried",
            )
            self._ledger.commit(planned)
        try:
            filed = self._file_away.carry_out(folder, planned)
        except (FileBusy, LaneTrouble) as trouble:
            shown = for_display(record.relative_path)
            return {"ok": False, "message": f"{shown} goes back to the inbox once this is over: {trouble.message}"}
        if filed.filed_in != "inbox":
            return {"ok": False, "message": f"{for_display(lay_at)}: {filed.detail}"}
        return {"ok": True, "message": f"{for_display(filed.filed_as)} is in the inbox of {folder.name} again"}

    def _retry_export(self, record: TaskRecord) -> Answer:
        now = self._clock.now()
        changed = record.change(held=False, attempts=0, retry_at=None, detail="retried")
        event = Event(now, record.watch_folder, "export retried", "", record.file_key, record.task_id)
        self._ledger.commit(changed, event)
        return {"ok": True, "message": f"the export of task {record.task_id} is tried again"}

    # --- resolve ----------------------------------------------------------------------------------------------------

    def resolve(
        self,
        *,
        id: str,  # noqa: A002 -- the command's own word
        submitted: str = "",
        resubmit: bool = False,
        reject: bool = False,
        here: str = "",
    ) -> Answer:
        """Decide a held file: it became this task, it is sent again, or it goes to error/."""
        record = self._held(id, here)
        now = self._clock.now()
        if submitted:
            return self._resolve_submitted(record, submitted, now=now)
        if resubmit:
            return self._resubmit(record, now=now)
        assert reject
        return self._resolve_rejected(record, now=now)

    def _resubmit(self, record: FileRecord, *, now: float) -> Answer:
        together = self._sent_together(record)
        changes: list[FileRecord | Event] = []
        for each in together:
            changed = each.change(
                state=FileState.WAITING,
                claimed_by="",
                state_at=now,
                ready=False,
                look_at=0.0,
                unchanged_since=None,
                intent_at=None,
            )
            changes.append(replace(changed, detail="the operator has it sent again"))
            changes.append(Event(now, each.watch_folder, "resolved", "sent again", each.key))
        self._ledger.commit(*changes)
        return {"ok": True, "message": f"{for_display(record.relative_path)}{_and_others(together)} sent again"}

    def _resolve_rejected(self, record: FileRecord, *, now: float) -> Answer:
        folder = self._settings.watch_folder(record.watch_folder)
        shown = for_display(record.relative_path)
        changed = record.change(
            state=FileState.REJECTED,
            state_at=now,
            reason=Reason.TASK_CANCELED,
            detail="the operator rejected it after its outcome could not be found out",
            filing="error",
            destination=record.relative_path,
        )
        is_ours = self._files_in_hand.take(record.key)
        try:
            self._ledger.commit(changed, Event(now, record.watch_folder, "resolved", "rejected", record.key))
            if is_ours and folder is not None and folder.inbox is not None:
                if silence := self._silence(folder.inbox) or self._silence(folder_of(folder, "error")):
                    return {"ok": True, "message": f"{shown} goes to error/ once this is over: {silence}"}
                self._file_away.carry_out(folder, changed)
        except (FileBusy, LaneTrouble) as trouble:
            return {"ok": True, "message": f"{shown} goes to error/ once this is over: {trouble.message}"}
        finally:
            if is_ours:
                self._files_in_hand.release(record.key)
        return {"ok": True, "message": f"{shown} is in error/"}

    def _resolve_submitted(self, record: FileRecord, task_id: str, *, now: float) -> Answer:
        if self._ledger.task(task_id) is not None:
            raise UserError(f"task {task_id} belongs to another file already", hint=f"type: fsagent why {task_id}")
        not_checked = unconfirmed(self._service, record, task_id, now=now)
        task = Task(task_id, record.task_name, record.project_id, ServiceTaskState.UNRECOGNISED)
        changes: list[FileRecord | TaskRecord | Event] = []
        together = self._sent_together(record)
        for each in together:
            changed, task_record, _ = accepted(each, task, now=now, sha256="")
            changes.append(replace(changed, detail="the operator named its task"))
            changes.append(Event(now, each.watch_folder, "resolved", f"submitted as {task_id}", each.key, task_id))
            if each is record:
                changes.append(task_record)
        self._ledger.commit(*changes)
        decided = f"{for_display(record.relative_path)}{_and_others(together)} task {task_id}"
        return {"ok": True, "message": f"{decided}; that was not checked: {not_checked}" if not_checked else decided}

    def _sent_together(self, record: FileRecord) -> list[FileRecord]:
        """Return a held file with those of the same upload: it arrived with all of them or with none.

        Its tasks are told apart only with all of its files known.
        """
        folder = self._settings.watch_folder(record.watch_folder)
        if folder is None or folder.batch != "folder" or record.intent_at is None:
            return [record]
        held = self._ledger.find_files(watch_folder=record.watch_folder, states=[FileState.HELD], limit=ALL)
        others = [each for each in held if each.key != record.key and _upload_of(each) == _upload_of(record)]
        return [record, *others]

    def _held(self, identifier: str, here: str) -> FileRecord:
        held = self._ledger.find_files(states=[FileState.HELD], limit=ALL)
        found = [
            record for record in held if identifier == record.relative_path or record.key.startswith(identifier or "-")
        ]
        named = find_target(self._settings, self._ledger, identifier, here=here) if not found else None
        if named is not None and named.state is FileState.HELD:
            return named
        if len(found) == 1:
            return found[0]
        ids = ", ".join(f"{record.key[:8]} ({for_display(record.relative_path)})" for record in held[:HELD_SHOWN])
        what = "is not held" if not found else "means more than one file"
        raise UserError(f"{identifier} {what}; held are: {ids or 'none'}", hint="type: fsagent history --state held")

    # --- lanes and roots --------------------------------------------------------------------------------------------

    def pause(self, *, folder: str = "") -> Answer:
        """Stop a watch folder's lanes, or all, until resumed; survives a restart."""
        self._check_name(folder)
        folders, everything = paused(self._ledger)
        self._ledger.put_note(
            PAUSES_NOTE, {"all": everything or not folder, "folders": sorted(folders | {folder} - {""})}
        )
        return {
            "ok": True,
            "message": f"{folder or 'everything'} is paused; to go on: fsagent resume {folder}".rstrip(),
        }

    def resume(self, *, folder: str = "") -> Answer:
        """Let paused lanes go on."""
        self._check_name(folder)
        folders, everything = paused(self._ledger)
        if folder and everything:
            folders = {other.name for other in self._settings.watch_folders}
        left = folders - {folder} if folder else set()
        self._ledger.put_note(PAUSES_NOTE, {"all": False, "folders": sorted(left)})
        return {"ok": True, "message": f"{folder or 'everything'} goes on"}

    def rescan(self, *, folder: str = "") -> Answer:
        """Say that there is nothing to do without an agent; one that runs scans instead of asking here."""
        self._check_name(folder)
        return {"ok": True, "message": "no agent runs: its next start scans the inboxes anyway"}

    def adopt(self, *, folder: str = "") -> Answer:
        """Make the roots of a watch folder, or all, this ledger's, whatever their markers say."""
        self._check_name(folder)
        chosen = [other for other in self._settings.watch_folders if not folder or other.name == folder]
        results = [result for each in chosen for result in self._adopt_folder(each)]
        return {
            "ok": all(result["ok"] for result in results),
            "message": "\n".join(result["message"] for result in results),
            "results": results,
        }

    def _adopt_folder(self, folder: WatchFolder) -> list[Answer]:
        results: list[Answer] = []
        for kind, root in ((RootKind.INBOX, folder.inbox), (RootKind.OUTPUT, folder.output)):
            if root is None:
                continue
            if silence := self._silence(root):
                results.append({"ok": False, "message": f"{folder.name}: {silence}; try again when it does"})
                continue
            try:
                record = adopt_root(root, kind=kind, watch_folder=folder.name, ledger_id=self._ledger.ledger_id)
            except LocalTrouble as trouble:
                results.append({"ok": False, "message": f"{folder.name}: {trouble.message}", "hint": trouble.hint})
                continue
            known = self._ledger.root(folder.name, kind)
            if known is not None and (known.path, known.identity) != (record.path, record.identity):
                forget_staged(self._ledger, record)
            self._ledger.commit(record)
            results.append(
                {"ok": True, "message": f"{folder.name}: {for_display(str(root))} belongs to this agent now"}
            )
        return results

    def _check_name(self, folder: str) -> None:
        names = [other.name for other in self._settings.watch_folders]
        if folder and folder not in names:
            raise UserError(f"there is no watch folder {folder}", hint=f"there are: {', '.join(names)}")


def _and_others(together: Sequence[FileRecord]) -> str:
    """Return what follows the first file's name in a sentence about all of them."""
    return f" and {len(together) - 1} more of its folder are" if len(together) > 1 else " is"


def _upload_of(record: FileRecord) -> tuple[str, float | None]:
    """Return what the files of one upload have in common: their folder, and their intent was one commit."""
    return relative_parent(record.relative_path), record.intent_at


def paused(ledger: Ledger) -> tuple[set[str], bool]:
    """Return the names of paused watch folders, and whether everything is paused."""
    note = ledger.note(PAUSES_NOTE) or {}
    return set(note.get("folders", [])), bool(note.get("all", False))
