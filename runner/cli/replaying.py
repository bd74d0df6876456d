"""A recorded run as an experiment of its own: planned again from its record, and performed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from runner.cli.comparing import Comparison, compare
from runner.cli.console import Console
from runner.cli.states import recipe_name
from runner.errors import ConfigError, ImageError
from runner.execution.fork import ORIGIN
from runner.execution.place import Origin
from runner.execution.replay import Recorded, recorded_runs
from runner.gateway.recording import CALLS, Recording, digest, load_recording
from runner.plan.digest import digest_of
from runner.plan.matrix import run_id
from runner.plan.models import ImageRef, PlannedStep, Run
from runner.spec.load import Inputs, answers_file, hash_answers, load_framework
from runner.spec.loaded import Loaded
from runner.spec.located import Located
from runner.spec.model import Model
from runner.spec.models import Experiment
from runner.spec.project import Project
from runner.spec.scenario import ModelCall, Scenario, Step

T = TypeVar("T", bound=BaseModel)
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Who answers a run that is carried out again."""

    model: Model | None
    """None if it talks to none."""
    recording: Recording | None = None
    """The calls that are replayed; None if none are."""
    answers: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    """The scripted answers, if the model is scripted once more."""


def repeat(
    args: Namespace, console: Console, output: Path, into: Path, answering: Callable[[Project, Recorded], Answering]
) -> Comparison:
    """Plan one run again from its own record, perform it, and compare what came of it.

    Args:
        args: of the command; `run` names the run.
        console: where progress goes.
        output: folder of run directories where the run is looked for.
        into: folder of run directories for its repetition.
        answering: says who answers.

    Raises:
        ConfigError: if no run, or more than one, is meant, or a part of it is not there any more.
        ImageError: if an image is another one now.
        StorageError: if the run's evidence is damaged.
    """
    from runner.cli.experiment import open_session, perform, prepare_images
    from runner.cli.planning import offered_packages, recorded_place
    from runner.cli.workplace import open_workplace

    workplace = open_workplace(args)
    with recorded_runs(recorded_place(args.run, output)) as found:
        recorded = only_run(args.run, found)
        way = answering(workplace.project, recorded)
        inputs = inputs_of(workplace.project, recorded, into, way)
        with open_session(args, console, workplace, inputs) as session:
            images = prepare_images(session)
            packages = offered_packages(workplace, recorded.record.run.packages)
            again = planned_again(recorded.record.run, images.references, way, packages)
            name = again.digest or ""
            perform(
                session,
                images,
                [again],
                {name: recorded.folder} if way.recording is not None else {},
                origins={name: Origin(history=recorded.history, number=ORIGIN)} if again.parent is not None else {},
            )
        return compare(recorded, into, again)


def replaying(recorded: Recorded, mode: str) -> Answering:
    """Return that the run's recorded calls are answered as they were.

    Args:
        recorded: the run.
        mode: `strict` or `sequence`.

    Raises:
        ConfigError: if the run talked to no model, or its calls cannot be replayed.
        StorageError: if they cannot be read.
    """
    recording = load_recording(recorded.folder)
    model = recording.run.model
    if model is None:
        raise ConfigError(f"{recording.run.id} talks to no model, so there is nothing to replay")
    changes = {"provider": "replay", "replay_mode": mode}
    return Answering(model=model.model_copy(update=changes), recording=recording)


def as_before(project: Project, recorded: Recorded) -> Answering:
    """Return that the recorded calls are replayed if they were kept; else scripted answers, or nobody if nobody did.

    Raises:
        ConfigError: if the run talked to a model whose answers are not to be had again.
        StorageError: if its calls cannot be read.
    """
    run = recorded.record.run
    if run.model is None or not (recorded.folder / CALLS).is_file():
        return Answering(model=run.model, answers=_scripted(project, run))
    try:
        return replaying(recorded, "strict")
    except ConfigError as error:
        if run.model.provider == "scripted":
            return Answering(model=run.model, answers=_scripted(project, run))
        raise ConfigError(
            f"{run.id} cannot be reproduced: what its model answered is not to be had again",
            why=error.what,
            hint="`model.bodies: full` keeps answers; to ask the model anew: runner go --fresh",
        ) from error


