"""Limits that the fields alone cannot judge: sizes beyond any machine, and combinations that look unintended."""

from __future__ import annotations

from collections.abc import Iterator

from runner.spec.complaints import Complaint
from runner.spec.located import KeyPath, Located
from runner.spec.models import Limits, LimitsPatch
from runner.spec.units import show_bytes, show_seconds

_LARGEST = 1024**5
_LONGEST = 365 * 86400.0
_SIZES = ("memory", "swap", "tmp", "shm", "log")
_TIMES = ("step_timeout", "run_timeout", "grace")


def absurd_limits(limits: Limits | LimitsPatch, located: Located, path: KeyPath) -> Iterator[Complaint]:
    """Yield a complaint for each limit that no machine could mean: a size above 1024TiB, a time above a year.

    Args:
        limits: what was written.
        located: where it was written.
        path: path of the limits there.
    """
    for names, most, unit in ((_SIZES, _LARGEST, "1024TiB"), (_TIMES, _LONGEST, "365d")):
        for name in names:
            value = getattr(limits, name, None)
            if value is not None and value > most:
                written = located.texts.get((*path, name), str(value))
                key = ".".join(str(part + 1) if isinstance(part, int) else part for part in (*path, name))
                what = f"{key}: `{written}` is absurdly large; it must be at most {unit}"
                yield Complaint(what=what, where=located.where((*path, name)))


def unlikely_limits(limits: Limits, where: str) -> Iterator[str]:
    """Yield a note for each combination that works and yet looks unintended.

    Args:
        limits: limits of the experiment.
        where: where they were written.
    """
    if limits.run_timeout < limits.step_timeout:
        yield (
            f"{where}: limits.run_timeout ({show_seconds(limits.run_timeout)}) is shorter than limits.step_timeout "
            f"({show_seconds(limits.step_timeout)}): no step can use its whole time"
        )
    if limits.tmp + limits.shm > limits.memory:
        yield (
            f"{where}: /tmp and /dev/shm may hold {show_bytes(limits.tmp + limits.shm)}, more than limits.memory "
            f"({show_bytes(limits.memory)}): a step that fills them is killed for its memory"
        )
