"""From a command line to planned runs: what `plan` and `go` share."""

from __future__ import annotations

import platform
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.cli.selection import names
from runner.cli.workplace import Workplace
from runner.errors import ConfigError
from runner.images.pipeline import known
from runner.ledger.store import ledger_path, open_ledger
from runner.plan.matrix import plan
from runner.plan.models import ImageRef, Run
from runner.plan.resume import Decision, decide
from runner.spec.load import Inputs, hash_answers, load_all
from runner.spec.overrides import Overrides

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Names of processors as Linux writes them -> as OCI does."""


def read_inputs(workplace: Workplace, args: Namespace) -> Inputs:
    """Read and check the experiment that the arguments choose, with flags and environment applied.

    Raises:
        ConfigError: with every complaint, each with its file and line.
    """
    overrides = Overrides(
        frameworks=names(args.framework),
        scenarios=names(args.scenario),
        repetitions=args.repetitions,
        model=args.model,
        jobs=args.jobs,
        # On the command line a folder is meant from where the user stands; in a file, from the project.
        output=str(Path(args.output).absolute()) if args.output else None,
        seed=args.seed,
        archive=args.archive,
    )
    return load_all(workplace.project, args.experiment, overrides, workplace.environment)


def plan_runs(inputs: Inputs, images: Mapping[str, ImageRef], platform_name: str) -> Sequence[Run]:
    """Return the runs of an experiment; frameworks without an image are left out.

    Raises:
        NothingSelected: if nothing is left.
    """
    return plan(
        inputs.experiment.value,
        {name: one.value for name, one in inputs.frameworks.items() if name in images},
        {name: one.value for name, one in inputs.scenarios.items()},
        images,
        hash_answers(inputs.answers),
        platform=platform_name,
    )


def this_platform() -> str:
    """Return the platform of an engine on this machine, for a plan that asks none."""
    machine = platform.machine()
    return f"linux/{_MACHINES.get(machine, machine)}"


@dataclass(frozen=True, kw_only=True)
class DryPlan:
    """What `go` would do, as far as can be told without an engine."""

    decisions: Sequence[Decision]
    problems: tuple[ConfigError, ...]
    """Why the image of a framework is not known at all, like a missing lock."""


def dry_plan(workplace: Workplace, inputs: Inputs, *, fresh: bool) -> DryPlan:
    """Plan without an engine, changing nothing.

    Images are taken from what this user's cache remembers; a run whose image it does not know has no digest yet.
    """
    images, problems = _known_images(workplace, inputs)
    runs = plan_runs(inputs, images, this_platform())
    path = ledger_path(workplace.project.output(inputs.experiment.value.output))
    if not path.is_file():
        return DryPlan(decisions=decide(runs, {}, fresh=fresh), problems=problems)
    with open_ledger(path) as ledger:
        past = ledger.past(run.digest for run in runs if run.digest is not None)
        return DryPlan(decisions=decide(runs, past, fresh=fresh, previous=ledger.previous), problems=problems)


def _known_images(workplace: Workplace, inputs: Inputs) -> tuple[dict[str, ImageRef], tuple[ConfigError, ...]]:
    images: dict[str, ImageRef] = {}
    problems: list[ConfigError] = []
    for name in inputs.frameworks:
        try:
            tag, known_id = known(workplace.project.images, workplace.cache, name)
        except ConfigError as error:
            problems.append(error)
            tag, known_id = "", None
        images[name] = ImageRef(tag=tag, id=known_id)
    return images, tuple(problems)
