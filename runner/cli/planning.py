"""From a command line to planned runs: what `plan` and `go` share."""

from __future__ import annotations

import platform
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from runner.cli.finding import find_run
from runner.cli.selection import names
from runner.cli.waiting import look_for_answers, look_for_cut_off
from runner.cli.workplace import Workplace
from runner.engine.owner import current
from runner.errors import ConfigError
from runner.execution.replay import Cell, digests, find_recordings, recorded_runs
from runner.gateway.recording import Recording
from runner.images.pipeline import known
from runner.ledger.store import ledger_path, open_ledger
from runner.plan.check import check_graphs
from runner.plan.matrix import plan
from runner.plan.models import Checker, ImageRef, Run
from runner.plan.resume import Decision, decide
from runner.spec.egress import Packages
from runner.spec.load import Inputs, hash_answers, hash_packages, load_all
from runner.spec.models import Framework
from runner.spec.overrides import Overrides

Recordings = Mapping[Cell, Recording]
"""What is replayed, by framework, scenario and repetition."""
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
        replay=args.replay is not None,
        replay_mode=args.replay_mode,
    )
    if args.replay_mode and not args.replay:
        raise ConfigError("--replay-mode without --replay", hint="name what to replay: --replay RUN|DIR")
    inputs = load_all(workplace.project, args.experiment, overrides, workplace.environment)
    check_graphs(inputs)
    return inputs


def plan_runs(
    workplace: Workplace,
    inputs: Inputs,
    images: Mapping[str, ImageRef],
    platform_name: str,
    recordings: Recordings = MappingProxyType({}),
) -> Sequence[Run]:
    """Return the runs of an experiment; frameworks without an image are left out.

    Args:
        workplace: project and folders.
        inputs: the experiment with everything it names.
        images: image of each framework, and of each further recipe that a step names.
        platform_name: platform of the engine.
        recordings: what is replayed; empty if nothing is.

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
        workflows={name: one.value for name, one in inputs.workflows.items()},
        recordings=digests(recordings),
        packages_sha256=offered_packages(workplace, inputs.experiment.value.packages),
        checker=checker_of(inputs.checker.value if inputs.checker is not None else None, images),
    )


def checker_of(recipe: Framework | None, images: Mapping[str, ImageRef]) -> Checker | None:
    """Return what judges; None without a recipe of it, or without its image."""
    if recipe is None or recipe.name not in images:
        return None
    return Checker(image=images[recipe.name], command=recipe.command, environment=recipe.environment)


def offered_packages(workplace: Workplace, packages: Packages | None) -> str | None:
    """Return the digest of the folder that packages for the steps come from; None if there is no such folder."""
    folder = workplace.project.root / packages.folder if packages is not None and packages.folder is not None else None
    return hash_packages(folder) if folder is not None and folder.is_dir() else None


@contextmanager
def open_recordings(workplace: Workplace, args: Namespace, inputs: Inputs) -> Iterator[Recordings]:
    """Find what each run is to replay, if anything; archives stay unpacked for as long as the block lasts.

    Raises:
        ConfigError: if a run has no recording, one cannot be replayed, or the experiment wants some and names none.
        StorageError: if one is damaged.
    """
    model = inputs.experiment.value.model
    if args.replay is None:
        if model is not None and model.provider == "replay":
            raise ConfigError(
                "the model is a replay, but nothing says of what",
                where=inputs.experiment.located.where(("model", "provider")),
                hint="name recorded runs: --replay RUN|DIR",
            )
        yield {}
        return
    place = recorded_place(args.replay, workplace.project.output(inputs.experiment.value.output))
    planned = plan_runs(
        workplace, inputs, {name: ImageRef(tag="", id=None) for name in inputs.recipes}, this_platform()
    )
    with recorded_runs(place) as found:
        yield find_recordings(planned, found)


def recorded_place(text: str, output: Path) -> Path:
    """Return what a person means by a recording: a path, or the id of a run in the folder of runs.

    Raises:
        ConfigError: if it is neither.
    """
    path = Path(text).expanduser()
    return path.absolute() if path.exists() else find_run(output, text).layout.root


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


def dry_plan(
    workplace: Workplace, inputs: Inputs, *, fresh: bool, recordings: Recordings = MappingProxyType({})
) -> DryPlan:
    """Plan without an engine, changing nothing.

    Images are taken from what this user's cache remembers; a run whose image it does not know has no digest yet.
    """
    images, problems = _known_images(workplace, inputs)
    runs = plan_runs(workplace, inputs, images, this_platform(), recordings)
    path = ledger_path(workplace.project.output(inputs.experiment.value.output))
    if not path.is_file():
        return DryPlan(decisions=decide(runs, {}, fresh=fresh), problems=problems)
    with open_ledger(path) as ledger:
        past = ledger.past(run.digest for run in runs if run.digest is not None)
        past = look_for_cut_off(path.parent, look_for_answers(path.parent, past), current().boot)
        return DryPlan(decisions=decide(runs, past, fresh=fresh, previous=ledger.previous), problems=problems)


def _known_images(workplace: Workplace, inputs: Inputs) -> tuple[dict[str, ImageRef], tuple[ConfigError, ...]]:
    images: dict[str, ImageRef] = {}
    problems: list[ConfigError] = []
    for name in inputs.recipes:
        try:
            tag, known_id = known(workplace.project.images, workplace.cache, name)
        except ConfigError as error:
            problems.append(error)
            tag, known_id = "", None
        images[name] = ImageRef(tag=tag, id=known_id)
    return images, tuple(problems)
