"""A fork as an experiment of its own: what is left of a run, or another scenario, on the workspace after a step."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, JsonValue

from runner.cli.finding import read_record
from runner.cli.planning import checker_of, plan_runs, this_platform
from runner.cli.states import Kept, done_after, kept_step, left_with_state, recipe_name
from runner.errors import ConfigError
from runner.evidence.history.oci import KeptStep
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.execution.place import Origin
from runner.execution.values import Values
from runner.plan.fork import Changes, Past, forked, performed_by, remaining
from runner.plan.models import Ancestry, ImageRef, PlannedStep, Run
from runner.spec.load import Inputs, answers_file, hash_answers, load_checker, load_framework, load_parts
from runner.spec.loaded import Loaded, sources_of
from runner.spec.located import Located
from runner.spec.model import Model
from runner.spec.models import Experiment, Framework
from runner.spec.overrides import ENDPOINTS, Overrides, apply_overrides
from runner.spec.scenario import ModelCall, Scenario, Step
from runner.spec.validate import validate

if TYPE_CHECKING:
    from runner.cli.workplace import Workplace

_Spec = TypeVar("_Spec", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A fork before its images are at hand."""

    kept: Kept
    step: KeptStep
    """After which it goes on."""
    record: RunRecord
    steps: tuple[PlannedStep, ...]
    """What is left of the run; empty if another scenario is to be done instead."""
    inputs: Inputs
    prompts: Mapping[str, str]
    note: str
    seed: int | None

    @property
    def parent(self) -> Run:
        """The run that is continued."""
        return self.record.run

    @property
    def scenario(self) -> str:
        """Name of what is done."""
        return self.inputs.experiment.value.scenarios[0]

    @property
    def framework(self) -> Framework:
        """The one that performs it."""
        return next(iter(self.inputs.frameworks.values())).value


def drafted(workplace: Workplace, args: Namespace, output: Path) -> Draft:
    """Return what a command line asks for.

    Args:
        workplace: the project, for recipes, answers and scenarios.
        args: of `runner fork`.
        output: folder of run directories.

    Raises:
        ConfigError: if there is no such run or step, nothing is left to do, or a part of the fork is missing.
        StorageError: if what the run left is damaged.
    """
    kept, step = kept_step(output, args.step)
    record = read_record(kept.place)
    name = args.framework or record.run.framework.name
    framework = load_framework(workplace.project, name, named_at="--framework" if args.framework else "")
    model = _model(workplace, record.run, args.model)
    experiment = _experiment(record.run, name, args.scenario or record.run.scenario, model, output)
    if args.scenario:
        steps: tuple[PlannedStep, ...] = ()
        inputs = load_parts(workplace.project, _loaded(experiment, workplace.project.root))
    else:
        done = done_after(record.run, step)
        left = remaining(record.run.steps, done, past_of(kept.place.layout, record, done))
        steps = tuple(performed_by(one, record.run.framework, framework.value) for one in left)
        inputs = _inputs(workplace, experiment, framework, steps)
        if record.run.checks:
            inputs = replace(inputs, checker=load_checker(workplace.project))
    return Draft(
        kept=kept,
        step=step,
        record=record,
        steps=steps,
        inputs=inputs,
        prompts=prompts_of(args.prompt or ()),
        note=args.note,
        seed=args.seed,
    )


def check_fork(workplace: Workplace, draft: Draft) -> None:
    """Refuse what cannot be planned before anything is begun: what is told of the last work in the folder stays then.

    Raises:
        ConfigError: as `planned_fork`.
    """
    images = {name: ImageRef(tag="", id=None) for name in draft.inputs.recipes}
    planned_fork(workplace, draft, images, this_platform())


