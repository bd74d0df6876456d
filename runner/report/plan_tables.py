"""What a plan looks like: one row per run, or one per framework and scenario when there are many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from runner.plan.graph import dependencies, is_linear
from runner.plan.models import Run
from runner.plan.resume import Decision
from runner.report.format import DASH, plural
from runner.report.tables import Cell, Column, Table, Tone

LISTED = 50
"""A plan of more runs than this is summed up, a longer table of steps cut."""

_RUN_COLUMNS = (
    Column(title="run"),
    Column(title="framework"),
    Column(title="steps", right=True, rank=3),
    Column(title="seed", right=True, rank=4),
    Column(title="image", rank=2),
    Column(title="then"),
    Column(title="why", rank=1, folds=24),
)
_CELL_COLUMNS = (
    Column(title="framework"),
    Column(title="scenario"),
    Column(title="runs", right=True),
    Column(title="steps", right=True, rank=2),
    Column(title="to do", right=True),
    Column(title="done", right=True),
    Column(title="image", rank=1),
)
_STEP_COLUMNS = (
    Column(title="#", right=True),
    Column(title="step"),
    Column(title="kind", rank=1),
    Column(title="after", folds=24),
)
_NAMED = 6
"""Steps that are named before a step; of more, only the number is given."""
_ACTIONS = {"run": Cell("run", Tone.STRONG), "skip": Cell("skip", Tone.FAINT)}


def plan_table(decisions: Sequence[Decision], model_label: str) -> Table:
    """Return the table of a plan.

    Args:
        decisions: planned runs in order, with what happens to each.
        model_label: how the model is called, empty if no framework has one.
    """
    title = f"model: {model_label}" if model_label else ""
    if len(decisions) <= LISTED:
        rows = tuple(_run_row(one) for one in decisions)
        return Table(title=title, columns=_RUN_COLUMNS, rows=rows, notes=(summary(decisions),))
    rows = _cell_rows(decisions)
    note = "--json lists every run"
    return Table(title=title, columns=_CELL_COLUMNS, rows=rows, notes=(summary(decisions), note))


def summary(decisions: Iterable[Decision]) -> str:
    """Write how many runs are to do, how many are done, and how many wait for a person, if any."""
    every = list(decisions)
    to_do, waiting = sum(one.action == "run" for one in every), sum(one.waits for one in every)
    done = f"{plural(len(every), 'run')}: {to_do:,} to do, {len(every) - to_do - waiting:,} done"
    return f"{done}, {waiting:,} waiting for approval" if waiting else done


def reasons(decisions: Iterable[Decision]) -> list[str]:
    """Write why runs are carried out, one line per reason with the number of runs, the most frequent first."""
    counted = Counter(one.why for one in decisions if one.action == "run")
    return [f"{plural(number, 'run')} to do: {why}" for why, number in counted.most_common()]


def _run_row(decision: Decision) -> tuple[Cell, ...]:
    run = decision.run
    return (
        Cell(run.id),
        Cell(run.framework.name, Tone.STRONG),
        Cell(str(len(run.steps))),
        Cell(str(run.seed)),
        _image(run),
        _ACTIONS[decision.action],
        Cell(decision.why, Tone.FAINT),
    )


def _image(run: Run) -> Cell:
    """Write the image's tag without its folder, and whether it exists."""
    tag = run.image.tag.rpartition("/")[2]
    return Cell(tag) if run.image.id else Cell(f"{tag or DASH} not built", Tone.WARN)


def _cell_rows(decisions: Iterable[Decision]) -> tuple[tuple[Cell, ...], ...]:
    cells: dict[tuple[str, str], list[Decision]] = {}
    for one in decisions:
        cells.setdefault((one.run.framework.name, one.run.scenario), []).append(one)
    return tuple(
        (
            Cell(framework, Tone.STRONG),
            Cell(scenario),
            Cell(f"{len(group):,}"),
            Cell(str(len(group[0].run.steps))),
            Cell(f"{sum(one.action == 'run' for one in group):,}"),
            Cell(f"{sum(one.action == 'skip' and not one.waits for one in group):,}"),
            _image(group[0].run),
        )
        for (framework, scenario), group in cells.items()
    )


def graph_tables(runs: Iterable[Run]) -> Iterator[Table]:
    """Yield, for each scenario that is more than a list, a table of its steps and what each of them comes after."""
    seen: set[str] = set()
    for run in runs:
        if run.scenario in seen:
            continue
        seen.add(run.scenario)
        if is_linear(run.steps):
            continue
        needed = dependencies(run.steps)
        rows = tuple(
            (Cell(str(step.index)), Cell(step.id, Tone.STRONG), Cell(step.kind), Cell(_after(needed[step.id])))
            for step in run.steps[:LISTED]
        )
        beyond = len(run.steps) - LISTED
        notes = (f"and {plural(beyond, 'more step')}; --json lists every one",) if beyond > 0 else ()
        yield Table(title=f"steps of {run.scenario}", columns=_STEP_COLUMNS, rows=rows, notes=notes)


def _after(names: Sequence[str]) -> str:
    """Write what a step waits for, shortened where it is much."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or DASH) + more


def plan_values(decisions: Iterable[Decision]) -> list[dict[str, object]]:
    """Return every planned run as plain values, for `--json`."""
    return [
        {
            "id": one.run.id,
            "framework": one.run.framework.name,
            "scenario": one.run.scenario,
            "repetition": one.run.repetition,
            "seed": one.run.seed,
            "steps": [step.id for step in one.run.steps],
            "after": {name: list(after) for name, after in dependencies(one.run.steps).items()},
            "digest": one.run.digest,
            "image": one.run.image.model_dump(mode="json"),
            "action": one.action,
            "why": one.why,
            "waits": one.waits,
        }
        for one in decisions
    ]
