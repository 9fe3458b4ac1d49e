"""Sizes as people read them."""

from __future__ import annotations

import pytest

from agent.rules.sizes import readable


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (999_999, "1000 KB"),
        (100_000_000, "100 MB"),
        (77_370_064_896, "77.4 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_a_size_is_told_in_its_largest_unit(size: int, text: str) -> None:
    assert readable(size) == text
