"""`fsagent tasks` and `fsagent uploads`: what people decide about tasks a service puts before them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click

from agent.cli.configuration import load_settings
from agent.cli.failures import EXIT_DONE, EXIT_FAILED
from agent.cli.rendering import echo_json
from agent.errors import AgentError
from agent.model import ServiceTaskState, TaskReference
from agent.rules.naming import for_display

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Settings, Task, UploadProgress
    from agent.ports import UploadService

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
_PROJECT = click.option("--project", "project_id", default="", help="Its project, where the ledger does not know it.")
_TASK = click.argument("task_id", metavar="TASK")
_UPLOAD = click.argument("upload_id", metavar="UPLOAD")

_GOES_ON = frozenset({ServiceTaskState.QUEUED, ServiceTaskState.RUNNING, ServiceTaskState.PENDING_START})
"""States of a task that people have completed; one that had ended before is left as it is."""
_WORDS = {ServiceTaskState.PENDING_START: "completed", ServiceTaskState.RUNNING: "processing"}


@click.group()
def tasks() -> None:
    """Complete, discard or report a task that people look at; Send AI only.

    `fsagent history --state reviewing` lists them.
    """


@tasks.command(short_help="Say that people are done with a task.")
@_TASK
@_PROJECT
@_JSON
@click.pass_context
def complete(ctx: click.Context, *, task_id: str, project_id: str, as_json: bool) -> int:
    """Say that people are done with a task: the service goes on with it, and its result is exported."""
    settings = load_settings(ctx)
    with _service(settings) as service:
        task = service.complete_review(_reference(settings, task_id, project_id))
    return _tell(task, done=task.state in _GOES_ON, as_json=as_json)


@tasks.command(short_help="Put a task aside without an error.")
@_TASK
@_PROJECT
@_JSON
@click.pass_context
def discard(ctx: click.Context, *, task_id: str, project_id: str, as_json: bool) -> int:
    """Put a task aside: it ends without an error, nothing is exported, its source stays in archive/."""
    settings = load_settings(ctx)
    with _service(settings) as service:
        task = service.discard_task(_reference(settings, task_id, project_id))
    return _tell(task, done=task.state is ServiceTaskState.DISCARDED, as_json=as_json)


@tasks.command()
@_TASK
@click.option("--issue", "issues", multiple=True, required=True, help="What is wrong, in a few words; may be repeated.")
@click.option("--message", default="", help="More about it.")
@_PROJECT
@_JSON
@click.pass_context
def report(
    ctx: click.Context, *, task_id: str, issues: tuple[str, ...], message: str, project_id: str, as_json: bool
) -> int:
    """Report what is wrong with a task to the service."""
    settings = load_settings(ctx)
    with _service(settings) as service:
        task = service.report_task(_reference(settings, task_id, project_id), issues=issues, message=message)
    return _tell(task, done=True, as_json=as_json)


@click.group()
def uploads() -> None:
    """Show or move an upload; Send AI only."""


@uploads.command()
@_UPLOAD
@_PROJECT
@_JSON
@click.pass_context
def show(ctx: click.Context, *, upload_id: str, project_id: str, as_json: bool) -> int:
    """Show an upload and the tasks it became so far."""
    settings = load_settings(ctx)
    with _service(settings) as service:
        progress = service.find_tasks_of(_reference(settings, upload_id, project_id))
    _show_upload(upload_id, progress, as_json=as_json)
    return EXIT_DONE


@uploads.command(short_help="Move an upload to another folder of the service.")
@_UPLOAD
@click.argument("folder_id", metavar="FOLDER")
@_PROJECT
@_JSON
@click.pass_context
def move(ctx: click.Context, *, upload_id: str, folder_id: str, project_id: str, as_json: bool) -> int:
    """Move an upload to another folder of the service, by the folder's id."""
    settings = load_settings(ctx)
    with _service(settings) as service:
        progress = service.move_upload(_reference(settings, upload_id, project_id), folder_id)
    _show_upload(upload_id, progress, as_json=as_json)
    return EXIT_DONE


@contextmanager
def _service(settings: Settings) -> Iterator[UploadService]:
    from agent.runtime.clock import SystemClock  # noqa: PLC0415 -- `fsagent --help` must not pay for it
    from agent.services.opening import open_service  # noqa: PLC0415

    service = open_service(settings.service, SystemClock())
    try:
        if not service.abilities.splits_submissions:
            raise AgentError(
                f"{settings.service.type.value} has no uploads, and puts no task before people",
                hint="these commands are for `type: sendai`",
            )
        yield cast("UploadService", service)
    finally:
        service.close()


def _reference(settings: Settings, identifier: str, project_id: str) -> TaskReference:
    """Return what the service is asked by: the project is in the ledger, given, or the only one configured."""
    from agent.runtime.looking import reading_ledger  # noqa: PLC0415 -- as above

    with reading_ledger(settings) as ledger:
        record = ledger.task(identifier) if ledger is not None else None
    if record is not None:
        return TaskReference(identifier, project_id or record.project_id, record.opened_at)
    configured = {folder.project_id for folder in settings.watch_folders}
    if not project_id and len(configured) == 1:
        (project_id,) = configured
    if not project_id:
        raise AgentError(
            f"the ledger does not know {identifier}, so its project has to be given",
            hint="add --project ID; the ids it knows: fsagent history",
        )
    return TaskReference(identifier, project_id, 0.0)


def _word(state: ServiceTaskState) -> str:
    """Return the state in the words of a service that reviews: what is done there waits only for us to fetch it."""
    return _WORDS.get(state, state.value)


def _word_of_upload(progress: UploadProgress) -> str:
    """Return what an upload is as a whole; where some of its tasks failed, that is said, as the service does."""
    has_failed = any(task.state is ServiceTaskState.FAILED for task in progress.tasks)
    return "partial" if has_failed and progress.state is ServiceTaskState.COMPLETED else _word(progress.state)


def _tell(task: Task, *, done: bool, as_json: bool) -> int:
    """Say which state the service shows: that is believed, whatever else it answered."""
    if as_json:
        echo_json({"id": task.id, "name": task.name, "state": _word(task.state), "done": done})
    else:
        words = "is" if done else "was left by the service as it is:"
        click.echo(f"task {for_display(task.id)} ({for_display(task.name)}) {words} {_word(task.state)}")
    return EXIT_DONE if done else EXIT_FAILED


def _show_upload(upload_id: str, progress: UploadProgress, *, as_json: bool) -> None:
    found: list[dict[str, Any]] = [
        {"id": task.id, "name": task.name, "state": _word(task.state), "message": task.message}
        for task in progress.tasks
    ]
    if as_json:
        told = {"name": progress.name, "state": _word_of_upload(progress), "may_grow": progress.may_grow}
        echo_json({"id": upload_id, **told, "tasks": found})
        return
    state, word = _word_of_upload(progress), "task" if len(found) == 1 else "tasks"
    click.echo(f"upload {for_display(upload_id)} ({for_display(progress.name)}) is {state}: {len(found)} {word}")
    for task in found:
        message = f": {for_display(task['message'])}" if task["message"] else ""
        click.echo(f"  {for_display(task['id'])}  {task['state']:<12} {for_display(task['name'])}{message}")
