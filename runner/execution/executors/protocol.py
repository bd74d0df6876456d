"""The seam to whatever carries runs to where they are performed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from runner.plan.models import Run

T = TypeVar("T")


class Executor(Protocol):
    """Performs runs, some at the same time."""

    def map(self, perform: Callable[[Run], T], runs: Iterable[Run], *, at_once: int = 0) -> Iterator[T]:
        """Yield what `perform` returns for each run, in the order in which they end.

        Runs start in the order given. The first `at_once` of them start together, however many go at the same time
        otherwise: what they consist of is under way already. Once cancelled, no further run starts and those under way
        are waited for.
        """
