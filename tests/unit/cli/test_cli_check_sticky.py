"""`fsagent check` in folders from which only the owners of files may move them."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.office import Office

from agent.runtime.checking import Level, check_folders
from agent.runtime.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
STICKY = 0o1777

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can become another account, and no root is Windows'"
)


@contextmanager
def nobody() -> Iterator[None]:
    """Be an account without any rights for a while."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def office() -> Iterator[Office]:
    """Return an office in a place that every account may enter, its folders nobody's."""
    with tempfile.TemporaryDirectory() as place:
        office = Office(Path(place, "office"))
        for folder in (office.base.parent, office.base):
            folder.chmod(0o755)
        for folder in (office.inbox, office.archive, office.error, office.output):
            os.chown(folder, NOBODY, NOBODY)
        yield office


def warnings_for_nobody(office: Office) -> list[str]:
    settings = office.settings
    with nobody():
        findings = list(check_folders(settings, clock=SystemClock(), ledger_id=None))
    assert not [finding for finding in findings if finding.level is Level.PROBLEM]
    return [f"{finding.subject}: {finding.message}" for finding in findings if finding.level is Level.WARNING]


@pytest.mark.parametrize("name", ["inbox", "inbox/archive", "inbox/error"])
def test_one_that_is_another_accounts_is_a_warning(office: Office, name: str) -> None:
    folder = office.base / name
    os.chown(folder, 0, 0)
    folder.chmod(STICKY)

    (warning,) = warnings_for_nobody(office)

    assert str(folder) in warning
    assert "files of others cannot be moved out of it" in warning


def test_one_of_ones_own_is_none(office: Office) -> None:
    office.inbox.chmod(STICKY)

    assert warnings_for_nobody(office) == []


def test_root_may_move_whatever_lies_there(office: Office) -> None:
    office.inbox.chmod(STICKY)

    findings = check_folders(office.settings, clock=SystemClock(), ledger_id=None)

    assert {finding.level for finding in findings} == {Level.GOOD}
