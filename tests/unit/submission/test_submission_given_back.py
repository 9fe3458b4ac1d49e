"""Files that were surely not accepted are given back whatever happens to their rows at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.workbench import Workbench, watch_folder

from agent.errors import ServiceUnavailable
from agent.model import FileRecord, FileState, LaneReason

if TYPE_CHECKING:
    from pathlib import Path


def test_a_row_that_changes_while_its_file_is_given_back_leaves_no_doubt(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, watch_folder(tmp_path))
    bench.drop("one.pdf")
    bench.settle()
    bench.service.script("submit", ServiceUnavailable("down", reason=LaneReason.SERVICE_UNAVAILABLE))
    commit = bench.ledger.commit
    overtaken: list[FileRecord] = []

    def overtake(*changes: Any) -> None:
        if not overtaken and isinstance(changes[0], FileRecord) and changes[0].state is FileState.WAITING:
            current = bench.ledger.file(changes[0].key)
            assert current is not None
            overtaken.append(current.change(relative_path="renamed.pdf"))
            commit(overtaken[0])
        commit(*changes)

    bench.ledger.commit = overtake  # type: ignore[method-assign]  # the one moment a scan may come between
    bench.sending.step()
    (record,) = bench.files()
    assert (record.state, record.relative_path, record.intent_at) == (FileState.WAITING, "renamed.pdf", None)
