"""A configuration that is edited while an agent runs (row 26): the old one stays until somebody starts it anew.

Mistakes themselves are tests/unit/config and tests/system `test_twelve_mistakes_…`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from system.sites import wait_until

from faults.checker import judge

if TYPE_CHECKING:
    from system.sites import Site

pytestmark = pytest.mark.timeout(300)


def test_a_mistake_made_while_the_agent_runs_changes_nothing_and_keeps_the_next_one_from_starting(site: Site) -> None:
    whole = site.config.read_bytes()
    with site.run() as running:
        site.wait_scanned()
        site.config.write_text("watch_folders: [\n", encoding="utf-8")
        content = site.drop("one.pdf")
        wait_until(lambda: [task["state"] for task in site.describe()] == ["completed"], what=lambda: running.log)
        wait_until((site.archive / "one.pdf").exists)
        assert running.stop() == 0
    refused = site.command("run")
    site.config.write_bytes(whole)

    assert refused.returncode == 2
    assert f"{site.config}:" in refused.stderr
    assert "Traceback" not in running.log + refused.stderr
    assert judge(site, sent=[content]) == []
