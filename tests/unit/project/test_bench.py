"""What `make bench` makes of its measurements."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.upstream.mixed import differences

FIGURES = Path(__file__).resolve().parents[3] / "bench" / "gateway" / "figures.py"
ONE = {
    "format": "openai-chat",
    "tokens_in": 1200,
    "tokens_out": 30,
    "tokens_cached": 5,
    "tokens_cache_written": 0,
    "tokens_reasoning": 7,
    "stream": True,
}


@pytest.fixture(name="figures", scope="module")
def _figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_figures", FIGURES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_gateway_adds_is_the_difference_of_the_same_percentiles(figures: ModuleType) -> None:
    """A gateway that makes every call 2 ms longer adds 2 ms to the median and to the 99th percentile."""
    direct = [number / 1000 for number in range(1, 200)]
    added = figures.added("x", direct, [time + 0.002 for time in direct])
    assert added == pytest.approx({"x_p50_seconds": 0.002, "x_p99_seconds": 0.002})


def test_only_slow_calls_show_in_the_99th_percentile(figures: ModuleType) -> None:
    """Two calls in a hundred that take a second more leave the median as it was."""
    added = figures.added("x", [0.001] * 100, [0.001] * 98 + [1.001] * 2)
    assert added == pytest.approx({"x_p50_seconds": 0.0, "x_p99_seconds": 1.0})


def test_a_ratio_is_below_one_if_the_gateway_is_slower(figures: ModuleType) -> None:
    """Median rates are compared, the gateway's as a part of the direct one, so that one odd round counts for nothing."""
    assert figures.ratio([100.0, 1.0, 100.0], [90.0, 90.0, 1000.0]) == pytest.approx(0.9)


def test_memory_is_read_in_bytes(figures: ModuleType) -> None:
    """The kernel states KiB; of two fields with like names the one asked for counts."""
    assert figures.memory("Name:\tx\nVmHWM:\t     3 kB\nVmRSS:\t     2 kB\n", "VmHWM") == 3072


def test_a_figure_that_is_missing_is_not_zero(figures: ModuleType) -> None:
    """A process that has ended has no memory to read, which ends the measurement in words."""
    with pytest.raises(SystemExit, match="no VmHWM in the status"):
        figures.memory("Name:\tx\nState:\tZ (zombie)\n", "VmHWM")


@pytest.mark.parametrize("name", [*ONE])
def test_any_field_that_differs_is_one_difference(name: str) -> None:
    """A call recorded otherwise than stated is counted once, whichever field it is."""
    other: dict[str, Any] = {**ONE, "tokens_in": 2400}
    wrong = {**ONE, name: "openai-responses" if name == "format" else not ONE[name] if name == "stream" else 99}
    assert differences([ONE, other], [other, ONE]) == 0
    assert differences([ONE, other], [other, wrong]) == 1


def test_a_call_twice_or_never_recorded_is_a_difference() -> None:
    """Neither can hide behind sums that agree: each line stands for one call."""
    other = {**ONE, "tokens_in": 2400}
    assert differences([ONE, other], [ONE]) == 1
    assert differences([ONE], [ONE, ONE]) == 1
    assert differences([ONE, other], [ONE, ONE]) == 1
