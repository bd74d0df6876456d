"""Load experiments, scenarios and frameworks: every file, path, prompt and name is checked before anything starts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from runner.errors import ConfigError
from runner.names import CHECKER
from runner.spec.bundles import read_start
from runner.spec.checks import check_arguments, check_experiment, check_output
from runner.spec.complaints import Complaint, SpecError, choose_from, complaints_of, raise_if_any
from runner.spec.egress_checks import check_packages, check_recipe_ways, check_ways
from runner.spec.judging_checks import check_judging
from runner.spec.limits import unlikely_limits
from runner.spec.loaded import Loaded, sources_of
from runner.spec.model import Model
from runner.spec.models import Experiment, Framework
from runner.spec.overrides import Overrides, apply_overrides
from runner.spec.project import RECIPE, SUFFIXES, Project, yaml_files
from runner.spec.recipes import check_recipe
from runner.spec.scenario import Scenario, Workflow
from runner.spec.selection import is_selected
from runner.spec.texts import read_scripts, read_texts, text_sources
from runner.spec.validate import validate
from runner.spec.value_checks import check_answers
from runner.spec.ways import images_of, is_connected, needs_answers
from runner.spec.workflows import check_name, check_page, page_of, workflows_of
from runner.spec.yaml import load_yaml

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A whole experiment: itself, its frameworks, scenarios and workflows by name, and its scripted answers."""

    experiment: Loaded[Experiment]
    frameworks: Mapping[str, Loaded[Framework]]
    scenarios: Mapping[str, Loaded[Scenario]]
    answers: Mapping[tuple[str, str], Path]
    """File of scripted answers by (framework, scenario); empty unless the model is scripted."""
    workflows: Mapping[str, Loaded[Workflow]] = field(default_factory=dict)
    """Every workflow that the scenarios use, at any depth."""
    notes: tuple[str, ...] = field(default=())
    checker: Loaded[Framework] | None = None
    """What judges; None if nothing is judged, or there is no recipe for it."""

    @property
    def recipes(self) -> tuple[str, ...]:
        """Recipes whose images are needed: the frameworks, then what single steps use instead."""
        workflows = {name: one.value for name, one in self.workflows.items()}
        used = {image for one in self.scenarios.values() for image in images_of(one.value, workflows)}
        used |= {self.checker.value.name} if self.checker is not None else set()
        return (*self.frameworks, *sorted(used - self.frameworks.keys()))

    def usable_with(self, images: Container[str]) -> bool:
        """Tell whether some framework can carry out some scenario if only these recipes have images."""
        workflows = {name: one.value for name, one in self.workflows.items()}
        wanted = [images_of(one.value, workflows) for one in self.scenarios.values()]
        some = any(name in images for name in self.frameworks)
        return some and any(all(name in images for name in names) for names in wanted)


def load_experiment(
    project: Project, reference: str | None, overrides: Overrides, environment: Mapping[str, str]
) -> Loaded[Experiment]:
    """Read an experiment; flags win over the environment, that over the file, that over built-in defaults.

    Args:
        project: where names are looked up.
        reference: a name under config/experiments/, or a path; None means `default`.
        overrides: what flags say.
        environment: environment variables, of which overrides.VARIABLES and OPENAI_BASE_URL count.

    Raises:
        ConfigError: with everything that is wrong in it.
    """
    located = load_yaml(_experiment_file(project, reference or "default"), root=project.root)
    plain = validate(located, Experiment)
    changed = apply_overrides(located, overrides, environment)
    value = validate(changed, Experiment)
    complaints = [*check_experiment(value, changed, plain), *check_output(value, changed, project)]
    raise_if_any([*complaints, *check_packages(value, changed, project)])
    notes = tuple(unlikely_limits(value.limits, changed))
    return Loaded(value=value, file=located.path, sources=sources_of(value, changed), located=changed, notes=notes)