def planned_fork(workplace: Workplace, draft: Draft, images: Mapping[str, ImageRef], platform: str) -> Run:
    """Return the run, given the images of the framework and of the steps that have their own.

    Args:
        workplace: the project.
        draft: what is asked for.
        images: by name of the recipe.
        platform: of the engine.

    Raises:
        ConfigError: if a prompt is for a step that has none, or a model is needed and there is none.
    """
    ancestry = Ancestry(
        run=draft.parent.id,
        digest=draft.parent.digest,
        step=draft.step.id,
        index=draft.step.number,
        workspace_sha256=draft.step.config,
        note=draft.note,
    )
    parent, steps = draft.parent, draft.steps
    if not steps:
        planned = plan_runs(workplace, draft.inputs, images, platform)[0]
        update = {"parallel": planned.parallel, "checks": planned.checks}
        parent, steps = parent.model_copy(update=update), planned.steps
    answers = hash_answers(draft.inputs.answers)
    changes = Changes(
        framework=draft.framework,
        scenario=draft.scenario,
        image=images[draft.framework.name],
        model=draft.inputs.experiment.value.model,
        answers_sha256=answers.get((draft.framework.name, draft.scenario)),
        seed=draft.seed,
        prompts=draft.prompts,
        checks=parent.checks,
        checker=checker_of(draft.inputs.checker.value if draft.inputs.checker is not None else None, images),
    )
    run = forked(parent, [_with_image(step, images) for step in steps], ancestry, changes)
    if run.model is None and (closed := [one.id for one in run.steps if one.network == "gateway" and not one.allow]):
        raise ConfigError(
            f"step {closed[0]} has a way out to a model, and there is none",
            why=f"{parent.id} had none, and {draft.framework.name} asks one",
            hint="name a model: --model scripted, or --model openai/gpt-4o-mini",
        )
    return run


def origin_of(draft: Draft) -> Origin:
    """Return where the fork's workspace is kept."""
    return origin_at(draft.kept.place.layout, draft.record, draft.step, draft.framework.name)


def origin_at(layout: RunLayout, record: RunRecord, step: KeptStep, framework: str) -> Origin:
    """Return where the workspace after a step is kept, and the state if that is what the run ended with.

    Args:
        layout: of the run that is continued.
        record: of it.
        step: after which it goes on.
        framework: that goes on with it; another one can do nothing with the state.
    """
    usable = left_with_state(record, step) and framework == record.run.framework.name and layout.state.is_dir()
    return Origin(history=layout.history, number=step.number, state=layout.state if usable else None)


def past_of(layout: RunLayout, record: RunRecord, done: frozenset[str]) -> Past:
    """Return what the finished steps of a run came to, by their records and the kept copies of their outputs.

    Raises:
        StorageError: if a kept output is not what was recorded.
    """
    records = {one.id: one for one in record.steps}
    values = Values(layout=layout, run=record.run, records=records)
    outputs: dict[tuple[str, str], JsonValue] = {}
    for step in (one for one in record.steps if one.id in done):
        for one in step.outputs:
            if (value := values.given(step.id, one.name)) is not None:
                outputs[step.id, one.name] = value.content  # type: ignore[assignment]  # JSON, as it came from there
    return Past(outcomes={name: records[name].outcome for name in done if name in records}, outputs=outputs)


def unread_prompts(fork: Run, prompts: Mapping[str, str]) -> str:
    """Return a note that new prompts make no difference to a model whose answers were prepared; empty if they do."""
    if not prompts or fork.model is None or fork.model.provider != "scripted":
        return ""
    steps = ", ".join(f"`{name}`" for name in prompts)
    return f"scripted model: its answers were prepared, and do not depend on the prompt of {steps}"


def prompts_of(texts: Sequence[str]) -> dict[str, str]:
    """Return new prompts by step from `STEP=TEXT` and `STEP=@FILE`.

    Raises:
        ConfigError: if one is neither, or its file cannot be read.
    """
    found: dict[str, str] = {}
    for one in texts:
        step, equals, text = one.partition("=")
        if not equals or not step or not text:
            raise ConfigError(f"--prompt {one} is no prompt of a step", hint="write --prompt STEP=TEXT or STEP=@FILE")
        found[step] = _read(text[1:]) if text.startswith("@") else text
    return found


