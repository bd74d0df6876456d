"""A pool of threads on this machine: each waits for one container at a time, so threads cost next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from runner.execution.cancellation import Cancellation
from runner.plan.models import Run

T = TypeVar("T")


@dataclass(frozen=True)
class LocalPool:
    """Perform up to `jobs` runs at the same time."""

    jobs: int
    cancellation: Cancellation

    def map(self, perform: Callable[[Run], T], runs: Iterable[Run], *, at_once: int = 0) -> Iterator[T]:
        """Yield results as runs end; see `Executor.map`."""
        waiting = iter(runs)
        under_way: set[Future[T]] = set()
        most = max(self.jobs, at_once)
        with ThreadPoolExecutor(most, thread_name_prefix="slot") as pool:
            while True:
                if not self.cancellation.cancelled:
                    room = max(most - len(under_way), 0)
                    under_way |= {pool.submit(perform, run) for run in islice(waiting, room)}
                most = self.jobs
                if not under_way:
                    return
                ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