def load_scenario(project: Project, name: str, *, named_at: str = "") -> Loaded[Scenario]:
    """Read a scenario, with the text of every prompt file in `prompt`.

    Args:
        project: where it is looked up: config/scenarios/<name>.yaml.
        name: name of the scenario.
        named_at: `file:line`, or a flag, that asks for it.

    Raises:
        ConfigError: with everything that is wrong in it.
    """
    known = scenario_names(project)
    if name not in known:
        hint = choose_from(name, known, "there are none; write config/scenarios/<name>.yaml")
        raise SpecError([Complaint(what=f"unknown scenario `{name}`", where=named_at, hint=hint)])
    file = next(path for path in yaml_files(project.scenarios) if path.stem == name)
    located = load_yaml(file, root=project.root)
    scenario = validate(located, Scenario)
    workflows, complaints = workflows_of(project, scenario.steps, located)
    page = page_of(project, scenario.steps, located, workflows)
    complaints += [*check_name(scenario.name, located), *check_page(page)]
    complaints += check_answers(page, scenario.answers, ("answers",))
    complaints += check_judging(scenario, located)
    steps, refused = read_texts(scenario.steps, located)
    checks, unread = read_scripts(scenario.checks, located)
    start, unusable = (None, []) if scenario.start is None else read_start(scenario.start, located)
    raise_if_any([*complaints, *refused, *unread, *unusable])
    return Loaded(
        value=scenario.model_copy(update={"steps": steps, "checks": checks, "start": start}),
        file=file,
        sources={**sources_of(scenario, located), **text_sources(scenario.steps, located, project.root)},
        located=located,
    )


def load_framework(
    project: Project, name: str, *, named_at: str = "", role: Literal["framework", "checker"] = "framework"
) -> Loaded[Framework]:
    """Read a framework's recipe, images/<name>/framework.yaml.

    Args:
        project: where it is looked up.
        name: name of the framework.
        named_at: `file:line`, or a flag, that asks for it.
        role: what it has to be.

    Raises:
        ConfigError: with everything that is wrong in it.
    """
    known = framework_names(project)
    if name not in known:
        choices = [one for one in known if (one == CHECKER) == (role == "checker")]
        hint = choose_from(name, choices, f"there are none; write images/<name>/{RECIPE}")
        raise SpecError([Complaint(what=f"unknown framework `{name}`", where=named_at, hint=hint)])
    file = project.images / name / RECIPE
    located = load_yaml(file, root=project.root)
    framework = validate(located, Framework)
    raise_if_any([*check_recipe(framework, located, file.parent), *check_recipe_ways(framework, located)])
    if framework.role != role:
        what = f"`{name}` is a {framework.role}, not a {role}"
        hint = f"its recipe says so, at {located.where(('role',))}"
        raise SpecError([Complaint(what=what, where=named_at or located.shown, hint=hint)])
    return Loaded(value=framework, file=file, sources=sources_of(framework, located), located=located)


def load_checker(project: Project) -> Loaded[Framework] | None:
    """Read the recipe of what judges; None if there is none.

    Raises:
        ConfigError: with everything that is wrong in it.
    """
    return load_framework(project, CHECKER, role="checker") if CHECKER in framework_names(project) else None


def _unjudged(project: Project, scenario: Loaded[Scenario]) -> str:
    """Return a note that a scenario's checks will judge nothing."""
    recipe = (project.images / CHECKER / RECIPE).relative_to(project.root)
    return f"{scenario.located.where(('checks',))}: nothing will be judged: there is no {recipe}"


def load_all(project: Project, reference: str | None, overrides: Overrides, environment: Mapping[str, str]) -> Inputs:
    """Read an experiment with all its frameworks and scenarios; arguments as `load_experiment`.

    Raises:
        ConfigError: one error with the complaints of every file, so that all can be mended at once.
    """
    return load_parts(project, load_experiment(project, reference, overrides, environment))


def load_parts(project: Project, experiment: Loaded[Experiment]) -> Inputs:
    """Read everything that an experiment names.

    Args:
        project: where names are looked up.
        experiment: the experiment.

    Raises:
        ConfigError: one error with the complaints of every file.
    """
    complaints: list[Complaint] = []
    frameworks = _gather(experiment, "frameworks", load_framework, project, complaints)
    scenarios = _gather(experiment, "scenarios", load_scenario, project, complaints)
    workflows: dict[str, Loaded[Workflow]] = {}
    for scenario in scenarios.values():
        workflows |= workflows_of(project, scenario.value.steps, scenario.located)[0]
    answers, missing = _find_answers(project, experiment, frameworks, scenarios, workflows)
    complaints += [*check_ways(experiment, frameworks, scenarios, workflows), *missing]
    complaints += check_arguments(frameworks, (*scenarios.values(), *workflows.values()))
    checker = None
    judged = [one for one in scenarios.values() if one.value.checks]
    try:
        checker = load_checker(project) if judged else None
    except ConfigError as error:
        complaints += complaints_of(error)
    raise_if_any(complaints)
    return Inputs(
        experiment=experiment,
        frameworks=frameworks,
        scenarios=scenarios,
        answers=answers,
        workflows=workflows,
        notes=(*experiment.notes, *(_unjudged(project, one) for one in judged if checker is None)),
        checker=checker,
    )


