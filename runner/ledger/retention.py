"""Which finished runs a rule of retention lets go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.ledger.rows import LedgerRow


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What has to be true of a run for it to go: everything that is given. Without any of it no run goes."""

    older_than: float | None = None
    """Seconds since it finished."""
    keep_last: int | None = None
    """Of each framework on each scenario the so many that finished last stay."""
    larger_than: int | None = None
    """Bytes on the disk."""
    free: int | None = None
    """Only as many go, the oldest first, as it takes until so many bytes are free."""

    @property
    def given(self) -> bool:
        """Whether it lets anything go at all."""
        return any(one is not None for one in (self.older_than, self.keep_last, self.larger_than, self.free))


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A run that the rule lets go."""

    row: LedgerRow
    bytes: int
    """Room it takes on the disk."""


def choose(
    rows: Sequence[LedgerRow],
    rule: Rule,
    *,
    now: datetime,
    size: Callable[[LedgerRow], int],
    spared: Callable[[LedgerRow], bool],
    free: int,
) -> tuple[Chosen, ...]:
    """Return the runs that go, those that finished first before the others.

    Args:
        rows: every run of the folder: what is unfinished never goes, and what it was forked from neither.
        rule: what has to be true of a run.
        now: the time that ages are counted from.
        size: tells the room that a run takes; asked of few runs, because it takes time.
        spared: whether a run stays whatever the rule says.
        free: bytes that are free now.
    """
    if not rule.given:
        return ()
    needed = parents_of_unfinished(rows)
    candidates = [row for row in _beyond_last(rows, rule.keep_last) if row.run_id not in needed and not spared(row)]
    if rule.older_than is not None:
        candidates = [row for row in candidates if _age(row, now) >= rule.older_than]
    return tuple(_enough(candidates, rule, size, free))


def parents_of_unfinished(rows: Iterable[LedgerRow]) -> Collection[str]:
    """Return the ids of runs that an unfinished fork goes on from."""
    return {row.forked_from.rpartition("@")[0] for row in rows if row.forked_from and row.state != "done"}


def _beyond_last(rows: Iterable[LedgerRow], keep: int | None) -> list[LedgerRow]:
    """Return the finished runs, the oldest first, without the last of each framework on each scenario."""
    newest = sorted((row for row in rows if row.state == "done"), key=_finished, reverse=True)
    seen: Counter[tuple[str, str]] = Counter()
    beyond = []
    for row in newest:
        seen[row.framework, row.scenario] += 1
        if seen[row.framework, row.scenario] > (keep or 0):
            beyond.append(row)
    return beyond[::-1]


def _enough(rows: Sequence[LedgerRow], rule: Rule, size: Callable[[LedgerRow], int], free: int) -> Iterator[Chosen]:
    for row in rows:
        if rule.free is not None and free >= rule.free:
            return
        room = size(row)
        if rule.larger_than is None or room > rule.larger_than:
            free += room
            yield Chosen(row=row, bytes=room)


def _finished(row: LedgerRow) -> tuple[str, str]:
    return row.finished_at or "", row.digest


def _age(row: LedgerRow, now: datetime) -> float:
    """Return the seconds since a run finished; one whose time is not known is not old."""
    try:
        finished = datetime.fromisoformat(row.finished_at or "")
    except ValueError:
        return -1.0
    return (now - (finished if finished.tzinfo else finished.replace(tzinfo=UTC))).total_seconds()
