"""What becomes of single measurements: pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median, quantiles

Samples = dict[str, list[float]]
"""Single measurements by name."""


def p99(times: Sequence[float]) -> float:
    """Return the time that 99 of 100 calls do not exceed, estimated as `statistics.quantiles` does; at least two times."""
    return quantiles(times, n=100)[98]


def added(name: str, direct: Sequence[float], gateway: Sequence[float]) -> dict[str, float]:
    """Return how much later than directly an answer comes through the gateway.

    Args:
        name: what the figures are named after.
        direct: seconds that each call took.
        gateway: the same of calls through the gateway.

    Returns:
        `<name>_p50_seconds` and `<name>_p99_seconds`: differences of the medians, and of the 99th percentiles.
    """
    return {
        f"{name}_p50_seconds": median(gateway) - median(direct),
        f"{name}_p99_seconds": p99(gateway) - p99(direct),
    }


def ratio(direct: Sequence[float], gateway: Sequence[float]) -> float:
    """Return the median rate through the gateway as a part of the direct one."""
    return median(gateway) / median(direct)


def memory(status: str, field: str) -> float:
    """Return a figure of a process's memory, bytes.

    Args:
        status: contents of its `/proc/<pid>/status`, see proc(5).
        field: like `VmHWM`.

    Raises:
        SystemExit: if there is no such figure, as that of a process which has ended.
    """
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise SystemExit(f"no {field} in the status of the gateway's process; it may have ended")
    return float(found[1]) * 1024
