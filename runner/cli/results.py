"""What a `go` came to, shown by the one who carried it out and by those who watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from runner.cli.console import Console
from runner.ledger.rows import LedgerRow
from runner.ledger.store import Ledger
from runner.plan.impossible import Impossible
from runner.report.exit_code import WAITING
from runner.report.format import plural
from runner.report.ledger_tables import facts_of
from runner.report.results import otherwise, result_table, result_values
from runner.report.waiting import count_words, waiting_lines

_NAMED = 10
"""Runs that did not pass and are named below the table."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of an experiment's selected runs."""

    experiment: str
    label: str
    """How the model is called."""
    output: Path
    """Folder of run directories."""
    rows: Sequence[LedgerRow]
    code: int
    """Exit code."""
    images_failed: Mapping[str, str] = field(default_factory=dict)
    """Images that could not be built, and why."""
    impossible: Sequence[Impossible] = ()
    """Runs that are left out for want of an image."""
    stopped: str = ""
    """Why some runs were not begun; empty if nothing kept them."""


def rows_of(ledger: Ledger, digests: Sequence[str]) -> list[LedgerRow]:
    """Return what the ledger knows of some runs, in their order."""
    order = {digest: number for number, digest in enumerate(digests)}
    return sorted(ledger.rows(digests=digests) if digests else (), key=lambda row: order[row.digest])


def show_results(console: Console, results: Results) -> None:
    """Print the table of results and what there is to do, or one JSON document."""
    facts = [facts_of(row, results.label) for row in results.rows]
    if console.to_json:
        console.json(
            {
                "experiment": results.experiment,
                "model": results.label,
                "exit_code": int(results.code),
                "stopped": results.stopped,
                "images_failed": dict(results.images_failed),
                "impossible": [asdict(one) for one in results.impossible],
                "output": str(results.output),
                "runs": result_values(facts),
            }
        )
        return
    console.table(result_table(facts))
    _last_words(console, results.rows, results.output)
    for line in impossible_lines(results.impossible, results.images_failed):
        console.say(line)
    if results.stopped:
        left = sum(row.outcome is None and not row.waits_for for row in results.rows)
        console.say(f"stopped: {results.stopped}")
        console.say(f"  {plural(left, 'run')} not begun; find the cause first, then go again: they stay planned")
        console.say("  to go on whatever breaks: stop_after_broken: 0 in the experiment")


def impossible_lines(impossible: Sequence[Impossible], why: Mapping[str, str]) -> list[str]:
    """Say which runs are not possible here, and why.

    Args:
        impossible: runs that are left out.
        why: reason by recipe whose image could not be had.
    """
    if not impossible:
        return []
    total = sum(one.runs for one in impossible)
    lines = [f"not possible here: {plural(total, 'run')}, for want of an image; nothing is recorded of them"]
    for one in impossible:
        reasons = "; ".join(f"image of {name}: {why.get(name, 'not built')}" for name in one.images)
        lines.append(f"  {one.framework}, {one.scenario}: {plural(one.runs, 'run')} ({reasons})")
    return [*lines, "  each runner go tries to build again"]


def _last_words(console: Console, rows: Sequence[LedgerRow], output: Path) -> None:
    """Name what did not pass, and where everything is."""
    waiting = [row for row in rows if row.waits_for]
    bad = [row for row in rows if row.outcome != "passed" and not row.waits_for]
    for row in bad[:_NAMED]:
        console.say(f"  {row.directory}: {(row.outcome or 'unfinished').replace('_', ' ')}: {row.reason or '-'}")
    if len(bad) > _NAMED:
        console.say(f"  and {len(bad) - _NAMED:,} more: runner runs")
    for row in waiting[:_NAMED]:
        for line in waiting_lines(row.directory, row.waits_for):
            console.say(f"  {row.directory}: {line}")
    if len(waiting) > _NAMED:
        console.say(f"  and {len(waiting) - _NAMED:,} more that wait: runner runs --waiting")
    passed = len(rows) - len(bad) - len(waiting)
    other = otherwise(WAITING if row.waits_for else row.outcome for row in rows)
    console.say(f"{plural(len(rows), 'run')}: {passed:,} passed{', ' + other if other else ''}; evidence in {output}")
    if bad:
        console.say(f"look closer: runner show {bad[0].directory}")
    if waiting:
        console.say(
            f"{count_words(len(waiting))}: runner approve RUN or runner reject RUN, then go again, with the same arguments"
        )
    if any(row.outcome in {None, "cancelled", "broken"} for row in bad):
        console.say("continue: runner go, with the same arguments")
