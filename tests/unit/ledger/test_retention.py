"""A rule lets go of what everything in it is true of, the oldest first, and never of what is needed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from runner.ledger.retention import Rule, choose
from runner.ledger.rows import LedgerRow, State

NOW = datetime(2026, 6, 30, tzinfo=UTC)
DAY = 86400.0
GIB = 1024**3


def make_row(day: int, *, scenario: str = "crud", state: State = "done", forked_from: str = "") -> LedgerRow:
    """Return a run that finished on a day of June."""
    return LedgerRow(
        run_id=f"{scenario}-{day}",
        digest=f"{scenario}-{day}",
        experiment="default",
        framework="fake",
        scenario=scenario,
        repetition=day,
        state=state,
        outcome="passed" if state == "done" else None,
        reason="",
        model_label="no model",
        started_at=f"2026-06-{day:02d}T00:00:00.000Z",
        finished_at=f"2026-06-{day:02d}T01:00:00.000Z" if state == "done" else None,
        directory=f"fake/{scenario}-{day}",
        metrics={},
        forked_from=forked_from,
    )


ROWS = [make_row(day) for day in (20, 1, 28, 10)]


def chosen(
    rule: Rule,
    rows: list[LedgerRow] | None = None,
    *,
    free: int = 0,
    spared: Callable[[LedgerRow], bool] = lambda _: False,
) -> list[str]:
    """Return the ids of the runs that go; run N takes N GiB."""
    found = choose(
        ROWS if rows is None else rows,
        rule,
        now=NOW,
        size=lambda row: row.repetition * GIB,
        spared=spared,
        free=free,
    )
    return [one.row.run_id for one in found]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(), []),
        (Rule(older_than=0), ["crud-1", "crud-10", "crud-20", "crud-28"]),
        (Rule(older_than=15 * DAY), ["crud-1", "crud-10"]),
        (Rule(keep_last=3), ["crud-1"]),
        (Rule(keep_last=0), ["crud-1", "crud-10", "crud-20", "crud-28"]),
        (Rule(larger_than=10 * GIB), ["crud-20", "crud-28"]),
        (Rule(older_than=15 * DAY, larger_than=5 * GIB), ["crud-10"]),
        (Rule(free=11 * GIB), ["crud-1", "crud-10"]),
        (Rule(free=12 * GIB), ["crud-1", "crud-10", "crud-20"]),
        (Rule(free=0), []),
        (Rule(free=100 * GIB, keep_last=3), ["crud-1"]),
    ],
)
def test_everything_in_a_rule_has_to_be_true(rule: Rule, expected: list[str]) -> None:
    """Ages, counts and sizes narrow together; room is made by the oldest, and no further than needed."""
    assert chosen(rule) == expected


def test_the_last_are_counted_for_each_kind() -> None:
    """Every framework keeps its last runs on every scenario."""
    rows = [make_row(day, scenario=scenario) for scenario in ("a", "b") for day in (1, 2, 3)]
    assert chosen(Rule(keep_last=2), rows) == ["a-1", "b-1"]


def test_what_is_not_done_never_goes() -> None:
    """Runs that are planned, under way or wait for people are not looked at, nor what an unfinished fork goes on from."""
    states: tuple[State, ...] = ("planned", "leased", "suspended")
    rows = [make_row(day, state=state) for day, state in enumerate(states, 1)]
    rows += [make_row(10), make_row(11), make_row(12, state="leased", forked_from="crud-11@greet")]
    assert chosen(Rule(older_than=0), rows) == ["crud-10"]


def test_a_finished_fork_needs_its_parent_no_more() -> None:
    """It has a history of its own."""
    assert chosen(Rule(older_than=0), [make_row(1), make_row(2, forked_from="crud-1@greet")]) == ["crud-1", "crud-2"]


def test_spared_runs_stay_and_count() -> None:
    """A run that is kept stays, and is still one of the last."""
    assert chosen(Rule(keep_last=1), spared=lambda row: row.repetition == 28) == ["crud-1", "crud-10", "crud-20"]
