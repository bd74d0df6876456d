"""Limits that work and yet look unintended."""

from __future__ import annotations

from collections.abc import Iterator

from runner.spec.located import Located
from runner.spec.models import Limits
from runner.spec.units import show_bytes, show_seconds


def unlikely_limits(limits: Limits, located: Located) -> Iterator[str]:
    """Yield a note for each combination that works and yet looks unintended.

    Args:
        limits: limits of the experiment.
        located: where they were written, under `limits`.
    """
    where = located.where(("limits",))
    if limits.run_timeout < limits.step_timeout:
        yield (
            f"{where}: limits.run_timeout ({show_seconds(limits.run_timeout)}) is shorter than limits.step_timeout "
            f"({show_seconds(limits.step_timeout)}): no step can use its whole time"
        )
    chosen = any(located.holds(("limits", name)) for name in ("tmp", "shm"))
    if chosen and limits.tmp + limits.shm > limits.memory:
        yield (
            f"{where}: /tmp and /dev/shm may hold {show_bytes(limits.tmp + limits.shm)}, more than limits.memory "
            f"({show_bytes(limits.memory)}): a step that fills them is killed for its memory"
        )
