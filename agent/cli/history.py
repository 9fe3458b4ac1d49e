"""`fsagent history`: what the ledger knows, newest first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from agent.cli.configuration import load_settings
from agent.cli.failures import EXIT_DONE
from agent.cli.patience import answered
from agent.cli.rendering import echo_json, moment, one_line, table
from agent.errors import UserError
from agent.model import FileState, TaskState

if TYPE_CHECKING:
    from agent.model import Settings

HEADS = ("time", "state", "folder", "path", "task", "id", "detail")
MOST = 1_000_000_000
"""Lines that can be asked for: what a ledger can count."""
STATES = [state.value for state in (*FileState, *TaskState)]


@click.command()
@click.argument("path", metavar="[PATH]", required=False)
@click.option("--state", type=click.Choice(STATES), help="Only what is in this state, of a file or of its task.")
@click.option("--watch-folder", metavar="NAME", help="Only this watch folder.")
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="At most so many lines.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def history(
    ctx: click.Context, path: str | None, *, state: str | None, watch_folder: str | None, limit: int, as_json: bool
) -> int:
    """List files and tasks, those last changed first; with PATH every file that lay there.

    A file shows its own state, and its task's once it was sent.

    JSON: entries (at, state, watch_folder, path, task_id, id, detail, reason, file_state, task_state), newest first.
    Times are unix seconds, UTC; path and id are null for a task whose source this ledger does not know.
    """
    from agent.runtime.looking import reading_ledger  # noqa: PLC0415 -- `--help` must not pay for it
    from agent.runtime.recounting import recount  # noqa: PLC0415 -- as above

    settings = load_settings(ctx, with_credentials=False)
    _check_name(settings, watch_folder)
    entries: list[dict[str, Any]] = []
    with reading_ledger(settings) as ledger:
        if ledger is not None:
            look = partial(recount, settings, ledger, state=state, watch_folder=watch_folder, path=path, limit=limit)
            entries = look() if path is None else answered(look, path)
        else:
            from agent.runtime.recovery import refuse_without_ledger  # noqa: PLC0415 -- as above

            refuse_without_ledger(settings)
    if as_json:
        echo_json({"entries": entries})
        return EXIT_DONE
    if not entries:
        click.echo("nothing" if ledger is not None else "nothing: no agent has run yet")
        return EXIT_DONE
    for line in table(HEADS, [_row(entry) for entry in entries]):
        click.echo(line)
    return EXIT_DONE


def _check_name(settings: Settings, watch_folder: str | None) -> None:
    if watch_folder is not None and settings.watch_folder(watch_folder) is None:
        names = ", ".join(folder.name for folder in settings.watch_folders)
        raise UserError(f"there is no watch folder {watch_folder}", hint=f"there are: {names}")


def _row(entry: dict[str, Any]) -> list[str]:
    detail = f"{entry['reason']}: {entry['detail']}" if entry["reason"] else entry["detail"]
    return [
        moment(entry["at"]),
        entry["state"],
        one_line(entry["watch_folder"]),
        one_line(entry["path"] or "-"),
        one_line(entry["task_id"] or "-"),
        (entry["id"] or "-")[:8],
        one_line(detail),
    ]
