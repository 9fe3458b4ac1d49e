"""The checker itself: what it says of a site that kept its promise, and of every way to break it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from system.sites import pdf

from faults.checker import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from system.sites import Site

NAMES = ("one.pdf", "sub/two.pdf", "sub/three.tif")


@pytest.fixture
def done(site: Site) -> list[bytes]:
    """Three files that went the whole way, and one that was refused."""
    contents = [site.drop(name) for name in NAMES]
    site.drop("empty.pdf", b"")
    site.run_once()
    return contents


def test_a_kept_promise_brings_no_complaint(site: Site, done: list[bytes]) -> None:
    assert judge(site, sent=done, kept=[b""]) == []


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda site: (site.archive / "one.pdf").unlink(), "lost from inbox, archive, error"),
        (
            lambda site: (site.inbox / "copy.pdf").write_bytes((site.archive / "one.pdf").read_bytes()),
            "lies in too many",
        ),
        (lambda site: (site.archive / "one.pdf").write_bytes(b"other"), "other bytes are there"),
        (lambda site: (site.output / "one.csv").unlink(), "export not in the output"),
        (lambda site: (site.output / "one.csv").write_bytes(b"half"), "in the output, but no export"),
        (lambda site: (site.output / ".fsagent-0123456789abcdef.part").write_bytes(b""), "left behind"),
        (lambda site: (site.archive / "one.pdf").rename(site.archive / "two.pdf"), "it is not there"),
        (lambda site: (site.archive / "one.pdf").rename(site.archive / "two.pdf"), "does not know that it filed"),
        (lambda site: (site.error / "empty.pdf.error.txt").unlink(), "no note is beside it"),
    ],
    ids=["lost", "twice", "changed", "export lost", "export half", "staged", "moved", "lost sight of", "no reason"],
)
def test_each_broken_promise_is_named(
    site: Site, done: list[bytes], damage: Callable[[Site], object], complaint: str
) -> None:
    damage(site)

    assert complaint in "\n".join(judge(site, sent=done, kept=[b""]))


def test_a_task_too_many_is_named(site: Site, done: list[bytes]) -> None:
    site.drop("again.pdf", done[0])
    site.run_once()

    assert "sent too often" in "\n".join(judge(site, sent=done, kept=[b"", done[0]]))


def test_a_file_that_was_never_sent_is_named(site: Site, done: list[bytes]) -> None:
    never = site.drop("never.pdf", pdf("never"))

    assert "never became a task" in "\n".join(judge(site, sent=[*done, never], kept=[b""]))
