"""Numbers for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.report.format import DASH, clock, count, duration, plural, short_count, size, usd


@pytest.mark.parametrize("write", [size, duration, count, short_count, usd])
def test_unmeasured_is_a_dash(write: object) -> None:
    """A value that was not measured is shown as a dash, and nought is not."""
    assert callable(write)
    assert write(None) == DASH
    assert write(0) != DASH


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536 * 1024, "1.50 MiB"),
        (1024**3 - 1, "1.00 GiB"),
        (250 * 1024**3, "250 GiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_sizes(value: int, text: str) -> None:
    """Sizes have binary units and three digits."""
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1m00s"),
        (3725, "1h02m"),
        (273600, "3d04h"),
    ],
)
def test_durations(value: float, text: str) -> None:
    """Durations show two units at most and never sixty of the smaller one."""
    assert duration(value) == text


@given(st.floats(min_value=0, max_value=8e8))
def test_durations_stay_short(value: float) -> None:
    """A duration below twenty-five years takes at most eight characters."""
    assert len(duration(value)) <= 8


def test_counts_prices_clock_and_plurals() -> None:
    """Counts have separators, short counts units, prices four decimals below a dollar."""
    assert (count(1234567), count(2.5)) == ("1,234,567", "2.5")
    assert (short_count(950), short_count(12345), short_count(999_999)) == ("950", "12.3k", "1.00M")
    assert (usd(0.01234), usd(1234.5)) == ("$0.0123", "$1,234.50")
    assert (clock(42), clock(3753), clock(-1)) == ("00:42", "1:02:33", "00:00")
    assert (plural(1, "run"), plural(0, "run"), plural(2000, "run")) == ("1 run", "0 runs", "2,000 runs")
