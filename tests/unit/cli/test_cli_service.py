from __future__ import annotations

import pytest
from fakes.office import run


@pytest.mark.parametrize("command", ["install", "uninstall", "start", "stop", "status"])
def test_says_that_it_is_not_yet_supported_and_what_to_do_instead(command: str) -> None:
    result = run("service", command)

    assert result.status == 1
    assert "not yet supported" in result.err
    assert "fsagent run" in result.err
    assert result.out == ""


def test_help_lists_every_subcommand() -> None:
    result = run("service", "--help")

    assert result.status == 0
    assert [word for word in ("install", "uninstall", "start", "stop", "status") if word not in result.out] == []
