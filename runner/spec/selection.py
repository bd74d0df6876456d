"""Which part of the matrix an experiment's include and exclude keep."""

from __future__ import annotations

from runner.spec.models import Cell, Experiment


def is_selected(experiment: Experiment, framework: str, scenario: str, repetition: int | None = None) -> bool:
    """Tell whether a run is kept: some `include` matches (or there is none), and no `exclude` does.

    Args:
        experiment: whose rules.
        framework: framework of the run.
        scenario: scenario of the run.
        repetition: repetition from 1; None asks whether any repetition is kept.
    """
    if repetition is None:
        # Past the largest repetition that a rule names, all are alike.
        named = [cell.repetition or 0 for cell in (*experiment.include, *experiment.exclude)]
        most = min(experiment.repetitions, max(named, default=0) + 1)
        return any(is_selected(experiment, framework, scenario, one) for one in range(1, most + 1))
    included = not experiment.include or any(_matches(c, framework, scenario, repetition) for c in experiment.include)
    return included and not any(_matches(cell, framework, scenario, repetition) for cell in experiment.exclude)


def _matches(cell: Cell, framework: str, scenario: str, repetition: int) -> bool:
    return (
        cell.framework in (None, framework)
        and cell.scenario in (None, scenario)
        and cell.repetition in (None, repetition)
    )
