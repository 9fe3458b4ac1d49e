from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.values import (
    parse_duration,
    parse_mode,
    parse_size,
)

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("5m", 300), ("1h", 3600), ("30d", 2_592_000), ("1.5s", 1.5), ("0", 0), ("0s", 0)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "2", "s", "-1s", "1:30", "2 s", "2S", "1h30m", "1e3s", "٣s", "2s\n", ".5s", "never", "nan", "99999999d"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=36_500), st.sampled_from(sorted(UNITS)))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * UNITS[unit])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10MB", 10_000_000),
        ("2GiB", 2**31),
        ("16KiB", 16_384),
        ("1.5kB", 1500),
        ("100", 100),
        ("7B", 7),
        ("10m", 10**7),
    ],
)
def test_sizes_are_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "10 MB", "10XB", "1e6", "10MiBB", "never", "999999999TiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_and_size_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_mode):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value is None or value >= 0


@pytest.mark.parametrize(
    ("text", "mode"), [("0640", 0o640), ("640", 0o640), ("0o640", 0o640), ("2770", 0o2770), ("inherit", None)]
)
def test_modes_are_octal_however_they_are_written(text: str, mode: int | None) -> None:
    assert parse_mode(text) == mode


@pytest.mark.parametrize("text", ["0980", "64", "rw-r-----", "0o0o640", "07777777", "416x", ""])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected inherit or an octal mode"):
        parse_mode(text)
