"""Sizes, durations and numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.spec.units import parse_bytes, parse_number, parse_seconds, show_bytes, show_seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("512MiB", 512 * 1024**2), ("1.5GB", 1_500_000_000), ("64k", 65536), ("7", 7), (9, 9), ("2 TiB", 2 * 1024**4)],
)
def test_sizes_have_units(text: object, value: int) -> None:
    """Binary and decimal units, a bare letter as binary, and bare bytes are read."""
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["512 megs", "-1", "", "1e3", True, None, [1], 1.5, "1,5GiB", "GiB"])
def test_what_is_no_size_is_refused(text: object) -> None:
    """Anything without number and known unit is refused, truth values and fractions of a byte too."""
    with pytest.raises(ValueError, match="is not a size; write a number with B, KiB"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "value"), [("10m", 600.0), ("250ms", 0.25), ("1.5h", 5400.0), (90, 90.0), (0.5, 0.5)])
def test_durations_have_units(text: object, value: float) -> None:
    """Milliseconds to days and bare seconds are read."""
    assert parse_seconds(text) == value


@pytest.mark.parametrize("text", ["1 minute", "-1s", "", "10M", True, None])
def test_what_is_no_duration_is_refused(text: object) -> None:
    """Anything without number and known unit is refused; M is no minute."""
    with pytest.raises(ValueError, match="is not a duration; write a number with ms"):
        parse_seconds(text)


@given(st.integers(0, 2**60))
def test_a_shown_size_is_the_same_size(value: int) -> None:
    """What is shown can be written in a file and means exactly the same."""
    assert parse_bytes(show_bytes(value)) == value


@given(st.integers(0, 10**9) | st.integers(0, 10**6).map(lambda milli: milli / 1000))
def test_a_shown_duration_is_the_same_duration(value: float) -> None:
    """What is shown can be written in a file and means the same, to a tenth of a microsecond."""
    assert parse_seconds(show_seconds(value)) == pytest.approx(value, abs=1e-7)


def test_the_largest_whole_unit_is_shown() -> None:
    """Sizes and durations are shown as a person would write them."""
    assert [show_bytes(16 * 1024**2), show_bytes(1500), show_bytes(0)] == ["16MiB", "1500B", "0B"]
    assert [show_seconds(600), show_seconds(90), show_seconds(0.25), show_seconds(0)] == ["10m", "90s", "250ms", "0s"]


def test_truth_values_are_no_numbers() -> None:
    """`jobs: true` is a slip, not one job."""
    with pytest.raises(ValueError, match="true is not a number"):
        parse_number(True)
    assert parse_number("3") == "3"