def experiment_names(project: Project) -> list[str]:
    """Return the names of the experiments under config/experiments/."""
    return sorted(path.stem for path in yaml_files(project.experiments))


def scenario_names(project: Project) -> list[str]:
    """Return the names of the scenarios under config/scenarios/."""
    return sorted(path.stem for path in yaml_files(project.scenarios))


def framework_names(project: Project) -> list[str]:
    """Return the names of the folders under images/ that have a recipe."""
    return sorted(path.parent.name for path in project.images.glob(f"*/{RECIPE}"))


def answers_file(project: Project, model: Model, framework: str, scenario: str) -> Path:
    """Return where the scripted answers of a framework for a scenario stand, whether or not they exist."""
    if model.answers is not None:
        return project.root / model.answers / framework / f"{scenario}.yaml"
    return project.images / framework / "answers" / f"{scenario}.yaml"


def hash_answers(answers: Mapping[tuple[str, str], Path]) -> dict[tuple[str, str], str]:
    """Return the sha256 of each file of scripted answers, as hexadecimal digits."""
    return {cell: hashlib.sha256(path.read_bytes()).hexdigest() for cell, path in answers.items()}


def hash_packages(folder: Path) -> str:
    """Return the sha256 of what a folder of packages offers: the names and digests of its files, sorted."""
    lines = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _experiment_file(project: Project, reference: str) -> Path:
    if "/" not in reference and not reference.endswith(SUFFIXES):
        found = [path for path in yaml_files(project.experiments) if path.stem == reference]
        if found:
            return found[0]
        hint = choose_from(reference, experiment_names(project), f"there are none; type: runner new {reference}")
        raise SpecError([Complaint(what=f"unknown experiment `{reference}`", where="config/experiments", hint=hint)])
    path = Path(reference).absolute()
    if path.is_file() or (project.root / reference).is_file():
        return path if path.is_file() else project.root / reference
    hint = choose_from(Path(reference).stem, experiment_names(project))
    raise SpecError([Complaint(what=f"there is no file `{reference}`", hint=f"by name, {hint}")])


def _gather(
    experiment: Loaded[Experiment],
    key: str,
    load: Callable[..., T],
    project: Project,
    complaints: list[Complaint],
) -> dict[str, T]:
    """Load everything an experiment names under a key; add the complaints of what cannot be loaded."""
    found: dict[str, T] = {}
    for number, name in enumerate(getattr(experiment.value, key)):
        try:
            found[name] = load(project, name, named_at=experiment.located.where((key, number)))
        except ConfigError as error:
            complaints += complaints_of(error)
    return found


def _find_answers(
    project: Project,
    experiment: Loaded[Experiment],
    frameworks: Mapping[str, Loaded[Framework]],
    scenarios: Mapping[str, Loaded[Scenario]],
    workflows: Mapping[str, Loaded[Workflow]],
) -> tuple[dict[tuple[str, str], Path], list[Complaint]]:
    """Return the answers of each selected cell that talks to a scripted model, and a complaint for each without."""
    model, found, missing = experiment.value.model, {}, []
    if model is None or model.provider != "scripted":
        return {}, []
    plain = {name: one.value for name, one in workflows.items()}
    for name, framework in frameworks.items():
        for scenario, loaded in scenarios.items():
            connected = is_connected(framework.value, loaded.value, plain)
            if not connected or not is_selected(experiment.value, name, scenario):
                continue
            file = answers_file(project, model, name, scenario)
            if file.is_file():
                found[name, scenario] = file
            elif needs_answers(framework.value, loaded.value, plain):
                shown = file.relative_to(project.root) if file.is_relative_to(project.root) else file
                missing.append(
                    Complaint(
                        what=f"the scripted model has no answers for {name} on {scenario}",
                        where=experiment.located.where(("model",)),
                        why=f"{shown} does not exist",
                        hint="write it, exclude the pair, or take a real model: --model openai/gpt-4o-mini",
                    )
                )
    return found, missing
