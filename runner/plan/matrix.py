"""Plan an experiment: frameworks x scenarios x repetitions, in the order in which they are to be carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from runner.errors import NothingSelected
from runner.plan.digest import cell_digest, cell_identity, repetition_seed, run_digest
from runner.plan.judging import plan_checks
from runner.plan.models import Checker, ImageRef, Run
from runner.plan.steps import plan_start, plan_steps
from runner.spec.model import Budgets
from runner.spec.models import Experiment, Framework
from runner.spec.scenario import Scenario, Workflow
from runner.spec.selection import is_selected
from runner.spec.ways import images_of

_DIGITS = 10
"""Digits of the digest in a run's id."""


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What all cells of an experiment share."""

    experiment: Experiment
    workflows: Mapping[str, Workflow]
    images: Mapping[str, ImageRef]
    packages_sha256: str | None
    platform: str
    checker: Checker | None


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """What all repetitions of a framework on a scenario share."""

    framework: str
    scenario: str
    digest: str | None
    fields: Mapping[str, Any]


def plan(
    experiment: Experiment,
    frameworks: Mapping[str, Framework],
    scenarios: Mapping[str, Scenario],
    images: Mapping[str, ImageRef],
    answers: Mapping[tuple[str, str], str],
    *,
    platform: str,
    workflows: Mapping[str, Workflow] = MappingProxyType({}),
    recordings: Mapping[tuple[str, str, int], str] = MappingProxyType({}),
    packages_sha256: str | None = None,
    checker: Checker | None = None,
) -> Sequence[Run]:
    """Return all runs of an experiment, in order.

    The order is repetition, then scenario, then framework: at any time each framework has had about the same number
    of runs, so an experiment that is cut short can still be compared.

    Args:
        experiment: what to plan.
        frameworks: recipes by name; a framework of the experiment that is absent is left out, as one whose image
            could not be built.
        scenarios: scenarios by name, with the text of every prompt.
        images: image of each framework, and of each further recipe that a step names; one without an id gives runs
            without a digest, for a dry run. A scenario is left out if the image of one of its steps is absent.
        answers: sha256 of the scripted answers by (framework, scenario), if the model is scripted.
        platform: platform of the engine, like linux/amd64.
        workflows: every workflow that the scenarios use, by name.
        recordings: digest of the recorded calls by (framework, scenario, repetition), if they are replayed.
        packages_sha256: digest of the folder of packages, if the experiment offers one.
        checker: what judges, if its image is there.

    Raises:
        NothingSelected: if include and exclude leave no run.
        Unplannable: if a scenario cannot be planned as it is written.
    """
    common = _Common(
        experiment=experiment,
        workflows=workflows,
        images=images,
        packages_sha256=packages_sha256,
        platform=platform,
        checker=checker,
    )
    cells = _cells(common, frameworks, scenarios, answers)
    filtered = bool(experiment.include or experiment.exclude)
    runs: list[Run] = []
    for repetition in range(1, experiment.repetitions + 1):
        seed = repetition_seed(experiment.seed, repetition)
        runs += [
            _run(cell, repetition, seed, recordings.get((cell.framework, cell.scenario, repetition)))
            for cell in cells
            if not filtered or is_selected(experiment, cell.framework, cell.scenario, repetition)
        ]
    if not runs:
        raise _nothing_selected(experiment, len(cells))
    return runs


def require_some(experiment: Experiment) -> None:
    """Refuse an experiment that would have no run, before any image is built for it.

    Raises:
        NothingSelected: if include and exclude leave no run.
    """
    pairs = [(framework, scenario) for scenario in experiment.scenarios for framework in experiment.frameworks]
    if not any(is_selected(experiment, *pair) for pair in pairs):
        raise _nothing_selected(experiment, len(pairs))


def _nothing_selected(experiment: Experiment, pairs: int) -> NothingSelected:
    return NothingSelected(
        f"the experiment `{experiment.name}` selects no run",
        why=f"{_counted(pairs, 'pair')} of framework and scenario x {_counted(experiment.repetitions, 'repetition')}, "
        f"less what {_counted(len(experiment.include), 'rule')} of include and {len(experiment.exclude)} of exclude leave out",
        hint="look at include and exclude with: runner plan --explain",
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cells(
    common: _Common,
    frameworks: Mapping[str, Framework],
    scenarios: Mapping[str, Scenario],
    answers: Mapping[tuple[str, str], str],
) -> list[_Cell]:
    """Return the pairs of framework and scenario that have all the images they need."""
    return [
        _cell(common, frameworks[framework], scenarios[scenario], answers.get((framework, scenario)))
        for scenario in common.experiment.scenarios
        for framework in common.experiment.frameworks
        if framework in frameworks and images_of(scenarios[scenario], common.workflows) <= common.images.keys()
    ]


def _cell(common: _Common, framework: Framework, scenario: Scenario, answers_sha256: str | None) -> _Cell:
    experiment, image = common.experiment, common.images[framework.name]
    steps = plan_steps(experiment, framework, scenario, workflows=common.workflows, images=common.images)
    connected = any(step.network != "none" for step in steps)
    model = experiment.model if connected else None
    scripted = model is not None and model.provider == "scripted"
    identity: dict[str, Any] = {
        "framework": framework,
        "scenario": scenario.name,
        "steps": steps,
        "model": model,
        "answers_sha256": answers_sha256 if scripted else None,
        "platform": common.platform,
        "run_timeout": experiment.limits.run_timeout,
        "budgets": experiment.budgets if model is not None else Budgets(),
        "packages": experiment.packages if connected else None,
        "packages_sha256": common.packages_sha256 if connected else None,
        "start": plan_start(scenario),
    }
    complete = all(step.image is None or step.image.id is not None for step in steps)
    known = image.id is not None and complete
    digest = cell_digest(cell_identity(**identity, image_id=image.id or "")) if known else None
    shown = {
        "version": 1,
        "experiment": experiment.name,
        "image": image,
        "archive": experiment.archive,
        "history": experiment.history,
        "exclude_files": experiment.exclude_files,
        "parallel": scenario.parallel,
        "parent": None,
        "checks": plan_checks(scenario, steps),
        "checker": common.checker if scenario.checks else None,
    }
    return _Cell(framework=framework.name, scenario=scenario.name, digest=digest, fields=identity | shown)


def _run(cell: _Cell, repetition: int, seed: int, recording: str | None) -> Run:
    digest = run_digest(cell.digest, repetition, seed, recording) if cell.digest is not None else None
    # All parts are validated values already, and there may be 100,000 runs: they are shared, not checked again.
    return Run.model_construct(
        _FIELDS,
        id=run_id(cell.scenario, repetition, digest),
        digest=digest,
        repetition=repetition,
        seed=seed,
        recording_sha256=recording,
        **cell.fields,
    )


def run_id(scenario: str, repetition: int, digest: str | None) -> str:
    """Return the id of a run: readable, and different for every digest."""
    return f"{scenario}-r{repetition}-{digest[:_DIGITS] if digest else 'unbuilt'}"


_FIELDS = set(Run.model_fields)
