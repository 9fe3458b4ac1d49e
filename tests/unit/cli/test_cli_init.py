from __future__ import annotations

import io
import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest
from fakes.office import Result, run

from agent.config.loading import load

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = {"ALUMA_CLIENT_ID": "me", "ALUMA_CLIENT_SECRET": "hush"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAGENT_CONFIG", raising=False)
    return tmp_path


def init(*arguments: str) -> Result:
    return run("init", "config.yaml", "--project-id", "project-1", "--state-dir", "state/fsagent", *arguments)


def test_writes_what_was_asked_for_and_makes_the_folders(here: Path) -> None:
    result = init("--url", "https://service.example", "--inbox", "in box", "--output", "deep/out", "--name", "bills")

    assert result.status == 0, result.err
    settings = load(here / "config.yaml", environment=VARIABLES).settings
    (folder,) = settings.watch_folders
    assert (settings.service.url, settings.service.client_secret) == ("https://service.example", "hush")
    assert (folder.name, folder.project_id) == ("bills", "project-1")
    assert (folder.inbox, folder.output) == (here / "in box", here / "deep" / "out")
    assert settings.state_dir == here / "state" / "fsagent"
    assert (here / "in box").is_dir()
    assert (here / "deep" / "out").is_dir()
    assert (here / "state").is_dir()


def test_says_what_is_next(here: Path) -> None:
    out = init("--inbox", "in").out

    assert "ALUMA_CLIENT_ID" in out
    assert f'fsagent -c "{here / "config.yaml"}" check' in out
    assert "run" in out


def test_folders_are_relative_to_where_one_is(here: Path) -> None:
    result = run("init", "etc/config.yaml", "--project-id", "p", "--state-dir", "state", "--inbox", "in")

    assert result.status == 0, result.err
    assert load(here / "etc" / "config.yaml", environment=VARIABLES).settings.watch_folders[0].inbox == here / "in"


def test_takes_the_path_of_the_config_option(here: Path) -> None:
    path = here / "other.yaml"

    assert run("-c", path, "init", "--project-id", "p", "--state-dir", "state", "--output", "out").status == 0
    assert path.is_file()


def test_only_the_owner_can_read_the_file(here: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("rights are the folder's on this platform")
    init("--inbox", "in")

    assert stat.S_IMODE((here / "config.yaml").stat().st_mode) == 0o600


def test_never_overwrites_a_file(here: Path) -> None:
    (here / "config.yaml").write_text("mine", encoding="utf-8")

    result = init("--inbox", "in")

    assert result.status == 2
    assert "is there already" in result.err
    assert "--force" in result.err
    assert (here / "config.yaml").read_text(encoding="utf-8") == "mine"
    assert not (here / "in").exists()


def test_overwrites_where_it_is_told_to(here: Path) -> None:
    (here / "config.yaml").write_text("mine", encoding="utf-8")

    assert init("--inbox", "in", "--force").status == 0
    assert load(here / "config.yaml", environment=VARIABLES).settings.watch_folders[0].name == "in"


def test_without_a_terminal_it_wants_options() -> None:
    result = run("init", "config.yaml", "--inbox", "in")

    assert result.status == 2
    assert "--project-id" in result.err


def test_writes_nothing_that_would_be_no_valid_configuration(here: Path) -> None:
    result = init("--inbox", "in", "--output", "in/out", "--url", "ftp://service.example")

    assert result.status == 2
    assert "service.url" in result.err
    assert "watch_folders[0].output" in result.err
    assert sorted(os.listdir(here)) == []  # noqa: PTH208 -- names


def test_refused_answers_leave_no_folder_behind(here: Path) -> None:
    (here / "etc").mkdir()

    result = run("init", "etc/new/deep/config.yaml", "--project-id", "p", "--inbox", "in", "--url", "ftp://service")

    assert result.status == 2
    assert "nothing was written" in result.err
    assert sorted(path.name for path in here.rglob("*")) == ["etc"]


def test_a_folder_above_that_cannot_be_made_leaves_none_of_the_others(here: Path) -> None:
    place = "new/" + "n" * 300  # longer than any file system's names

    result = run("init", f"{place}/config.yaml", "--project-id", "p", "--inbox", "in", "--state-dir", "state")

    assert result.status == 2
    assert "cannot be written" in result.err
    assert list(here.iterdir()) == []


def test_a_place_that_cannot_be_written_ends_without_a_traceback(here: Path) -> None:
    (here / "file").write_text("", encoding="utf-8")

    result = run("init", "file/config.yaml", "--project-id", "p", "--inbox", "in", "--state-dir", "state")

    assert result.status == 2
    assert "cannot be written" in result.err


class Terminal(io.StringIO):
    """Somebody who types the answers."""

    def isatty(self) -> bool:
        return True


def test_neither_folder_is_told_as_such_to_somebody_who_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("\nproject-7\n\n\n"))

    result = run("init", "config.yaml", "--state-dir", "state")

    assert result.status == 2
    assert "an inbox, an output, or both" in result.err
    assert "without a terminal" not in result.err


def test_asks_on_a_terminal_for_what_no_option_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("\nproject-7\nin\n\n"))

    result = run("init", "config.yaml", "--state-dir", "state")

    assert result.status == 0, result.err
    settings = load(here / "config.yaml", environment=VARIABLES).settings
    assert settings.service.url == "https://api.aluma.io"
    assert settings.watch_folders[0].project_id == "project-7"
    assert settings.watch_folders[0].inbox == here / "in"
    assert settings.watch_folders[0].output is None