def _read(name: str) -> str:
    try:
        return Path(name).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "write --prompt STEP=@FILE with a file of UTF-8 text, or the text itself: --prompt STEP=TEXT"
        raise ConfigError(f"cannot read the prompt in {name}", why=str(error), hint=hint) from None


def _model(workplace: Workplace, parent: Run, text: str | None) -> Model | None:
    """Return the model that answers: the run's own, or the one of the command line with its other settings."""
    if text is None:
        if parent.model is not None and parent.model.provider == "replay":
            raise ConfigError(
                f"{parent.id} was answered by a recording, which knows no other steps",
                hint="name a model: --model scripted, or --model openai/gpt-4o-mini",
            )
        return parent.model
    endpoints = {key: value for key in ENDPOINTS.values() if (value := workplace.environment.get(key))}
    shell = Experiment(name=parent.experiment, frameworks=("any",), scenarios=("any",), model=parent.model)
    located = _loaded(shell, workplace.project.root).located
    return validate(apply_overrides(located, Overrides(model=text), endpoints), Experiment).model


def _experiment(parent: Run, framework: str, scenario: str, model: Model | None, output: Path) -> Experiment:
    return Experiment(
        name=parent.experiment,
        frameworks=(framework,),
        scenarios=(scenario,),
        model=model,
        output=str(output),
        archive=parent.archive,
        history=parent.history,
        packages=parent.packages,
        budgets=parent.budgets,
    )


def _inputs(
    workplace: Workplace, experiment: Experiment, framework: Loaded[Framework], steps: Sequence[PlannedStep]
) -> Inputs:
    """Return what is left of a run as an experiment's one scenario, for images, gateway and folders."""
    name, root = experiment.scenarios[0], workplace.project.root
    scenario = Scenario(name=name, steps=tuple(_as_written(step) for step in steps))
    connected = any(step.network != "none" or step.kind == "model" for step in steps)
    asks = any(step.kind in {"prompt", "model"} and step.network != "none" for step in steps)
    answers = _answers(workplace, experiment.model, framework.value.name, name, needed=asks) if connected else {}
    return Inputs(
        experiment=_loaded(experiment, root),
        frameworks={framework.value.name: framework},
        scenarios={name: _loaded(scenario, root)},
        answers=answers,
    )


def _answers(
    workplace: Workplace, model: Model | None, framework: str, scenario: str, *, needed: bool
) -> dict[tuple[str, str], Path]:
    if model is None or model.provider != "scripted":
        return {}
    file = answers_file(workplace.project, model, framework, scenario)
    if not file.is_file() and not needed:
        return {}
    if not file.is_file():
        raise ConfigError(
            f"the scripted model has no answers for {framework} on {scenario}",
            why=f"{file} does not exist",
            hint="write it, or take a real model: --model openai/gpt-4o-mini",
        )
    return {(framework, scenario): file}


def _as_written(step: PlannedStep) -> Step:
    """Return a step as far as images and gateway ask: its image and its way out."""
    image = recipe_name(step.image.tag) if step.image is not None else None
    if step.kind == "model":
        return Step(id=f"s{step.index}", model=ModelCall(prompt="-"), image=image)
    return Step(id=f"s{step.index}", prompt="-", network=step.network, allow=step.allow, image=image)


def _with_image(step: PlannedStep, images: Mapping[str, ImageRef]) -> PlannedStep:
    if step.image is None:
        return step
    return step.model_copy(update={"image": images[recipe_name(step.image.tag)]})


def _loaded(value: _Spec, place: Path) -> Loaded[_Spec]:
    """Return a value as if it had been written in a file."""
    located = Located(
        value=value.model_dump(mode="json", exclude_unset=True), path=place, shown=str(place), lines={}, texts={}
    )
    return Loaded(value=value, file=place, sources=sources_of(value, located), located=located)