def inputs_of(project: Project, recorded: Recorded, output: Path, way: Answering) -> Inputs:
    """Return an experiment of the one run that was recorded; of the project only the images' recipes are used.

    Args:
        project: where the recipes are.
        recorded: the run.
        output: folder of run directories for its repetition.
        way: who answers.

    Raises:
        ConfigError: if the project has no such framework.
    """
    run = recorded.record.run
    framework = load_framework(project, run.framework.name, named_at=str(recorded.place))
    experiment = Experiment(
        name=run.experiment,
        frameworks=(run.framework.name,),
        scenarios=(run.scenario,),
        model=way.model,
        output=str(output),
        archive=run.archive,
        history=run.history,
        exclude_files=run.exclude_files,
        packages=run.packages,
    )
    scenario = Scenario(name=run.scenario, steps=tuple(_as_written(step) for step in run.steps))
    return Inputs(
        experiment=_loaded(experiment, recorded.place),
        frameworks={run.framework.name: framework},
        scenarios={run.scenario: _loaded(scenario, recorded.place)},
        answers=way.answers,
    )


def planned_again(run: Run, images: Mapping[str, ImageRef], way: Answering, packages_sha256: str | None) -> Run:
    """Return a recorded run as it is to be performed again: everything its own, but for who answers.

    Args:
        run: the run as it was.
        images: images as they are here, by recipe.
        way: who answers.
        packages_sha256: digest of the folder of packages as it is here, if the run was offered one.

    Raises:
        ConfigError: if other packages are offered than were then.
        ImageError: if an image is another one than it was.
    """
    _same_image(run, run.framework.name, run.image, images)
    for step in run.steps:
        if step.image is not None:
            _same_image(run, recipe_name(step.image.tag), step.image, images)
    if run.packages_sha256 != packages_sha256:
        raise ConfigError(
            f"the folder of packages is another one than when {run.id} was carried out",
            why=f"its digest is {packages_sha256 or 'not known'}, and was {run.packages_sha256}",
            hint=f"put into {run.packages.folder if run.packages else 'it'} what was there then",
        )
    # What is to be seen is whether the same comes of it: it is not judged a second time.
    changes: dict[str, object] = {"model": way.model, "checks": (), "checker": None}
    if way.recording is not None:
        changes |= {"answers_sha256": None, "recording_sha256": digest(way.recording)}
    again = run.model_copy(update=changes)
    identity = digest_of(again)
    return again.model_copy(update={"digest": identity, "id": run_id(run.scenario, run.repetition, identity)})


def _same_image(run: Run, name: str, was: ImageRef, images: Mapping[str, ImageRef]) -> None:
    now = images.get(name)
    if now is None or now.id != was.id:
        raise ImageError(
            f"the image of {name} is {now.id if now else 'not there'} here, and was {was.id} when {run.id} was "
            "carried out",
            why="the base image, its recipe or its lock is another one",
            hint="check out the version it was recorded with; or use this image, which need not do the same: "
            f"runner go --replay RUN --framework {run.framework.name} --scenario {run.scenario}",
        )


def _scripted(project: Project, run: Run) -> dict[tuple[str, str], Path]:
    """Return the file of scripted answers that a run had."""
    if run.model is None or run.model.provider != "scripted" or run.answers_sha256 is None:
        return {}
    file = answers_file(project, run.model, run.framework.name, run.scenario)
    found = {(run.framework.name, run.scenario): file}
    actual = next(iter(hash_answers(found).values())) if file.is_file() else None
    if actual != run.answers_sha256:
        raise ConfigError(
            f"the scripted answers are not those that {run.id} had",
            where=str(file),
            why=f"their sha256 is {actual}, and was {run.answers_sha256}" if actual else "there is no such file",
            hint="check out the version it was carried out with",
        )
    return found


def _as_written(step: PlannedStep) -> Step:
    """Return a step as far as images and gateway ask: its image and its way out."""
    image = recipe_name(step.image.tag) if step.image is not None else None
    if step.kind == "model":
        return Step(id=f"s{step.index}", model=ModelCall(prompt="-"), image=image)
    return Step(id=f"s{step.index}", prompt="-", network=step.network, allow=step.allow, image=image)


def only_run(text: str, found: Sequence[Recorded]) -> Recorded:
    """Return the one run there is.

    Raises:
        ConfigError: if there are several.
    """
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.record.run.id for one in found[:_SHOWN])
    raise ConfigError(f"{text} holds {len(found)} runs", why=names, hint="name one of them; or: runner go --replay DIR")


def _loaded(value: T, place: Path) -> Loaded[T]:
    """Return a value as if it had been written in a file."""
    located = Located(value=value.model_dump(mode="json"), path=place, shown=str(place), lines={}, texts={})
    return Loaded(value=value, file=place, sources={}, located=located)
